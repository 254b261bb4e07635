"""What every text line must do, whatever it runs over; subclassed once for each transport."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from daq.bus.line import LineSettings
from daq.bus.text import WireTextLine
from daq.errors import BadReply, LinkDown, NoReply
from tests.wire.peers import Answer, Peer

LONG_S = 20.0
"""A timeout that a test must not reach."""

SHORT_S = 0.15
"""A timeout that a test waits for."""

SETTINGS = LineSettings(timeout_s=LONG_S, baud=115200)
IMPATIENT = replace(SETTINGS, timeout_s=SHORT_S)


class TextLineContract:
    """Subclasses say how a peer is made and how a line to it."""

    def make_peer(self, *answers: Answer) -> Peer:
        raise NotImplementedError

    def make_line(self, peer: Peer, settings: LineSettings) -> WireTextLine:
        raise NotImplementedError

    @pytest.fixture
    def pair(self) -> Iterator[_Pairs]:
        pairs = _Pairs(self)
        yield pairs
        pairs.close()

    def test_a_question_gets_its_reply_without_the_terminator(self, pair: _Pairs) -> None:
        peer, line = pair(b"+3.7E+00\n")
        assert line.ask("MEAS:VOLT?") == "+3.7E+00"
        assert peer.heard == [b"MEAS:VOLT?\n"]

    def test_an_order_waits_for_no_reply(self, pair: _Pairs) -> None:
        peer, line = pair(None)
        line.tell("OUTP 0")
        peer.wait_for(lambda: peer.heard == [b"OUTP 0\n"])

    def test_terminators_of_several_bytes_differ_by_direction(self, pair: _Pairs) -> None:
        settings = replace(SETTINGS, terminator=b"\r", read_terminator=b"\r\n")
        peer, line = pair(b"a\rb\r\n", settings=settings)
        assert line.ask("TEMP?") == "a\rb"
        assert peer.heard == [b"TEMP?\r"]

    def test_silence_ends_at_the_timeout(self, pair: _Pairs) -> None:
        _, line = pair(None, settings=IMPATIENT)
        with pytest.raises(NoReply):
            line.ask("BOGUS?")

    @pytest.mark.fault("F09")
    def test_a_late_reply_never_answers_the_next_question(self, pair: _Pairs) -> None:
        peer, line = pair(None, b"new\n", settings=IMPATIENT)
        with pytest.raises(NoReply):
            line.ask("OLD?")
        peer.push(b"old\n")
        for use in (lambda: line.ask("NEW?"), lambda: line.tell("X"), line.read_line):
            with pytest.raises(LinkDown, match="not open"):
                use()
        line.close()
        line.settings = SETTINGS
        line.open()
        assert line.ask("NEW?") == "new"
        assert peer.heard == [b"OLD?\n", b"NEW?\n"]

    @pytest.mark.fault("F08")
    def test_a_second_reply_never_answers_the_next_question(self, pair: _Pairs) -> None:
        _, line = pair(b"first\nfirst\n", b"second\n")
        assert line.ask("1?") == "first"
        assert line.ask("2?") == "second"

    def test_bytes_that_nobody_asked_for_are_dropped_before_a_question(self, pair: _Pairs) -> None:
        peer, line = pair(b"right\n")
        peer.push(b"wrong\nhalf of a wrong li")
        _until(lambda: line.read_ready() == ["wrong"])
        assert line.ask("?") == "right"

    @pytest.mark.fault("F06")
    def test_half_a_line_is_a_bad_reply(self, pair: _Pairs) -> None:
        _, line = pair(b"+3.7", settings=IMPATIENT)
        with pytest.raises(BadReply, match=r"\+3\.7"):
            line.ask("MEAS:VOLT?")

    @pytest.mark.fault("F05")
    @pytest.mark.parametrize("reply", [b"\xff\x00\xfe3.7\n", b"\x003.7\n", b"3.\x1b7\n", b"\x7f\n"])
    def test_garbage_is_a_bad_reply_and_the_line_is_dropped(
        self, pair: _Pairs, reply: bytes
    ) -> None:
        _, line = pair(reply, b"+3.7\n")
        with pytest.raises(BadReply, match="garbage"):
            line.ask("MEAS:VOLT?")
        with pytest.raises(LinkDown, match="not open"):
            line.ask("MEAS:VOLT?")

    @pytest.mark.fault("F04")
    def test_a_reply_that_drips_does_not_outlast_the_deadline(self, pair: _Pairs) -> None:
        _, line = pair(lambda end: end.drip(b"x" * 200, 0.05), settings=IMPATIENT)
        began = time.monotonic()
        with pytest.raises(BadReply, match="part of a line"):
            line.ask("MEAS:VOLT?")
        assert time.monotonic() - began < 5.0  # the whole drip lasts 10 s

    def test_a_reply_in_pieces_is_one_reply(self, pair: _Pairs) -> None:
        _, line = pair(lambda end: end.drip(b"+3.7E+00\n", 0.005))
        assert line.ask("MEAS:VOLT?") == "+3.7E+00"

    def test_further_lines_of_a_reply_are_read_one_by_one(self, pair: _Pairs) -> None:
        _, line = pair(b"one\ntwo\nthree\n")
        assert [line.ask("HELP"), line.read_line(), line.read_line()] == ["one", "two", "three"]

    def test_waiting_for_a_line_that_does_not_come_drops_the_line(self, pair: _Pairs) -> None:
        _, line = pair(None, settings=IMPATIENT)
        with pytest.raises(NoReply):
            line.read_line()
        with pytest.raises(LinkDown, match="not open"):
            line.read_ready()

    def test_a_stream_is_read_by_whole_lines_and_loses_nothing(self, pair: _Pairs) -> None:
        peer, line = pair(b"")
        lines: list[str] = []
        assert line.read_ready() == []
        for piece, so_far in ((b"e\nM00", 1), (b"01\nPda", 2), (b"80\n\n*\n", 5)):
            peer.push(piece)
            _until(lambda so_far=so_far: lines.extend(line.read_ready()) or len(lines) >= so_far)
        assert lines == ["e", "M0001", "Pda80", "", "*"]

    def test_telling_does_not_drop_what_a_running_script_has_sent(self, pair: _Pairs) -> None:
        peer, line = pair(None)
        peer.push(b"Pda1\n")
        line.tell("Z")
        assert line.read_line() == "Pda1"

    def test_the_gap_after_an_exchange_is_kept(self, pair: _Pairs) -> None:
        peer, line = pair(b"ok\n", settings=replace(SETTINGS, gap_s=0.08))
        for _ in range(3):
            line.ask("?")
        gaps = [b - a for a, b in zip(peer.heard_at, peer.heard_at[1:], strict=False)]
        assert min(gaps) > 0.075

    def test_a_line_that_is_not_open_says_so(self, pair: _Pairs) -> None:
        _, line = pair(b"ok\n")
        line.close()
        line.close()
        with pytest.raises(LinkDown, match="open it again"):
            line.ask("?")

    def test_a_line_may_be_opened_again_and_again(self, pair: _Pairs) -> None:
        _, line = pair(b"ok\n")
        for _ in range(5):
            assert line.ask("?") == "ok"
            line.close()
            line.open()


class _Pairs:
    """Makes peers with their lines, and ends them."""

    def __init__(self, contract: TextLineContract) -> None:
        self._contract = contract
        self._made: list[tuple[Peer, WireTextLine]] = []

    def __call__(
        self, *answers: Answer, settings: LineSettings = SETTINGS
    ) -> tuple[Peer, WireTextLine]:
        peer = self._contract.make_peer(*answers).__enter__()
        line = self._contract.make_line(peer, settings)
        self._made.append((peer, line))
        line.open()
        return peer, line

    def close(self) -> None:
        for peer, line in self._made:
            line.close()
            peer.__exit__(None, None, None)


def _until(condition) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)
