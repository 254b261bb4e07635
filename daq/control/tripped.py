"""What a station has tripped of lately: after two of a kind in a day, an admin looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DAY_S = 86400.0
OPERATORS = 2
"""So many trips of one check in a day are cleared by an operator; the next needs an admin."""
KEPT = 50


class History:
    """Trips of one station: check and wall-clock second, oldest first."""

    def __init__(self) -> None:
        self._trips: list[tuple[str, float]] = []

    def note(self, check: str, utc_s: float) -> None:
        """A trip."""
        self._trips = [*self._trips[1 - KEPT :], (check, utc_s)]

    def document(self) -> dict[str, Any]:
        """For the journal; a restart does not forget it."""
        return {"trips": [[check, utc_s] for check, utc_s in self._trips]}

    def restore(self, document: Mapping[str, Any]) -> None:
        """From the journal."""
        self._trips = [(str(check), float(utc_s)) for check, utc_s in document["trips"]]

    def needs_admin(self, check: str, utc_s: float) -> bool:
        """Whether this check has tripped too often for an operator to clear it once more.

        A wall clock that was set does not help: the distance counts, whichever way.
        """
        same = [at_s for kind, at_s in self._trips if kind == check and abs(utc_s - at_s) < DAY_S]
        return len(same) > OPERATORS
