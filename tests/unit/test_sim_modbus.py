"""Modbus framing, byte by byte; frames as BINDER controllers exchange them."""

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.clock import ManualClock
from simulators.modbus import MbapSession, RtuSession, crc16
from simulators.wire import RegisterError, RegisterSilence

READ_PV = bytes.fromhex("01 03 11 A9 00 02 11 17")
PV_23_5 = bytes.fromhex("01 03 04 00 00 41 BC CB D2")
WRITE_40_1 = bytes.fromhex("01 10 15 81 00 02 04 66 66 42 20 07 7C")
WRITTEN = bytes.fromhex("01 10 15 81 00 02 15 EC")
MODE_MANUAL = bytes.fromhex("01 06 1A 22 08 00 29 18")


class Registers:
    """Unit 1 knows what was written and the process value."""

    name = "box"
    max_connections = 1

    def __init__(self) -> None:
        self.words = {0x11A9: 0x0000, 0x11AA: 0x41BC}

    def advance(self) -> None:
        """Nothing moves."""

    def read(self, unit: int, address: int, count: int) -> list[int]:
        if unit != 1:
            raise RegisterSilence
        try:
            return [self.words[address + n] for n in range(count)]
        except KeyError:
            raise RegisterError(2) from None

    def write(self, unit: int, address: int, values: Sequence[int]) -> None:
        self.words.update(enumerate(values, start=address))


@pytest.fixture
def box() -> Registers:
    return Registers()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def rtu(box, clock) -> RtuSession:
    return RtuSession(box, clock)


@pytest.fixture
def mbap(box) -> MbapSession:
    return MbapSession(box)


def said(outs) -> bytes:
    return b"".join(out.data for out in outs)


def framed(body: bytes) -> bytes:
    return body + crc16(body)


def test_a_read_is_answered_word_by_word(rtu):
    assert said(rtu.feed(READ_PV)) == PV_23_5


def test_function_4_reads_the_same_words(rtu):
    reply = said(rtu.feed(framed(bytes.fromhex("01 04 11 A9 00 02"))))
    assert reply == framed(bytes.fromhex("01 04 04 00 00 41 BC"))


def test_several_words_are_written_at_once(rtu, box):
    assert said(rtu.feed(WRITE_40_1)) == WRITTEN
    assert (box.words[0x1581], box.words[0x1582]) == (0x6666, 0x4220)


def test_one_word_is_written_and_echoed(rtu, box):
    assert said(rtu.feed(MODE_MANUAL)) == MODE_MANUAL
    assert box.words[0x1A22] == 0x0800


@pytest.mark.parametrize("cut", range(1, len(WRITE_40_1)))
def test_a_frame_may_arrive_in_two_pieces(rtu, cut):
    assert said(rtu.feed(WRITE_40_1[:cut])) == b""
    assert said(rtu.feed(WRITE_40_1[cut:])) == WRITTEN


def test_two_frames_may_arrive_in_one_piece(rtu):
    assert said(rtu.feed(READ_PV + MODE_MANUAL)) == PV_23_5 + MODE_MANUAL


def test_an_exception_has_its_code_and_the_high_bit(rtu):
    request = framed(bytes.fromhex("01 03 00 01 00 01"))
    assert said(rtu.feed(request)) == bytes.fromhex("01 83 02 C0 F1")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ("01 03 11 A9 00 00", 3),
        ("01 03 11 A9 00 7E", 3),
        ("01 10 15 81 00 03 04 66 66 42 20", 3),
        ("01 2B 0E 01 00 00", 1),
    ],
)
def test_a_request_that_makes_no_sense_is_an_exception(rtu, request_, code):
    reply = said(rtu.feed(framed(bytes.fromhex(request_))))
    assert reply[1] & 0x80
    assert reply[2] == code


def test_a_wrong_checksum_is_not_answered_and_does_no_harm(rtu):
    assert said(rtu.feed(READ_PV[:-1] + b"\x00")) == b""
    assert said(rtu.feed(READ_PV)) == PV_23_5


def test_another_unit_is_not_answered(rtu):
    assert said(rtu.feed(framed(bytes.fromhex("02 03 11 A9 00 02")))) == b""


def test_a_broadcast_is_obeyed_and_not_answered(rtu, box):
    assert said(rtu.feed(framed(bytes.fromhex("00 06 1A 22 08 00")))) == b""
    assert box.words[0x1A22] == 0x0800


def test_half_a_frame_is_abandoned_after_a_gap(rtu, clock):
    rtu.feed(READ_PV[:5])
    clock.advance(0.1)
    rtu.tick()
    assert said(rtu.feed(READ_PV)) == PV_23_5


def test_a_pause_within_a_tcp_segmented_frame_is_no_gap(rtu, clock):
    rtu.feed(READ_PV[:5])
    clock.advance(0.01)
    rtu.tick()
    assert said(rtu.feed(READ_PV[5:])) == PV_23_5


@given(st.binary(max_size=64))
def test_no_bytes_upset_a_serial_line_for_longer_than_a_gap(noise):
    clock, box = ManualClock(), Registers()
    session = RtuSession(box, clock)
    session.feed(noise) if noise else None
    clock.advance(1.0)
    session.tick()
    assert said(session.feed(framed(bytes.fromhex("01 06 00 05 00 07"))))[:2] == b"\x01\x06"
    assert box.words[5] == 7


def test_an_mbap_frame_is_answered_under_its_transaction_number(mbap):
    request = bytes.fromhex("BE EF 00 00 00 06 01 03 11 A9 00 02")
    assert said(mbap.feed(request)) == bytes.fromhex("BE EF 00 00 00 07 01 03 04 00 00 41 BC")


def test_mbap_frames_may_be_cut_and_joined_anywhere(mbap):
    request = bytes.fromhex("BE EF 00 00 00 06 01 03 11 A9 00 02")
    outs = [out for byte in request * 2 for out in mbap.feed(bytes([byte]))]
    assert len(outs) == 2


def test_mbap_nonsense_is_dropped(mbap):
    assert said(mbap.feed(bytes.fromhex("BE EF 00 07 00 06 01 03 11 A9 00 02"))) == b""
    assert said(mbap.feed(bytes.fromhex("00 01 00 00 00 06 01 03 11 A9 00 02")))


def test_mbap_of_another_unit_is_not_answered(mbap):
    assert said(mbap.feed(struct.pack(">HHHBBHH", 1, 0, 6, 9, 3, 0x11A9, 2))) == b""
