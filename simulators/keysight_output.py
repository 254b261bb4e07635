"""The output stage of a two-quadrant supply: regulation, protections, watchdog, status.

Sources: RP7900 manual pages 170-252 and N6900/N7900 manual pages 158-287 as found in public
libraries, and the behaviour of an N6974A measured by a public driver. Assumed, for want of a page:
in voltage priority a current limit shows as CC together with LIM+ or LIM-, in current priority the
voltage limit as CV with LIM+; over-current protection acts in voltage priority only; the watchdog
latches whether the output is on or off.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulators.clock import Clock
from simulators.rig import Position
from simulators.scpi import StatusRegister
from simulators.wire import Perturb

OPER_CV, OPER_CC, OPER_OFF = 1, 2, 4
QUES_OV, QUES_OC, QUES_LIM_POS, QUES_LIM_NEG, QUES_PROT = 1, 2, 128, 256, 2048
QUES2_UV = 64
_UV_LATCH = QUES2_UV << 16  # one word for all latched causes: questionable 2 in the upper half

_TURN_ON_S = 0.03  # "tens of ms"
_LOOK_S = 0.02  # how often protections look, bench time; each look costs a step of physics


@dataclass(frozen=True, slots=True)
class Rating:
    """What a model can do.

    Attributes:
        voltage_V: Rated voltage.
        current_A: Rated current.
        sink: Share of the rated current it can sink.
        regenerative: RP7900: has a low voltage limit and under-voltage protection.
    """

    voltage_V: float
    current_A: float
    sink: float
    regenerative: bool


@dataclass(frozen=True, slots=True)
class Setting:
    """A numeric setting: its limits, value after reset, and smallest step."""

    low: float
    high: float
    reset: float
    step: float = 0.0

    def quantised(self, value: float) -> float:
        """Return the value that the converter really takes."""
        return round(value / self.step) * self.step if self.step else value


def settings_of(rating: Rating) -> dict[str, Setting]:
    """Return the numeric settings of a model, under their short headers."""
    volts, amps = 1.02 * rating.voltage_V, 1.02 * rating.current_A
    sink = -amps * rating.sink
    step_V, step_A = volts / 65535, amps / 65535
    return {
        "VOLT": Setting(0.0, volts, 0.0, step_V),
        "VOLT:LIM": Setting(0.0, volts, 0.01 * rating.voltage_V, step_V),
        "VOLT:LIM:LOW": Setting(0.0, volts, 0.0, step_V),
        "VOLT:PROT": Setting(0.0, 1.2 * rating.voltage_V, 1.2 * rating.voltage_V, step_V),
        "VOLT:PROT:LOW": Setting(0.0, volts, 0.0, step_V),
        "VOLT:PROT:LOW:DEL": Setting(20.48e-6, 2611.0, 20.48e-6),
        "VOLT:SLEW": Setting(0.0, 9.9e37, 9.9e37),
        "VOLT:RES": Setting(0.0, rating.voltage_V / rating.current_A, 0.0),
        "CURR": Setting(sink, amps, 0.0, step_A),
        "CURR:LIM": Setting(0.0, amps, 0.01 * rating.current_A, step_A),
        "CURR:LIM:NEG": Setting(sink, 0.0, -0.01 * rating.current_A * rating.sink, step_A),
        "CURR:PROT:DEL": Setting(0.0, 0.255, 0.02),
        "CURR:SLEW": Setting(0.0, 9.9e37, 9.9e37),
        "OUTP:PROT:WDOG:DEL": Setting(1.0, 3600.0, 60.0, 1.0),
        "OUTP:DEL:RISE": Setting(0.0, 1023.0, 0.0),
        "OUTP:DEL:FALL": Setting(0.0, 1023.0, 0.0),
        "SENS:SWE:NPLC": Setting(0.003, 100.0, 1.0, 0.000064),
        "SENS:CURR:RANG": Setting(0.0, amps, amps),
    }


class Output:
    """One output with a cell on it; values in volts, amperes and bench seconds."""

    def __init__(self, position: Position, clock: Clock, rating: Rating, perturb: Perturb) -> None:
        self.position = position
        self.settings = settings_of(rating)
        self.values: dict[str, float] = {}
        self.operation = StatusRegister(preset=511)
        self.questionable = StatusRegister(preset=16383)
        self.questionable2 = StatusRegister(preset=127)
        self.status_groups = (self.operation, self.questionable, self.questionable2)
        self._clock = clock
        self._perturb = perturb
        self._rating = rating
        self._latched = 0
        self._look_at_s = 0.0
        self._heard_s = clock.real()
        self._close_at_s = 0.0
        self._since_s: dict[str, float] = {}
        self.on = False
        self.reset()

    def reset(self) -> None:
        """As `*RST`."""
        self.current_priority = False
        self.over_current_protection = False
        self.under_voltage_protection = False
        self.watchdog = False
        self._to_reset_values()
        self.switch(on=False)

    def _to_reset_values(self) -> None:
        self.values = {k: s.quantised(s.reset) for k, s in self.settings.items()}

    def set_priority(self, *, current: bool) -> None:
        """Regulate current instead of voltage, or back; a change switches OFF and resets levels."""
        if current != self.current_priority:
            watchdog_s = self.values["OUTP:PROT:WDOG:DEL"]
            self._to_reset_values()
            self.values["OUTP:PROT:WDOG:DEL"] = watchdog_s
            self.current_priority = current
            self.switch(on=False)

    def set(self, name: str, value: float) -> None:
        """Store a setting, as the converter rounds it."""
        if self._perturb.ignores_set:
            return
        self.values[name] = self.settings[name].quantised(self._perturb.stored(value))
        self._regulate()

    def switch(self, *, on: bool) -> None:
        """Program the output state; a latched protection keeps the output off nevertheless."""
        if not on and self.on and self._perturb.ignores_off:
            return
        if on and not self.on:
            self._close_at_s = self._closing_time()
        self.on = on
        self._regulate()

    def _closing_time(self) -> float:
        return self._clock.now() + _TURN_ON_S + self.values["OUTP:DEL:RISE"]

    @property
    def _closed(self) -> bool:
        return self.on and not self._latched and self._clock.now() >= self._close_at_s

    def _regulate(self) -> None:
        if self._closed:
            self.position.drive(*self._demand())
        else:
            self.position.open()
        self._show()

    def _demand(self) -> tuple[float, float, float]:
        """(voltage, most charge current, most discharge current) for the cell."""
        values = self.values
        if not self.current_priority:
            return values["VOLT"], values["CURR:LIM"], values["CURR:LIM:NEG"]
        if values["CURR"] >= 0.0:
            return values["VOLT:LIM"], values["CURR"], 0.0
        return values["VOLT:LIM:LOW"], 0.0, values["CURR"]

    def heard(self) -> None:
        """Note traffic of a client, which holds the watchdog off."""
        self._heard_s = self._clock.real()

    def advance(self) -> None:
        """Finish what is due; look at the protections every now and then."""
        now = self._clock.now()
        if now >= self._look_at_s:
            self._look_at_s = now + _LOOK_S
            self.look()

    def look(self) -> None:
        """Bring output, protections and status up to now."""
        self.position.advance()
        if self._closed and self.position.regulation == "off":
            self._regulate()
        tripped = self._watchdog() | self._protections()
        if tripped & ~self._latched:
            self._latched |= tripped
            self._regulate()
        self._show()

    def _watchdog(self) -> int:
        silent_s = self._clock.real() - self._heard_s
        return QUES_PROT if self.watchdog and silent_s > self.values["OUTP:PROT:WDOG:DEL"] else 0

    def _protections(self) -> int:
        if not self._closed:
            return 0
        volts = self.position.voltage_V
        low = self.under_voltage_protection and volts < self.values["VOLT:PROT:LOW"]
        limited = self.over_current_protection and not self.current_priority
        limited = limited and self.position.regulation in ("cc+", "cc-")
        return (
            (QUES_OV if volts > self.values["VOLT:PROT"] else 0)
            | (_UV_LATCH if self._lasted("low", low, self.values["VOLT:PROT:LOW:DEL"]) else 0)
            | (QUES_OC if self._lasted("limited", limited, self.values["CURR:PROT:DEL"]) else 0)
        )

    def _lasted(self, what: str, holds: bool, delay_s: float) -> bool:
        """Whether a condition has held for its delay."""
        if not holds:
            self._since_s.pop(what, None)
            return False
        now = self._clock.now()
        return now - self._since_s.setdefault(what, now) >= delay_s

    def clear_protection(self) -> None:
        """Forget causes that are gone; the output then does again what it is programmed to."""
        self.position.advance()
        standing = QUES_OV if self.position.voltage_V > self.values["VOLT:PROT"] else 0
        if self._latched and not self._latched & standing:
            self._latched = 0
            self._close_at_s = self._closing_time()
        self._regulate()

    def _show(self) -> None:
        regulation = self.position.regulation
        limited = regulation in ("cc+", "cc-")
        if regulation == "off":
            self.operation.update(OPER_OFF)
        else:
            self.operation.update(OPER_CC if limited else OPER_CV)
        live = 0
        if regulation != "off" and limited != self.current_priority:
            live = QUES_LIM_NEG if self.position.current_A < 0.0 else QUES_LIM_POS
        self.questionable.update(self._latched & 0xFFFF | live)
        self.questionable2.update(self._latched >> 16)
