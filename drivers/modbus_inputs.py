"""Digital inputs of any Modbus module: contacts that stop a station (door, gas, E-stop).

One channel an input, read together in one transaction (function 2, or 1 where a module keeps its
inputs among the coils; "MODBUS Application Protocol" V1.1b3, 6.1 and 6.2). Contacts are normally
closed, as safety wants them: a cut wire, a lost supply and an open door look the same, and all of
them are a fault of the channel. A contact that closes when it is bad is listed under `inverted`;
its cut wire is not noticed.

The module says nothing of itself on the wire: one of a kind cannot be told from another, and the
addresses are those of its manual (as in the frame, from 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from daq.bus.line import LineSettings, RegisterLine
from daq.driver import DriverOptions, Logger
from daq.model import Identity, Reading

Input = Annotated[int, Field(ge=1, le=256)]


class ModbusInputsOptions(DriverOptions):
    """Options of a module in a lab file.

    Attributes:
        inputs: how many there are; channel 1 is the first.
        address: of the first one, as in the frame.
        function: `inputs` (function 2) or `coils` (function 1).
        names: what stands at an input, for the message of a trip.
        inverted: inputs whose contact is open while all is well.
    """

    inputs: Input = 8
    address: int = Field(default=0, ge=0, le=0xFFFF)
    function: Literal["inputs", "coils"] = "inputs"
    names: dict[Input, str] = Field(default_factory=dict[int, str])
    inverted: tuple[Input, ...] = ()

    @model_validator(mode="after")
    def _only_inputs_that_are_there(self) -> ModbusInputsOptions:
        if beyond := [number for number in (*self.names, *self.inverted) if number > self.inputs]:
            raise ValueError(f"there is no input {beyond[0]} among {self.inputs}")
        return self


class ModbusInputs(Logger[RegisterLine]):
    """Digital inputs of any Modbus module: contacts.

    A channel's reading has a fault unless its contact is as it must be.
    """

    settings = LineSettings(timeout_s=0.25, baud=9600)
    Options = ModbusInputsOptions

    def __init__(self, line: RegisterLine, options: ModbusInputsOptions | None = None) -> None:
        super().__init__(line, options)
        self.options: ModbusInputsOptions
        self.channels = range(1, self.options.inputs + 1)

    def identify(self) -> Identity:
        """Read the inputs: a module that has fewer refuses. It has no name to ask for."""
        self._closed()
        return Identity("Modbus", f"{self.options.inputs} inputs at {self.options.address}")

    def read(self) -> Mapping[int, Reading]:
        """All inputs in one transaction."""
        closed = self._closed()
        return {channel: Reading(fault=self._fault(channel, closed)) for channel in self.channels}

    def _closed(self) -> list[bool]:
        by_function = {"inputs": self.line.read_inputs, "coils": self.line.read_coils}
        return by_function[self.options.function](self.options.address, self.options.inputs)

    def _fault(self, channel: int, closed: list[bool]) -> str:
        state = closed[channel - 1]
        if state != (channel in self.options.inverted):
            return ""
        name = self.options.names.get(channel)
        which = f"{name} (input {channel})" if name else f"input {channel}"
        return f"{which} is {'closed' if state else 'open'}"
