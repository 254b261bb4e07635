"""Modbus lines, against gateways that misbehave on real sockets and pseudo-terminals."""

from __future__ import annotations

import re
import select
import struct
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.bus.line import Endpoint, LineSettings
from daq.bus.modbus import Framing, ModbusLine
from daq.bus.resource import make_line, parse_resource
from daq.bus.session import Session
from daq.bus.wire import TcpWire
from daq.errors import BadReply, InstrumentError, InstrumentRefused, LinkDown, NoReply
from tests.exchange.scripted import with_crc
from tests.wire.peers import Answer, Connection, Peer, PtyPeer, TcpPeer, closed_port
from tests.wire.text_contract import IMPATIENT, LONG_S, SETTINGS

READ_PV = bytes.fromhex("010311a90002 1117")
PV_23_5 = bytes.fromhex("01030400 0041bc cbd2")
EXCEPTION_2 = bytes.fromhex("018302c0f1")
WRITE_SP = bytes.fromhex("0110158100020466664220077c")
SP_WRITTEN = bytes.fromhex("01101581000215ec")
MODE_MANUAL = bytes.fromhex("01061a2208002918")


def rtu(unit: int, pdu: str) -> bytes:
    return with_crc(bytes([unit]) + bytes.fromhex(pdu))


def mbap(number: int, unit: int, pdu: str) -> bytes:
    body = bytes([unit]) + bytes.fromhex(pdu)
    return struct.pack(">HHH", number, 0, len(body)) + body


class Lines:
    """Makes peers and open lines to them."""

    def __init__(self) -> None:
        self._peers: list[Peer] = []
        self._lines: list[ModbusLine] = []

    def __call__(
        self, form: str, *answers: Answer, to: LineSettings = SETTINGS
    ) -> tuple[Peer, ModbusLine]:
        peer = (PtyPeer if form == "modbus+rtu" else TcpPeer)(*answers)
        self._peers.append(peer.__enter__())
        return peer, self.another(peer, form, to)

    def another(self, peer: Peer, form: str, to: LineSettings = SETTINGS) -> ModbusLine:
        where = peer.device if isinstance(peer, PtyPeer) else f"127.0.0.1:{peer.port}"
        scheme, _, option = form.partition("?")
        text = f"{scheme}://{where}" + ("?" + option if option else "")
        line = make_line(parse_resource(text), to)
        assert isinstance(line, ModbusLine)
        self._lines.append(line)
        line.open()
        return line

    def close(self) -> None:
        for line in self._lines:
            line.close()
        for peer in self._peers:
            peer.__exit__(None, None, None)


@pytest.fixture
def lines() -> Iterator[Lines]:
    made = Lines()
    yield made
    made.close()


RTU = pytest.mark.parametrize("form", ["modbus+rtu+tcp", "modbus+rtu"])
ONCE = "modbus+rtu+tcp?session=per-exchange"


@RTU
def test_rtu_frames_are_those_of_the_manual(lines: Lines, form: str) -> None:
    peer, line = lines(form, PV_23_5, SP_WRITTEN, MODE_MANUAL)
    assert line.read(0x11A9, 2) == [0x0000, 0x41BC]
    line.write(0x1581, [0x6666, 0x4220])
    line.write_one(0x1A22, 0x0800)
    assert peer.heard == [READ_PV, WRITE_SP, MODE_MANUAL]


def test_tcp_frames_are_numbered_and_carry_the_unit(lines: Lines) -> None:
    answers = mbap(1, 7, "03 02 00d2"), mbap(2, 7, "10 0010 0002"), mbap(3, 7, "06 0020 0001")
    peer, line = lines("modbus+tcp", *answers, to=replace(SETTINGS, unit=7))
    assert line.read(0x0A) == [0xD2]
    line.write(0x10, [1, 2])
    line.write_one(0x20, 1)
    assert peer.heard == [
        mbap(1, 7, "03 000a 0001"),
        mbap(2, 7, "10 0010 0002 04 0001 0002"),
        mbap(3, 7, "06 0020 0001"),
    ]


@RTU
def test_bits_are_read_and_written_as_the_specification_shows(lines: Lines, form: str) -> None:
    """The examples of "MODBUS Application Protocol" V1.1b3, 6.1, 6.2 and 6.5."""
    coils, inputs = rtu(1, "01 03 cd6b05"), rtu(1, "02 03 acdb35")
    written = rtu(1, "05 00ac ff00")
    peer, line = lines(form, coils, inputs, written)
    assert line.read_coils(0x13, 19) == [bit == "1" for bit in "1011001111010110101"]
    assert line.read_inputs(0xC4, 22) == [bit == "1" for bit in "0011010111011011101011"]
    line.write_coil(0xAC, True)
    assert peer.heard == [rtu(1, "01 0013 0013"), rtu(1, "02 00c4 0016"), written]


@pytest.mark.parametrize("reply", ["02 01 ff", "02 03 ffffff", "02 00"])
def test_more_or_fewer_bits_than_were_asked_for_are_no_bits(lines: Lines, reply: str) -> None:
    _, line = lines("modbus+tcp", mbap(1, 1, reply))
    with pytest.raises(BadReply):
        line.read_inputs(0, 12)


@pytest.mark.parametrize("echo", ["05 0000 ff00", "05 0001 0000"])
def test_a_coil_whose_echo_is_of_another_or_the_other_way_is_not_written(
    lines: Lines, echo: str
) -> None:
    _, line = lines("modbus+tcp", mbap(1, 1, echo))
    with pytest.raises(BadReply):
        line.write_coil(0, False)


def test_coils_are_no_inputs(lines: Lines) -> None:
    _, line = lines("modbus+tcp", mbap(1, 1, "01 01 ff"))
    with pytest.raises(BadReply, match="function 1"):
        line.read_inputs(0, 8)


@pytest.mark.parametrize("form", ["modbus+rtu+tcp", "modbus+tcp"])
def test_the_raw_frames_of_a_coil_are_those_of_the_write(lines: Lines, form: str) -> None:
    _, line = lines(form)
    exchange = line.write_coil_exchange(0xAC, False)
    pdu = "05 00ac 0000"
    assert exchange.send == (rtu(1, pdu) if form == "modbus+rtu+tcp" else mbap(1, 1, pdu))
    assert re.fullmatch(exchange.expect, exchange.send, re.DOTALL)


@RTU
def test_a_refusal_names_the_code_and_leaves_the_line_open(lines: Lines, form: str) -> None:
    _, line = lines(form, EXCEPTION_2, PV_23_5)
    with pytest.raises(InstrumentRefused, match="exception 2: it has no such address"):
        line.read(0x11A9, 2)
    assert line.read(0x11A9, 2) == [0x0000, 0x41BC]


def test_a_gateway_that_cannot_reach_its_unit_refuses(lines: Lines) -> None:
    _, line = lines("modbus+tcp", mbap(1, 1, "83 0b"))
    with pytest.raises(InstrumentRefused, match="behind the gateway"):
        line.read(0)


@pytest.mark.fault("F05", "F07", "F10")
@RTU
@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(PV_23_5[:-1] + b"\x00", id="wrong checksum"),
        pytest.param(rtu(2, "03 04 0000 41bc"), id="another unit"),
        pytest.param(rtu(1, "03 02 41bc"), id="too few registers"),
        pytest.param(rtu(1, "03 05 0000 41bc 00"), id="an odd count"),
        pytest.param(rtu(1, "04 04 0000 41bc"), id="input registers"),
        pytest.param(rtu(1, "06 11a9 0002"), id="another function"),
        pytest.param(rtu(1, "63 00 00"), id="a function that does not exist"),
    ],
)
def test_a_wrong_reply_is_refused_and_the_line_is_dropped(
    lines: Lines, form: str, reply: bytes
) -> None:
    _, line = lines(form, reply, to=IMPATIENT)
    with pytest.raises(BadReply):
        line.read(0x11A9, 2)
    with pytest.raises(LinkDown, match="not open"):
        line.read(0x11A9, 2)


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(mbap(1, 9, "03 02 0001"), id="another unit"),
        pytest.param(mbap(1, 1, "03 04 0001 0002"), id="too many registers"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="another language"),
        pytest.param(mbap(1, 1, "03 02 00"), id="a length that lies"),
        pytest.param(mbap(1, 1, "03 02 0001 0002"), id="more than its count"),
        pytest.param(mbap(1, 1, "03 03 000100"), id="an odd count"),
        pytest.param(mbap(1, 1, "04 02 0001"), id="input registers"),
        pytest.param(mbap(0, 1, "03 02 0001"), id="no number"),
    ],
)
def test_a_wrong_tcp_reply_is_refused(lines: Lines, reply: bytes) -> None:
    _, line = lines("modbus+tcp", reply, to=IMPATIENT)
    with pytest.raises(BadReply):
        line.read(0)


@RTU
def test_an_echo_of_another_register_or_value_is_refused(lines: Lines, form: str) -> None:
    for reply in (rtu(1, "06 1a23 0800"), rtu(1, "06 1a22 0801")):
        _, line = lines(form, reply)
        with pytest.raises(BadReply, match="echo"):
            line.write_one(0x1A22, 0x0800)
    _, line = lines(form, rtu(1, "10 1581 0001"))
    with pytest.raises(BadReply, match="echo"):
        line.write(0x1581, [0x6666, 0x4220])


@pytest.mark.fault("F06")
@RTU
def test_a_truncated_frame_is_a_bad_reply(lines: Lines, form: str) -> None:
    _, line = lines(form, PV_23_5[:5], to=IMPATIENT)
    with pytest.raises(BadReply, match="part of a frame"):
        line.read(0x11A9, 2)


@RTU
def test_a_reply_in_pieces_is_one_reply(lines: Lines, form: str) -> None:
    _, line = lines(form, lambda end: end.drip(PV_23_5, 0.005))
    assert line.read(0x11A9, 2) == [0x0000, 0x41BC]


@pytest.mark.fault("F04")
@RTU
def test_a_reply_that_drips_does_not_outlast_the_deadline(lines: Lines, form: str) -> None:
    _, line = lines(form, lambda end: end.drip(rtu(1, "03 fa" + 250 * "00"), 0.05), to=IMPATIENT)
    began = time.monotonic()
    with pytest.raises(BadReply, match="part of a frame"):
        line.read(0, 125)
    assert time.monotonic() - began < 5.0  # the whole drip lasts 13 s


@pytest.mark.fault("F09")
@RTU
def test_a_late_reply_never_answers_the_next_question(lines: Lines, form: str) -> None:
    peer, line = lines(form, None, rtu(1, "03 02 0002"), to=IMPATIENT)
    with pytest.raises(NoReply):
        line.read(0)
    peer.push(rtu(1, "03 02 0001"))
    with pytest.raises(LinkDown, match="not open"):
        line.read(0)
    line.close()
    line.settings = SETTINGS
    line.open()
    assert line.read(0) == [2]


@pytest.mark.fault("F08")
@RTU
def test_a_second_reply_never_answers_the_next_question(lines: Lines, form: str) -> None:
    peer, line = lines(form, rtu(1, "03 02 0001"), rtu(1, "03 02 0002"))
    assert line.read(0) == [1]
    peer.push(rtu(1, "03 02 0001"))
    _wait_for_bytes(line)
    assert line.read(0) == [2]


def _wait_for_bytes(line: ModbusLine) -> None:
    wire = line._wire
    end = wire._socket if isinstance(wire, TcpWire) else wire._port
    assert select.select([end], [], [], LONG_S)[0]


def test_tcp_skips_a_frame_with_an_older_number(lines: Lines) -> None:
    _, line = lines("modbus+tcp", mbap(77, 1, "03 02 0bad") + mbap(1, 1, "03 02 0001"))
    assert line.read(0) == [1]


def test_tcp_skips_a_late_frame_that_comes_alone(lines: Lines) -> None:
    def late_then_right(end: Connection) -> None:
        end.send(mbap(77, 1, "03 02 0bad"))
        end.drip(mbap(1, 1, "03 02 0001"), 0.01)

    _, line = lines("modbus+tcp", late_then_right)
    assert line.read(0) == [1]


def test_a_port_that_nobody_serves_is_noticed_at_open() -> None:
    line = make_line(parse_resource(f"modbus+tcp://127.0.0.1:{closed_port()}"), SETTINGS)
    with pytest.raises(LinkDown, match="refused"):
        line.open()


@pytest.mark.parametrize("farewell", [Connection.hang_up, Connection.reset])
@pytest.mark.parametrize("form", ["modbus+tcp", "modbus+rtu+tcp"])
def test_a_peer_that_closes_is_noticed_at_once_and_is_not_called_again(
    lines: Lines, form: str, farewell: Answer
) -> None:
    peer, line = lines(form, farewell)
    began, busy = time.monotonic(), time.thread_time()
    with pytest.raises(LinkDown, match="gone"):
        line.read(0)
    assert time.thread_time() - busy < 0.1
    assert time.monotonic() - began < LONG_S / 2
    with pytest.raises(LinkDown, match="not open"):
        line.read(0)
    assert len(peer.connections) == 1


def test_two_units_behind_one_gateway_share_its_connection(lines: Lines) -> None:
    peer, first = lines("modbus+rtu+tcp", rtu(1, "03 02 0001"), rtu(2, "03 02 0002"), b"")
    second = lines.another(peer, "modbus+rtu+tcp", replace(SETTINGS, unit=2))
    assert (first.read(0), second.read(0)) == ([1], [2])
    first.close()
    peer.answers[:] = [rtu(2, "03 02 0003")]
    assert second.read(0) == [3]
    assert len(peer.connections) == 1


def test_a_silent_unit_costs_its_neighbour_on_rtu_one_reopening(lines: Lines) -> None:
    peer, first = lines("modbus+rtu+tcp", None, rtu(2, "03 02 0002"), to=IMPATIENT)
    second = lines.another(peer, "modbus+rtu+tcp", replace(SETTINGS, unit=2))
    with pytest.raises(NoReply):
        first.read(0)
    with pytest.raises(LinkDown, match="not open"):
        second.read(0)
    second.close()
    second.open()
    assert second.read(0) == [2]
    assert len(peer.connections) == 2


def test_a_silent_unit_costs_its_neighbour_on_tcp_nothing(lines: Lines) -> None:
    peer, first = lines("modbus+tcp", None, mbap(1, 2, "03 02 0002"), to=IMPATIENT)
    second = lines.another(peer, "modbus+tcp", replace(SETTINGS, unit=2))
    with pytest.raises(NoReply):
        first.read(0)
    with pytest.raises(LinkDown, match="not open"):
        first.read(0)
    assert second.read(0) == [2]
    assert len(peer.connections) == 1


def test_a_connection_per_exchange_is_never_held(lines: Lines) -> None:
    peer, line = lines(ONCE, PV_23_5, EXCEPTION_2, SP_WRITTEN)
    assert not peer.connections
    line.read(0x11A9, 2)
    with pytest.raises(InstrumentRefused):
        line.read(0, 2)
    line.write(0x1581, [0x6666, 0x4220])
    assert len(peer.connections) == 3
    assert all(end.hear() == b"" for end in peer.connections)


def test_a_connection_per_exchange_that_fails_is_reported_and_not_repeated(lines: Lines) -> None:
    peer, line = lines(ONCE, None, PV_23_5, to=IMPATIENT)
    with pytest.raises(NoReply):
        line.read(0x11A9, 2)
    with pytest.raises(LinkDown, match="not open"):
        line.read(0x11A9, 2)
    assert len(peer.connections) == 1


@RTU
def test_the_gap_between_exchanges_is_kept(lines: Lines, form: str) -> None:
    peer, line = lines(form, PV_23_5, to=replace(SETTINGS, gap_s=0.08))
    for _ in range(3):
        line.read(0x11A9, 2)
    gaps = [b - a for a, b in zip(peer.heard_at, peer.heard_at[1:], strict=False)]
    assert min(gaps) > 0.075


@pytest.mark.parametrize("form", ["modbus+tcp", "modbus+rtu+tcp", "modbus+rtu"])
def test_the_sentinels_bytes_are_answered_as_it_expects(lines: Lines, form: str) -> None:
    def served(pdu: str) -> bytes:
        return mbap(1, 1, pdu) if form == "modbus+tcp" else rtu(1, pdu)

    _, line = lines(form, None)
    one, many = line.write_exchange(0x1A22, [0]), line.write_exchange(0x1581, [0x0D0A, 0x2E2A])
    assert one.send == served("06 1a22 0000")
    assert many.send == served("10 1581 0002 04 0d0a 2e2a")
    assert re.fullmatch(one.expect, served("06 1a22 0000"), re.DOTALL)
    assert re.fullmatch(many.expect, served("10 1581 0002"), re.DOTALL)
    assert not re.fullmatch(one.expect, served("06 1a22 0001"), re.DOTALL)


def test_the_sentinel_is_told_where_it_can_reach(lines: Lines) -> None:
    peer, line = lines("modbus+rtu+tcp", None)
    assert isinstance(peer, TcpPeer)
    assert line.endpoint() == Endpoint("tcp", "127.0.0.1", peer.port)


class Replay:
    """A wire that gives out one prepared reply, in the pieces that hypothesis chose."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.is_open = False
        self._pieces = pieces

    def open(self, timeout_s: float) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def send(self, data: bytes, deadline: float) -> None:
        return

    def receive(self, deadline: float) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def receive_now(self) -> bytes:
        return b""

    def endpoint(self) -> Endpoint | None:
        return None


@settings(deadline=None, max_examples=500)
@given(
    st.sampled_from(["tcp", "rtu"]),
    st.lists(st.binary(min_size=1, max_size=40), max_size=12),
    st.binary(max_size=3),
)
def test_any_bytes_at_all_end_in_registers_or_in_an_instrument_error(
    framing: Framing, pieces: list[bytes], start: bytes
) -> None:
    likely = [b"\x01\x03" + start, b"\x00\x01\x00\x00\x00" + start]
    line = ModbusLine(
        Session(Replay([*likely[framing == "tcp" :][:1], *pieces])), SETTINGS, framing
    )
    line.open()
    try:
        assert len(line.read(0, 2)) == 2
    except InstrumentError as error:
        assert str(error)
