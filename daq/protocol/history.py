"""What a run remembers for later conditions: saved values, cycles, and the state of charge."""

from __future__ import annotations

from collections.abc import Iterable
from math import nan
from typing import Any

from daq.model import Counters
from daq.protocol.condition import Past, Reference
from daq.protocol.meter import Meter
from daq.protocol.program import Charged, Observation, Program

Values = dict[str, float]
"""Members of something that a reference may name; charge and discharge in Ah."""


class History:
    """Grows with what the program asks for, not with the run.

    Args:
        program: says which cycles are looked at later.
        meter: of the run.

    Attributes:
        cycle: number of the present one.
    """

    def __init__(self, program: Program, meter: Meter) -> None:
        self.cycle = 0
        self._meter = meter
        self._nominal_Ah = program.nominal_capacity_Ah
        self._wanted = wanted_cycles(program)
        self._saved: dict[str, Values] = {}
        self._cycles: dict[str, Values] = {}
        self._previous: Values = {}
        self._charged: list[float] = []  # fraction, net charge then (C), capacity (Ah)

    def begin_cycle(self, cycle: int) -> None:
        """A new cycle begins; what it follows is kept."""
        ended = self._present()
        if self.cycle:
            self._previous = ended
        if self.cycle in self._wanted:
            self._cycles[str(self.cycle)] = ended
        self.cycle = cycle
        self._meter.begin_cycle()

    def save(self, name: str, now: Observation) -> None:
        """Keep what the present step has moved."""
        meter = self._meter
        self._saved[name] = {
            "charge": abs(meter.step_charge_C) / 3600.0,
            "energy": abs(meter.step_energy_J) / 3600.0,
            "voltage": now.voltage_V,
            "temperature": now.temperature_degC,
            "time": meter.step_time_at(now.time_s),
        }

    def charged(self, mark: Charged) -> None:
        """The state of charge is known here."""
        capacity_Ah = self._nominal_Ah
        if mark.of:
            capacity_Ah = self._saved.get(mark.of, {}).get("charge", nan)
        self._charged = [mark.fraction, self._meter.net_C, capacity_Ah]

    def soc(self) -> float:
        """State of charge, 1 is full; nan before anybody said what it is."""
        if not self._charged:
            return nan
        fraction, net_C, capacity_Ah = self._charged
        return fraction + (self._meter.net_C - net_C) / (3600.0 * capacity_Ah)

    def look(self, reference: Reference) -> float:
        """What a reference stands for; nan where there is nothing yet.

        A cycle is something to compare with only when it is over: half of the present one has been
        reached at once.
        """
        return reference.factor * self._values(reference).get(reference.member, nan)

    def _values(self, reference: Reference) -> Values:
        if reference.past is Past.SAVED:
            return self._saved.get(reference.name, {})
        if reference.past is Past.PREVIOUS:
            return self._previous
        return self._cycles.get(reference.name, {})

    def _present(self) -> Values:
        return cycle_values(self._meter.cycle_counters, self._meter)

    def snapshot(self) -> dict[str, Any]:
        """JSON-able state."""
        return {
            "cycle": self.cycle,
            "saved": {name: _plain(values) for name, values in self._saved.items()},
            "cycles": dict(self._cycles),
            "previous": self._previous,
            "charged": [value if value == value else None for value in self._charged],
        }

    @classmethod
    def restore(cls, program: Program, meter: Meter, snapshot: dict[str, Any]) -> History:
        """The history that `snapshot` was taken of."""
        history = cls(program, meter)
        history.cycle = snapshot["cycle"]
        history._saved = {name: _numbers(values) for name, values in snapshot["saved"].items()}
        history._cycles = dict(snapshot["cycles"])
        history._previous = dict(snapshot["previous"])
        history._charged = [nan if value is None else value for value in snapshot["charged"]]
        return history


def cycle_values(counters: Counters, meter: Meter) -> Values:
    """What a reference may name of a cycle."""
    return {
        "charge": counters.charge_Ah,
        "discharge": counters.discharge_Ah,
        "charge_energy": counters.charge_Wh,
        "discharge_energy": counters.discharge_Wh,
        "time": meter.time_s - meter.cycle_s,
    }


def wanted_cycles(program: Program) -> frozenset[int]:
    """Numbers of the cycles that a condition of the program looks back at."""
    return frozenset(_cycles(ref for cond in program.conditions for ref in cond.references))


def _cycles(references: Iterable[Reference]) -> Iterable[int]:
    return (int(ref.name) for ref in references if ref.past is Past.CYCLE)


def _plain(values: Values) -> dict[str, float | None]:
    return {key: value if value == value else None for key, value in values.items()}


def _numbers(values: dict[str, float | None]) -> Values:
    return {key: nan if value is None else value for key, value in values.items()}
