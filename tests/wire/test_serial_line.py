"""Text lines over pyserial, against a real pseudo-terminal."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from daq.bus.line import Endpoint, LineSettings
from daq.bus.resource import make_line, parse_resource
from daq.bus.serial_wire import SerialWire
from daq.bus.text import WireTextLine
from daq.errors import InputError, LinkDown, NoReply
from tests.wire.peers import Answer, Peer, PtyPeer
from tests.wire.text_contract import IMPATIENT, LONG_S, SETTINGS, TextLineContract


def serial_line(peer: Peer, settings: LineSettings = SETTINGS) -> WireTextLine:
    assert isinstance(peer, PtyPeer)
    line = make_line(parse_resource(f"serial://{peer.device}"), settings)
    assert isinstance(line, WireTextLine)
    return line


class TestSerial(TextLineContract):
    """What `serial://` becomes."""

    def make_peer(self, *answers: Answer) -> Peer:
        return PtyPeer(*answers)

    def make_line(self, peer: Peer, settings: LineSettings) -> WireTextLine:
        return serial_line(peer, settings)


class TestVisaSerial(TestSerial):
    """What `ASRL...::INSTR` becomes by default."""

    def make_line(self, peer: Peer, settings: LineSettings) -> WireTextLine:
        assert isinstance(peer, PtyPeer)
        line = make_line(parse_resource(f"ASRL{peer.device}::INSTR"), settings)
        assert isinstance(line, WireTextLine)
        return line


def test_a_device_that_is_not_there_is_noticed_at_open() -> None:
    with pytest.raises(LinkDown, match="cannot be opened"):
        make_line(parse_resource("serial:///dev/no-such-port"), SETTINGS).open()


def test_a_cable_that_is_pulled_is_noticed_at_once_and_costs_no_cpu() -> None:
    peer = PtyPeer(None)
    line = serial_line(peer)
    line.open()
    peer.unplug()
    began, busy = time.monotonic(), time.thread_time()
    with pytest.raises(LinkDown, match="gone"):
        line.ask("*IDN?")
    assert time.thread_time() - busy < 0.1
    assert time.monotonic() - began < LONG_S / 2
    line.close()


def test_waiting_for_a_silent_peer_costs_no_cpu() -> None:
    with PtyPeer(None) as peer:
        line = serial_line(peer, replace(SETTINGS, timeout_s=0.5))
        line.open()
        busy = time.thread_time()
        with pytest.raises(NoReply):
            line.ask("*IDN?")
        assert time.thread_time() - busy < 0.1
        line.close()


def test_a_second_owner_of_a_port_is_refused() -> None:
    with PtyPeer(b"ok\n") as peer:
        first, second = (SerialWire(peer.device, SETTINGS) for _ in range(2))
        first.open(1.0)
        with pytest.raises(LinkDown, match="cannot be opened"):
            second.open(1.0)
        first.close()
        second.open(1.0)
        second.close()


def test_two_instruments_on_one_pair_of_wires_share_the_port() -> None:
    with PtyPeer(b"one\n", b"two\n", b"one again\n") as peer:
        first, second = serial_line(peer), serial_line(peer)
        first.open()
        second.open()
        assert (first.ask("#1 T?"), second.ask("#2 T?")) == ("one", "two")
        second.close()
        assert first.ask("#1 T?") == "one again"
        first.close()


def test_two_instruments_on_one_port_cannot_want_two_baud_rates() -> None:
    with PtyPeer(None) as peer:
        first = serial_line(peer)
        with pytest.raises(InputError, match="different settings"):
            serial_line(peer, replace(SETTINGS, baud=9600))
        first.close()


def test_a_message_that_the_peer_does_not_take_ends_at_the_timeout_and_closing_too() -> None:
    stuck = threading.Event()
    with PtyPeer(lambda _: stuck.wait(LONG_S) and None) as peer:
        line = serial_line(peer, IMPATIENT)
        line.open()
        began = time.monotonic()
        with pytest.raises(NoReply, match="does not take"):
            line.tell("x" * (1 << 22))
        line.close()
        assert time.monotonic() - began < LONG_S / 2
        stuck.set()


def test_the_sentinel_is_told_the_frame() -> None:
    settings = LineSettings(baud=19200, parity="E", bytesize=7, stopbits=2)
    line = make_line(parse_resource("serial:///dev/ttyS9"), settings)
    assert line.endpoint() == Endpoint("serial", "/dev/ttyS9", 19200, "7E2")
