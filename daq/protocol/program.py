"""A program: a protocol compiled for one cell. Flat, frozen, and free of units and names.

The engine runs it; the guard and the instrument get their limits from it; `daq dry-run` prints
it. A step's `limits` are already the intersection of all tiers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Any

from daq.checks import NOTHING_SET, Checks
from daq.model import Limits, Setpoint, Spectrum


class StepKind(StrEnum):
    """What a step does (the key that names it in a protocol file)."""

    REST = "rest"
    CHARGE = "charge"
    DISCHARGE = "discharge"
    HOLD = "hold"
    CCCV = "cccv"
    CHAMBER = "chamber"
    EIS = "eis"


MOVES_CHARGE = frozenset({StepKind.CHARGE, StepKind.DISCHARGE, StepKind.HOLD, StepKind.CCCV})


class Quantity(StrEnum):
    """What an end condition may look at."""

    VOLTAGE = "voltage"
    CURRENT = "current"  # magnitude
    TEMPERATURE = "temperature"
    TIME = "time"  # since the start of the step
    CHARGE = "charge"  # moved in this step, magnitude, Ah
    ENERGY = "energy"  # moved in this step, magnitude, Wh


@dataclass(frozen=True, slots=True)
class Condition:
    """`quantity >= value` (`at_least`) or `quantity <= value`; `text` is what the author wrote."""

    quantity: Quantity
    at_least: bool
    value: float
    text: str


@dataclass(frozen=True, slots=True)
class RecordRule:
    """When a sample is kept, beside the first and the last of every step.

    Attributes:
        every_s: longest time between records.
        voltage_V, current_A, temperature_K: change since the last record that makes one.
    """

    every_s: float = 10.0
    voltage_V: float = inf
    current_A: float = inf
    temperature_K: float = inf


@dataclass(frozen=True, slots=True)
class Soak:
    """Chamber target, and when it counts as reached: within `within_K` for `for_s`."""

    temperature_degC: float
    within_K: float = inf
    for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the program.

    Attributes:
        number: 1..., in the order of the file; BDF's "Step ID". Repeats when the step does.
        line: line of the protocol file.
        setpoint: what the cycler regulates; None leaves its output OFF.
        power_W: constant power: the engine renews the setpoint's current from each sample.
            Positive charges, negative discharges.
        until: end conditions, any of which ends the step.
        at_most_s: longest duration; ending by it is an error where `until` was given.
        limits: intersection of all tiers.
    """

    number: int
    kind: StepKind
    line: int
    text: str
    limits: Limits
    record: RecordRule
    at_most_s: float
    setpoint: Setpoint | None = None
    power_W: float | None = None
    until: tuple[Condition, ...] = ()
    soak: Soak | None = None
    spectrum: Spectrum | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """Opens a loop: the instructions up to the matching `End` run `times` times in all.

    Attributes:
        end: index of the matching `End` in `Program.instructions`.
        counts_cycles: each pass begins a new cycle.
    """

    times: int
    end: int
    counts_cycles: bool


@dataclass(frozen=True, slots=True)
class End:
    """Closes the loop that `Program.instructions[begin]` opened."""

    begin: int


Instruction = Step | Repeat | End


@dataclass(frozen=True, slots=True)
class Program:
    """A protocol compiled for a cell.

    Attributes:
        sha256: of the protocol file's text as it was read.
        instructions: steps and loop brackets, in order.
        expected_s: how long it should take, from C-rates and times (lab clock).
        at_most_s: the sum of all `at_most`.
        longest_s: what S3 allows: that sum, or what `safety` says if it is less.
        cycles: what S3 allows: as many as there are, or what `safety` says if it is less.
        checks: what `safety` says of the guard's thresholds; they only tighten the station's.
        waits_for_operator: it never goes on by itself after an interruption.
    """

    protocol: str
    version: str
    sha256: str
    cell: str
    nominal_capacity_Ah: float
    instructions: tuple[Instruction, ...]
    expected_s: float
    at_most_s: float
    longest_s: float = inf
    cycles: float = inf
    checks: Checks = NOTHING_SET
    waits_for_operator: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps alone, in the order of the file."""
        return tuple(item for item in self.instructions if isinstance(item, Step))


# What the engine is given, and what it answers with.


@dataclass(slots=True)
class Observation:
    """What the engine sees at one moment. Charge current is positive; nan is "not measured".

    Not frozen only because it is made for every sample, and a frozen one costs four times as
    much to make; nobody changes it.

    Attributes:
        measurement: state of the sweep that the engine asked for ("" before it did).
    """

    time_s: float
    voltage_V: float
    current_A: float
    temperature_degC: float
    chamber_degC: float
    measurement: str = ""


@dataclass(frozen=True, slots=True)
class Apply:
    """Regulate `setpoint` under `step.limits`; energise if the output is OFF."""

    setpoint: Setpoint
    step: Step


@dataclass(frozen=True, slots=True)
class TurnOff:
    """Output OFF."""


@dataclass(frozen=True, slots=True)
class SetChamber:
    """Ask for a chamber temperature."""

    temperature_degC: float


@dataclass(frozen=True, slots=True)
class StartSweep:
    """Start an impedance sweep; the cycler is OFF."""

    spectrum: Spectrum


@dataclass(frozen=True, slots=True)
class AbortSweep:
    """End a sweep early."""


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step begins with this very observation."""

    step: Step
    step_count: int
    cycle: int


@dataclass(frozen=True, slots=True)
class StepEnded:
    """A step ended with this very observation. `failed`: it did not reach its end."""

    step: Step
    step_count: int
    cycle: int
    reason: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """The program is over; `outcome` is "completed", "stopped" or "failed"."""

    outcome: str
    reason: str = ""


Action = Apply | TurnOff | SetChamber | StartSweep | AbortSweep | StepStarted | StepEnded | Finished
Snapshot = dict[str, Any]
"""JSON-able state of an engine; floats survive bit for bit."""
