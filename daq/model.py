"""The nouns of battery-daq as frozen values. Standard library only.

Charge current is positive. Units are SI (V, A, s, ohm) or named: degC, Ah, Wh.
`nan` means "this channel does not measure that"; it is never compared as a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf, nan
from types import MappingProxyType
from typing import Any

Span = tuple[float, float]
"""A closed range (low, high)."""

EVERYWHERE: Span = (-inf, inf)


NO_CHARGE_BELOW_DEGC = 0.0
"""Lithium plates on the graphite of a cell that is charged below; no tier can allow it."""


def nothing() -> Mapping[str, Any]:
    """An empty mapping that nobody can write to."""
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answered: compared after every open, written into every file."""

    manufacturer: str
    model: str
    serial: str = ""
    firmware: str = ""

    def same_unit(self, other: Identity) -> bool:
        """Whether both are the same physical box (firmware may have been updated)."""
        return (self.manufacturer, self.model, self.serial) == (
            other.manufacturer,
            other.model,
            other.serial,
        )

    def __str__(self) -> str:
        return ",".join(part for part in (self.manufacturer, self.model, self.serial) if part)


@dataclass(frozen=True, slots=True)
class ChannelRef:
    """One channel of one instrument, written `aps1` or `pico.2` in a lab file."""

    instrument: str
    channel: int = 1

    def __str__(self) -> str:
        return f"{self.instrument}.{self.channel}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a driver returns for one channel in one transaction; not yet stamped.

    Attributes:
        output_on: whether the output is energised; None where there is no output.
        fault: name of the instrument protection that has latched; empty when none.
        humidity_pct: relative humidity, for chambers that measure it.
    """

    voltage_V: float = nan
    current_A: float = nan
    temperature_degC: float = nan
    output_on: bool | None = None
    fault: str = ""
    humidity_pct: float = nan


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading of a channel, stamped when its reply arrived.

    Attributes:
        time_s: lab clock, monotonic; the time that programs and integrals use.
        utc_s: lab clock, Unix time.
        stamp_s: this machine's monotonic clock; the time that staleness uses.
    """

    source: ChannelRef
    time_s: float
    utc_s: float
    stamp_s: float
    reading: Reading


@dataclass(frozen=True, slots=True)
class Setpoint:
    """What a cycler channel is to regulate: towards a voltage, within two currents.

    Every two-quadrant cycler can be told this, and it is safe by construction: a charge
    ends in constant voltage at `voltage_V` even if nobody is left to end it.

    | step | voltage_V | charge_A | discharge_A |
    |---|---|---|---|
    | charge at I | end voltage + margin | I | 0 |
    | discharge at I | end voltage - margin | 0 | I |
    | hold V | V | most allowed | most allowed |
    | cccv | V | I | 0 |

    Attributes:
        voltage_V: voltage towards which the output is driven.
        charge_A: most current into the cell, >= 0.
        discharge_A: most current out of the cell, as a magnitude, >= 0.
    """

    voltage_V: float
    charge_A: float
    discharge_A: float


@dataclass(frozen=True, slots=True)
class Protection:
    """The instrument's own limits, written and read back before every energise.

    Attributes:
        voltage_V: under- and over-voltage protection levels.
        current_A: (most discharge, negative; most charge, positive).
        watchdog_s: seconds without traffic after which the instrument opens its output.
    """

    voltage_V: Span
    current_A: Span
    watchdog_s: float


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one tier. A lower tier may only tighten (see `tighten`).

    Attributes:
        charging_degC, discharging_degC: narrow `temperature_degC` while current may flow that way.
    """

    voltage_V: Span = EVERYWHERE
    current_A: Span = EVERYWHERE
    temperature_degC: Span = EVERYWHERE
    charge_Ah: float = inf
    charging_degC: Span = EVERYWHERE
    discharging_degC: Span = EVERYWHERE

    def tighten(self, other: Limits) -> Limits:
        """The intersection of two tiers."""
        return Limits(
            intersect(self.voltage_V, other.voltage_V),
            intersect(self.current_A, other.current_A),
            intersect(self.temperature_degC, other.temperature_degC),
            min(self.charge_Ah, other.charge_Ah),
            intersect(self.charging_degC, other.charging_degC),
            intersect(self.discharging_degC, other.discharging_degC),
        )


def intersect(a: Span, b: Span) -> Span:
    """What lies within both; empty where the lower end is above the upper one."""
    return max(a[0], b[0]), min(a[1], b[1])


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What an impedance sweep is asked for.

    Attributes:
        from_Hz: first (highest) frequency.
        to_Hz: last frequency.
        per_decade: points per decade, logarithmically spaced.
        amplitude_V: excitation, V rms; 0 for a galvanostatic sweep.
        bias_V: DC potential against the open-circuit voltage.
        at_most_s: longest time that the sweep may take (lab clock).
        amplitude_A: excitation of a galvanostatic sweep, A rms.
        bias_A: its DC current, charge positive.
    """

    from_Hz: float
    to_Hz: float
    per_decade: int
    amplitude_V: float
    bias_V: float = 0.0
    at_most_s: float = 3600.0
    amplitude_A: float = 0.0
    bias_A: float = 0.0

    @property
    def galvanostatic(self) -> bool:
        """Whether a current is imposed and the voltage measured."""
        return self.amplitude_A > 0.0

    @property
    def peak_A(self) -> float:
        """Of a galvanostatic sweep: the largest current either way, DC and excitation together."""
        return abs(self.bias_A) + 2.0**0.5 * self.amplitude_A


@dataclass(frozen=True, slots=True)
class SpectrumPoint:
    """One point of an impedance spectrum, as measured (capacitive: z_imag negative)."""

    frequency_Hz: float
    z_real_ohm: float
    z_imag_ohm: float


class MeasurementState(StrEnum):
    """Where a long measurement (a sweep) stands."""

    IDLE = "idle"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Severity(StrEnum):
    """How loudly an alarm speaks."""

    TICKET = "ticket"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class Trip:
    """A latched safety cut-off.

    Attributes:
        check: id of the guard's check, as in docs/safety.md ("V1", "P1" ...).
        message: what was seen, against which limit of which tier.
    """

    check: str
    message: str
    source: str = ""


class Mode(StrEnum):
    """What a station does."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    WAITING = "waiting"
    TRIPPED = "tripped"
    OFFLINE = "offline"


class EventKind(StrEnum):
    """Everything that the journal keeps beside records."""

    SESSION_STARTED = "session_started"
    SESSION_ENDED = "session_ended"
    RUN_STARTED = "run_started"
    RUN_ENDED = "run_ended"
    STEP_STARTED = "step_started"
    STEP_ENDED = "step_ended"
    PAUSED = "paused"
    RESUMED = "resumed"
    GAP = "gap"
    TRIP = "trip"
    CLEARED = "cleared"
    ALARM = "alarm"
    FAULT_BEGAN = "fault_began"
    FAULT_ENDED = "fault_ended"
    COMMAND = "command"
    REFUSED = "refused"
    CHANGED = "changed"
    AUDIT_HEAD = "audit_head"
    SPECTRUM_POINT = "spectrum_point"
    SENSORS = "sensors"
    COUNTED = "counted"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Counters:
    """Charge and energy of a run so far; never reset, all >= 0."""

    charge_Ah: float = 0.0
    discharge_Ah: float = 0.0
    charge_Wh: float = 0.0
    discharge_Wh: float = 0.0


@dataclass(frozen=True, slots=True)
class Counted:
    """What an instrument's own counters read: charge (energy) in less charge (energy) out.

    Where they began does not matter: only differences are looked at. `nan`: it has no such counter.

    Attributes:
        digit_Ah, digit_Wh: the worth of the last digit that it shows.
    """

    net_Ah: float
    net_Wh: float = nan
    digit_Ah: float = nan
    digit_Wh: float = nan


@dataclass(frozen=True, slots=True)
class Record:
    """A sample that the recording rule keeps: one row of the journal and of every file.

    Attributes:
        run: id of the run; empty for the slow records of an idle station.
        test_time_s: lab time since the start of the run (0 for an idle station).
        step_time_s: lab time since the start of the step.
        cycle: 0 before the first cycle, then 1...
        step: line of the program, 1... (BDF "Step ID"); repeats when the step does.
        step_count: executions of steps so far, 1... (BDF "Step Count"); never resets.
        step_record: index within this execution of the step, 1...
    """

    station: str
    run: str
    test_time_s: float
    step_time_s: float
    utc_s: float
    voltage_V: float
    current_A: float
    temperature_degC: float
    chamber_degC: float
    cycle: int
    step: int
    step_count: int
    step_record: int
    charge_Ah: float
    discharge_Ah: float
    charge_Wh: float
    discharge_Wh: float
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; `data` is JSON-able and schema'd per kind in docs/events.md."""

    kind: EventKind
    utc_s: float
    station: str = ""
    run: str = ""
    test_time_s: float = nan
    data: Mapping[str, Any] = field(default_factory=nothing)
    seq: int = 0


Entry = Record | Event


@dataclass(frozen=True, slots=True)
class Cell:
    """The thing under test.

    Attributes:
        origin: who says all this: the lab file, the registry (and which text of it), or whoever
            has started the run.
    """

    id: str
    nominal_capacity_Ah: float
    chemistry: str = ""
    batch: str = ""
    limits: Limits = Limits()
    metadata: Mapping[str, Any] = field(default_factory=nothing)
    origin: Mapping[str, Any] = field(default_factory=nothing)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Everything about a run that is known when it starts; the journal's `run` table.

    `document` is JSON-able: cell, protocol text and hash, lab text and hash, instruments'
    identities and calibration, software version, operator, clock factor.

    Attributes:
        pruned_utc_s: when its records were removed from the journal; nan while they are there.
    """

    id: str
    station: str
    cell: str
    protocol: str
    started_utc_s: float
    document: Mapping[str, Any]
    ended_utc_s: float = nan
    outcome: str = ""
    pruned_utc_s: float = nan


class Role(StrEnum):
    """What somebody may do; which verb needs which is in daq/access/roles.py."""

    NOBODY = ""
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Command:
    """What a person or a script asks of the daemon.

    Attributes:
        id: makes it idempotent: the same id again gets the stored reply.
        role: given by whoever has authenticated the sender, never read from a message.
    """

    verb: str
    id: str
    client: str
    station: str = ""
    issued_utc_s: float = nan
    expires_utc_s: float = inf
    arguments: Mapping[str, Any] = field(default_factory=nothing)
    role: Role = Role.NOBODY


@dataclass(frozen=True, slots=True)
class Reply:
    """`state` is "done", "accepted" or "refused"; `reason` says why when refused."""

    id: str
    state: str
    reason: str = ""
    data: Mapping[str, Any] = field(default_factory=nothing)
