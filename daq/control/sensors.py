"""A station's auxiliary sensors: what they read lately, for conditions and for the record.

Readings come from any bus thread; each is one tuple, replaced at once. One that has not come for
three periods is not measured any more: a condition on it does not hold, and nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import NamedTuple

from daq.control.guard import Freshness, valid
from daq.model import ChannelRef, Reading, Sample

DEGC, VOLT, PERCENT = "degC", "V", "pct"


@dataclass(frozen=True, slots=True)
class SensorRef:
    """Where a sensor is, and how long its reading counts, real seconds."""

    channel: ChannelRef
    fresh_s: float


class _Seen(NamedTuple):
    stamp_s: float
    value: float
    unit: str


class Sensors:
    """The sensors of one station.

    Args:
        wired: name -> where it is.
        chamber: the chamber, whose humidity is recorded, too.
    """

    def __init__(self, wired: Mapping[str, SensorRef], chamber: SensorRef | None = None) -> None:
        self.names = frozenset(wired)
        self._wired = wired
        self._chamber = chamber
        self._names: dict[ChannelRef, list[str]] = {}
        for name, ref in wired.items():
            self._names.setdefault(ref.channel, []).append(name)
        self._seen: dict[str, _Seen] = {}
        self._humidity = _Seen(nan, nan, PERCENT)

    @property
    def wired(self) -> dict[str, ChannelRef]:
        """Name -> channel."""
        return {name: ref.channel for name, ref in self._wired.items()}

    @property
    def channels(self) -> frozenset[ChannelRef]:
        """Every channel that is a sensor."""
        return frozenset(self._names)

    def see(self, sample: Sample) -> None:
        """Take a sample; nothing where it is of none of them. On the thread that read it."""
        for name in self._names.get(sample.source, ()):
            self._seen[name] = _measured(sample.reading, sample.stamp_s)
        if self._chamber and sample.source == self._chamber.channel:
            self._humidity = _Seen(sample.stamp_s, sample.reading.humidity_pct, PERCENT)

    def unit_of(self, name: str) -> str:
        """What a sensor measures, "degC" or "V"; empty before it was read."""
        seen = self._seen.get(name)
        return seen.unit if seen else ""

    def humidity_pct(self, now_s: float) -> float:
        """Relative humidity in the chamber; nan where it is not measured."""
        return _fresh(self._humidity, self._chamber, now_s)

    def values(self, now_s: float) -> dict[str, float]:
        """Name -> degC or V; nan for what is not measured now."""
        return {name: _fresh(seen, self._wired[name], now_s) for name, seen in self._seen.items()}

    def named(self, now_s: float) -> dict[str, float]:
        """The same for the record: with units in the names, and only what is measured."""
        units = {name: seen.unit for name, seen in self._seen.items()}
        found = {f"{name}_{units[name]}": value for name, value in self.values(now_s).items()}
        found["humidity_pct"] = self.humidity_pct(now_s)
        return {name: value for name, value in found.items() if value == value}


def freshness_s(period_s: float) -> float:
    """How long a reading of a bus counts."""
    return Freshness("", period_s).allowed_s


def _measured(reading: Reading, stamp_s: float) -> _Seen:
    if valid(reading.temperature_degC):
        return _Seen(stamp_s, reading.temperature_degC, DEGC)
    unit = VOLT if valid(reading.voltage_V) else DEGC
    return _Seen(stamp_s, reading.voltage_V if valid(reading.voltage_V) else nan, unit)


def _fresh(seen: _Seen, ref: SensorRef | None, now_s: float) -> float:
    return seen.value if ref and now_s - seen.stamp_s <= ref.fresh_s else nan
