"""Modbus framing around a `RegisterInstrument`: RTU (serial or raw on TCP) and MBAP (TCP).

Hand-made rather than a library's server, because the instruments' own oddities live here: an RTU
frame with its CRC straight on a TCP socket, a wrong unit that stays silent, one connection at a
time, and line faults that must be able to break a frame in two.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

from simulators.clock import Clock
from simulators.wire import BitInstrument, Out, RegisterError, RegisterInstrument, RegisterSilence

_ILLEGAL_FUNCTION, _ILLEGAL_VALUE = 1, 3
_MOST_READ, _MOST_WRITTEN, _MOST_BITS = 125, 123, 2000
_LONGEST_MBAP = 254
_FRAME_GAP_S = 0.05  # a frame that has not grown for so long is abandoned


def _crc_table() -> list[int]:
    table: list[int] = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC_TABLE = _crc_table()


def crc16(frame: bytes) -> bytes:
    """Return the Modbus checksum, low byte first."""
    crc = 0xFFFF
    for byte in frame:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return struct.pack("<H", crc)


def answer(instrument: RegisterInstrument, unit: int, request: bytes) -> bytes | None:
    """Return the reply to a request without its framing, or None for no reply.

    Args:
        instrument: Whose registers.
        unit: The address asked for.
        request: Function code and data.
    """
    serve = _FUNCTIONS.get(request[0])
    try:
        if serve is None:
            raise RegisterError(_ILLEGAL_FUNCTION)
        return serve(instrument, unit, request)
    except RegisterError as refusal:
        return bytes((request[0] | 0x80, refusal.code))
    except RegisterSilence:
        return None


def _read(instrument: RegisterInstrument, unit: int, request: bytes) -> bytes:
    address, count = _fields(request, 5)
    if not 1 <= count <= _MOST_READ:
        raise RegisterError(_ILLEGAL_VALUE)
    words = instrument.read(unit, address, count)
    return struct.pack(f">BB{count}H", request[0], 2 * count, *words)


def _write_one(instrument: RegisterInstrument, unit: int, request: bytes) -> bytes:
    address, value = _fields(request, 5)
    instrument.write(unit, address, [value])
    return request


def _write_many(instrument: RegisterInstrument, unit: int, request: bytes) -> bytes:
    address, count = _fields(request[:5], 5)
    size, words = request[5:6], request[6:]
    if not 1 <= count <= _MOST_WRITTEN or bytes([len(words)]) != size or len(words) != 2 * count:
        raise RegisterError(_ILLEGAL_VALUE)
    instrument.write(unit, address, struct.unpack(f">{count}H", words))
    return request[:5]


def _read_bits(instrument: RegisterInstrument, unit: int, request: bytes) -> bytes:
    box = _with_bits(instrument)
    address, count = _fields(request, 5)
    if not 1 <= count <= _MOST_BITS:
        raise RegisterError(_ILLEGAL_VALUE)
    bits = box.read_bits(unit, address, count, coils=request[0] == 1)
    packed = sum(bit << place for place, bit in enumerate(bits)).to_bytes(
        (count + 7) // 8, "little"
    )
    return bytes((request[0], len(packed))) + packed


def _write_bit(instrument: RegisterInstrument, unit: int, request: bytes) -> bytes:
    box = _with_bits(instrument)
    address, value = _fields(request, 5)
    if value not in (0, 0xFF00):
        raise RegisterError(_ILLEGAL_VALUE)
    box.write_bit(unit, address, bool(value))
    return request


def _with_bits(instrument: RegisterInstrument) -> BitInstrument:
    if not isinstance(instrument, BitInstrument):
        raise RegisterError(_ILLEGAL_FUNCTION)
    return instrument


def _fields(request: bytes, length: int) -> tuple[int, int]:
    if len(request) != length:
        raise RegisterError(_ILLEGAL_VALUE)
    return struct.unpack(">HH", request[1:])


_FUNCTIONS: dict[int, Callable[[RegisterInstrument, int, bytes], bytes]] = {
    1: _read_bits,
    2: _read_bits,
    3: _read,
    4: _read,
    5: _write_bit,
    6: _write_one,
    16: _write_many,
}


class RtuSession:
    """Frames of unit, function, data and CRC."""

    def __init__(self, instrument: RegisterInstrument, clock: Clock) -> None:
        self._instrument = instrument
        self._clock = clock
        self._buffer = bytearray()
        self._grown_s = 0.0

    def feed(self, data: bytes) -> Iterable[Out]:
        """Answer every complete frame."""
        self._buffer += data
        self._grown_s = self._clock.real()
        outs: list[Out] = []
        while self._buffer and (frame := self._take()) is not None:
            reply = answer(self._instrument, frame[0], frame[1:-2])
            if reply is not None and frame[0] != 0:
                body = frame[:1] + reply
                outs.append(Out(body + crc16(body)))
        return outs

    def _take(self) -> bytes | None:
        """Cut one sound frame off the buffer; a broken one empties it, as a silent line would."""
        length = self._expected()
        if length is None or len(self._buffer) < length:
            return None
        frame = bytes(self._buffer[:length])
        if crc16(frame[:-2]) != frame[-2:]:
            self._buffer.clear()
            return None
        del self._buffer[:length]
        return frame

    def _expected(self) -> int | None:
        buffer = self._buffer
        if len(buffer) < 4:
            return None
        if buffer[1] in (1, 2, 3, 4, 5, 6):
            return 8
        if buffer[1] == 16:
            return 9 + buffer[6] if len(buffer) > 6 else None
        return len(buffer)  # a function this box does not know: the frame is what came

    def tick(self) -> Iterable[Out]:
        """Abandon half a frame after a gap."""
        if self._buffer and self._clock.real() - self._grown_s > _FRAME_GAP_S:
            self._buffer.clear()
        return ()

    def close(self) -> None:
        """Forget half a frame."""
        self._buffer.clear()


class MbapSession:
    """Frames of transaction, zero, length, unit, function and data."""

    def __init__(self, instrument: RegisterInstrument) -> None:
        self._instrument = instrument
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterable[Out]:
        """Answer every complete frame."""
        self._buffer += data
        outs: list[Out] = []
        while (frame := self._take()) is not None:
            transaction, unit, request = frame
            reply = answer(self._instrument, unit, request)
            if reply is not None:
                header = struct.pack(">HHHB", transaction, 0, len(reply) + 1, unit)
                outs.append(Out(header + reply))
        return outs

    def _take(self) -> tuple[int, int, bytes] | None:
        """Cut (transaction, unit, request) off the buffer; nonsense empties it."""
        if len(self._buffer) < 8:
            return None
        transaction, zero, length, unit = struct.unpack(">HHHB", self._buffer[:7])
        if zero != 0 or not 2 <= length <= _LONGEST_MBAP:
            self._buffer.clear()
            return None
        if len(self._buffer) < 6 + length:
            return None
        request = bytes(self._buffer[7 : 6 + length])
        del self._buffer[: 6 + length]
        return transaction, unit, request

    def tick(self) -> Iterable[Out]:
        """Nothing is ever due."""
        return ()

    def close(self) -> None:
        """Forget half a frame."""
        self._buffer.clear()
