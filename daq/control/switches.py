"""Digital outputs: stirrers, lamps, fans. Stations ask; the module's own bus thread switches.

What is wanted of an output is written until it was read back, and again whenever it reads
otherwise. While nothing has been asked for, and after a trip or the end of a run, each is in its
safe state. None of this ever closes a relay of a cell's circuit: those are no outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from daq.bus.bus import Bus
from daq.config import OutputConfig
from daq.control.instrument import LINK_ERRORS, Instrument
from daq.driver import Switch
from daq.errors import InstrumentError
from daq.model import ChannelRef, Reading


class Switchboard:
    """The outputs of one module.

    Args:
        instrument: the module.
        bus: the bus it is on.
        safe: channel -> its safe state, for every channel that is an output.
    """

    def __init__(self, instrument: Instrument, bus: Bus, safe: Mapping[int, bool]) -> None:
        self.name = instrument.name
        self._instrument = instrument
        self._bus = bus
        self._safe = dict(safe)
        self._wanted = dict(safe)
        self._is: dict[int, bool] = {}
        self._failed: dict[int, str] = {}

    def request(self, channel: int, on: bool) -> str:
        """Ask for a state; empty once it was read back, else what is in the way."""
        if self._wanted[channel] != on:
            self._failed.pop(channel, None)
            self._wanted[channel] = on
        if self._is.get(channel) == on:
            return ""
        self._bus.post(self.serve)
        state = "on" if on else "off"
        if not self._instrument.online:
            return f"{self.name} is offline: {self.name}.{channel} cannot be switched {state}"
        if why := self._failed.get(channel):
            return f"{self.name}.{channel} cannot be switched {state}: {why}"
        return f"{self.name}.{channel} is being switched {state}"

    def serve(self) -> None:
        """Switch what is not as it is wanted. On the module's bus thread."""
        for channel, wanted in tuple(self._wanted.items()):
            if self._instrument.online and self._is.get(channel) != wanted:
                self._switch(channel, wanted)

    def _switch(self, channel: int, on: bool) -> None:
        try:
            cast(Switch[Any], self._instrument.driver).switch(channel, on)
        except InstrumentError as error:
            self._is.pop(channel, None)
            self._failed[channel] = error.message
            if isinstance(error, LINK_ERRORS):  # the others would be a new fault at every try
                self._instrument.failed(error)
            return
        self._is[channel] = on
        self._failed.pop(channel, None)

    def see(self, readings: Mapping[int, Reading]) -> None:
        """Take what was read: an output that somebody else has switched is switched again."""
        for channel in self._is.keys() & readings.keys():
            if readings[channel].output_on != self._is[channel]:
                del self._is[channel]

    @property
    def online(self) -> bool:
        """Whether the module can be spoken to."""
        return self._instrument.online

    @property
    def failing(self) -> str:
        """Which outputs cannot be brought to the state that is wanted, and why; else empty."""
        failed = sorted(self._failed.items())
        return "; ".join(f"{self.name}.{channel}: {why}" for channel, why in failed)

    def rest(self) -> None:
        """Every output to its safe state, now. On the module's bus thread."""
        self._wanted = dict(self._safe)
        self.serve()

    def lost(self) -> None:
        """The link was lost: the module may have switched anything."""
        self._is.clear()


class Outputs:
    """The digital outputs of one station, by name.

    Attributes:
        names: of all of them.
    """

    def __init__(
        self, wired: Mapping[str, OutputConfig], boards: Mapping[str, Switchboard]
    ) -> None:
        self.names = frozenset(wired)
        self._wired = wired
        self._boards = boards

    @property
    def wired(self) -> dict[str, ChannelRef]:
        """Name -> channel."""
        return {name: output.channel for name, output in self._wired.items()}

    def request(self, states: Iterable[tuple[str, bool]]) -> str:
        """Ask for states; empty once all were read back, else what is in the way."""
        asked = [(name, self._request(name, on)) for name, on in states]
        return "; ".join(f"output {name}: {why}" for name, why in asked if why)

    def _request(self, name: str, on: bool) -> str:
        if name not in self._wired:
            return "the station has no such output"
        channel = self._wired[name].channel
        return self._boards[channel.instrument].request(channel.channel, on)

    @property
    def failing(self) -> bool:
        """Whether an output cannot be switched, rather than just being switched."""
        used = {output.channel.instrument for output in self._wired.values()}
        return any(self._boards[name].failing or not self._boards[name].online for name in used)

    def make_safe(self) -> None:
        """Ask for the safe state of each. From any thread; waits for nothing."""
        for output in self._wired.values():
            channel = output.channel
            self._boards[channel.instrument].request(channel.channel, output.safe_on)
