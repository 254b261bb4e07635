"""The end of the daemon: it says that all is OFF only when all is OFF, and retires only then."""

from __future__ import annotations

import asyncio
import struct
import threading
from types import SimpleNamespace

import pytest

from daq.bus.bus import Bus
from daq.bus.heartbeat import FIRST_BUS_SLOT, LOOP_SLOT, RETIRED, Heartbeat
from daq.clock import monotonic
from daq.control import farewell
from daq.control.alarms.paging import Paging
from daq.control.conditions import Conditions
from daq.control.farewell import Farewell
from daq.control.stalls import StallWatch
from daq.control.supervisor import Supervisor
from daq.errors import ReadbackMismatch
from daq.model import EventKind
from tests.unit.fakes import FakePotentiostat, MemoryJournal, Stand, TurnedClock, instrument


class Journal(MemoryJournal):
    def close(self):
        self.closed = True


class Server:
    async def stop(self):
        return None


class Child:
    def __init__(self):
        self.ended = False

    def end(self, timeout_s):
        self.ended = True


class House:
    """A supervisor with one station on a real bus, a potentiostat, and no other process."""

    def __init__(self, folder):
        self.stand = Stand(TurnedClock())
        self.journal = Journal()
        self.sentinel = Child()
        self.heartbeat = Heartbeat(folder / "heartbeat")
        self.bus = Bus(
            "home", 0.02, tick=self._tick, beat=lambda: None, crashed=self.stand.loop.crashed
        )
        self.stand.station.home = self.bus
        self.potentiostat = FakePotentiostat()
        pico = instrument(self.potentiostat, "pico")
        for box in (self.stand.instrument, pico):
            box.line.open()
            box.online = True
        bench = SimpleNamespace(
            stations={"A1": self.stand.station},
            buses={"home": self.bus},
            slots={"home": FIRST_BUS_SLOT},
            loops={"home": SimpleNamespace(instruments=[self.stand.instrument, pico])},
            instruments={"aps1": self.stand.instrument, "pico": pico},
            switchboards={},
        )
        self.daemon = Supervisor.__new__(Supervisor)
        self.daemon.__dict__.update(
            _server=Server(),
            _stopping=asyncio.Event(),
            _journal=self.journal,
            _alarms=self.stand.alarms,
            _paging=Paging(()),
            _door=SimpleNamespace(tell=lambda everything: None),
            _heartbeat=self.heartbeat,
            _clock=self.stand.lab_clock,
            _children=[],
            _sentinel=self.sentinel,
            _state_at=0.0,
            _bench=bench,
            _conditions=Conditions([]),
            _stalls=StallWatch([]),
            _farewell=Farewell(bench, self.heartbeat),
        )
        self.bus.start()

    def _tick(self):
        self.stand.station.watch(monotonic())

    @property
    def retired(self):
        return stamp(self.heartbeat) == RETIRED

    async def go_down(self):
        return await self.daemon._go_down()


def hang(bus):
    """Keep the bus busy until the event that is returned is set."""
    entered, release = threading.Event(), threading.Event()

    def busy():
        entered.set()
        release.wait(20.0)

    bus.post(busy)
    assert entered.wait(20.0)
    return release


def stamp(heartbeat):
    return struct.unpack_from("<d", heartbeat._memory, 8 * LOOP_SLOT)[0]


@pytest.fixture
def house(tmp_path, monkeypatch):
    monkeypatch.setattr(farewell, "OFF_S", 0.5)
    made = House(tmp_path)
    yield made
    made.bus.finish()
    assert made.bus.join(20.0)


async def test_when_everything_is_off_it_says_so_and_retires(house):
    house.stand.driver.is_on = house.stand.output.on = True
    assert await house.go_down()
    assert not house.stand.driver.is_on
    assert "off" in house.potentiostat.told
    assert house.retired
    assert house.sentinel.ended
    (ended,) = house.journal.events(EventKind.SESSION_ENDED)
    assert ended.data["outputs_off"] is True


async def test_an_output_that_does_not_confirm_is_left_to_the_sentinel(house):
    house.stand.driver.obeys_off = False
    assert not await house.go_down()
    assert not house.retired
    assert not house.sentinel.ended
    assert house.journal.events(EventKind.SESSION_ENDED)[0].data["outputs_off"] is False


async def test_an_off_that_is_obeyed_late_is_waited_for(house):
    house.stand.driver.obeys_off = False

    def obey():
        house.stand.driver.obeys_off = house.stand.driver.count("off") > 6

    house.stand.driver.hooks["off"] = obey
    assert await house.go_down()
    assert house.retired


async def test_an_off_that_fails_at_the_very_end_is_seen(house):
    release = hang(house.bus)  # so that the last OFF comes after everything has looked OFF
    house.stand.driver.obeys_off = False
    going = asyncio.create_task(house.go_down())
    await asyncio.sleep(0.1)
    release.set()
    assert not await going
    assert not house.retired


async def test_a_potentiostat_that_does_not_open_its_cell_is_left_to_the_sentinel(house):
    house.potentiostat.faults["off"] = ReadbackMismatch("still closed")
    assert not await house.go_down()
    assert not house.retired


async def test_a_bus_that_hangs_is_left_to_the_sentinel(house):
    release = hang(house.bus)
    assert not await house.go_down()
    assert not house.retired
    release.set()


async def test_from_its_first_moment_nothing_is_energised_any_more(house):
    house.bus.call(lambda: None).result(20.0)
    assert not house.daemon._stopping.is_set()  # it goes down for a reason of its own: a bug
    await house.go_down()
    assert house.daemon._why_not("A1") == "the daemon is stopping"
