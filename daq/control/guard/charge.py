"""Q1 Q2 E1: what went into the cell, and came out of it. Integrated by the guard itself.

It does not ask the engine: two independent integrals must both be wrong to overcharge.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from daq.control.guard.rule import Caution, valid
from daq.model import Counters, Sample, Trip

FORGOTTEN = 0.03
"""How much of what flows the other way the extremes of the net charge follow it.

No cell gives back all that it was given, and no current is measured without offset: over a
hundred cycles the net charge drifts by more than a cell holds, and a limit on it would end every
long test. So the lowest point creeps up by this part of what is discharged, the highest down by
this part of what is charged. Within one charge nothing is forgotten.
"""
MOST_EFFICIENT = 1.02
"""More energy out than in, beyond what instruments may be off by, is a wrong sign or range."""
CLOSED_FRACTION = 0.2
SMALL_CYCLE = 0.05


class Charge:
    """Q1: charge since the cell was emptiest in this run. Q2: charge drawn since it was fullest.

    "Since last full" cannot be known; "since emptiest" is the same for a full cycle and the
    stricter of the two otherwise. Together they keep the net charge since the first step within
    what the cell holds.

    Attributes:
        limit_Ah: Q1.
        window_Ah: Q2.
        beside_A: what flows through the cell beside the cycler, which does not see it: the direct
            current of a potentiostat.
    """

    def __init__(self) -> None:
        self.limit_Ah = inf
        self.window_Ah = inf
        self.beside_A = 0.0
        self.net_Ah = 0.0
        self._lowest_Ah = 0.0
        self._highest_Ah = 0.0
        self._last: tuple[float, float] | None = None

    def reset(self) -> None:
        """A new run begins."""
        self.net_Ah = self._lowest_Ah = self._highest_Ah = 0.0
        self._last = None

    def snapshot(self) -> dict[str, float]:
        """For the checkpoint of a run: a restart must not grant it the same charge again."""
        return {
            "net_Ah": self.net_Ah,
            "lowest_Ah": self._lowest_Ah,
            "highest_Ah": self._highest_Ah,
        }

    def restore(self, snapshot: Mapping[str, float]) -> None:
        """Go on with a run from its checkpoint; nothing flowed in between."""
        self.net_Ah, self._lowest_Ah = snapshot["net_Ah"], snapshot["lowest_Ah"]
        self._highest_Ah = snapshot.get("highest_Ah", self.net_Ah)  # older ones have none
        self._last = None

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of the cycler."""
        current, now = sample.reading.current_A + self.beside_A, sample.time_s
        if not valid(current):
            return None
        if self._last is not None:
            before, amps = self._last
            self._count((current + amps) / 2 * (now - before) / 3600)
        self._last = (now, current)
        charged = self.net_Ah - self._lowest_Ah
        if charged > self.limit_Ah:
            return Trip("Q1", f"{charged:.6g} Ah were charged, the limit is {self.limit_Ah:.6g} Ah")
        drawn = self._highest_Ah - self.net_Ah
        if drawn > self.window_Ah:
            return Trip("Q2", f"{drawn:.6g} Ah were drawn, the cell holds {self.window_Ah:.6g} Ah")
        return None

    def _count(self, charge_Ah: float) -> None:
        self.net_Ah += charge_Ah
        if charge_Ah < 0.0:
            self._lowest_Ah = min(self._lowest_Ah - FORGOTTEN * charge_Ah, self.net_Ah)
        else:
            self._highest_Ah = max(self._highest_Ah - FORGOTTEN * charge_Ah, self.net_Ah)


class Efficiency:
    """E1: energy out per energy in, over each cycle that came back to where it began. Warns.

    A cycle that moved hardly anything, or that charged much more than it discharged (formation,
    the first and the last cycle of a test), says nothing.
    """

    def __init__(self) -> None:
        self.least = 0.0
        self._cycle = 0
        self._from = Counters()

    def begin(self, cycle: int, counters: Counters) -> None:
        """A run begins or goes on with these counters."""
        self._cycle, self._from = cycle, counters

    def judge(self, cycle: int, counters: Counters, nominal_Ah: float) -> Caution | None:
        """A step begins in this cycle; if it is another one, judge the one before."""
        if cycle == self._cycle:
            return None
        before, ended = self._from, self._cycle
        self.begin(cycle, counters)
        charged_Ah = counters.charge_Ah - before.charge_Ah
        discharged_Ah = counters.discharge_Ah - before.discharge_Ah
        small = min(charged_Ah, discharged_Ah) < SMALL_CYCLE * nominal_Ah
        if small or abs(charged_Ah - discharged_Ah) > CLOSED_FRACTION * charged_Ah:
            return None
        charged_Wh = counters.charge_Wh - before.charge_Wh
        efficiency = (counters.discharge_Wh - before.discharge_Wh) / max(charged_Wh, 1e-12)
        if self.least <= efficiency <= MOST_EFFICIENT:
            return None
        return Caution("E1", f"cycle {ended} gave back {efficiency:.1%} of the energy it was given")
