"""What happened while a program was played."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from daq.model import Counters
from daq.protocol.program import Observation, Step

COLUMNS = ("time_s", "voltage_V", "current_A", "temperature_degC", "chamber_degC", "soc")


@dataclass(frozen=True, slots=True)
class Executed:
    """One execution of a step.

    Attributes:
        voltage_V, current_A, temperature_degC, soc: at its end.
        moved: charge and energy in it.
        failed: it did not reach its end.
    """

    step: Step
    count: int
    cycle: int
    began_s: float
    ended_s: float
    voltage_V: float
    current_A: float
    temperature_degC: float
    soc: float
    moved: Counters
    reason: str
    failed: bool

    @property
    def lasted_s(self) -> float:
        """How long it took."""
        return self.ended_s - self.began_s


class Trace:
    """Every point that was looked at, as columns."""

    def __init__(self) -> None:
        self.columns = {name: array("d") for name in COLUMNS}

    def add(self, seen: Observation, soc: float) -> None:
        """Keep one point."""
        columns = self.columns
        columns["time_s"].append(seen.time_s)
        columns["voltage_V"].append(seen.voltage_V)
        columns["current_A"].append(seen.current_A)
        columns["temperature_degC"].append(seen.temperature_degC)
        columns["chamber_degC"].append(seen.chamber_degC)
        columns["soc"].append(soc)

    def __len__(self) -> int:
        return len(self.columns["time_s"])


@dataclass(slots=True)
class Played:
    """What a program has come to.

    Attributes:
        outcome: as in `daq.protocol.program.Finished`; or "tripped", or "not finished" where only
            the first cycles were asked for.
        reason: of the outcome.
        notes: what was taken for granted, as sentences.
    """

    trace: Trace = field(default_factory=Trace)
    executed: list[Executed] = field(default_factory=list[Executed])
    outcome: str = ""
    reason: str = ""
    notes: list[str] = field(default_factory=list[str])

    @property
    def duration_s(self) -> float:
        """Of the whole."""
        times = self.trace.columns["time_s"]
        return times[-1] if times else 0.0

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self.notes:
            self.notes.append(text)
