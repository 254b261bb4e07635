"""Text lines over pyvisa, against a server that misbehaves on a real socket."""

from __future__ import annotations

import gc
import os
import resource as limits
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from daq.bus.line import Endpoint, LineSettings
from daq.bus.resource import make_line, parse_resource
from daq.bus.session import Session
from daq.bus.text import LONGEST, WireTextLine
from daq.bus.visa import VisaSocketWire, VisaWire, manager
from daq.errors import BadReply, InputError, LinkDown, NoReply
from tests.wire.peers import Answer, BlackHole, Connection, Peer, PtyPeer, TcpPeer, closed_port
from tests.wire.text_contract import IMPATIENT, LONG_S, SETTINGS, TextLineContract


class TestVisaSocket(TextLineContract):
    """What `TCPIP::host::port::SOCKET` becomes."""

    def make_peer(self, *answers: Answer) -> Peer:
        return TcpPeer(*answers)

    def make_line(self, peer: Peer, settings: LineSettings) -> WireTextLine:
        return socket_line(peer, settings)


class TestVisaSocketByTheStandard(TestVisaSocket):
    """The same, with only what any vendor's VISA library offers."""

    def make_line(self, peer: Peer, settings: LineSettings) -> WireTextLine:
        assert isinstance(peer, TcpPeer)
        return WireTextLine(Session(VisaWire(peer.visa, settings)), settings)


class TestVisaSerialByTheStandard(TextLineContract):
    """`ASRL...::INSTR` through VISA itself, as with a vendor's library."""

    def make_peer(self, *answers: Answer) -> Peer:
        return PtyPeer(*answers)

    def make_line(self, peer: Peer, settings: LineSettings) -> WireTextLine:
        assert isinstance(peer, PtyPeer)
        return WireTextLine(Session(VisaWire(f"ASRL{peer.device}::INSTR", settings)), settings)


def socket_line(peer: Peer, settings: LineSettings = SETTINGS) -> WireTextLine:
    assert isinstance(peer, TcpPeer)
    line = make_line(parse_resource(peer.visa), settings)
    assert isinstance(line, WireTextLine)
    return line


def test_a_port_that_nobody_serves_is_noticed_at_open() -> None:
    resource = parse_resource(f"TCPIP::127.0.0.1::{closed_port()}::SOCKET")
    with pytest.raises(LinkDown, match="refused"):
        make_line(resource, SETTINGS).open()


def test_an_address_that_swallows_connections_is_noticed_within_seconds() -> None:
    with BlackHole() as port:
        line = make_line(parse_resource(f"TCPIP::127.0.0.1::{port}::SOCKET"), IMPATIENT)
        began = time.monotonic()
        with pytest.raises(LinkDown, match="cannot be opened"):
            line.open()
        assert time.monotonic() - began < 10.0


def test_a_name_that_means_nothing_is_a_link_that_is_down() -> None:
    with pytest.raises(LinkDown, match="cannot be opened"):
        make_line(parse_resource("TCPIP::no.such.host.invalid::1::SOCKET"), SETTINGS).open()


@pytest.mark.parametrize("farewell", [Connection.hang_up, Connection.reset])
def test_a_peer_that_closes_is_noticed_at_once_and_costs_no_cpu(farewell: Answer) -> None:
    with TcpPeer(farewell) as peer:
        line = socket_line(peer)
        line.open()
        began, busy = time.monotonic(), time.thread_time()
        with pytest.raises(LinkDown, match="gone"):
            line.ask("*IDN?")
        assert time.thread_time() - busy < 0.1
        assert time.monotonic() - began < LONG_S / 2
        line.close()


def test_waiting_for_a_silent_peer_costs_no_cpu() -> None:
    with TcpPeer(None) as peer:
        line = socket_line(peer, replace(SETTINGS, timeout_s=0.5))
        line.open()
        busy = time.thread_time()
        with pytest.raises(NoReply):
            line.ask("*IDN?")
        assert time.thread_time() - busy < 0.1


def test_a_peer_that_closed_meanwhile_is_noticed_before_anything_is_sent() -> None:
    with TcpPeer(b"ok\n") as peer:
        line = socket_line(peer)
        line.open()
        line.ask("?")
        peer.connections[-1].hang_up()
        with pytest.raises(LinkDown, match="gone"):
            line.ask("OUTP 1")
        assert peer.heard == [b"?\n"]


def test_lines_that_came_before_the_end_are_given_out_before_it_is_reported() -> None:
    def last_words(end: Connection) -> None:
        end.send(b"one\ntwo\n")
        end.hang_up()

    with TcpPeer(last_words) as peer:
        line = socket_line(peer)
        line.open()
        assert line.ask("?") == "one"
        assert line.read_ready() == ["two"]
        with pytest.raises(LinkDown):
            for _ in range(1000):  # the end may take a moment longer than the lines
                assert line.read_ready() == []
                time.sleep(0.01)


def test_a_peer_that_babbles_without_a_terminator_is_cut_off() -> None:
    with TcpPeer(lambda end: end.flood(b"x" * 65536)) as peer:
        line = socket_line(peer)
        line.open()
        with pytest.raises(BadReply, match=str(LONGEST)):
            line.ask("?")


def test_a_peer_that_never_stops_cannot_hold_the_next_question_back() -> None:
    with TcpPeer(lambda end: end.flood(b"x" * 1000 + b"\n")) as peer:
        line = socket_line(peer, IMPATIENT)
        line.open()
        line.tell("stream")
        line.read_line()
        began = time.monotonic()
        with suppress(BadReply):
            line.ask("?")
        assert time.monotonic() - began < LONG_S / 2


def test_a_message_that_the_peer_does_not_take_ends_at_the_timeout() -> None:
    stuck = threading.Event()
    with TcpPeer(lambda _: stuck.wait(LONG_S) and None) as peer:
        line = socket_line(peer, IMPATIENT)
        line.open()
        began = time.monotonic()
        with pytest.raises(NoReply, match="does not take"):
            line.tell("x" * (1 << 24))
        assert time.monotonic() - began < LONG_S / 2
        stuck.set()


def test_small_messages_do_not_wait_for_each_others_acknowledgement() -> None:
    with TcpPeer(None) as peer:
        wire = VisaSocketWire(peer.visa, SETTINGS)
        wire.open(1.0)
        assert wire._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        wire.close()


def test_more_open_files_than_select_can_take_are_refused_with_the_remedy() -> None:
    soft, hard = limits.getrlimit(limits.RLIMIT_NOFILE)
    limits.setrlimit(limits.RLIMIT_NOFILE, (max(soft, 1200), hard))
    files: list[int] = []
    with TcpPeer(b"ok\n") as peer:
        try:
            gc.collect()  # else a descriptor below the limit may become free meanwhile
            while not files or files[-1] < 1030:
                files.append(os.open(os.devnull, os.O_RDONLY))
            with pytest.raises(LinkDown, match="fewer instruments"):
                socket_line(peer).open()
        finally:
            for file in files:
                os.close(file)
            limits.setrlimit(limits.RLIMIT_NOFILE, (soft, hard))


def test_there_is_one_resource_manager_for_all_threads() -> None:
    found: set[int] = set()
    threads = [threading.Thread(target=lambda: found.add(id(manager("@py")))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 1


def test_a_backend_that_is_not_there_is_a_mistake_in_the_lab_file() -> None:
    resource = parse_resource("GPIB0::5::INSTR")
    with pytest.raises(InputError, match="@nowhere"):
        make_line(resource, SETTINGS, "@nowhere")


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("TCPIP::10.0.0.21::5025::SOCKET", Endpoint("tcp", "10.0.0.21", 5025)),
        ("ASRL/dev/ttyUSB0::INSTR", Endpoint("serial", "/dev/ttyUSB0", 9600, "8N1")),
        ("GPIB0::5::INSTR", None),
        ("TCPIP::10.0.0.21::inst0::INSTR", None),
    ],
)
def test_the_sentinel_is_told_where_it_can_reach(name: str, endpoint: Endpoint | None) -> None:
    assert VisaWire(name, LineSettings()).endpoint() == endpoint
