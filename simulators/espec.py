"""An ESPEC chamber with a P-300 or SCP-220 controller: lines of ASCII on a `ChamberModel`.

Options: `model` ("EHS-211"), `rom` ("1.02"), `humidity` (false), `address` (RS-485, 1 to 16),
`old_protocol` (false), `protected` (false: `PROTECT ON` answers every setting).

Oddities that are copied
    - One client at a time: a second one is accepted and hears nothing until the first has gone.
    - With an RS-485 address, lines for nobody or for somebody else are not answered.
    - A setting is echoed after `OK:`; an error is `NA:` and its text; there is no error queue.
    - A setpoint beyond the alarm limits is refused, and the limits may be moved over the wire.
    - "OLD" protocol: a question is answered by `OK:` and its echo, then by the data.
    - Without a wet sensor the humidity field is empty, and TYPE? has a field less.

The pause that the guide asks for after each command (0.3 to 1 s) is not enforced; a real
controller may lose a command that comes too soon. Programs are not simulated: none is stored.
UNCONFIRMED: alarm codes (1 for the thermostat here), what a broken sensor reads ("nan" here).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from simulators.chamber import ChamberModel
from simulators.clock import Clock
from simulators.wire import Out, Perturb, WhenFull

_HIGHEST_DEGC, _LOWEST_DEGC = 150.0, -40.0
_LONGEST_LINE = 4096
_HUMIDITY = re.compile(r"S(\d+(?:\.\d+)?)|SOFF")
_TEMPERATURE = re.compile(r"([SHL])(-?\d+(?:\.\d+)?)")
_MODES = ("OFF", "STANDBY", "CONSTANT")


class RefusedError(Exception):
    """What stands after `NA:`."""


class Espec:
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
        self.chamber = wiring[1]
        self.options = _checked(options)
        self.mode = "STANDBY"
        self.key_lock = "OFF"
        self.upper_degC, self.lower_degC = _HIGHEST_DEGC, _LOWEST_DEGC
        self.setpoint_degC = self.chamber.setpoint_degC
        self._questions: dict[str, Callable[[], str]] = {
            "ROM?": lambda: f"{self.options['model']} Ver. {self.options['rom']}",
            "TYPE?": lambda: f"T,{'T,' if self.options['humidity'] else ''}S2,{_HIGHEST_DEGC:.1f}",
            "MON?": self._monitor,
            "MODE?": lambda: self.mode,
            "TEMP?": self._temperatures,
            "HUMI?": self._humidities,
            "ALARM?": lambda: "1,1" if self.chamber.over_temperature else "0",
            "KEYPROTECT?": lambda: self.key_lock,
        }
        self._settings: dict[str, Callable[[str], None]] = {
            "MODE": self._set_mode,
            "POWER": self._set_power,
            "TEMP": self._set_temperature,
            "HUMI": self._set_humidity,
            "KEYPROTECT": self._set_key_lock,
        }

    def session(self) -> Session:
        """Open a connection."""
        return Session(self)

    def advance(self) -> None:
        """The chamber moves by itself when it is looked at; the controller needs no beat."""

    def answer(self, line: str) -> str:
        """Answer one line, CRLF included; an empty text is no answer."""
        address, command = _split(line)
        if self.options["address"] not in (None, address):
            return ""
        self.chamber.advance()
        try:
            return self._obey(line, command)
        except RefusedError as refusal:
            return f"NA:{refusal}\r\n"

    def _obey(self, line: str, command: str) -> str:
        if command in self._questions:
            reply = f"{self._questions[command]()}\r\n"
            return f"OK:{line}\r\n{reply}" if self.options["old_protocol"] else reply
        word, _, parameters = command.partition(",")
        if word not in self._settings:
            raise RefusedError("CMD ERR")
        if self.options["protected"]:
            raise RefusedError("PROTECT ON")
        self._settings[word](parameters.strip())
        return f"OK:{line}\r\n"

    def _monitor(self) -> str:
        humidity = ""
        if self.options["humidity"]:
            humidity = f"{self.perturb.value('humidity_pct', self.chamber.humidity_pct):.0f}"
        alarms = int(self.chamber.over_temperature)
        return f"{self._shown_degC():.1f},{humidity},{self.mode},{alarms}"

    def _temperatures(self) -> str:
        numbers = (self._shown_degC(), self.setpoint_degC, self.upper_degC, self.lower_degC)
        return ",".join(f"{number:.1f}" for number in numbers)

    def _humidities(self) -> str:
        if not self.options["humidity"]:
            raise RefusedError("CONT NOT READY-1")
        setpoint_pct = self.chamber.setpoint_pct
        setpoint = "OFF" if setpoint_pct is None else f"{setpoint_pct:.0f}"
        shown = self.perturb.value("humidity_pct", self.chamber.humidity_pct)
        return f"{shown:.0f},{setpoint},100,0"

    def _shown_degC(self) -> float:
        return self.perturb.value("temperature_degC", self.chamber.temperature_degC)

    def _set_mode(self, mode: str) -> None:
        if re.fullmatch(r"RUN ?\d+", mode):
            raise RefusedError("DATA NOT READY")
        if mode not in _MODES:
            raise RefusedError("PARA ERR")
        if mode != "CONSTANT" and self.perturb.ignores_off:
            return
        self.mode = mode
        self._follow()

    def _set_power(self, state: str) -> None:
        if state not in ("ON", "OFF"):
            raise RefusedError("PARA ERR")
        self._set_mode("CONSTANT" if state == "ON" else "OFF")

    def _set_temperature(self, parameters: str) -> None:
        found = [_TEMPERATURE.fullmatch(word) for word in parameters.split()]
        if not found or None in found:
            raise RefusedError("PARA ERR")
        wanted = {match[1]: round(float(match[2]), 1) for match in found if match}
        setpoint = wanted.get("S", self.setpoint_degC)
        upper, lower = wanted.get("H", self.upper_degC), wanted.get("L", self.lower_degC)
        if not lower <= setpoint <= upper:
            raise RefusedError("DATA OUT OF RANGE")
        if not self.perturb.ignores_set:
            self.setpoint_degC, self.upper_degC, self.lower_degC = setpoint, upper, lower
            self._follow()

    def _set_humidity(self, parameters: str) -> None:
        if not self.options["humidity"]:
            raise RefusedError("CONT NOT READY-1")
        match = _HUMIDITY.fullmatch(parameters)
        if match is None:
            raise RefusedError("PARA ERR")
        pct = None if match[1] is None else float(match[1])
        if pct is not None and pct > 100.0:
            raise RefusedError("DATA OUT OF RANGE")
        if not self.perturb.ignores_set:
            self.chamber.set_humidity(pct)

    def _set_key_lock(self, state: str) -> None:
        if state not in ("ON", "OFF"):
            raise RefusedError("PARA ERR")
        self.key_lock = state

    def _follow(self) -> None:
        self.chamber.set(self.setpoint_degC)
        if self.mode == "CONSTANT":
            self.chamber.start()
        else:
            self.chamber.stop()


class Session:
    """One connection: cuts the bytes into lines."""

    def __init__(self, box: Espec) -> None:
        self._box = box
        self._buffer = b""

    def feed(self, data: bytes) -> Iterable[Out]:
        """Answer every whole line."""
        *lines, self._buffer = (self._buffer + data).split(b"\r\n")
        self._buffer = self._buffer[-_LONGEST_LINE:]
        answers = [self._box.answer(line.decode("ascii", "replace")) for line in lines]
        return [Out(answer.encode()) for answer in answers if answer]

    def tick(self) -> Iterable[Out]:
        """The chamber never speaks first."""
        return ()

    def close(self) -> None:
        """Forget half a line."""
        self._buffer = b""


def _split(line: str) -> tuple[int | None, str]:
    """Return the address in front of a command, if any, and the command."""
    found = re.fullmatch(r"(?:(\d{1,2}),)?(.*)", line.strip())
    if found is None:
        return None, line
    return (int(found[1]) if found[1] else None), found[2]


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options, with defaults for those that are not given."""
    defaults = {
        "model": "EHS-211",
        "rom": "1.02",
        "humidity": False,
        "address": None,
        "old_protocol": False,
        "protected": False,
    }
    for key, value in options.items():
        if key not in defaults:
            raise ValueError(f"{key}: unknown; known: {', '.join(defaults)}")
        if key == "address":
            if isinstance(value, bool) or value not in (None, *range(1, 17)):
                raise ValueError("address: must be a number from 1 to 16")
        elif not isinstance(value, type(defaults[key])):
            raise ValueError(f"{key}: must be a {type(defaults[key]).__name__}")
    return defaults | dict(options)


DIALECT = Espec
