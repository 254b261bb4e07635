"""Maintenance windows: a station at which somebody works, whose alarms need call nobody.

A window hides alarms and nothing else: the guard trips and the output goes OFF as ever. It is
kept in the journal, so it outlives a restart, and it closes by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

LONGEST_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Window:
    """One station's window, in lab Unix time."""

    station: str
    from_utc_s: float
    until_utc_s: float
    by: str
    reason: str

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


class Maintenance:
    """The windows that are open."""

    def __init__(self, kept: Mapping[str, Mapping[str, Any]]) -> None:
        self._windows = {name: Window(**document) for name, document in kept.items()}

    def covers(self, station: str, utc_s: float) -> bool:
        """Whether a station is in a window at a moment."""
        window = self._windows.get(station)
        # A clock that was set back must not make a window longer than it was ever meant to be.
        return bool(window) and window.from_utc_s - LONGEST_S <= utc_s < window.until_utc_s

    def window(self, station: str) -> Window | None:
        """The window of a station; it may be over."""
        return self._windows.get(station)

    def open(self, window: Window) -> None:
        """Open a window, or replace the one that is open."""
        self._windows[window.station] = window

    def close(self, station: str) -> Window | None:
        """Close a window; the one that was open."""
        return self._windows.pop(station, None)

    def over(self, utc_s: float) -> list[Window]:
        """Windows whose time is over."""
        found = self._windows.values()
        return [window for window in found if not self.covers(window.station, utc_s)]
