"""Lines that expect an exact script: for byte-exact exchange tests of drivers.

A test writes down what the manual says goes over the wire, and the driver must do exactly that:

    from tests.exchange.scripted import ScriptedText

    line = ScriptedText(
        ("*IDN?", "Keysight Technologies,N6974A,MY00000121,A.02.04"),
        ("OUTP 0", None),                        # a message without a reply
        ("OUTP?", NoReply("silence")),           # an error of the line instead of a reply
        ("MEAS", ["first line", "second line"]), # several lines: the rest waits for read_line
    )
    with line:                                   # at the end the whole script must be used up
        driver = KeysightAps(line)
        driver.identify()

Any deviation raises `AssertionError` at the place where it happens. `ScriptedRegisters` is the
same for Modbus, with steps made by `reads`, `writes`, `writes_one`, `reads_inputs`, `reads_coils`
and `writes_coil`.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from daq.bus.line import Endpoint, Exchange, LineSettings
from daq.errors import InstrumentError, NoReply

Answer = str | Sequence[str] | InstrumentError | None
StepT = TypeVar("StepT")


class _Scripted(Generic[StepT]):
    """What both kinds share: the script, and the demand that all of it happens."""

    def __init__(self, *steps: StepT, settings: LineSettings | None = None) -> None:
        self.settings = settings or LineSettings()
        self._steps = list(steps)
        self._done = 0

    def open(self) -> None:
        return

    def close(self) -> None:
        return

    def endpoint(self) -> Endpoint | None:
        return Endpoint("tcp", "127.0.0.1", 5025)

    def expect(self, *steps: StepT) -> None:
        """Add to the script."""
        self._steps.extend(steps)

    def finished(self) -> None:
        """Assert that nothing of the script is left."""
        left = self._steps[self._done :]
        assert not left, f"the driver never did: {left}"

    def __enter__(self) -> _Scripted[StepT]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.finished()

    def _next(self, happened: object) -> StepT:
        assert self._done < len(self._steps), f"the script is over, but the driver did {happened!r}"
        step = self._steps[self._done]
        self._done += 1
        return step


class ScriptedText(_Scripted[tuple[str, Answer]]):
    """A TextLine that answers from a script of (message, answer)."""

    def __init__(self, *steps: tuple[str, Answer], settings: LineSettings | None = None) -> None:
        super().__init__(*steps, settings=settings)
        self._waiting: list[str] = []

    def arrive(self, *lines: str) -> None:
        """Put lines on the line that nobody asked for (a streaming dialect)."""
        self._waiting.extend(lines)

    def ask(self, message: str) -> str:
        self._waiting.clear()  # as a true line drops stale bytes
        lines = self._say(message)
        assert lines, f"the script has no reply to {message!r}, but the driver awaits one"
        self._waiting = lines[1:]
        return lines[0]

    def tell(self, message: str) -> None:
        answer = self._next(message)
        assert answer[0] == message, f"expected {answer[0]!r}, the driver sent {message!r}"
        assert not isinstance(answer[1], str), f"the driver does not await the reply to {message!r}"
        self._waiting.extend(self._lines(answer[1]))

    def read_line(self) -> str:
        if not self._waiting:
            raise NoReply("the script holds no further line")
        return self._waiting.pop(0)

    def read_ready(self) -> list[str]:
        lines, self._waiting = self._waiting, []
        return lines

    def _say(self, message: str) -> list[str]:
        expected, answer = self._next(message)
        assert expected == message, f"expected {expected!r}, the driver sent {message!r}"
        return self._lines(answer)

    @staticmethod
    def _lines(answer: Answer) -> list[str]:
        if isinstance(answer, InstrumentError):
            raise answer
        if isinstance(answer, str):
            return [answer]
        return list(answer or ())


@dataclass(frozen=True)
class Call:
    """One Modbus transaction: what is called, and what it returns or raises."""

    function: str
    address: int
    values: tuple[int, ...]
    error: InstrumentError | None = None


def reads(address: int, *values: int, error: InstrumentError | None = None) -> Call:
    """Function 3 at `address`, answered with `values` (as many as the driver must ask for)."""
    return Call("read", address, values, error)


def writes(address: int, *values: int, error: InstrumentError | None = None) -> Call:
    """Function 16."""
    return Call("write", address, values, error)


def writes_one(address: int, value: int, error: InstrumentError | None = None) -> Call:
    """Function 6."""
    return Call("write_one", address, (value,), error)


def reads_inputs(address: int, *bits: bool, error: InstrumentError | None = None) -> Call:
    """Function 2."""
    return Call("read_inputs", address, bits, error)


def reads_coils(address: int, *bits: bool, error: InstrumentError | None = None) -> Call:
    """Function 1."""
    return Call("read_coils", address, bits, error)


def writes_coil(address: int, value: bool, error: InstrumentError | None = None) -> Call:
    """Function 5."""
    return Call("write_coil", address, (value,), error)


class ScriptedRegisters(_Scripted[Call]):
    """A RegisterLine that answers from a script; `write_exchange` frames are Modbus RTU."""

    def read(self, address: int, count: int = 1) -> list[int]:
        return self._read("read", address, count)

    def read_inputs(self, address: int, count: int) -> list[bool]:
        return [bool(bit) for bit in self._read("read_inputs", address, count)]

    def read_coils(self, address: int, count: int) -> list[bool]:
        return [bool(bit) for bit in self._read("read_coils", address, count)]

    def write_coil(self, address: int, value: bool) -> None:
        self._written(Call("write_coil", address, (value,)))

    def write_coil_exchange(self, address: int, value: bool) -> Exchange:
        frame = with_crc(struct.pack(">BBHH", self.settings.unit, 5, address, 0xFF00 * value))
        return Exchange(frame, _literal(frame))

    def _read(self, function: str, address: int, count: int) -> list[int]:
        asked = (function, hex(address), count)
        step = self._next(asked)
        expected = (step.function, hex(step.address), len(step.values) if not step.error else count)
        assert expected == asked, f"expected {expected}, not {asked}"
        self._raise(step)
        return list(step.values)

    def write(self, address: int, values: Sequence[int]) -> None:
        self._written(Call("write", address, tuple(values)))

    def write_one(self, address: int, value: int) -> None:
        self._written(Call("write_one", address, (value,)))

    def write_exchange(self, address: int, values: Sequence[int]) -> Exchange:
        unit, count = self.settings.unit, len(values)
        if count == 1:
            frame = with_crc(struct.pack(">BBHH", unit, 6, address, values[0]))
            return Exchange(frame, _literal(frame))
        head = struct.pack(">BBHHB", unit, 16, address, count, 2 * count)
        reply = with_crc(struct.pack(">BBHH", unit, 16, address, count))
        return Exchange(with_crc(head + struct.pack(f">{count}H", *values)), _literal(reply))

    def _written(self, call: Call) -> None:
        step = self._next(call)
        expected = Call(step.function, step.address, step.values)
        assert expected == call, f"expected {expected}, the driver did {call}"
        self._raise(step)

    @staticmethod
    def _raise(step: Call) -> None:
        if step.error is not None:
            raise step.error


def with_crc(body: bytes) -> bytes:
    """A Modbus RTU frame: CRC16, polynomial 0xA001, low byte first."""
    crc = 0xFFFF
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xA001 if crc & 1 else 0)
    return body + struct.pack("<H", crc)


def _literal(data: bytes) -> bytes:
    """A regular expression that matches these very bytes."""
    return b"".join(b"\\x%02x" % byte for byte in data)
