"""The end of the daemon's work on the instruments: everything OFF and verified, every thread ended.

What cannot be verified is left to the sentinel, which insists when control goes without retiring.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future

from daq.bus.heartbeat import LOOP_SLOT, Heartbeat
from daq.clock import monotonic
from daq.control.assembly import Bench
from daq.control.resumption import STOPPING
from daq.control.station import Station
from daq.driver import Chamber, Potentiostat
from daq.errors import InstrumentError
from daq.logs import get_logger

OFF_S = 3.0

_log = get_logger()


class Farewell:
    """On the event loop, whose heart it keeps beating while it waits."""

    def __init__(self, bench: Bench, heartbeat: Heartbeat) -> None:
        self._bench = bench
        self._heartbeat = heartbeat
        self._not_off: set[str] = set()  # potentiostats that did not open their cell

    async def switch_off(self) -> None:
        """Pause every run, and switch everything off; what is owed gets a while to be repeated."""
        asked = [
            station.home.call(lambda s=station: _leave(s), urgent=True)
            for station in self._bench.stations.values()
        ]
        asked += [
            bus.call(lambda n=name: self._rest(n), urgent=True)
            for name, bus in self._bench.buses.items()
        ]
        await self._all_off(asked)

    async def end(self) -> bool:
        """End the bus threads and close every line; whether everything was verified OFF."""
        ended = await self._all_ended()
        safe = ended and not self._any_on()  # only now can nothing change any more
        for instrument in self._bench.instruments.values():
            instrument.close()
        return safe

    async def _all_off(self, asked: Sequence[Future[None]]) -> None:
        deadline = monotonic() + OFF_S
        while monotonic() < deadline:
            if all(job.done() for job in asked) and not self._any_on():
                return
            self._heartbeat.beat(LOOP_SLOT)
            await asyncio.sleep(0.02)

    def _any_on(self) -> bool:
        outputs = (station.output for station in self._bench.stations.values())
        return bool(self._not_off) or any(output.on or output.owed for output in outputs)

    async def _all_ended(self) -> bool:
        """The sentinel must not mistake a slow last OFF for a hang."""
        for bus in self._bench.buses.values():
            bus.finish()
        deadline = monotonic() + OFF_S
        waiting = dict(self._bench.buses)
        while waiting and monotonic() < deadline:
            self._heartbeat.beat(LOOP_SLOT)
            for name in [name for name, bus in waiting.items() if bus.join(0.0)]:
                self._heartbeat.retire(self._bench.slots[name])
                del waiting[name]
            await asyncio.sleep(0.01)
        return not waiting

    def _rest(self, bus: str) -> None:
        """Make safe what is not a station's cycler: chambers, potentiostats, digital outputs."""
        for instrument in self._bench.loops[bus].instruments:
            if not instrument.online:
                continue
            if board := self._bench.switchboards.get(instrument.name):
                board.rest()
            try:
                if isinstance(instrument.driver, (Chamber, Potentiostat)):
                    for channel in instrument.driver.channels:
                        instrument.driver.off(channel)
            except InstrumentError as error:
                _log.error("not verified OFF", instrument=instrument.name, error=str(error))
                if isinstance(instrument.driver, Potentiostat):
                    self._not_off.add(instrument.name)


def _leave(station: Station) -> None:
    """Pause the run and switch off; an unreachable output that was verified OFF stays as it is."""
    conductor, output = station.conductor, station.output
    if conductor.run and not conductor.paused:
        conductor.pause(STOPPING, station.last)
    if output.on or output.owed or output.instrument.online:
        output.off()
