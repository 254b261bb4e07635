"""F04 to F10 on the true lines, at every answer of a reading: one spoilt answer, then good ones.

The instrument is the control loop's own: what is noticed drops the link, what is opened again
must identify itself. A value, whenever one comes, is the one that was asked for last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import pytest

from daq.control import instrument
from daq.control.instrument import Instrument, InstrumentSpec
from daq.errors import BadReply, InstrumentError, NoReply
from daq.model import Reading
from drivers import palmsens
from drivers.modbus_relays import ModbusRelays
from tests.torture import desync_peers
from tests.torture.desync_peers import AnyPeer, Relays
from tests.torture.test_desync import CASES, Case, line_to

PATIENCE_S = 20.0
TIMEOUT_S, LATE_S = 0.25, 0.5
"""Long enough that a busy machine does not spoil an answer by itself."""


def relays(peer: Relays) -> ModbusRelays:
    return ModbusRelays(line_to(f"modbus+rtu+tcp://127.0.0.1:{peer.port}", ModbusRelays.settings))


def wrong_relays(peer: Relays, readings: Mapping[int, Reading]) -> bool:
    closed = sum(readings[channel].output_on << channel - 1 for channel in readings)
    return closed != peer.truth & 0xFF


RELAYS: Case = ("modbus_relays", Relays, relays, wrong_relays)
WIRES: Mapping[str, Case] = {**CASES, "modbus_relays": RELAYS}
ANSWERS = {"keysight_aps": 1, "palmsens": 1, "binder-rtu": 4, "binder-tcp": 4, "modbus_relays": 1}
"""How many make up one reading."""


class Bench:
    """A peer, the loop's instrument on it, and what its listener was told."""

    def __init__(self, name: str, peer: AnyPeer) -> None:
        family, _, make_driver, self._is_wrong = WIRES[name]
        self.peer = peer
        self.errors: list[InstrumentError] = []
        driver = make_driver(peer)
        driver.line.settings = replace(driver.line.settings, timeout_s=TIMEOUT_S)
        spec = InstrumentSpec(name, family, name, 1.0)
        self.instrument = Instrument(spec, driver.line, driver, self)

    def fault_began(self, _: Instrument, error: InstrumentError) -> None:
        self.errors.append(error)

    def fault_ended(self, _: Instrument, lasted_s: float) -> None:
        return

    def read(self) -> bool:
        """Ask once; whether a value came. It must be the one of now."""
        self.peer.truth += 1
        readings = self.instrument.read()
        if readings:
            one = readings[1] if len(readings) == 1 else readings
            assert not self._is_wrong(self.peer, one), readings
        return bool(readings)

    def recover(self) -> None:
        """Until a value comes again."""
        deadline = time.monotonic() + PATIENCE_S
        while not (self.instrument.ready() and self.read()):
            assert time.monotonic() < deadline, "it never came back"
            time.sleep(0.002)


@pytest.fixture
def bench(request, monkeypatch) -> Iterator[Bench]:
    monkeypatch.setattr(instrument, "FIRST_PAUSE_S", 0.005)
    monkeypatch.setattr(palmsens, "_DEAF_S", 0.0)
    monkeypatch.setattr(desync_peers, "LATE_S", LATE_S)
    with WIRES[request.param][1]() as peer:
        peer.prepare(seed=7)
        peer.share = 0.0
        made = Bench(request.param, peer)
        made.recover()
        made.errors.clear()
        yield made
        made.instrument.close()


def on(*names: str, fault: str) -> Callable[..., object]:
    """The test for each of these lines, as a test of the fault."""
    return pytest.mark.parametrize(
        "bench",
        [
            pytest.param(name, marks=pytest.mark.fault(fault, family=WIRES[name][0]))
            for name in names
        ],
        indirect=True,
    )


EVERY = tuple(WIRES)
FLIPPED = 40  # answers
NEVER_ASKED_TWICE = tuple(CASES)
"""Where a reading is not one and the same question again and again."""


def at_every_answer(bench: Bench, mishap: str) -> Iterator[None]:
    """Spoil the first, the second ... answer of a reading; yields before each reading."""
    for position in range(ANSWERS[bench.instrument.name]):
        bench.peer.next = [""] * position + [mishap]
        yield
        assert bench.peer.happened[mishap] == position + 1
        bench.recover()


def noticed(bench: Bench, *kinds: type[InstrumentError]) -> None:
    """No value; the link is dropped; the reason is told."""
    assert not bench.read()
    assert not bench.instrument.online
    assert isinstance(bench.errors.pop(), kinds)
    assert not bench.errors


@on(*EVERY, fault="F04")
def test_an_answer_that_drips_ends_at_the_deadline(bench, figure):
    bench.peer.next = ["drips"]
    began = time.monotonic()
    noticed(bench, BadReply, NoReply)
    took_s = time.monotonic() - began
    figure(f"{bench.instrument.name}: 1 byte a second given up after", 1000 * took_s, "ms")
    assert took_s < 2.0  # it would have taken 7 s and more


@on(*EVERY, fault="F05")
def test_garbage_for_an_answer_is_noticed(bench):
    for _ in at_every_answer(bench, "garbage"):
        noticed(bench, BadReply, NoReply)


@on(*EVERY, fault="F05")
def test_garbage_before_an_answer_is_noticed_or_passed_over(bench):
    for _ in range(5):
        for _ in at_every_answer(bench, "garbage before"):
            bench.read()
        bench.peer.happened.clear()


@on(*EVERY, fault="F06")
def test_a_part_of_an_answer_is_noticed(bench):
    for _ in at_every_answer(bench, "half"):
        noticed(bench, BadReply, NoReply)


@on(*EVERY, fault="F06")
def test_the_rest_of_an_answer_that_comes_before_the_next_one_is_no_answer(bench):
    for _ in at_every_answer(bench, "half, then the rest"):
        noticed(bench, BadReply, NoReply)


@on("binder-rtu", "modbus_relays", fault="F07")
def test_a_flipped_bit_is_found_by_the_checksum(bench, figure):
    found = 0
    while found < FLIPPED:
        for _ in at_every_answer(bench, "flipped"):
            noticed(bench, BadReply, NoReply)
            found += 1
        bench.peer.happened.clear()
    figure("answers with a flipped bit, all found", found, "answers")


@on(*NEVER_ASKED_TWICE, fault="F08")
@pytest.mark.parametrize("mishap", ["twice", "again later"])
def test_the_second_copy_of_an_answer_answers_nothing(bench, mishap):
    for _ in at_every_answer(bench, mishap):
        bench.read()
        while bench.peer.next:  # on a busy machine a reading may end before its last answer
            bench.recover()


@on(*EVERY, fault="F09")
def test_a_late_answer_is_never_the_value_of_now(bench):
    for _ in at_every_answer(bench, "late"):
        noticed(bench, NoReply)


@on(*NEVER_ASKED_TWICE, fault="F09")
def test_the_answer_to_the_question_before_is_never_the_value_of_now(bench):
    for _ in at_every_answer(bench, "the one before"):
        noticed(bench, BadReply, NoReply)


@on("binder-rtu", "binder-tcp", "modbus_relays", fault="F10")
def test_the_answer_of_another_unit_is_never_this_ones(bench):
    for _ in at_every_answer(bench, "foreign"):
        noticed(bench, BadReply)
