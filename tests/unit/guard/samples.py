"""Samples of a calm cell, and what the rules say about a row of them."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, nan
from typing import Any

from daq.control.guard import Output, Rule
from daq.model import ChannelRef, Reading, Sample, Setpoint

NOT_NUMBERS = (nan, inf, -inf, 9.9e37, -9.9e37, 9.91e37)
RANGE_A = 10.0
ERROR_A = 0.05
CHARGE = Setpoint(4.21, 2.5, 0.0)
DISCHARGE = Setpoint(2.49, 0.0, 2.5)
HOLD = Setpoint(3.7, 2.5, 2.5)


def sample(at_s: float = 0.0, stamp_s: float | None = None, **reading: Any) -> Sample:
    """A sample, by default of a calm cell; lab time and stamp agree unless told otherwise."""
    values = {"voltage_V": 3.7, "current_A": 0.0, "temperature_degC": 25.0} | reading
    stamp = at_s if stamp_s is None else stamp_s
    return Sample(ChannelRef("aps1"), at_s, 1e9 + at_s, stamp, Reading(**values))


def output(setpoint: Setpoint | None = CHARGE, at_s: float = -100.0) -> Output:
    """An output that was commanded long ago."""
    rule = Output(RANGE_A)
    rule.command(setpoint, at_s)
    return rule


def first(rule: Rule, samples: Iterable[Sample]) -> tuple[str, float, str] | None:
    """Check, time and message of the first trip; None when there is none."""
    for one in samples:
        if trip := rule.check(one):
            return trip.check, one.time_s, trip.message
    return None
