"""The topics of one lab: the only place that knows how they are spelled."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from daq.access.names import is_name

_TAKEN = frozenset({"cmd", "reply"})


@dataclass(frozen=True, slots=True)
class Topics:
    """Topics of the lab of this name (see docs/mqtt.md).

    A station of "" stands for the lab itself: its events are those of the daemon.
    """

    lab: str

    def __post_init__(self) -> None:
        if not is_name(self.lab):
            raise ValueError(f"not a name for a lab: {self.lab!r}")

    @property
    def status(self) -> str:
        """Retained birth and last will."""
        return f"daq/{self.lab}/status"

    @property
    def alarms(self) -> str:
        """Retained: the open alarms."""
        return f"daq/{self.lab}/alarms"

    @property
    def commands(self) -> str:
        """The filter that every command matches."""
        return f"daq/{self.lab}/cmd/+"

    def command(self, verb: str) -> str:
        """Where a client publishes a command."""
        return f"daq/{self.lab}/cmd/{verb}"

    def reply(self, client: str, command_id: str) -> str:
        """Where the replies to one command appear."""
        return f"daq/{self.lab}/reply/{client}/{command_id}"

    def state(self, station: str) -> str:
        """Retained: what the station does now."""
        return self._of(station, "state")

    def samples(self, station: str) -> str:
        """Live batches of records."""
        return self._of(station, "samples")

    def events(self, station: str) -> str:
        """Live events."""
        return self._of(station, "events")

    def history(self, station: str) -> str:
        """What could not be published live, oldest first."""
        return self._of(station, "history")

    def verb(self, topic: str) -> str:
        """The verb of a topic that matches `commands`; empty for any other."""
        prefix = f"daq/{self.lab}/cmd/"
        return topic.removeprefix(prefix) if topic.startswith(prefix) else ""

    def _of(self, station: str, what: str) -> str:
        return f"daq/{self.lab}/{_level(station)}/{what}" if station else f"daq/{self.lab}/{what}"


def _level(station: str) -> str:
    # Quoting leaves every valid name as it is; it only keeps a name that slipped past the check
    # of the lab file ("A/1", "#") from becoming another topic or an illegal one, and a station
    # called "cmd" from publishing commands.
    level = quote(station, safe="")
    return f"%{ord(level[0]):02X}{level[1:]}" if level in _TAKEN else level
