"""EA Elektro-Automatik PSB 10000: a bidirectional supply that speaks SCPI on a raw socket or USB.

Copies what clients trip over, as the manual of the APS 6RL (the same dialect under another label)
and public drivers of the real unit tell it: replies to numeric queries carry their unit; on and off
are ON and OFF; nothing is obeyed without the remote lock (-201); the error queue holds five, and
reading it acknowledges alarms that are gone; the watchdog ends remote control instead of tripping.

Options: `model` (a key of `MODELS`), `serial`, `firmware`, `voltage_V`, `current_A`, `power_W`,
`noise` (of readings, as a multiple of the usual), `space` (false: `43.50V`), `restores` (whether an
acknowledged alarm restores an output that is programmed ON), `connections` (at a time), `gap`
(seconds: a message that comes sooner after the one before is lost; 0 by default, because a busy
machine hands over two at once).

UNCONFIRMED, and the stricter way here: two commands in one line are a syntax error; an unknown
query is never answered.
Not simulated: function generator, resistance mode (it can be chosen and does nothing), master and
slave, the time-out of idle connections.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from simulators import scpi
from simulators.clock import Clock
from simulators.ea_psb_output import WORDS, Output, Rating
from simulators.rig import Position
from simulators.scpi import ErrorQueue, ScpiError, StatusRegister
from simulators.wire import Out, Perturb

MODELS = {
    "PSB 10060-60 2U": Rating(60.0, 60.0, 1500.0),
    "PSB 10080-60 2U": Rating(80.0, 60.0, 1500.0),
    "PSB 10060-1000 4U": Rating(60.0, 1000.0, 30000.0),
}
_OPTIONS = {
    "model", "serial", "firmware", "voltage_V", "current_A", "power_W",
    "noise", "space", "restores", "connections", "gap",
}  # fmt: skip
_NOISE = 5e-6  # standard deviation of a reading, of nominal
_DIGITS = 5000  # a nominal value shows at least so many steps
_QUEUED = 5
_LONGEST_MESSAGE = 65536


class EaPsb:
    """One supply.

    Args:
        name: Of the instrument, in the bench file.
        clock: The bench's clock.
        wiring: Exactly one position, on channel 1.
        options: See the module.

    Raises:
        ValueError: A wrong option or wiring.
    """

    def __init__(
        self, name: str, clock: Clock, wiring: Mapping[int, Position], options: Mapping[str, Any]
    ) -> None:
        if set(wiring) != {1}:
            raise ValueError("channels: a PSB has one DC terminal, channel 1")
        if unknown := set(options) - _OPTIONS:
            raise ValueError(f"{min(unknown)}: unknown; known: {', '.join(sorted(_OPTIONS))}")
        model = str(options.get("model", "PSB 10060-60 2U"))
        self.name = name
        self.clock = clock
        self.perturb = Perturb()
        self.rating = _rating(model, options)
        self.output = Output(
            wiring[1], clock, self.rating, self.perturb, restores=_flag("restores", options)
        )
        serial, firmware = options.get("serial", "123456"), options.get("firmware", "KE 3.10")
        self.identity = f"EA ELEKTRO-AUTOMATIK,{model},{serial},{firmware}"
        self.errors = ErrorQueue(_QUEUED)
        self.space = " " if _flag("space", options) else ""
        self.max_connections = int(_number("connections", options.get("connections", 4), 16))
        self.gap_s = _number("gap", options.get("gap", 0.0), 1.0)
        self._noise = _NOISE * _number("noise", options.get("noise", 1.0), 1e3)
        self._dice = random.Random(f"psb {name}")

    def session(self) -> PsbSession:
        """Open a connection."""
        return PsbSession(self)

    def advance(self) -> None:
        """Bring protections and watchdog up to now."""
        self.output.advance()

    def touch(self, values: Mapping[str, Any]) -> None:
        """What a hand at the box does: `panel_lock` true or false, `power_cycle` true.

        Raises:
            ValueError: There is no such thing to touch.
        """
        for key, value in values.items():
            if key == "panel_lock":
                self.output.leave_remote("LOCAL" if value else "NONE")
            elif key == "power_cycle":
                self.output.power_up()
            else:
                raise ValueError(f"{key}: only panel_lock and power_cycle can be touched")

    def read(self, quantity: str) -> str:
        """A measured value with its unit."""
        self.output.look()
        volts = self._seen("voltage_V", self.output.position.voltage_V, self.rating.voltage_V)
        amps = self._seen("current_A", self.output.position.current_A, self.rating.current_A)
        return {
            "V": lambda: self.shown(volts, "V"),
            "A": lambda: self.shown(amps, "A"),
            "W": lambda: self.shown(volts * amps, "W"),
        }[quantity]()

    def _seen(self, quantity: str, true: float, nominal: float) -> float:
        return self.perturb.value(quantity, true + self._dice.gauss(0.0, self._noise * nominal))

    def shown(self, value: float, unit: str) -> str:
        """A number as the unit writes it: as many decimals as its rating needs, and the unit."""
        decimals = 0
        if unit in ("V", "A"):
            while self.rating.of(unit) * 10**decimals < _DIGITS:
                decimals += 1
        return f"{value:.{decimals}f}{self.space}{unit}"


class PsbSession:
    """One connection."""

    def __init__(self, box: EaPsb) -> None:
        self.box = box
        self._input = bytearray()
        self._heard_s = -1e9

    def feed(self, data: bytes) -> Iterable[Out]:
        """Obey every complete message."""
        self._input += data
        outs: list[Out] = []
        while (end := self._input.find(b"\n")) >= 0:
            message = self._input[:end].decode("latin-1").strip()
            del self._input[: end + 1]
            if self._in_time() and (reply := self._obey(message)):
                outs.append(Out(reply.encode("latin-1") + b"\n"))
        if len(self._input) > _LONGEST_MESSAGE:
            self._input.clear()
        return outs

    def _in_time(self) -> bool:
        now, before = self.box.clock.real(), self._heard_s
        self._heard_s = now
        return now - before >= self.box.gap_s

    def _obey(self, message: str) -> str:
        """One message; its reply, or nothing."""
        self.box.output.heard()
        header, _, argument = message.partition(" ")
        header = header.upper().removeprefix(":")
        try:
            if ";" in message:
                raise ScpiError(-102, "Syntax error")
            if header.endswith("?"):
                return _find(_QUERIES, header[:-1])(self.box)
            _find(_COMMANDS, header)(self.box, argument.strip())
        except ScpiError as error:
            self.box.errors.push(error)
        return ""

    def tick(self) -> list[Out]:
        """Nothing is ever due."""
        return []

    def close(self) -> None:
        """The lock outlives the connection; only the watchdog ends it."""


def _rating(model: str, options: Mapping[str, Any]) -> Rating:
    if model not in MODELS:
        raise ValueError(f"model: {model!r} is none of {', '.join(MODELS)}")
    usual = MODELS[model]
    volts = _number("voltage_V", options.get("voltage_V", usual.voltage_V), 2e3)
    amps = _number("current_A", options.get("current_A", usual.current_A), 1e4)
    watts = _number("power_W", options.get("power_W", usual.power_W), 1e6)
    if not volts * amps * watts:
        raise ValueError("voltage_V, current_A and power_W must be above 0")
    return Rating(volts, amps, watts)


def _number(key: str, value: Any, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= most:
        raise ValueError(f"{key}: must be a number from 0 to {most:g}")
    return float(value)


def _flag(key: str, options: Mapping[str, Any]) -> bool:
    value = options.get(key, True)
    if not isinstance(value, bool):
        raise ValueError(f"{key}: must be true or false")
    return value


# The command table -------------------------------------------------------------------------------

T = TypeVar("T")
Query = Callable[[EaPsb], str]
Command = Callable[[EaPsb, str], None]
_QUERIES: dict[str, Query] = {}
_COMMANDS: dict[str, Command] = {}


def _find(table: Mapping[str, T], header: str) -> T:
    if header not in table:
        raise ScpiError(-100, "Command error")
    return table[header]


def _add(pattern: str, answers: Query | None = None, obeys: Command | None = None) -> None:
    for header in scpi.spellings(pattern):
        if answers is not None:
            _QUERIES[header] = answers
        if obeys is not None:
            _COMMANDS[header] = obeys


def _get_number(name: str, box: EaPsb) -> str:
    unit, value = box.output.settings[name].unit, box.output.values[name]
    return f"{value:g}" if unit == "s" else box.shown(value, unit)


def _set_number(name: str, box: EaPsb, argument: str) -> None:
    box.output.require_remote()
    setting = box.output.settings[name]
    box.output.set(name, scpi.number(argument, setting.low, setting.high, setting.start))


def _get_word(name: str, box: EaPsb) -> str:
    return box.output.words[name]


def _set_word(name: str, box: EaPsb, argument: str) -> None:
    box.output.require_remote()
    word = {"1": "ON", "0": "OFF"}.get(argument.upper(), argument.upper())
    if word not in WORDS[name]:
        raise ScpiError(-224, "Illegal parameter value")
    box.output.choose(name, word)


def _nominal(unit: str, box: EaPsb) -> str:
    return box.shown(box.rating.of(unit), unit)


def _all_values(box: EaPsb) -> str:
    return ",".join(box.read(unit) for unit in "VAW")


def _lock(box: EaPsb, argument: str) -> None:
    box.output.lock(remote=scpi.boolean(argument))


def _switch(box: EaPsb, argument: str) -> None:
    box.output.require_remote()
    box.output.switch(on=scpi.boolean(argument))


def _reset(box: EaPsb, argument: str) -> None:
    box.output.lock(remote=True)
    box.output.reset()
    box.errors.clear()


def _next_error(box: EaPsb) -> str:
    box.output.acknowledge()
    return box.errors.pop() or '0,"No error"'


def _all_errors(box: EaPsb) -> str:
    found = [_next_error(box)]
    while (error := box.errors.pop()) is not None:
        found.append(error)
    return ",".join(found)


def _register(group: str, box: EaPsb) -> StatusRegister:
    box.output.look()
    return getattr(box.output, group)


def _status_byte(box: EaPsb) -> str:
    box.output.look()
    output = box.output
    byte = 4 * bool(len(box.errors))
    return str(byte | 8 * output.questionable.summary | 128 * output.operation.summary)


def _counter(key: str, unit: str, per: float, box: EaPsb) -> str:
    output = box.output
    output.position.advance()
    return f"{getattr(output.position.ledger, key) / per:.3f}{box.space}{unit}"


for _side, _long in (("", ""), ("SINK:", "SINK:")):
    for _short, _node in (("CURR", "CURRent"), ("POW", "POWer")):
        for _tail, _end in (
            ("", ""), (":PROT", ":PROTection"), (":LIM:LOW", ":LIMit:LOW"),
            (":LIM:HIGH", ":LIMit:HIGH"),
        ):  # fmt: skip
            _name = f"{_side}{_short}{_tail}"
            if _name.endswith("POW:LIM:LOW"):
                continue
            _pattern = f"{_long}{_node}{_end}" if _side else f"[SOURce]:{_node}{_end}"
            _add(_pattern, partial(_get_number, _name), partial(_set_number, _name))
for _name, _pattern in {
    "VOLT": "[SOURce]:VOLTage",
    "VOLT:PROT": "[SOURce]:VOLTage:PROTection",
    "VOLT:LIM:LOW": "[SOURce]:VOLTage:LIMit:LOW",
    "VOLT:LIM:HIGH": "[SOURce]:VOLTage:LIMit:HIGH",
    "SYST:COMM:MON:TIME": "SYSTem:COMMunicate:MONitor:TIME",
    **{f"SYST:CONF:{e}": f"SYSTem:CONFig:{e}" for e in ("UVD", "OVD", "UCD", "OCD", "OPD")},
}.items():
    _add(_pattern, partial(_get_number, _name), partial(_set_number, _name))
for _name, _pattern in {
    "SYST:CONF:MODE": "SYSTem:CONFig:MODE",
    "POW:STAG:AFT:REM": "[SOURce]:POWer:STAGe:AFTer:REMote",
    "SYST:ALAR:ACT:PFA": "SYSTem:ALARm:ACTion:PFAil",
    "SYST:ALAR:ACT:OTEM": "SYSTem:ALARm:ACTion:OTEMperature",
    "SYST:COMM:MON:ACT": "SYSTem:COMMunicate:MONitor:ACTion",
    **{
        f"SYST:CONF:{e}:ACT": f"SYSTem:CONFig:{e}:ACTion"
        for e in ("UVD", "OVD", "UCD", "OCD", "OPD")
    },
}.items():
    _add(_pattern, partial(_get_word, _name), partial(_set_word, _name))
for _unit, _node in {"V": "VOLTage", "A": "CURRent", "W": "POWer"}.items():
    _add(f"MEASure[:SCALar]:{_node}[:DC]", lambda box, unit=_unit: box.read(unit))
    _add(f"SYSTem:NOMinal:{_node}", partial(_nominal, _unit))
_add("MEASure[:SCALar]:ARRay", _all_values)
_add("OUTPut[:STATe]", lambda box: "ON" if box.output.on else "OFF", _switch)
_add("SYSTem:LOCK[:STATe]", None, _lock)
_add("SYSTem:LOCK:OWNer", lambda box: box.output.owner)
_add("SYSTem:ERRor[:NEXT]", _next_error)
_add("SYSTem:ERRor:ALL", _all_errors)
for _node, _group in (("QUEStionable", "questionable"), ("OPERation", "operation")):
    _add(f"STATus:{_node}[:EVENt]", lambda box, g=_group: str(_register(g, box).take_event()))
    _add(f"STATus:{_node}:CONDition", lambda box, g=_group: str(_register(g, box).condition))
_add("FETCh:AHOur", partial(_counter, "charged_Ah", "Ah", 1.0))
_add("FETCh:WHOur", partial(_counter, "charged_Wh", "kWh", 1e3))
_add("FETCh:SINK:AHOur", partial(_counter, "discharged_Ah", "Ah", 1.0))
_add("FETCh:SINK:WHOur", partial(_counter, "discharged_Wh", "kWh", 1e3))
_add("*IDN", lambda box: box.identity)
_add("*STB", _status_byte)
_add("*CLS", None, lambda box, _: box.errors.clear())
_add("*RST", None, _reset)

DIALECT = EaPsb
