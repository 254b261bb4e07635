"""A program: a protocol compiled for one cell. Flat, frozen, and free of units and names.

The engine runs it; the guard and the instrument get their limits from it; `daq dry-run` prints
it. A step's `limits` are already the intersection of all tiers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf, nan
from typing import Any

from daq.checks import NOTHING_SET, Checks
from daq.model import Limits, Setpoint, Spectrum
from daq.protocol.condition import Condition, Goes
from daq.protocol.course import Course


class StepKind(StrEnum):
    """What a step does (the key that names it in a protocol file)."""

    REST = "rest"
    CHARGE = "charge"
    DISCHARGE = "discharge"
    HOLD = "hold"
    CCCV = "cccv"
    PULSE = "pulse"
    RAMP = "ramp"
    PROFILE = "profile"
    CHAMBER = "chamber"
    EIS = "eis"
    OPERATOR = "operator"
    SET = "set"


MOVES_CHARGE = frozenset(
    {
        StepKind.CHARGE,
        StepKind.DISCHARGE,
        StepKind.HOLD,
        StepKind.CCCV,
        StepKind.PULSE,
        StepKind.RAMP,
        StepKind.PROFILE,
    }
)


@dataclass(frozen=True, slots=True)
class RecordRule:
    """When a sample is kept, beside the first and the last of every step.

    Attributes:
        every_s: longest time between records.
        voltage_V, current_A, temperature_K, charge_Ah: change since the last record that makes one.
        first_every_s: instead of `every_s`, in the first `first_for_s` of a step.
    """

    every_s: float = 10.0
    voltage_V: float = inf
    current_A: float = inf
    temperature_K: float = inf
    charge_Ah: float = inf
    first_every_s: float = inf
    first_for_s: float = 0.0

    @property
    def fastest_s(self) -> float:
        """The shortest time between two records that time alone asks for."""
        return min(self.every_s, self.first_every_s)


@dataclass(frozen=True, slots=True)
class Soak:
    """Chamber target, and when it counts as reached: within `within_K` for `for_s`.

    Attributes:
        ramp_K_s: how fast to go there; 0: as fast as the chamber can.
        humidity_pct: relative humidity to ask for; nan: none.
    """

    temperature_degC: float
    within_K: float = inf
    for_s: float = 0.0
    ramp_K_s: float = 0.0
    humidity_pct: float = nan


@dataclass(frozen=True, slots=True)
class Charged:
    """What the state of charge is when a step ends.

    Attributes:
        fraction: 1 is full.
        of: name of what was saved as the capacity; empty: the nominal capacity.
    """

    fraction: float
    of: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the program.

    Attributes:
        number: 1..., in the order of the file; BDF's "Step ID". Repeats when the step does.
        line: line of the protocol file.
        setpoint: what the cycler regulates; None leaves its output OFF.
        course: what the setpoint follows while the step runs; the engine renews it.
        until: end conditions, any of which ends the step.
        at_most_s: longest duration; ending by it is an error where `until` was given.
        limits: intersection of all tiers.
        follows: it only ever comes right after the step before it.
        save: the name under which is kept what it has moved.
        charged: what the state of charge is when it ends.
        outputs: digital outputs that it switches.
        file: name of the included file that it stands in; empty: the protocol itself.
    """

    number: int
    kind: StepKind
    line: int
    text: str
    limits: Limits
    record: RecordRule
    at_most_s: float
    setpoint: Setpoint | None = None
    course: Course | None = None
    until: tuple[Condition, ...] = ()
    soak: Soak | None = None
    spectrum: Spectrum | None = None
    follows: bool = False
    save: str = ""
    charged: Charged | None = None
    outputs: tuple[tuple[str, bool], ...] = ()
    file: str = ""

    @property
    def place(self) -> str:
        """Where it stands, in words."""
        return f"line {self.line} of {self.file}" if self.file else f"line {self.line}"


@dataclass(frozen=True, slots=True)
class Repeat:
    """Opens a loop: the instructions up to the matching `End` run `times` times in all.

    Attributes:
        end: index of the matching `End` in `Program.instructions`.
        counts_cycles: each pass begins a new cycle.
        until: looked at after each pass; any of them ends the loop.
    """

    times: int
    end: int
    counts_cycles: bool
    until: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """Closes the loop that `Program.instructions[begin]` opened."""

    begin: int


@dataclass(frozen=True, slots=True)
class Branch:
    """Goes on with the next instruction if the condition holds, else at the index `otherwise`."""

    condition: Condition
    otherwise: int


@dataclass(frozen=True, slots=True)
class Leave:
    """Goes on elsewhere."""

    goes: Goes
    text: str


Instruction = Step | Repeat | End | Branch | Leave


@dataclass(frozen=True, slots=True)
class Target:
    """Where a goto leads.

    Attributes:
        index: of the instruction.
        times: how often in the run, at most; 0: it goes forward, and needs no bound.
    """

    label: str
    index: int
    times: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """A protocol compiled for a cell.

    Attributes:
        sha256: of the protocol file's text as it was read, and of the files that it brings.
        instructions: steps, loop brackets and branches, in order.
        expected_s: how long it should take, from C-rates and times (lab clock).
        at_most_s: the sum of all `at_most`.
        longest_s: what S3 allows: that sum, or what `safety` says if it is less.
        cycles: what S3 allows: as many as there are, or what `safety` says if it is less.
        checks: what `safety` says of the guard's thresholds; they only tighten the station's.
        waits_for_operator: it never goes on by itself after an interruption.
        targets: where its gotos lead.
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
    targets: tuple[Target, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps alone, in the order of the file."""
        return tuple(item for item in self.instructions if isinstance(item, Step))

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every condition that it looks at."""
        found: list[Condition] = []
        for item in self.instructions:
            if isinstance(item, Step | Repeat):
                found += item.until
            elif isinstance(item, Branch):
                found.append(item.condition)
        return tuple(found)


# What the engine is given, and what it answers with.


@dataclass(slots=True)
class Observation:
    """What the engine sees at one moment. Charge current is positive; nan is "not measured".

    Not frozen only because it is made for every sample, and a frozen one costs four times as
    much to make; nobody changes it.

    Attributes:
        measurement: state of the sweep that the engine asked for ("" before it did).
        sensors: auxiliary readings by name, degC or V.
    """

    time_s: float
    voltage_V: float
    current_A: float
    temperature_degC: float
    chamber_degC: float
    measurement: str = ""
    humidity_pct: float = nan
    sensors: Mapping[str, float] | None = None


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
    """Ask for a chamber temperature.

    Attributes:
        target_degC: where a ramp leads; what stations that share the chamber must agree on.
        humidity_pct: relative humidity; nan: as it is.
    """

    temperature_degC: float
    target_degC: float
    humidity_pct: float = nan


@dataclass(frozen=True, slots=True)
class StartSweep:
    """Start an impedance sweep; the cycler is OFF."""

    spectrum: Spectrum


@dataclass(frozen=True, slots=True)
class AbortSweep:
    """End a sweep early."""


@dataclass(frozen=True, slots=True)
class SwitchOutputs:
    """Switch digital outputs of the station."""

    outputs: tuple[tuple[str, bool], ...]


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


Action = (
    Apply
    | TurnOff
    | SetChamber
    | SwitchOutputs
    | StartSweep
    | AbortSweep
    | StepStarted
    | StepEnded
    | Finished
)
Snapshot = dict[str, Any]
"""JSON-able state of an engine; floats survive bit for bit."""
