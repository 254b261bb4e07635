"""Who may use a shared instrument: stations that share a chamber or a potentiostat.

A claim comes with a wish (a temperature; for a potentiostat one of its own, so that no two
wishes agree). It is granted while all other users have the same wish. A station whose claim is
denied gives up what it held and asks again at every tick, so stations that wait never block each
other: a chamber that two programs want at 40 degC gets there once both have left 25 degC.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable


class Claims:
    """The users of one shared instrument. Thread-safe; the lock is held for microseconds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._users: dict[str, Hashable] = {}
        self._lock = threading.Lock()

    def claim(self, station: str, wish: Hashable) -> str:
        """Ask for the instrument. Empty when granted, else who is in the way, in words."""
        with self._lock:
            others = {user: has for user, has in self._users.items() if user != station}
            opposed = sorted(user for user, has in others.items() if has != wish)
            if opposed:
                self._users.pop(station, None)
                return f"{self.name} is in use by {', '.join(opposed)}"
            self._users[station] = wish
            return ""

    def release(self, station: str) -> None:
        """Give the instrument up; does nothing when it was not held."""
        with self._lock:
            self._users.pop(station, None)

    def users(self) -> dict[str, Hashable]:
        """Station -> wish, as of now."""
        with self._lock:
            return dict(self._users)
