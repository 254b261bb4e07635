"""Digital outputs of any Modbus module: stirrers, lamps, fans, valves that programs switch.

One channel a coil, 1 on and 0 off ("MODBUS Application Protocol" V1.1b3, 6.1 and 6.5). A relay in a
cell's circuit is no output: it may sit on the same module, as `relay` of its station, and then
nothing here ever closes it. The addresses are those of the module's manual (as in the frame, from
0); it says nothing of itself on the wire. What its outputs do when nobody speaks to it is set at
the module, if it can be: let them fall off there, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from daq.bus.line import Exchange, LineSettings, RegisterLine
from daq.driver import DriverOptions, Switch
from daq.errors import InstrumentRefused, ReadbackMismatch
from daq.model import Identity, Reading


class ModbusOutputsOptions(DriverOptions):
    """Options of a module in a lab file.

    Attributes:
        outputs: how many there are; channel 1 is the first.
        address: of the first coil, as in the frame.
    """

    outputs: int = Field(default=8, ge=1, le=256)
    address: int = Field(default=0, ge=0, le=0xFFFF)


class ModbusOutputs(Switch[RegisterLine]):
    """Digital outputs of any Modbus module, which programs switch; each is read back."""

    settings = LineSettings(timeout_s=0.25, baud=9600)
    Options = ModbusOutputsOptions

    def __init__(self, line: RegisterLine, options: ModbusOutputsOptions | None = None) -> None:
        super().__init__(line, options)
        self.options: ModbusOutputsOptions
        self.channels = range(1, self.options.outputs + 1)

    def identify(self) -> Identity:
        """Read the coils: a module that has fewer refuses. It has no name to ask for."""
        self._coils()
        return Identity("Modbus", f"{self.options.outputs} outputs at {self.options.address}")

    def read(self) -> Mapping[int, Reading]:
        """All coils in one transaction."""
        coils = self._coils()
        return {channel: Reading(output_on=coils[channel - 1]) for channel in self.channels}

    def switch(self, channel: int, on: bool) -> None:
        """Write one coil, and read all."""
        self.line.write_coil(self._address(channel), on)
        if self._coils()[channel - 1] is not on:
            raise ReadbackMismatch(f"output {channel} reads {'off' if on else 'on'} all the same")

    def off_exchanges(self, channel: int) -> tuple[Exchange, ...]:
        """The safe state; the module's echo of the write is the proof."""
        return (
            self.line.write_coil_exchange(self._address(channel), self.safe.get(channel, False)),
        )

    def _coils(self) -> list[bool]:
        return self.line.read_coils(self.options.address, self.options.outputs)

    def _address(self, channel: int) -> int:
        if channel not in self.channels:
            raise InstrumentRefused(f"there is no output {channel} among {len(self.channels)}")
        return self.options.address + channel - 1
