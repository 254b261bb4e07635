"""A BINDER chamber with an MB1 or MB2 controller: Modbus registers on a `ChamberModel`.

Options: `controller` (mb1 or mb2, the default), `unit` (1), `humidity` (false: as an MK).

Oddities that are copied
    - One connection at a time; a further one waits until the first has gone.
    - float32 is two words, the low word first.
    - Undefined memory answers exception 3, not 2; a write to a read-only register exception 5.
    - Another unit's frames are not answered.
    - MB1: idle, the active setpoint mirrors the basic one. An alarm shows as a text, one character
      a word, and leaves the mode as it is. An open door is a note.
    - MB2: running or idle is one bit among the operation contacts.

Not simulated: programs (starting one is refused with exception 3), addresses that never answer.
UNCONFIRMED: what a controller does with a setpoint beyond its range; here exception 3.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from simulators.chamber import ChamberModel
from simulators.clock import Clock
from simulators.wire import Perturb, RegisterError, RegisterSilence, WhenFull

_UNDEFINED = _OUT_OF_RANGE = 3
_READ_ONLY = 5
_LOWEST_DEGC, _HIGHEST_DEGC = -40.0, 180.0  # rated range of an MK 53
_MB1_IDENTITY = {0x0000: "140.03.05 ", 0x0013: "Binder  ", 0x0017: "26.10.12 15:21"}
_BASIC, _MANUAL, _AUTO = 0x1000, 0x0800, 0x0400
_HUMIDITY_OFF, _IDLE = 0x01, 0x02

Words = list[int]


class Memory:
    """A sparse register file: what may be read is computed, what may be written is handed on."""

    def __init__(self) -> None:
        self._readers: dict[int, tuple[Callable[[], Words], int]] = {}
        self._writers: dict[int, tuple[Callable[[Words], None], int]] = {}

    def field(
        self,
        address: int,
        count: int,
        read: Callable[[], Words],
        write: Callable[[Words], None] | None = None,
    ) -> None:
        """Put a field of `count` words at an address; without `write` it is read-only."""
        for index in range(count):
            self._readers[address + index] = (read, index)
        if write is not None:
            self._writers[address] = (write, count)

    def word(
        self, address: int, read: Callable[[], int], write: Callable[[int], None] | None = None
    ) -> None:
        """Put a one-word field at an address."""
        store = None if write is None else lambda words: write(words[0])
        self.field(address, 1, lambda: [int(read())], store)

    def float32(
        self, address: int, read: Callable[[], float], write: Callable[[float], None] | None = None
    ) -> None:
        """Put a float32 at an address, low word first."""
        store = None if write is None else lambda words: write(_to_float(words))
        self.field(address, 2, lambda: _to_words(read()), store)

    def read(self, address: int, count: int) -> Words:
        """Return words, each from its field."""
        fields = [self._readers.get(address + index) for index in range(count)]
        if None in fields:
            raise RegisterError(_UNDEFINED)
        return [field[0]()[field[1]] for field in fields if field is not None]

    def write(self, address: int, values: Sequence[int]) -> None:
        """Store whole fields, one after the other."""
        left = list(values)
        while left:
            store, count = self._writer(address)
            if len(left) < count:
                raise RegisterError(_OUT_OF_RANGE)
            store(left[:count])
            left, address = left[count:], address + count

    def _writer(self, address: int) -> tuple[Callable[[Words], None], int]:
        if address not in self._writers:
            raise RegisterError(_READ_ONLY if address in self._readers else _UNDEFINED)
        return self._writers[address]


class Binder:
    """One chamber and its controller.

    Args:
        name: As in the bench file.
        clock: The bench's clock.
        wiring: The chamber, under key 1.
        options: See the module.

    Raises:
        ValueError: An option that cannot be.
    """

    max_connections = 1
    when_full: WhenFull = "wait"

    def __init__(
        self,
        name: str,
        clock: Clock,
        wiring: Mapping[int, ChamberModel],
        options: Mapping[str, Any],
    ) -> None:
        self.name = name
        self.perturb = Perturb()
        self.memory = Memory()
        self.chamber = wiring[1]
        controller, self._unit, self.humid = _checked(options)
        CONTROLLERS[controller](self)

    def read(self, unit: int, address: int, count: int) -> list[int]:
        """Return `count` words."""
        self._listen(unit)
        return self.memory.read(address, count)

    def write(self, unit: int, address: int, values: Sequence[int]) -> None:
        """Store words."""
        self._listen(unit)
        self.memory.write(address, values)

    def advance(self) -> None:
        """The chamber moves by itself when it is looked at; the controller needs no beat."""

    def _listen(self, unit: int) -> None:
        if unit != self._unit:
            raise RegisterSilence
        self.chamber.advance()

    def temperature_degC(self) -> float:
        """What the thermometer shows."""
        return self.perturb.value("temperature_degC", self.chamber.temperature_degC)

    def humidity_pct(self) -> float:
        """What the hygrometer shows."""
        return self.perturb.value("humidity_pct", self.chamber.humidity_pct)

    def regulate(self, setpoint_degC: float | None) -> None:
        """Let the chamber follow a setpoint, or none."""
        if setpoint_degC is None:
            self.chamber.stop()
            return
        self.chamber.set(setpoint_degC)
        self.chamber.start()


class Setpoint:
    """A stored setpoint that tells when it has changed."""

    def __init__(self, box: Binder, value: float, low: float, high: float) -> None:
        self.value = value
        self.changed: Callable[[], None] = lambda: None
        self._box = box
        self._low, self._high = low, high

    def read(self) -> float:
        """Return the value."""
        return self.value

    def write(self, value: float) -> None:
        """Store a value."""
        if not self._low <= value <= self._high:
            raise RegisterError(_OUT_OF_RANGE)
        if not self._box.perturb.ignores_set:
            self.value = value
            self.changed()


class Mb1:
    """The older controller: manual, basic and program mode as flags of one word."""

    def __init__(self, box: Binder) -> None:
        self._box = box
        self._mode = 0
        self._lines = 0
        start = box.chamber.setpoint_degC
        self._manual = Setpoint(box, start, _LOWEST_DEGC, _HIGHEST_DEGC)
        self._basic = Setpoint(box, start, _LOWEST_DEGC, _HIGHEST_DEGC)
        self._manual.changed = self._basic.changed = self._follow
        self._map(box.memory, box.chamber)

    def _map(self, memory: Memory, chamber: ChamberModel) -> None:
        for address, text in _MB1_IDENTITY.items():
            memory.field(address, len(text) // 2, lambda text=text: _packed(text))
        for address in (*range(0x05, 0x13), *range(0x1E, 0x2C)):
            memory.word(address, lambda: 0)  # in the dumps, meaning unknown
        memory.word(0x1007, lambda: chamber.door_open)
        memory.float32(0x1077, lambda: self._active().value)
        memory.word(0x1081, lambda: self._lines)
        memory.word(0x10D4, lambda: self._mode != 0)
        memory.word(0x10DB, lambda: chamber.over_temperature)
        memory.float32(0x11A9, self._box.temperature_degC)
        memory.field(0x1228, 20, lambda: [ord(char) for char in f"{self._text():20}"])
        memory.word(0x123D, lambda: chamber.over_temperature)
        memory.word(0x123E, lambda: chamber.door_open)
        memory.float32(0x156F, self._basic.read, self._basic.write)
        memory.float32(0x1581, self._manual.read, self._manual.write)
        memory.word(0x158B, lambda: self._lines, self._set_lines)
        memory.word(0x1A22, lambda: self._mode, self._set_mode)
        memory.float32(0x1A5B, lambda: chamber.limit_degC)
        if self._box.humid:
            self._map_humidity(memory)

    def _map_humidity(self, memory: Memory) -> None:
        humidity = Setpoint(self._box, 0.0, 0.0, 100.0)
        humidity.changed = lambda: self._box.chamber.set_humidity(humidity.value)
        memory.float32(0x1079, humidity.read)
        memory.float32(0x11CD, self._box.humidity_pct)
        memory.float32(0x1571, humidity.read, humidity.write)
        memory.float32(0x1583, humidity.read, humidity.write)

    def _active(self) -> Setpoint:
        return self._manual if self._mode & _MANUAL else self._basic

    def _text(self) -> str:
        if self._box.chamber.over_temperature:
            return "TEMPERATURE LIMIT"
        return "DOOR OPEN" if self._box.chamber.door_open else ""

    def _set_lines(self, lines: int) -> None:
        self._lines = lines & 0xFF

    def _set_mode(self, mode: int) -> None:
        if mode not in (0, _BASIC, _MANUAL):
            raise RegisterError(_OUT_OF_RANGE)
        if mode == 0 and self._box.perturb.ignores_off:
            return
        self._mode = mode
        self._follow()

    def _follow(self) -> None:
        self._box.regulate(self._active().value if self._mode else None)


class Mb2:
    """The newer controller: running unless the contact "idle" is set."""

    def __init__(self, box: Binder) -> None:
        self._box = box
        self._contacts = _HUMIDITY_OFF | _IDLE
        self._setpoint = Setpoint(box, box.chamber.setpoint_degC, _LOWEST_DEGC, _HIGHEST_DEGC)
        self._setpoint.changed = self._follow
        self._fan = Setpoint(box, 100.0, 0.0, 100.0)
        self._humidity = Setpoint(box, 0.0, 0.0, 100.0)
        self._map(box.memory)

    def _map(self, memory: Memory) -> None:
        setpoint, fan = self._setpoint, self._fan
        memory.float32(0x1004, self._box.temperature_degC)
        memory.float32(0x1006, self._box.temperature_degC)
        memory.float32(0x10B2, setpoint.read)
        memory.float32(0x10B6, fan.read)
        memory.float32(0x114C, setpoint.read, setpoint.write)
        memory.float32(0x1150, fan.read, fan.write)
        memory.word(0x1158, lambda: self._contacts, self._set_contacts)
        memory.word(0x1292, lambda: self._contacts)
        if self._box.humid:
            self._map_humidity(memory)

    def _map_humidity(self, memory: Memory) -> None:
        humidity = self._humidity
        humidity.changed = self._follow
        memory.float32(0x100A, self._box.humidity_pct)
        memory.float32(0x10B4, humidity.read)
        memory.float32(0x114E, humidity.read, humidity.write)

    def _set_contacts(self, contacts: int) -> None:
        if contacts & _IDLE and self._box.perturb.ignores_off:
            return
        self._contacts = contacts
        self._follow()

    def _follow(self) -> None:
        regulates = self._box.humid and not self._contacts & _HUMIDITY_OFF
        self._box.chamber.set_humidity(self._humidity.value if regulates else None)
        self._box.regulate(None if self._contacts & _IDLE else self._setpoint.value)


CONTROLLERS: Mapping[str, Callable[[Binder], object]] = {"mb1": Mb1, "mb2": Mb2}


def _checked(options: Mapping[str, Any]) -> tuple[str, int, bool]:
    """Return controller, unit and whether there is a hygrometer."""
    given = {"controller": "mb2", "unit": 1, "humidity": False} | dict(options)
    for key in given:
        if key not in ("controller", "unit", "humidity"):
            raise ValueError(f"{key}: unknown; known: controller, unit, humidity")
    if given["controller"] not in CONTROLLERS:
        raise ValueError(f"controller: must be {' or '.join(CONTROLLERS)}")
    if isinstance(given["unit"], bool) or given["unit"] not in range(1, 248):
        raise ValueError("unit: must be a number from 1 to 247")
    if not isinstance(given["humidity"], bool):
        raise ValueError("humidity: must be true or false")
    return given["controller"], given["unit"], given["humidity"]


def _to_words(value: float) -> Words:
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    return [low, high]


def _to_float(words: Words) -> float:
    value: float = struct.unpack(">f", struct.pack(">HH", words[1], words[0]))[0]
    if math.isnan(value):
        raise RegisterError(_OUT_OF_RANGE)
    return value


def _packed(text: str) -> Words:
    """Return two characters a word, the first in the high byte."""
    return list(struct.unpack(f">{len(text) // 2}H", text.encode("latin-1")))


DIALECT = Binder
