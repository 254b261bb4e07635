"""What every rule of the guard is, and what a reading must be before any rule compares it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Protocol

from daq.model import Reading, Sample, Span, Trip

INVALID_MAGNITUDE = 9.0e36
"""SCPI instruments report infinity as 9.9E37 and not-a-number as 9.91E37."""
PHYSICAL_DEGC: Span = (-100.0, 1000.0)
"""No cell on a bench is colder or hotter; an open thermocouple reads beyond, at either end."""
LONGEST_LOOK_S = 2.0
"""Lab time between two samples beyond which the one says nothing about the other.

Readings a second apart are what a charge at 1C asks for. In accelerated time hours lie between
two samples: a cell then changes like one that is broken, so the rules that judge a change from
sample to sample rest.
"""


@dataclass(frozen=True, slots=True)
class Caution:
    """What a rule has to say that is no reason to cut off: a ticket, not a trip."""

    check: str
    message: str


class Rule(Protocol):
    """One check of one source."""

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample."""
        ...


def valid(value: float) -> bool:
    """Whether a reading is a number that can be compared (check P3)."""
    return isfinite(value) and abs(value) < INVALID_MAGNITUDE


def valid_cycler(reading: Reading) -> bool:
    """Whether a cycler's reading says both what there is to say (P3)."""
    return valid(reading.voltage_V) and valid(reading.current_A)


def valid_degC(value: float) -> bool:
    """Whether a reading is a temperature that a cell can have (P3)."""
    return PHYSICAL_DEGC[0] <= value <= PHYSICAL_DEGC[1]
