"""The analogue part: families, ranges, the cell relay, the multiplexer, and what is measured.

Largest amplitudes, the accuracy of a spectrum and the level of a critical overload are set to the
order of the data sheets; no instrument was measured.
"""

from __future__ import annotations

import cmath
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, nan, pi, sqrt

from simulators.methodscript.values import ScriptError, Value
from simulators.rig import Position
from simulators.wire import Perturb

_OVERLOAD, _UNDERLOAD, _WARNING = 0x2, 0x4, 0x8
_CRITICAL = 2.0  # times the largest range
_MAGNITUDE_NOISE = 1e-3  # of |Z|, one sigma
_PHASE_NOISE_RAD = 0.05 * pi / 180.0
_VOLTAGE_NOISE_V = 50e-6
_CURRENT_NOISE = 1e-4  # of the range
_GALVANOSTAT = 6  # mode
_POTENTIAL_RANGE = 6  # the 1 V range; EIS reports it beside the imaginary part

Ranges = tuple[tuple[int, float], ...]
_ES4: Ranges = tuple((3 * (k + 1), 10.0 ** (k - 9)) for k in range(8))


@dataclass(frozen=True, slots=True)
class Family:
    """What one kind of instrument has.

    Attributes:
        ranges: current ranges as (code, amperes), smallest first.
        channels: potentiostat channels.
    """

    prefix: str
    voltage_V: tuple[float, float]
    ranges: Ranges
    frequency_Hz: tuple[float, float]
    amplitude_V: float
    channels: int = 1
    galvanostat: bool = True


_PICO: Ranges = (
    (128, 100e-9), (129, 1e-6), (130, 6e-6), (131, 13e-6), (132, 25e-6),
    (133, 50e-6), (134, 100e-6), (135, 200e-6), (136, 1e-3), (137, 5e-3),
)  # fmt: skip
_NEXUS: Ranges = (
    (16, 100e-12), (0, 1e-9), (1, 10e-9), (2, 100e-9), (3, 1e-6), (4, 10e-6), (5, 100e-6),
    (8, 1e-3), (9, 10e-3), (10, 100e-3), (11, 1.0),
)  # fmt: skip
FAMILIES = {
    family.prefix: family
    for family in (
        Family("espico", (-1.7, 2.0), _PICO, (0.016, 200e3), 0.25, 2, galvanostat=False),
        Family("senswb", (-1.7, 2.0), _PICO, (0.016, 200e3), 0.25, galvanostat=False),
        Family("es4_lr", (-3.0, 3.0), _ES4, (1e-5, 200e3), 0.9),
        Family("es4_hr", (-6.0, 6.0), (*_ES4, (27, 100e-3)), (1e-5, 200e3), 0.9),
        Family("nexus1", (-10.0, 10.0), _NEXUS, (1e-5, 1e6), 1.0),
    )
}


@dataclass(slots=True)
class _Channel:
    """Settings of one potentiostat channel."""

    mode: int = 0
    e_V: float = 0.0
    i_A: float = 0.0
    autorange_A: tuple[float, float] = (0.0, 1e9)
    driven: Position | None = None


@dataclass(slots=True)
class _Multiplexer:
    """Which cell the one potentiostat is switched to."""

    configured: bool = False
    address: int = 0
    gpio_outputs: int = 0
    gpio: int = 0


@dataclass(slots=True)
class Potentiostat:
    """Relay, ranges and measurement on the cells it is wired to.

    Attributes:
        wiring: channel (1...) to leads; behind a multiplexer its channels, else one per
            potentiostat channel.
        multiplexer: "none", "mux8" (addressed by digital lines 0 to 2) or "mux8r2".
    """

    family: Family
    wiring: Mapping[int, Position]
    multiplexer: str
    perturb: Perturb
    dice: random.Random
    mux: _Multiplexer = field(default_factory=_Multiplexer)
    _channels: dict[int, _Channel] = field(default_factory=lambda: {0: _Channel()})
    _selected: int = 0

    @property
    def channel(self) -> _Channel:
        """The settings of the selected potentiostat channel."""
        return self._channels[self._selected]

    @property
    def is_on(self) -> bool:
        """Whether the cell relay of the selected channel is closed."""
        return self.channel.driven is not None

    def select(self, number: int) -> None:
        """Choose a potentiostat channel."""
        if not 0 <= number < self.family.channels:
            raise ScriptError(0x002F)
        self._selected = number
        self._channels.setdefault(number, _Channel())

    def position(self) -> Position | None:
        """The leads that the selected channel and the multiplexer lead to."""
        if self.multiplexer == "none":
            return self.wiring.get(self._selected + 1)
        address = self.mux.gpio & 0b111 if self.multiplexer == "mux8" else self.mux.address
        return self.wiring.get(address + 1)

    def set_e(self, volts: float) -> None:
        """Set the potential that the closed relay applies."""
        low, high = self.family.voltage_V
        if not low <= volts <= high:
            raise ScriptError(0x000F)
        self.channel.e_V = volts
        self._drive()

    def set_i(self, amps: float) -> None:
        """Set the current that the closed relay drives."""
        if self.channel.mode != _GALVANOSTAT:
            raise ScriptError(0x0023)
        if abs(amps) > self.family.ranges[-1][1]:
            raise ScriptError(0x0012)
        self.channel.i_A = amps
        self._drive()

    def switch_on(self) -> None:
        """Close the relay."""
        if self.channel.mode == 0:
            raise ScriptError(0x0023)
        self.channel.driven = self.position()
        self._drive()

    def switch_off(self) -> None:
        """Open the relay."""
        driven = self.channel.driven
        if driven is None or self.perturb.ignores_off:
            return
        driven.open()
        self.channel.driven = None

    def rewire(self) -> None:
        """Move a closed relay to where the multiplexer leads now."""
        driven, wanted = self.channel.driven, self.position()
        if driven is not None and driven is not wanted:
            driven.open()
            self.channel.driven = wanted
            self._drive()

    def _drive(self) -> None:
        if self.channel.driven is None:
            return
        if self.channel.mode == _GALVANOSTAT:
            low, high = self.family.voltage_V
            amps = self.channel.i_A
            end_V = high if amps > 0.0 else low
            self.channel.driven.drive(end_V, max(amps, 0.0), max(-amps, 0.0))
        else:
            most = self.family.ranges[-1][1] * _CRITICAL
            self.channel.driven.drive(self.channel.e_V, most, most)

    def potential(self) -> Value:
        """Measured potential of the working against the reference electrode."""
        position = self.position()
        if position is None:
            return Value(nan, "ab")
        position.advance()
        volts = position.voltage_V + self.dice.gauss(0.0, _VOLTAGE_NOISE_V)
        return Value(self.perturb.value("voltage_V", volts), "ab")

    def current(self) -> Value:
        """Measured current with status and range; opens the relay on a critical overload."""
        amps = self._direct_current()
        code, full, status = self._range(abs(amps))
        amps += self.dice.gauss(0.0, _CURRENT_NOISE * full)
        amps = max(-full, min(full, amps))
        return Value(self.perturb.value("current_A", amps), "ba", metadata=_metadata(status, code))

    def _direct_current(self) -> float:
        position = self.channel.driven
        if position is None:
            return 0.0
        position.advance()
        return position.current_A

    def check_sweep(self, amplitude_V: float, first_Hz: float, last_Hz: float) -> None:
        """Refuse a sweep that the instrument cannot do."""
        low, high = self.family.frequency_Hz
        if self.channel.mode != 3:
            raise ScriptError(0x0023)
        if not 0.0 < amplitude_V <= self.family.amplitude_V:
            raise ScriptError(0x0012)
        if not (low <= first_Hz <= high and low <= last_Hz <= high):
            raise ScriptError(0x0011)

    def check_galvanic_sweep(
        self, amplitude_A: float, direct_A: float, first_Hz: float, last_Hz: float
    ) -> None:
        """Refuse a galvanostatic sweep that the instrument cannot do, or not in this range."""
        low, high = self.family.frequency_Hz
        if self.channel.mode != _GALVANOSTAT:
            raise ScriptError(0x0023)
        peak_A = abs(direct_A) + sqrt(2.0) * amplitude_A
        if not 0.0 < peak_A <= 1.0001 * self._fixed_range()[1] or amplitude_A <= 0.0:
            raise ScriptError(0x0012)
        if not (low <= first_Hz <= high and low <= last_Hz <= high):
            raise ScriptError(0x0011)

    def _fixed_range(self) -> tuple[int, float]:
        """The smallest range that holds what `set_range` asked for; the largest before it did."""
        asked_A = min(self.channel.autorange_A[1], self.family.ranges[-1][1])
        return next(r for r in self.family.ranges if r[1] >= 0.999 * asked_A)

    def impedance_at(self, frequency_Hz: float, peak_A: float) -> tuple[Value, Value]:
        """Measured real and imaginary part at one frequency, with a current that is given."""
        position = self.channel.driven
        if position is not None:
            position.advance()
        true = complex(nan, nan) if position is None else position.impedance(frequency_Hz)
        code, full = self._fixed_range()
        return self._seen(true, 0 if peak_A >= 0.05 * full else _UNDERLOAD, code)

    def impedance(self, frequency_Hz: float, amplitude_V: float) -> tuple[Value, Value]:
        """Measured real and imaginary part at one frequency.

        A current beyond its range is clipped, which makes the impedance look larger.
        """
        position = self.channel.driven
        direct = self._direct_current()
        true = complex(nan, nan) if position is None else position.impedance(frequency_Hz)
        peak = abs(direct) + sqrt(2.0) * amplitude_V / abs(true)
        code, full, status = self._range(peak)
        return self._seen(true * max(1.0, peak / full), status, code)

    def _seen(self, true: complex, status: int, code: int) -> tuple[Value, Value]:
        """An impedance as the instrument shows it, with its noise."""
        size = self.perturb.value("impedance_ohm", abs(true))
        size *= self.dice.gauss(1.0, _MAGNITUDE_NOISE)
        measured = size * cmath.exp(
            1j * (cmath.phase(true) + self.dice.gauss(0.0, _PHASE_NOISE_RAD))
        )
        return (
            Value(measured.real, "cc", metadata=_metadata(status, code)),
            Value(measured.imag, "cd", metadata=_metadata(0, _POTENTIAL_RANGE)),
        )

    def _range(self, amps: float) -> tuple[int, float, int]:
        """The smallest allowed range that holds a current: code, amperes, status."""
        if amps > _CRITICAL * 0.999 * self.family.ranges[-1][1]:
            self.switch_off()
            raise ScriptError(0x0032)
        low, high = self.channel.autorange_A
        allowed = [r for r in self.family.ranges if 0.99 * low <= r[1] <= 1.01 * high]
        allowed = allowed or [self.family.ranges[-1]]
        code, full = next((r for r in allowed if amps <= 0.8 * r[1]), allowed[-1])
        if not isfinite(amps):
            return code, full, 0
        if amps > 0.95 * full:
            return code, full, _OVERLOAD
        if amps > 0.8 * full:
            return code, full, _WARNING
        return code, full, _UNDERLOAD if amps < 0.05 * full else 0


def _metadata(status: int, code: int) -> tuple[str, str]:
    return f"1{status:X}", f"2{code:02X}"
