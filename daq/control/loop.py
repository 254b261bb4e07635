"""The control loop: what one bus thread does in a tick. The heart; read it first.

    read all channels -> stamp on reply -> judge (OFF at once if it must be)
                      -> let the run see it -> act and read back -> read again if it acted

Everything is plain synchronous code on the thread that owns the line. Nothing here waits for
anything but the instrument itself, and never longer than its transport timeout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from daq.bus.bus import Bus
from daq.clock import LabClock, monotonic
from daq.control.instrument import Instrument
from daq.control.station import Station
from daq.control.sweeper import Sweeper
from daq.control.switches import Switchboard
from daq.control.thermostat import Thermostat
from daq.logs import get_logger
from daq.model import ChannelRef, Sample, Trip

READS_AFTER_ACTING = 3
"""A step may end at its very first reading; more than a few in a row must wait for the grid."""
TELL_AGAIN_S = 600.0


class Loop:
    """One bus thread's work.

    Args:
        instruments: all instruments on this bus.
        bus: its urgent lane is served between two instruments.
        judged_by: which stations look at a channel; one for a cycler, several for a chamber.
        home_of: the stations whose cycler is on this bus.
        thermostats, sweepers, switchboards: by instrument name.
        connected: told of every link that came up; called on the bus thread.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        *,
        bus: Bus,
        judged_by: Mapping[ChannelRef, Sequence[Station]],
        home_of: Sequence[Station],
        thermostats: Mapping[str, Thermostat],
        sweepers: Mapping[str, Sweeper],
        switchboards: Mapping[str, Switchboard] | None = None,
        clock: LabClock,
        connected: Callable[[Instrument], None],
    ) -> None:
        self.instruments = instruments
        self.home_of = home_of
        self._bus = bus
        self._judged_by = judged_by
        self._thermostats = thermostats
        self._sweepers = sweepers
        self._switchboards = switchboards or {}
        self._clock = clock
        self._connected = connected
        self._connections: dict[str, int] = {}
        self._refs = {
            (item.name, number): ChannelRef(item.name, number)
            for item in instruments
            for number in item.driver.channels
        }
        self._cycled_by = {station.wiring.cycler: station for station in home_of}
        self._told = ""
        self._tell_again_at = 0.0
        self._log = get_logger()

    def tick(self) -> None:
        """One pass over all instruments of this bus."""
        self._pass(self.instruments)

    def between(self) -> None:
        """One pass over the cyclers of those stations alone whose step is in a hurry."""
        hurried = {station.wiring.cycler.instrument for station in self.home_of if station.hurries}
        self._pass([item for item in self.instruments if item.name in hurried])

    def _pass(self, instruments: Sequence[Instrument]) -> None:
        try:
            for instrument in instruments:
                if instrument.ready():
                    self._greet(instrument)
                    self._serve(instrument)
                self._bus.run_urgent()
        finally:  # an OFF that is owed does not wait until a driver has been mended
            now = monotonic()
            for station in self.home_of:
                station.watch(now)

    def crashed(self, error: BaseException) -> None:
        """A bug let an exception through: cut off every station of this bus, and go on."""
        for station in self.home_of:
            station.trip(Trip("X1", f"{type(error).__name__}: {error}"))
        self._tell(error)

    def _tell(self, error: BaseException) -> None:
        # After OFF: a traceback reads source files. Once: the same bug may come with every tick.
        what = repr(error)
        if what != self._told or monotonic() > self._tell_again_at:
            self._told, self._tell_again_at = what, monotonic() + TELL_AGAIN_S
            self._log.exception("the bus thread caught an exception", exc_info=error)

    def _greet(self, instrument: Instrument) -> None:
        """A link that came up, for the first time or again: trust nothing from before."""
        if self._connections.get(instrument.name) == instrument.connections:
            return
        self._connections[instrument.name] = instrument.connections
        if thermostat := self._thermostats.get(instrument.name):
            thermostat.lost()
        if board := self._switchboards.get(instrument.name):
            board.lost()
        for station in self.home_of:
            if station.wiring.cycler.instrument == instrument.name:
                station.connected()
        self._connected(instrument)

    def _serve(self, instrument: Instrument) -> None:
        sweeper = self._sweepers.get(instrument.name)
        if sweeper and sweeper.busy:
            sweeper.poll()
            return
        if thermostat := self._thermostats.get(instrument.name):
            thermostat.serve()
        if board := self._switchboards.get(instrument.name):
            board.serve()
        for _ in range(READS_AFTER_ACTING):
            if not self._read(instrument):
                break
            self._bus.run_urgent()
        self._count(instrument)

    def _count(self, instrument: Instrument) -> None:
        """After a step edge: what the cycler itself has counted; an urgent OFF goes before it."""
        for station in self.home_of:
            if station.wiring.cycler.instrument == instrument.name and station.counting.due:
                self._bus.run_urgent()
                station.count()

    def _read(self, instrument: Instrument) -> bool:
        """Read, judge, advance; whether something was switched and another look is due."""
        readings = instrument.read()
        if board := self._switchboards.get(instrument.name):
            board.see(readings)
        stamp = monotonic()
        time_s, utc_s = self._clock.at(stamp), self._clock.utc(stamp)
        samples = [
            Sample(self._ref(instrument.name, number), time_s, utc_s, stamp, reading)
            for number, reading in readings.items()
        ]
        for sample in samples:
            for station in self._judged_by.get(sample.source, ()):
                station.judge(sample)
        acted = False
        for sample in samples:
            if station := self._cycled_by.get(sample.source):
                acted |= station.advance(sample)
        return acted

    def _ref(self, instrument: str, number: int) -> ChannelRef:
        ref = self._refs.get((instrument, number))
        if ref is None:  # setup may find more channels than the driver's default
            ref = self._refs[instrument, number] = ChannelRef(instrument, number)
        return ref
