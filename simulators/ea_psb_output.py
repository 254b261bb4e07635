"""The DC terminal of an EA PSB 10000: regulation, remote lock, watchdog, protections, alarms.

Sources: the fact sheets named in `simulators.ea_psb`. Assumed, for want of a page: which status bit
is which alarm; that events (UVD and its like) sleep while the terminal is off; that a protection
may be set to 110 % of nominal; that an acknowledged alarm restores an output that is programmed ON
(option `restores`: the worse of the two); that the unit keeps its output on leaving remote control
until told otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulators.clock import Clock
from simulators.rig import Position
from simulators.scpi import ScpiError, StatusRegister
from simulators.wire import Perturb

REMOTE, DC_ON = 1 << 10, 1 << 11
OVP, OCP, OPP, UVD, OVD, UCD, OCD = 1, 2, 4, 64, 128, 256, 512
OPER_CV = 1 << 8

_ALL = 0xFFFF
_STEPS = 26214
_LOOK_S = 0.02  # how often protections look, bench time
_EVENTS = {"UVD": UVD, "OVD": OVD, "UCD": UCD, "OCD": OCD, "OPD": OPP}

ACTIONS = ("NONE", "SIGNAL", "WARNING", "ALARM")
WORDS: Mapping[str, tuple[str, ...]] = {
    "SYST:CONF:MODE": ("UIP", "UIR"),
    "POW:STAG:AFT:REM": ("AUTO", "OFF"),
    "SYST:ALAR:ACT:PFA": ("AUTO", "OFF"),
    "SYST:ALAR:ACT:OTEM": ("AUTO", "OFF"),
    "SYST:COMM:MON:ACT": ("OFF", "ON"),
} | {f"SYST:CONF:{event}:ACT": ACTIONS for event in _EVENTS}
"""Settings that are words; the first is what the unit starts with."""


@dataclass(frozen=True, slots=True)
class Rating:
    """What a model can do."""

    voltage_V: float
    current_A: float
    power_W: float

    def of(self, unit: str) -> float:
        """Nominal value in V, A or W."""
        return {"V": self.voltage_V, "A": self.current_A, "W": self.power_W}[unit]


@dataclass(frozen=True, slots=True)
class Setting:
    """A numeric setting: its unit, highest value, value at power-up, and smallest step."""

    unit: str
    high: float
    start: float
    step: float = 0.0
    low: float = 0.0


def settings_of(rating: Rating) -> dict[str, Setting]:
    """The numeric settings of a model, under their short headers."""
    volts, amps, watts = rating.voltage_V, rating.current_A, rating.power_W

    def level(unit: str, share: float, start: float) -> Setting:
        return Setting(unit, share * rating.of(unit), start, rating.of(unit) / _STEPS)

    found = {"VOLT": level("V", 1.02, 0.0), "VOLT:PROT": level("V", 1.1, 1.1 * volts)}
    found |= {
        "VOLT:LIM:LOW": level("V", 1.02, 0.0),
        "VOLT:LIM:HIGH": level("V", 1.02, 1.02 * volts),
    }
    for side in ("", "SINK:"):
        found |= {
            f"{side}CURR": level("A", 1.02, 0.0),
            f"{side}CURR:PROT": level("A", 1.1, 1.1 * amps),
            f"{side}CURR:LIM:LOW": level("A", 1.02, 0.0),
            f"{side}CURR:LIM:HIGH": level("A", 1.02, 1.02 * amps),
            f"{side}POW": level("W", 1.02, watts),
            f"{side}POW:PROT": level("W", 1.1, 1.1 * watts),
            f"{side}POW:LIM:HIGH": level("W", 1.02, 1.02 * watts),
        }
    for event, unit in {"UVD": "V", "OVD": "V", "UCD": "A", "OCD": "A", "OPD": "W"}.items():
        low = event.startswith("U")
        found[f"SYST:CONF:{event}"] = level(unit, 1.1, 0.0 if low else 1.1 * rating.of(unit))
    return found | {"SYST:COMM:MON:TIME": Setting("s", 36000.0, 5.0, 1.0, 1.0)}


class Output:
    """One DC terminal with a cell on it; values in volts, amperes, watts and bench seconds."""

    def __init__(
        self, position: Position, clock: Clock, rating: Rating, perturb: Perturb, *, restores: bool
    ) -> None:
        self.position = position
        self.rating = rating
        self.settings = settings_of(rating)
        self.questionable = StatusRegister(preset=_ALL)
        self.operation = StatusRegister(preset=_ALL)
        for register in (self.questionable, self.operation):
            register.enable = _ALL
        self._clock = clock
        self._perturb = perturb
        self._restores = restores
        self._look_at_s = 0.0
        self._heard_s = clock.real()
        self._told = 0  # bits of events that only signal
        self.power_up()

    def power_up(self) -> None:
        """As the mains switch: everything at its start value, OFF, nobody in control."""
        self.owner = "NONE"
        self.reset()

    def reset(self) -> None:
        """As `*RST`: OFF, settings at their start values, no alarms; the lock stays."""
        self.values = {name: setting.start for name, setting in self.settings.items()}
        self.words = {name: choices[0] for name, choices in WORDS.items()}
        self.alarms = 0
        self._programmed = False
        self._regulate()

    # Remote control ------------------------------------------------------------------------------

    def heard(self) -> None:
        """Note traffic of a client, which holds the watchdog off."""
        self._heard_s = self._clock.real()

    def require_remote(self) -> None:
        """Raise `ScpiError` unless a client holds the lock."""
        if self.owner != "REMOTE":
            raise ScpiError(-201, "Invalid while in local")

    def lock(self, *, remote: bool) -> None:
        """Take or give back remote control; a unit that is locked at its panel refuses."""
        if self.owner == "LOCAL":
            raise ScpiError(-201, "Invalid while in local")
        if remote:
            self.owner = "REMOTE"
        elif self.owner == "REMOTE":
            self.leave_remote()
        self._show()

    def leave_remote(self, owner: str = "NONE") -> None:
        """Watchdog, panel or client end remote control; the output goes as it was told."""
        self.owner = owner
        if self.words["POW:STAG:AFT:REM"] == "OFF":
            self._programmed = False
        self._regulate()

    def _watch(self) -> None:
        silent_s = self._clock.real() - self._heard_s
        watching = self.words["SYST:COMM:MON:ACT"] == "ON" and self.owner == "REMOTE"
        if watching and silent_s > self.values["SYST:COMM:MON:TIME"]:
            self.leave_remote()

    # Settings ------------------------------------------------------------------------------------

    def set(self, name: str, value: float) -> None:
        """Store a number as the converter rounds it.

        Raises:
            ScpiError: It is outside the adjustment limits.
        """
        low = self.values.get(f"{name}:LIM:LOW", 0.0)
        if not low <= value <= self.values.get(f"{name}:LIM:HIGH", value):
            raise ScpiError(-222, "Data out of range")
        if self._perturb.ignores_set:
            return
        step = self.settings[name].step
        self.values[name] = round(self._perturb.stored(value) / step) * step
        self._regulate()

    def choose(self, name: str, word: str) -> None:
        """Store a word."""
        if not self._perturb.ignores_set:
            self.words[name] = word

    # The terminal --------------------------------------------------------------------------------

    @property
    def on(self) -> bool:
        """Whether the terminal is live, as `OUTP?` says."""
        return self._programmed and not self.alarms

    def switch(self, *, on: bool) -> None:
        """As `OUTP`. During an alarm ON is refused, and OFF is remembered.

        Raises:
            ScpiError: An alarm stands.
        """
        if on and self.alarms:
            raise ScpiError(-221, "Settings conflict")
        if not on and self._programmed and self._perturb.ignores_off:
            return
        self._programmed = on
        self._regulate()

    def _regulate(self) -> None:
        if self.on:
            self.position.drive(*self._demand())
        else:
            self.position.open()
        self._show()

    def _demand(self) -> tuple[float, float, float]:
        """(voltage, most charge current, most discharge current) for the cell."""
        values, volts = self.values, max(self.position.voltage_V, 1e-3)
        charge = min(values["CURR"], values["POW"] / volts)
        return values["VOLT"], charge, min(values["SINK:CURR"], values["SINK:POW"] / volts)

    # Protections ---------------------------------------------------------------------------------

    def advance(self) -> None:
        """Look at watchdog and protections every now and then."""
        now = self._clock.now()
        if now >= self._look_at_s:
            self._look_at_s = now + _LOOK_S
            self.look()

    def look(self) -> None:
        """Bring watchdog, protections and status up to now."""
        self.position.advance()
        self._watch()
        self._told = self._events("SIGNAL", "WARNING")
        tripped = self._protections() | self._events("ALARM")
        if tripped & ~self.alarms:
            self.alarms |= tripped
            if not self._restores:
                self._programmed = False
        self._regulate()

    def _protections(self) -> int:
        """The thresholds that always act."""
        volts, amps = self.position.voltage_V, self.position.current_A
        values, side = self.values, "SINK:" if amps < 0.0 else ""
        return (
            (OVP if volts > values["VOLT:PROT"] else 0)
            | (OCP if abs(amps) > values[f"{side}CURR:PROT"] else 0)
            | (OPP if abs(volts * amps) > values[f"{side}POW:PROT"] else 0)
        )

    def _events(self, *actions: str) -> int:
        """The user's events with one of these actions that hold now."""
        if not self.on:
            return 0
        volts, amps = self.position.voltage_V, abs(self.position.current_A)
        seen = {"UVD": volts, "OVD": volts, "UCD": amps, "OCD": amps, "OPD": volts * amps}
        found = 0
        for event, value in seen.items():
            limit = self.values[f"SYST:CONF:{event}"]
            beyond = value < limit if event.startswith("U") else value > limit
            if beyond and self.words[f"SYST:CONF:{event}:ACT"] in actions:
                found |= _EVENTS[event]
        return found

    def acknowledge(self) -> None:
        """Forget alarms that are gone, as reading the error queue does."""
        self.position.advance()
        self.alarms &= self._protections()
        self._regulate()

    def _show(self) -> None:
        remote = REMOTE if self.owner == "REMOTE" else 0
        live = DC_ON if self.on else 0
        self.questionable.update(self.alarms | self._told | remote | live)
        self.operation.update(OPER_CV if self.position.regulation == "cv" else 0)
