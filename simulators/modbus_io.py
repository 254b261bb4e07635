"""A module with digital inputs and relays on Modbus: bits only, no registers.

`channels` wires relay n to a cell: while its coil is 0 no current flows through that cell, whoever
drives it. Options: `unit` (1), `inputs` and `relays` (8 each), `input_address` and `relay_address`
(0), `closed` (true: the relays' state at power-up).

All contacts are closed until a hand opens them (the bench's verb `touch`): `input_3` true or false,
and `relay_1`, which moves a relay as the module's own button does.

Oddities that are copied: bits beyond the last one answer exception 2, registers exception 1;
another unit's frames are not answered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from simulators.clock import Clock
from simulators.rig import Position
from simulators.wire import Perturb, RegisterError, RegisterSilence

_ILLEGAL_FUNCTION, _NO_SUCH_ADDRESS = 1, 2
_BIT = re.compile(r"(input|relay)_(\d{1,3})")
_DEFAULTS = {
    "unit": 1, "inputs": 8, "relays": 8, "input_address": 0, "relay_address": 0, "closed": True,
}  # fmt: skip


class ModbusIo:
    """One module.

    Args:
        name: Of the instrument, in the bench file.
        clock: The bench's clock; nothing here takes time.
        wiring: Relay number -> leads on the cell whose current it breaks.
        options: See the module.

    Raises:
        ValueError: A wrong option or wiring.
    """

    max_connections = 4

    def __init__(
        self, name: str, clock: Clock, wiring: Mapping[int, Position], options: Mapping[str, Any]
    ) -> None:
        given = _checked(options)
        if beyond := [number for number in wiring if not 1 <= number <= given["relays"]]:
            raise ValueError(f"channels: there is no relay {beyond[0]}")
        self.name = name
        self.perturb = Perturb()
        self.inputs = [True] * given["inputs"]
        self.relays = [bool(given["closed"])] * given["relays"]
        self._unit: int = given["unit"]
        self._bases: tuple[int, int] = given["input_address"], given["relay_address"]
        self._wiring = wiring
        for number in wiring:
            self._move(number, self.relays[number - 1])

    def advance(self) -> None:
        """Nothing moves by itself."""

    def read(self, unit: int, address: int, count: int) -> list[int]:
        """There are no registers."""
        raise self._no_registers(unit)

    def write(self, unit: int, address: int, values: Sequence[int]) -> None:
        """There are no registers."""
        raise self._no_registers(unit)

    def _no_registers(self, unit: int) -> Exception:
        return RegisterError(_ILLEGAL_FUNCTION) if unit == self._unit else RegisterSilence()

    def read_bits(self, unit: int, address: int, count: int, *, coils: bool) -> list[bool]:
        """Relays or inputs."""
        bits, first = (self.relays if coils else self.inputs), address - self._bases[coils]
        self._check(unit, first, first + count, len(bits))
        return bits[first : first + count]

    def write_bit(self, unit: int, address: int, value: bool) -> None:
        """Move a relay."""
        index = address - self._bases[1]
        self._check(unit, index, index + 1, len(self.relays))
        if value or not self.perturb.ignores_off:
            self._move(index + 1, value)

    def _check(self, unit: int, first: int, end: int, there: int) -> None:
        if unit != self._unit:
            raise RegisterSilence
        if not 0 <= first < end <= there:
            raise RegisterError(_NO_SUCH_ADDRESS)

    def touch(self, values: Mapping[str, Any]) -> None:
        """What a hand does; see the module.

        Raises:
            ValueError: There is no such thing to touch.
        """
        for key, value in values.items():
            found = _BIT.fullmatch(key)
            bits = self.inputs if found and found[1] == "input" else self.relays
            if not found or not 1 <= int(found[2]) <= len(bits) or not isinstance(value, bool):
                raise ValueError(f"{key}: must be input_N or relay_N, true or false")
            if bits is self.inputs:
                self.inputs[int(found[2]) - 1] = value
            else:
                self._move(int(found[2]), value)

    def _move(self, number: int, closed: bool) -> None:
        self.relays[number - 1] = closed
        if (leads := self._wiring.get(number)) is None:
            return
        if closed:
            leads.mend()
        else:
            leads.interrupt()


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = _DEFAULTS | dict(options)
    for key, value in given.items():
        if key not in _DEFAULTS:
            raise ValueError(f"{key}: unknown; known: {', '.join(_DEFAULTS)}")
        if isinstance(value, bool) != (key == "closed") or not isinstance(value, int):
            raise ValueError(f"{key}: must be a {'truth value' if key == 'closed' else 'number'}")
    if not (
        1 <= given["unit"] <= 247 and all(given[k] in range(257) for k in ("inputs", "relays"))
    ):
        raise ValueError("unit must be 1 to 247, inputs and relays 0 to 256")
    return given


DIALECT = ModbusIo
