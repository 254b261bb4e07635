"""The run's integrals against the instrument's own counters, from step edge to step edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isfinite, nan
from typing import Any

from daq.figures.moved import ratio

LEAST_DIGITS = 100
"""A smaller difference of a counter is not known to 1 %: it has no deviation."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What one quantity, charge or energy, comes to by two countings; NaN where there is none.

    Attributes:
        net: by the daemon: in less out, Ah or Wh.
        moved: the same both ways together.
        instrument_net: by the instrument.
        digit: the worth of the last digit that the instrument shows.
        energised: whether the step let current flow.
    """

    net: float
    moved: float
    instrument_net: float
    digit: float
    energised: bool

    @property
    def known(self) -> bool:
        """Whether both have counted."""
        return isfinite(self.net) and isfinite(self.moved) and isfinite(self.instrument_net)

    @property
    def deviation_pct(self) -> float:
        """The daemon's less the instrument's, over what was moved.

        NaN if the counter's last digit is too much of that, or if the output was OFF: only the
        moment between an edge and the look at the counters has moved anything then.
        """
        if not (self.known and self.energised and self.moved >= LEAST_DIGITS * self.digit):
            return nan
        return 100 * ratio(1.0, self.moved) * (self.net - self.instrument_net)


@dataclass(frozen=True, slots=True)
class StepCounted:
    """One pass of a step, from the look at the counters after its beginning to that after its end.

    Attributes:
        missing: why the instrument's figures are not known; empty when they are.
    """

    step_count: int
    step: int
    cycle: int
    charge_Ah: Amount
    energy_Wh: Amount
    missing: str


@dataclass(frozen=True, slots=True)
class RunCounted:
    """All passes of steps together.

    Attributes:
        steps: how many of them both have counted.
        charge_deviation_pct, energy_deviation_pct: what the steps are apart, without its sign,
            over what they moved: a charge too large does not make up for a discharge too large.
    """

    steps: int
    charge_deviation_pct: float
    energy_deviation_pct: float


def step_counted(events: Iterable[Mapping[str, Any]]) -> list[StepCounted]:
    """The data of a run's `counted` events (docs/events.md), as figures."""
    return [
        StepCounted(
            int(data["step_count"]),
            int(data["step"]),
            int(data["cycle"]),
            _amount(data, "Ah"),
            _amount(data, "Wh"),
            str(data["missing"]),
        )
        for data in events
    ]


def run_counted(steps: Sequence[StepCounted]) -> RunCounted | None:
    """The run as a whole; None where nothing was counted twice."""
    known = [step for step in steps if step.charge_Ah.known]
    if not known:
        return None
    return RunCounted(
        len(known),
        _apart_pct([step.charge_Ah for step in known]),
        _apart_pct([step.energy_Wh for step in known]),
    )


def _amount(data: Mapping[str, Any], unit: str) -> Amount:
    names = ("net", "moved", "instrument_net", "instrument_digit")
    found = (data[f"{name}_{unit}"] for name in names)
    numbers = [nan if value is None else float(value) for value in found]
    return Amount(*numbers, energised=bool(data["energised"]))


def _apart_pct(amounts: Sequence[Amount]) -> float:
    known = [one for one in amounts if one.known]
    apart = fsum(abs(one.net - one.instrument_net) for one in known)
    return 100 * ratio(apart, fsum(one.moved for one in known))
