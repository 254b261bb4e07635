"""Conditions of a program: what ends a step, what decides a branch, and where it goes on then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import nan


class Quantity(StrEnum):
    """What a condition may look at."""

    VOLTAGE = "voltage"
    CURRENT = "current"  # magnitude
    POWER = "power"  # magnitude
    TEMPERATURE = "temperature"
    CHAMBER = "chamber"
    SENSOR = "sensor"
    TIME = "time"  # since the start of the step
    CHARGE = "charge"  # moved in this step, net, magnitude, Ah
    ENERGY = "energy"  # moved in this step, net, magnitude, Wh
    SLOPE = "dV/dt"  # magnitude, V/s
    WARMING = "dT/dt"  # K/s
    DROP = "-dV"  # below the highest voltage of the step
    SOC = "soc"
    CYCLE = "cycle"
    STEP_CHARGE = "step.charge"
    STEP_DISCHARGE = "step.discharge"
    STEP_CHARGE_ENERGY = "step.charge_energy"
    STEP_DISCHARGE_ENERGY = "step.discharge_energy"
    CYCLE_CHARGE = "cycle.charge"
    CYCLE_DISCHARGE = "cycle.discharge"
    CYCLE_CHARGE_ENERGY = "cycle.charge_energy"
    CYCLE_DISCHARGE_ENERGY = "cycle.discharge_energy"
    CYCLE_TIME = "cycle.time"
    RUN_CHARGE = "run.charge"
    RUN_DISCHARGE = "run.discharge"
    RUN_CHARGE_ENERGY = "run.charge_energy"
    RUN_DISCHARGE_ENERGY = "run.discharge_energy"
    RUN_TIME = "run.time"
    REFERENCE = "reference"  # something that was saved earlier
    ALL = "and"
    ANY = "or"


SETTLED = frozenset({Quantity.CURRENT, Quantity.POWER})
"""What says nothing while the output still ramps."""
LOOKS_BACK = frozenset({Quantity.SLOPE, Quantity.WARMING, Quantity.DROP})
"""What one moment cannot tell."""
MOVED = frozenset({Quantity.CHARGE, Quantity.ENERGY}) | {
    quantity for quantity in Quantity if quantity.startswith("step.")
}
"""What begins at zero with each step."""


class Past(StrEnum):
    """Where a reference looks."""

    SAVED = "saved"
    CYCLE = "cycle"
    PREVIOUS = "previous cycle"


@dataclass(frozen=True, slots=True)
class Reference:
    """Something earlier in the run.

    Attributes:
        name: of what a step has saved; the number of a cycle; empty for the previous cycle.
        member: "charge" (Ah), "energy" (Wh), "voltage" (V), "time" (s), "temperature" (degC); of a
            cycle also "discharge", "charge_energy" and "discharge_energy".
        factor: what part of it.
    """

    past: Past
    name: str
    member: str
    factor: float = 1.0


class Exit(StrEnum):
    """Where a program goes on other than with the next line."""

    GOTO = "goto"
    REPEAT = "repeat"  # after the innermost loop
    CYCLE = "cycle"  # at the end of this pass of the innermost loop that counts cycles
    RUN = "run"  # nowhere: the program is completed


@dataclass(frozen=True, slots=True)
class Goes:
    """What happens when a condition has ended its step.

    Attributes:
        target: of a goto: index in `Program.targets`.
    """

    exit: Exit
    target: int = -1


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison, or several of them joined; `text` is what the author wrote.

    Attributes:
        at_least: `>=`, else `<=`.
        value: in SI, degC, Ah, Wh, or a fraction; nan where a reference gives it.
        reference: what the value is taken from.
        left: what is compared, where the quantity is `REFERENCE`.
        sensor: its name, where the quantity is `SENSOR`.
        unit: of the value, where the quantity is `SENSOR`: "degC" or "V".
        over_s: window of a slope.
        for_s: how long it must have held.
        after_s: not looked at before this step time.
        parts: what `ALL` and `ANY` join.
        goes: where the program goes on; None: with the next line.
    """

    quantity: Quantity
    at_least: bool
    value: float
    text: str
    reference: Reference | None = None
    left: Reference | None = None
    sensor: str = ""
    unit: str = ""
    over_s: float = 0.0
    for_s: float = 0.0
    after_s: float = 0.0
    parts: tuple[Condition, ...] = ()
    goes: Goes | None = None

    def comparisons(self) -> Iterator[Condition]:
        """All comparisons in it."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.comparisons()

    def every(self) -> Iterator[Condition]:
        """It and all its parts."""
        yield self
        for part in self.parts:
            yield from part.every()

    @property
    def looks_back(self) -> bool:
        """Whether one observation is not enough to judge it."""
        return any(
            part.for_s or part.after_s or part.quantity in LOOKS_BACK for part in self.every()
        )

    @property
    def needs_current(self) -> bool:
        """Whether it says nothing while the output ramps."""
        return any(part.quantity in SETTLED for part in self.comparisons())

    @property
    def references(self) -> tuple[Reference, ...]:
        """Everything earlier that it looks at."""
        found = (ref for part in self.comparisons() for ref in (part.reference, part.left))
        return tuple(ref for ref in found if ref is not None)


def joined(parts: tuple[Condition, ...], quantity: Quantity, text: str) -> Condition:
    """Several conditions as one."""
    return Condition(quantity, True, nan, text, parts=parts)
