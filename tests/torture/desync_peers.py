"""Instruments whose true value changes with every question, on a line that loses its place.

A peer answers what it hears, in order, and truly; what then happens to the answer is drawn: it
comes late, twice, in part, with garbage, from another unit, or not at all. Only so much of a
dialect is spoken as the drivers under test ask for.
"""

from __future__ import annotations

import random
import re
import struct
import time
from collections import Counter

from simulators.modbus import crc16
from tests.wire.peers import Connection, Peer, PtyPeer, TcpPeer

LATE_S = 0.03
"""How long a late answer takes; the lines of these tests wait for half of that."""

DRIP_S = 1.0
"""Between two bytes of an answer that drips."""

FAULTS = (
    "late", "silent", "twice", "again later", "half", "half, then the rest", "garbage",
    "garbage before", "foreign", "the one before",
)  # fmt: skip


class Mishaps:
    """What a peer does to its answers. Mixed into a `Peer`; `reply` makes the true answer.

    Attributes:
        truth: the number of the client's question; what the instrument measures is made of it.
        share: of the answers that something happens to, by chance.
        next: what happens to the next answers, "" for nothing; before chance has its turn.
        happened: how often what did.
    """

    share = 0.06
    truth = 0

    def prepare(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.next: list[str] = []
        self.happened: Counter[str] = Counter()
        self.exchanges = 0
        self._before = b""
        self._owed = b""

    def reply(self, message: bytes) -> bytes:
        raise NotImplementedError

    def foreign(self, answer: bytes) -> bytes:
        """The same answer as if another unit had given it; b"" where a dialect has no units."""
        return b""

    def answer(self, connection: Connection, message: bytes) -> None:
        whole = self.reply(message)
        if not whole:
            return
        self.exchanges += 1
        owed, self._owed = self._owed, b""
        fault = self.next.pop(0) if self.next else self._by_chance()
        self.happened[fault] += 1
        if fault == "drips":
            connection.drip(whole, DRIP_S)
        else:
            connection.send(owed + self._spoilt(fault, whole))
        self._before = whole

    def _by_chance(self) -> str:
        return self.random.choice(FAULTS) if self.random.random() < self.share else ""

    def _spoilt(self, fault: str, whole: bytes) -> bytes:
        cut = self.random.randrange(len(whole))
        noise = self.random.randbytes(self.random.randrange(1, 12))
        if fault == "late":
            time.sleep(LATE_S)
        if fault == "again later":
            self._owed = whole
        if fault == "half, then the rest":
            self._owed = whole[cut:]
        return {
            "silent": b"",
            "twice": whole * 2,
            "half": whole[:cut],
            "half, then the rest": whole[:cut],
            "garbage": noise,
            "garbage before": noise + whole,
            "flipped": self._flipped(whole),
            "foreign": self.foreign(whole) or whole,
            "the one before": self._before or whole,
        }.get(fault, whole)

    def _flipped(self, whole: bytes) -> bytes:
        """One bit of it the other way."""
        changed = bytearray(whole)
        changed[self.random.randrange(len(changed))] ^= 1 << self.random.randrange(8)
        return bytes(changed)


class LinePeer(Mishaps):
    """Messages that end with LF; `reply` is asked for each."""

    def listen(self, connection: Connection) -> None:
        arrived = b""
        while data := connection.hear():
            *whole, arrived = (arrived + data).split(b"\n")
            for line in whole:
                self.answer(connection, line)


class Keysight(LinePeer, TcpPeer):
    """An N6974A with its output off; its voltage is made of the number of the question."""

    CONSTANT = {
        b"*IDN?": b"Keysight Technologies,N6974A,MY00000121,A.02.04.1234",
        b"SYST:ERR?": b'+0,"No error"',
        b"FUNC?": b"VOLT",
        b"OUTP:PROT:MODE?;:SYST:ERR?": b'HIGHZ;+0,"No error"',
        b"CURR:PROT:STAT?;:SYST:ERR?": b'0;+0,"No error"',
    }
    LIMITS = (
        b"+0.000000E+00;+8.160000E+01;+1.000000E-02;+2.550000E+01;-2.500000E+00;-5.000000E-03"
        b";+9.600000E+01;-5.000000E-03;+1.000000E-02"
    )

    def reply(self, message: bytes) -> bytes:
        if message in self.CONSTANT:
            return self.CONSTANT[message] + b"\n"
        if message.startswith(b"VOLT? MIN"):
            return self.LIMITS + b"\n"
        if b"MEAS:VOLT?" not in message:
            return b""  # an order
        volts = b"%+.6E;%+.6E;+0;+0;+4" % (self.volts(self.truth), -1e-6 * (self.truth % 997))
        return (b"0;" + volts if message.startswith(b"OUTP?") else volts + b";0") + b"\n"

    @staticmethod
    def volts(number: int) -> float:
        return 2.0 + number % 20_000 * 1e-4

    def _serve(self, connection: Connection) -> None:
        self.listen(connection)


class PalmSens(LinePeer, PtyPeer):
    """An EmStat4 HR on a serial line, whose open-circuit voltage is made of the same number."""

    CONSTANT = {
        b"t": b"tes4_hr1500#Mar 12 2026 14:28:01\nR*\n", b"i": b"iES4HR20B0008\n",
        b"v": b"v01.09.00\n", b"Z": b"Z!0006\n", b"": b"\n",
    }  # fmt: skip

    def prepare(self, seed: int) -> None:
        super().prepare(seed)
        self._script: list[bytes] | None = None

    def reply(self, message: bytes) -> bytes:
        if message == b"e":
            self._script = []
            return b""
        if self._script is None:
            return self.CONSTANT.get(message, b"x!0003\n")
        if message:
            self._script.append(message)
            return b""
        script, self._script = self._script, None
        return b"e\n" + self._run(script) + b"\n"

    def _run(self, script: list[bytes]) -> bytes:
        output = b""
        for command in script:
            if command == b"pck_end":
                output += b"Pab%07Xu\n" % (0x8000000 + self.microvolts(self.truth))
            if said := re.fullmatch(rb'send_string "(.*)"', command):
                output += b"T" + said[1] + b"\n"
        return output

    @staticmethod
    def microvolts(number: int) -> int:
        return 3_000_000 + number % 500_000

    def _serve(self, connection: Connection) -> None:
        self.listen(connection)


class Binder(Mishaps, TcpPeer):
    """An MB2 with humidity, behind a converter (RTU frames) or a gateway (Modbus TCP)."""

    TEMPERATURE, HUMIDITY, CONTACTS = 0x1004, 0x100A, 0x1158
    OTHER = 9
    framing = "rtu"

    def reply(self, message: bytes) -> bytes:
        unit, function, address, count = struct.unpack(">BBHH", message[-6:])
        words = {
            self.TEMPERATURE: self._words(self.degC(self.truth)),
            self.HUMIDITY: self._words(self.percent(self.truth)),
            self.CONTACTS: [0x0002],
        }[address]
        assert len(words) == count
        body = struct.pack(f">BBB{count}H", unit, function, 2 * count, *words)
        return self._framed(message[:2], body)

    def _framed(self, number: bytes, body: bytes) -> bytes:
        if self.framing == "rtu":
            return body + crc16(body)
        return number + struct.pack(">HH", 0, len(body)) + body

    def foreign(self, answer: bytes) -> bytes:
        if self.framing == "rtu":
            return self._framed(b"", bytes([self.OTHER]) + answer[1:-2])
        return self._framed(answer[:2], bytes([self.OTHER]) + answer[7:])

    @staticmethod
    def _words(value: float) -> list[int]:
        high, low = struct.unpack(">HH", struct.pack(">f", value))
        return [low, high]

    @staticmethod
    def degC(number: int) -> float:
        return 20.0 + number % 4000 * 0.01

    @staticmethod
    def percent(number: int) -> float:
        return 10.0 + number % 3989 * 0.02

    def _serve(self, connection: Connection) -> None:
        size, arrived = (8, b"") if self.framing == "rtu" else (12, b"")
        while data := connection.hear():
            arrived += data
            while len(arrived) >= size:
                frame, arrived = arrived[:size], arrived[size:]
                self.answer(connection, frame[:6] if self.framing == "rtu" else frame)


class BinderTcp(Binder):
    framing = "tcp"


class Relays(Binder):
    """A module of eight relays, which move with every question. RTU frames."""

    def reply(self, message: bytes) -> bytes:
        unit, function, _, count = struct.unpack(">BBHH", message)
        assert (function, count) == (1, 8)
        return self._framed(b"", bytes((unit, function, 1, self.truth & 0xFF)))


AnyPeer = Keysight | PalmSens | Binder
assert issubclass(Keysight, Peer)
