"""Limits of a source -> `safety`."""

from __future__ import annotations

from daq.errors import InputError, Place
from daq.protocol.exchange import saying

_NONE = {"voltage": 2000.0, "current": 5000.0}
"""What an end becomes that the source does not limit: the widest that our language takes."""


def span(
    quantity: str, low: float | None, high: float | None, place: Place
) -> dict[str, list[str]]:
    """The entry of `safety`; empty where the source limits neither end.

    Raises:
        InputError: the span is empty.
    """
    if low is None and high is None:
        return {}
    widest = _NONE[quantity]
    low, high = -widest if low is None else low, widest if high is None else high
    if not low < high:
        raise InputError(f"the limits of the {quantity} are upside down", place=place)
    say = saying.voltage if quantity == "voltage" else saying.current
    return {quantity: [say(low), say(high)]}
