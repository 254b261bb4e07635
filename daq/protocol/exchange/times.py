"""Durations as other programs write them: "3 h", "10 seconds", "00:18:00"."""

from __future__ import annotations

import re
from math import isfinite

from daq.protocol.exchange.saying import scaled

_UNITS = {
    **dict.fromkeys(("ms", "millisecond", "milliseconds"), -3.0),
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "mn", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
_WORDS = re.compile(r"\s*(\d+\.?\d*(?:[eE][-+]?\d{1,3})?|\.\d+)\s*([A-Za-z]+)\s*", re.ASCII)
_CLOCK = re.compile(r"\s*(\d{0,6}):(\d{0,2}):(\d{0,2}(?:\.\d{1,9})?)\s*", re.ASCII)
_LONGEST = 10 * 365.25 * 86400.0


def seconds(text: str) -> float | None:
    """Of a number with a unit; None for anything else, and for more than ten years."""
    match = _WORDS.fullmatch(text[:64])
    factor = _UNITS.get(match[2]) if match else None
    if match is None or factor is None:
        return None
    value = float(match[1])
    return _sane(scaled(value, -3) if factor < 0 else value * factor)


def clock(text: str) -> float | None:
    """Of hours:minutes:seconds, any of which may be empty; None for anything else."""
    match = _CLOCK.fullmatch(text[:64])
    if match is None:
        return None
    hours, minutes, rest = (float(part) if part.strip(".") else 0.0 for part in match.groups())
    return _sane(3600.0 * hours + 60.0 * minutes + rest)


def _sane(value: float) -> float | None:
    return value if isfinite(value) and 0.0 < value <= _LONGEST else None
