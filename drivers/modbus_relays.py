"""Relays of any Modbus module: what opens a cell's circuit where its cycler does not obey.

One channel a coil, 1 closed and 0 open ("MODBUS Application Protocol" V1.1b3, 6.1 and 6.5). Nothing
here closes a relay: one that has opened is closed by a person, at the module, who has looked why.
Wire it so that it falls open without its supply. The addresses are those of the module's manual (as
in the frame, from 0); it says nothing of itself on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from daq.bus.line import Exchange, LineSettings, RegisterLine
from daq.driver import Driver, DriverOptions
from daq.errors import ReadbackMismatch
from daq.model import Identity, Reading


class ModbusRelaysOptions(DriverOptions):
    """Options of a module in a lab file.

    Attributes:
        relays: how many there are; channel 1 is the first.
        address: of the first coil, as in the frame.
    """

    relays: int = Field(default=8, ge=1, le=256)
    address: int = Field(default=0, ge=0, le=0xFFFF)


class ModbusRelays(Driver[RegisterLine]):
    """Relays of any Modbus module, which open the circuit of a cell."""

    settings = LineSettings(timeout_s=0.25, baud=9600)
    Options = ModbusRelaysOptions

    def __init__(self, line: RegisterLine, options: ModbusRelaysOptions | None = None) -> None:
        super().__init__(line, options)
        self.options: ModbusRelaysOptions
        self.channels = range(1, self.options.relays + 1)

    def identify(self) -> Identity:
        """Read the coils: a module that has fewer refuses. It has no name to ask for."""
        self._coils()
        return Identity("Modbus", f"{self.options.relays} relays at {self.options.address}")

    def read(self) -> Mapping[int, Reading]:
        """All coils in one transaction; `output_on` is a closed relay."""
        coils = self._coils()
        return {channel: Reading(output_on=coils[channel - 1]) for channel in self.channels}

    def off(self, channel: int) -> None:
        """Open one relay."""
        self.line.write_coil(self._address(channel), False)
        if self._coils()[channel - 1]:
            raise ReadbackMismatch(f"relay {channel} is still closed after its coil was set to 0")

    def off_exchanges(self, channel: int) -> tuple[Exchange, ...]:
        """The module's echo of the write is the proof."""
        return (self.line.write_coil_exchange(self._address(channel), False),)

    def _coils(self) -> list[bool]:
        return self.line.read_coils(self.options.address, self.options.relays)

    def _address(self, channel: int) -> int:
        return self.options.address + channel - 1
