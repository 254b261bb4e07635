"""What was played, as tables: by execution, by step of the program, by cycle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from daq.dryrun.trace import Executed, Played
from daq.protocol.program import Step


@dataclass(slots=True)
class Totals:
    """Sums over executions. Charge and energy are never negative."""

    times: int = 0
    lasted_s: float = 0.0
    charge_Ah: float = 0.0
    discharge_Ah: float = 0.0
    charge_Wh: float = 0.0
    discharge_Wh: float = 0.0

    def add(self, executed: Executed) -> None:
        """One more."""
        moved = executed.moved
        self.times += 1
        self.lasted_s += executed.lasted_s
        self.charge_Ah += moved.charge_Ah
        self.discharge_Ah += moved.discharge_Ah
        self.charge_Wh += moved.charge_Wh
        self.discharge_Wh += moved.discharge_Wh

    def document(self) -> dict[str, Any]:
        """JSON-able, units in the names."""
        return {
            "times": self.times,
            "duration_s": self.lasted_s,
            "charge_Ah": self.charge_Ah,
            "discharge_Ah": self.discharge_Ah,
            "charge_Wh": self.charge_Wh,
            "discharge_Wh": self.discharge_Wh,
        }


@dataclass(slots=True)
class OfStep:
    """All executions of one step of the program.

    Attributes:
        ends: what has ended it, how often.
        voltage_V: at the end of the last execution.
    """

    step: Step
    totals: Totals = field(default_factory=Totals)
    ends: Counter[str] = field(default_factory=Counter[str])
    voltage_V: float = 0.0

    @property
    def ended_by(self) -> str:
        """What has ended it, the most frequent first."""
        if len(self.ends) == 1:
            return next(iter(self.ends))
        return ", ".join(f"{times} x {reason}" for reason, times in self.ends.most_common())


def by_step(played: Played) -> list[OfStep]:
    """In the order of the file."""
    found: dict[int, OfStep] = {}
    for one in played.executed:
        row = found.setdefault(one.step.number, OfStep(one.step))
        row.totals.add(one)
        row.ends[one.reason] += 1
        row.voltage_V = one.voltage_V
    return [found[number] for number in sorted(found)]


def by_cycle(played: Played) -> dict[int, Totals]:
    """Number of the cycle -> what it moved; what comes before the first is left out."""
    found: dict[int, Totals] = {}
    for one in played.executed:
        if one.cycle:
            found.setdefault(one.cycle, Totals()).add(one)
    return found


def document(played: Played) -> dict[str, Any]:
    """Everything that was played, JSON-able."""
    return {
        "outcome": played.outcome,
        "reason": played.reason,
        "duration_s": played.duration_s,
        "notes": played.notes,
        "executions": [_executed(one) for one in played.executed],
        "steps": [
            {"step": row.step.number, **row.totals.document(), "ends": dict(row.ends)}
            for row in by_step(played)
        ],
        "cycles": [
            {"cycle": cycle, **totals.document()} for cycle, totals in by_cycle(played).items()
        ],
    }


def _executed(one: Executed) -> dict[str, Any]:
    moved = one.moved
    return {
        "step": one.step.number,
        "step_count": one.count,
        "cycle": one.cycle,
        "began_s": one.began_s,
        "duration_s": one.lasted_s,
        "charge_Ah": moved.charge_Ah,
        "discharge_Ah": moved.discharge_Ah,
        "charge_Wh": moved.charge_Wh,
        "discharge_Wh": moved.discharge_Wh,
        "end_voltage_V": one.voltage_V,
        "end_current_A": one.current_A,
        "end_temperature_degC": one.temperature_degC,
        "end_soc": one.soc,
        "reason": one.reason,
        "failed": one.failed,
    }


def some(cycles: Iterable[int], most: int) -> list[int]:
    """Of many cycles the first, the last, and some between, evenly."""
    numbers = list(cycles)
    if len(numbers) <= most:
        return numbers
    chosen = {round(index * (len(numbers) - 1) / (most - 1)) for index in range(most)}
    return [numbers[index] for index in sorted(chosen)]
