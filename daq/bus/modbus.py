"""Modbus over TCP, RTU over TCP, and RTU on a serial port.

pymodbus makes and reads the frames; the exchange is done here, once, in plain sight: pymodbus's
own clients retry, reconnect unasked, start the timeout anew with every chunk and log each silence.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import Literal

from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerBase, FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ExceptionResponse, ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    ReadDiscreteInputsRequest,
    ReadDiscreteInputsResponse,
    WriteSingleCoilRequest,
    WriteSingleCoilResponse,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    WriteMultipleRegistersRequest,
    WriteMultipleRegistersResponse,
    WriteSingleRegisterRequest,
    WriteSingleRegisterResponse,
)

from daq.bus.line import Exchange, LineSettings
from daq.bus.session import Session, SessionLine
from daq.errors import BadReply, InstrumentRefused, LinkDown, NoReply

Framing = Literal["tcp", "rtu"]

_FRAMERS: dict[Framing, type[FramerBase]] = {"tcp": FramerSocket, "rtu": FramerRTU}
_LONGEST = 260
"""Bytes of the longest Modbus TCP frame; an RTU frame has 256."""

_REFUSALS = {
    1: "it does not know this function",
    2: "it has no such address",
    3: "it does not allow this value",
    4: "it failed",
    5: "it needs more time, or denies write access",
    6: "it is busy",
    10: "the gateway has no path to this unit",
    11: "the unit behind the gateway does not answer",
}


class ModbusLine(SessionLine):
    """`daq.bus.line.RegisterLine`: one unit, perhaps of several behind one gateway."""

    def __init__(self, session: Session, settings: LineSettings, framing: Framing) -> None:
        super().__init__(session, settings)
        self._framer = _FRAMERS[framing](DecodePDU(False))
        self._numbered = framing == "tcp"
        self._number = 0

    def read(self, address: int, count: int = 1) -> list[int]:
        """See `daq.bus.line.RegisterLine`."""
        request = ReadHoldingRegistersRequest(address=address, count=count)
        reply = self._exchange(request, ReadHoldingRegistersResponse)
        if len(reply.registers) != count:
            raise self._wrong(f"{len(reply.registers)} registers instead of {count}")
        return list(reply.registers)

    def write(self, address: int, values: Sequence[int]) -> None:
        """See `daq.bus.line.RegisterLine`."""
        request = WriteMultipleRegistersRequest(address=address, registers=list(values))
        reply = self._exchange(request, WriteMultipleRegistersResponse)
        if (reply.address, reply.count) != (address, len(values)):
            raise self._wrong(f"the echo of {reply.count} registers at {reply.address:#06x}")

    def write_one(self, address: int, value: int) -> None:
        """See `daq.bus.line.RegisterLine`."""
        request = WriteSingleRegisterRequest(address=address, registers=[value])
        reply = self._exchange(request, WriteSingleRegisterResponse)
        if (reply.address, list(reply.registers)) != (address, [value]):
            raise self._wrong(f"the echo of {list(reply.registers)} at {reply.address:#06x}")

    def write_exchange(self, address: int, values: Sequence[int]) -> Exchange:
        """See `daq.bus.line.RegisterLine`."""
        request: ModbusPDU
        if len(values) == 1:
            request = WriteSingleRegisterRequest(address=address, registers=list(values))
            reply = WriteSingleRegisterResponse(address=address, registers=list(values))
        else:
            request = WriteMultipleRegistersRequest(address=address, registers=list(values))
            reply = WriteMultipleRegistersResponse(address=address, count=len(values))
        return self._raw(request, reply)

    def read_inputs(self, address: int, count: int) -> list[bool]:
        """See `daq.bus.line.RegisterLine`."""
        request = ReadDiscreteInputsRequest(address=address, count=count)
        return self._bits(self._exchange(request, ReadDiscreteInputsResponse), count)

    def read_coils(self, address: int, count: int) -> list[bool]:
        """See `daq.bus.line.RegisterLine`."""
        request = ReadCoilsRequest(address=address, count=count)
        return self._bits(self._exchange(request, ReadCoilsResponse), count)

    def write_coil(self, address: int, value: bool) -> None:
        """See `daq.bus.line.RegisterLine`."""
        request = WriteSingleCoilRequest(address=address, bits=[value])
        reply = self._exchange(request, WriteSingleCoilResponse)
        if (reply.address, list(reply.bits)) != (address, [value]):
            raise self._wrong(f"the echo of {list(reply.bits)} at {reply.address:#06x}")

    def write_coil_exchange(self, address: int, value: bool) -> Exchange:
        """See `daq.bus.line.RegisterLine`."""
        request = WriteSingleCoilRequest(address=address, bits=[value])
        return self._raw(request, WriteSingleCoilResponse(address=address, bits=[value]))

    def _raw(self, request: ModbusPDU, reply: ModbusPDU) -> Exchange:
        self._address(request)
        self._address(reply)
        expect = re.escape(self._framer.buildFrame(reply))
        return Exchange(self._framer.buildFrame(request), expect)

    def _bits(self, reply: ModbusPDU, count: int) -> list[bool]:
        """Eight to a byte; the last byte is filled up with nothing that was asked for."""
        if len(reply.bits) != (count + 7) // 8 * 8:
            raise self._wrong(f"{len(reply.bits)} bits instead of {count}")
        return list(reply.bits[:count])

    def _exchange(self, request: ModbusPDU, kind: type[ModbusPDU]) -> ModbusPDU:
        """One request, one reply of that kind."""
        self._number = self._number % 0xFFFF + 1
        self._address(request)
        frame = self._framer.buildFrame(request)
        deadline = self._begin()
        try:
            reply = self._ask(frame, deadline)
        except NoReply:
            self._silent()
            raise
        except (BadReply, LinkDown):
            self._fail()
            raise
        self._end()
        if isinstance(reply, ExceptionResponse):
            raise self._refused(reply.exception_code)
        # by number as well: pymodbus derives the reply of function 4 from that of function 3
        if not isinstance(reply, kind) or reply.function_code != request.function_code:
            raise self._wrong(f"function {reply.function_code}")
        return reply

    def _ask(self, frame: bytes, deadline: float) -> ModbusPDU:
        self._drop_stale(deadline)
        self._wire.send(frame, deadline)
        arrived = b""
        while data := self._wire.receive(deadline):
            arrived += data
            used, reply = self._decode(arrived)
            if reply:
                return reply
            self._judge(arrived[:used], arrived)
            arrived = arrived[used:]
        raise self._nothing_whole(arrived)

    def _decode(self, arrived: bytes) -> tuple[int, ModbusPDU | None]:
        try:
            used, reply = self._framer.handleFrame(arrived, self.settings.unit, self._number)
        except ModbusException as error:
            raise BadReply(f"{self} sent garbage: {arrived.hex(' ')}") from error
        if reply:
            self._check_frame(arrived[:used], reply)
        return used, reply

    def _check_frame(self, frames: bytes, reply: ModbusPDU) -> None:
        """What pymodbus lets pass: number 0 for any, and lengths that are not the content's.

        The late reply of a gateway that does not repeat numbers would answer the next question.
        """
        try:
            exact = self._framer.buildFrame(reply)
        except struct.error as error:  # a reply of another function, with a content beyond it
            raise BadReply(f"{self} sent garbage: {frames.hex(' ')}") from error
        numbered = reply.transaction_id == self._number and frames.endswith(exact)
        if not (numbered if self._numbered else exact in frames):
            raise BadReply(f"{self} sent a frame with a wrong header: {frames.hex(' ')}")

    def _judge(self, refused: bytes, arrived: bytes) -> None:
        """Go on waiting, or not: the framer has refused some bytes, and kept the rest."""
        late = self._numbered and refused[:2] != self._number.to_bytes(2, "big")
        if refused and not late:
            raise BadReply(f"{self} sent a frame with a wrong unit or checksum: {refused.hex(' ')}")
        if len(arrived) > _LONGEST:
            raise BadReply(f"{self} sent garbage: {arrived[:16].hex(' ')} ...")

    def _nothing_whole(self, arrived: bytes) -> NoReply | BadReply:
        if arrived:
            return BadReply(f"{self} sent only a part of a frame: {arrived.hex(' ')}")
        return NoReply(f"{self} did not answer within {self.settings.timeout_s:g} s")

    def _silent(self) -> None:
        """Only Modbus TCP numbers its frames, so that a late one harms nobody else."""
        if self._numbered:
            self._session.leave(self)
        else:
            self._fail()

    def _refused(self, code: int) -> InstrumentRefused:
        meaning = _REFUSALS.get(code, "an exception of its own")
        return InstrumentRefused(f"{self} refused with Modbus exception {code}: {meaning}")

    def _wrong(self, what: str) -> BadReply:
        self._fail()
        return BadReply(f"{self} answered with {what}")

    def _address(self, pdu: ModbusPDU) -> None:
        pdu.dev_id, pdu.transaction_id = self.settings.unit, max(1, self._number)

    def __str__(self) -> str:
        return f"unit {self.settings.unit} of {self._wire}"
