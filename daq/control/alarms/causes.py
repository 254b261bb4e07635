"""The closed list of what an alarm may be about, and how an alarm of each cause behaves.

To add a cause: a member here, a row in `RULES`, and its page in docs/runbooks/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from daq.model import Severity, Trip


class Cause(StrEnum):
    """What an alarm is about; its page is docs/runbooks/<cause>.md."""

    TRIP_V1 = "trip-V1"
    TRIP_V2 = "trip-V2"
    TRIP_V3 = "trip-V3"
    TRIP_I1 = "trip-I1"
    TRIP_I2 = "trip-I2"
    TRIP_R1 = "trip-R1"
    TRIP_T1 = "trip-T1"
    TRIP_T2 = "trip-T2"
    TRIP_T3 = "trip-T3"
    TRIP_T4 = "trip-T4"
    TRIP_Q1 = "trip-Q1"
    TRIP_Q2 = "trip-Q2"
    TRIP_S1 = "trip-S1"
    TRIP_P1 = "trip-P1"
    TRIP_P2 = "trip-P2"
    TRIP_P4 = "trip-P4"
    TRIP_C2 = "trip-C2"
    TRIP_K1 = "trip-K1"
    TRIP_K2 = "trip-K2"
    TRIP_X1 = "trip-X1"
    TRIP_OTHER = "trip-other"

    OFF_NOT_VERIFIED = "off-not-verified"
    CURRENT_WHILE_OFF = "current-while-off"
    FOUND_ON = "found-on"
    SENTINEL_DIED = "sentinel-died"
    SENTINEL_ACTED = "sentinel-acted"

    CHAMBER_DEAD = "chamber-dead"
    INSTRUMENT_SILENT = "instrument-silent"
    WRONG_INSTRUMENT = "wrong-instrument"
    OUTPUT_FAILED = "output-failed"

    JOURNAL_FAILING = "journal-failing"
    DISK_LOW = "disk-low"
    PROCESS_DIED = "process-died"
    BROKER_AWAY = "broker-away"
    CERTIFICATE_EXPIRING = "certificate-expiring"
    CLOCK_JUMP = "clock-jump"
    MAINS_FAILED = "mains-failed"
    BUS_THREAD_DIED = "bus-thread-died"
    UNEXPECTED_ERROR = "unexpected-error"

    RUN_WAITS = "run-waits"
    RUN_FAILED = "run-failed"
    STEP_TOO_SHORT = "step-too-short"
    EFFICIENCY = "efficiency"

    INTERNAL_SHORT = "internal-short"
    SELF_DISCHARGE = "self-discharge"
    RUNAWAY = "runaway"
    CAPACITY_FADE = "capacity-fade"
    DATA_AVAILABILITY = "data-availability"


class About(StrEnum):
    """What an alarm of a cause is one per."""

    LAB = "lab"
    NAMED = "named"  # an instrument, or a process
    CELL = "cell"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class Rule:
    """How an alarm of one cause behaves.

    Attributes:
        severity: unless whoever raises it knows better.
        momentary: there is no condition that could end; it is over when it is acknowledged.
        always_heard: no maintenance window suppresses it.
        joined: reports of several stations are one alarm, which is over when they all are.
        quiet_s: it ends when its condition has been gone for so long; a link that comes and
            goes is one alarm.
    """

    severity: Severity
    about: About
    momentary: bool = False
    always_heard: bool = False
    joined: bool = False
    quiet_s: float = 0.0


_PAGE, _TICKET = Severity.PAGE, Severity.TICKET
LINK_QUIET_S = 10.0

# A page is for a person, now: a cell that may not be safe, a layer of safety that is missing, or
# data that is being lost. Whoever reads a ticket tomorrow has lost nothing but time.
RULES: Mapping[Cause, Rule] = MappingProxyType(
    {
        Cause.TRIP_V1: Rule(_PAGE, About.CELL),
        Cause.TRIP_V2: Rule(_TICKET, About.CELL),
        Cause.TRIP_V3: Rule(_TICKET, About.CELL),
        Cause.TRIP_I1: Rule(_PAGE, About.CELL),
        Cause.TRIP_I2: Rule(_TICKET, About.CELL),
        Cause.TRIP_R1: Rule(_PAGE, About.CELL),
        Cause.TRIP_T1: Rule(_PAGE, About.CELL),
        Cause.TRIP_T2: Rule(_TICKET, About.CELL),
        Cause.TRIP_T3: Rule(_PAGE, About.CELL),
        Cause.TRIP_T4: Rule(_PAGE, About.CELL),
        Cause.TRIP_Q1: Rule(_PAGE, About.CELL),
        Cause.TRIP_Q2: Rule(_PAGE, About.CELL),
        Cause.TRIP_S1: Rule(_TICKET, About.CELL),
        Cause.TRIP_P1: Rule(_PAGE, About.CELL),
        Cause.TRIP_P2: Rule(_TICKET, About.CELL),
        Cause.TRIP_P4: Rule(_TICKET, About.CELL),
        Cause.TRIP_C2: Rule(_PAGE, About.CELL),
        Cause.TRIP_K1: Rule(_PAGE, About.NAMED, joined=True),
        Cause.TRIP_K2: Rule(_PAGE, About.CELL),
        Cause.TRIP_X1: Rule(_PAGE, About.CELL),
        Cause.TRIP_OTHER: Rule(_PAGE, About.CELL),
        Cause.OFF_NOT_VERIFIED: Rule(_PAGE, About.NAMED, always_heard=True, joined=True),
        Cause.CURRENT_WHILE_OFF: Rule(_PAGE, About.CELL, always_heard=True),
        Cause.FOUND_ON: Rule(_PAGE, About.CELL, momentary=True, always_heard=True),
        Cause.SENTINEL_DIED: Rule(_PAGE, About.LAB, quiet_s=LINK_QUIET_S),
        Cause.SENTINEL_ACTED: Rule(_PAGE, About.LAB, momentary=True),
        Cause.CHAMBER_DEAD: Rule(_PAGE, About.NAMED, quiet_s=LINK_QUIET_S),
        Cause.INSTRUMENT_SILENT: Rule(_PAGE, About.NAMED, quiet_s=LINK_QUIET_S),
        Cause.WRONG_INSTRUMENT: Rule(_TICKET, About.NAMED),
        Cause.OUTPUT_FAILED: Rule(_PAGE, About.NAMED, quiet_s=LINK_QUIET_S),
        Cause.JOURNAL_FAILING: Rule(_PAGE, About.LAB, quiet_s=LINK_QUIET_S),
        Cause.DISK_LOW: Rule(_PAGE, About.LAB, quiet_s=LINK_QUIET_S),
        Cause.PROCESS_DIED: Rule(_TICKET, About.NAMED, quiet_s=LINK_QUIET_S),
        Cause.BROKER_AWAY: Rule(_TICKET, About.LAB, quiet_s=LINK_QUIET_S),
        Cause.CERTIFICATE_EXPIRING: Rule(_TICKET, About.LAB),
        Cause.CLOCK_JUMP: Rule(_TICKET, About.LAB, momentary=True),
        Cause.MAINS_FAILED: Rule(_PAGE, About.LAB, quiet_s=LINK_QUIET_S),
        Cause.BUS_THREAD_DIED: Rule(_PAGE, About.NAMED, momentary=True),
        Cause.UNEXPECTED_ERROR: Rule(_TICKET, About.NAMED, momentary=True),
        Cause.RUN_WAITS: Rule(_TICKET, About.CELL),
        Cause.RUN_FAILED: Rule(_TICKET, About.CELL, momentary=True),
        Cause.STEP_TOO_SHORT: Rule(_TICKET, About.CELL, momentary=True),
        Cause.EFFICIENCY: Rule(_TICKET, About.CELL, momentary=True),
        Cause.INTERNAL_SHORT: Rule(_PAGE, About.CELL, momentary=True),
        Cause.SELF_DISCHARGE: Rule(_TICKET, About.CELL, momentary=True),
        Cause.RUNAWAY: Rule(_PAGE, About.CELL, quiet_s=300.0),
        Cause.CAPACITY_FADE: Rule(_TICKET, About.BATCH, joined=True),
        Cause.DATA_AVAILABILITY: Rule(_TICKET, About.CELL),
    }
)

CAUTIONS: Mapping[str, Cause] = MappingProxyType(
    {"S2": Cause.STEP_TOO_SHORT, "E1": Cause.EFFICIENCY, "T3": Cause.RUNAWAY}
)
"""Checks of the guard that have something to say without cutting off."""

_BY_CHECK = {cause.value.removeprefix("trip-"): cause for cause in Cause if "trip-" in cause}


def cause_of(trip: Trip) -> Cause:
    """The cause of a trip's alarm; a check that nobody listed here is heard all the same."""
    return _BY_CHECK.get(trip.check, Cause.TRIP_OTHER)
