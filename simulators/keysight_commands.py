"""The command table of the Keysight APS dialect, headers written as its manuals write them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from simulators import scpi
from simulators.scpi import ScpiError, StatusRegister

if TYPE_CHECKING:
    from simulators.keysight_aps import ApsSession

Query = Callable[["ApsSession", str], str]
Set = Callable[["ApsSession", str], None]

STALE = ("VOLT", "CURR:LIM", "CURR:LIM:NEG")
"""Levels that read as before within the message that sets them."""

_NUMBERS = (
    "[SOURce]:VOLTage[:LEVel][:IMMediate][:AMPLitude]",
    "[SOURce]:VOLTage:LIMit[:POSitive][:IMMediate][:AMPLitude]",
    "[SOURce]:VOLTage:LIMit:LOW",
    "[SOURce]:VOLTage:PROTection[:LEVel]",
    "[SOURce]:VOLTage:PROTection:LOW[:LEVel]",
    "[SOURce]:VOLTage:PROTection:LOW:DELay",
    "[SOURce]:VOLTage:SLEW[:IMMediate]",
    "[SOURce]:VOLTage:RESistance[:LEVel]",
    "[SOURce]:CURRent[:LEVel][:IMMediate][:AMPLitude]",
    "[SOURce]:CURRent:LIMit[:POSitive][:IMMediate][:AMPLitude]",
    "[SOURce]:CURRent:LIMit:NEGative[:IMMediate][:AMPLitude]",
    "[SOURce]:CURRent:PROTection:DELay[:TIME]",
    "[SOURce]:CURRent:SLEW[:IMMediate]",
    "OUTPut:PROTection:WDOG:DELay",
    "OUTPut:DELay:RISE",
    "OUTPut:DELay:FALL",
    "SENSe:SWEep:NPLCycles",
    "SENSe:CURRent:RANGe[:UPPer]",
)
_WORDS: dict[str, tuple[str | bool, tuple[str, ...]]] = {
    "OUTPut:PROTection:MODE": ("LOWZ", ("LOWZ", "HIGHZ")),
    "OUTPut:PROTection:USER[:STATe]": (False, ()),
    "OUTPut:INHibit:MODE": ("OFF", ("LATChing", "LIVE", "OFF")),
    "OUTPut:PON:STATe": ("RST", ("RST", "RCL0")),
    "[SOURce]:CURRent:PROTection:DELay:STARt": ("SCH", ("SCHange", "CCTRans")),
    "[SOURce]:CURRent:MODE": ("FIX", ("FIXed", "STEP")),
    "[SOURce]:VOLTage:MODE": ("FIX", ("FIXed", "STEP")),
    "[SOURce]:CURRent:SLEW:MAXimum": (True, ()),
    "[SOURce]:VOLTage:SLEW:MAXimum": (True, ()),
    "[SOURce]:VOLTage:RESistance:STATe": (False, ()),
    "SENSe:FUNCtion:VOLTage": (True, ()),
    "SENSe:FUNCtion:CURRent": (True, ()),
    "SENSe:CURRent:RANGe:AUTO": (True, ()),
}
_SWITCHES = {
    "[SOURce]:CURRent:PROTection:STATe": "over_current_protection",
    "[SOURce]:VOLTage:PROTection:LOW:STATe": "under_voltage_protection",
    "OUTPut:PROTection:WDOG[:STATe]": "watchdog",
}
_ONLY_RP7900 = {"VOLT:LIM:LOW", "VOLT:PROT:LOW", "VOLT:PROT:LOW:DEL", "VOLT:PROT:LOW:STAT"}
_ONLY_N6900 = {"OUTP:PROT:MODE", "OUTP:PROT:USER"}

_queries: dict[str, Query] = {}
_commands: dict[str, Set] = {}


def query(header: str) -> Query:
    """Return what answers a query; its header without the question mark.

    Raises:
        ScpiError: No such query.
    """
    if header not in _queries:
        raise scpi.undefined_header()
    return _queries[header]


def command(header: str) -> Set:
    """Return what obeys a command; raises `ScpiError` if there is none."""
    if header not in _commands:
        raise scpi.undefined_header()
    return _commands[header]


def _add(pattern: str, answers: Query | None = None, obeys: Set | None = None) -> None:
    for header in scpi.spellings(pattern):
        if answers is not None:
            _queries[header] = answers
        if obeys is not None:
            _commands[header] = obeys


def _short(pattern: str) -> str:
    """The shortest spelling, which is the name of the setting."""
    return re.sub(r"\[:?[A-Za-z]+\]:?|[a-z]", "", pattern).strip(":")


def _check_family(name: str, session: ApsSession) -> None:
    regenerative = session.box.rating.regenerative
    if name in (_ONLY_N6900 if regenerative else _ONLY_RP7900):
        raise ScpiError(310, "The command is not supported by this model;")


# Numbers -------------------------------------------------------------------------------------


def _get_number(name: str, session: ApsSession, argument: str) -> str:
    _check_family(name, session)
    output = session.box.output
    if argument:
        limits = {"MIN": output.settings[name].low, "MAX": output.settings[name].high}
        return scpi.real(limits[scpi.keyword(argument, ("MINimum", "MAXimum"))])
    return scpi.real(session.stale.get(name, output.values[name]))


def _set_number(name: str, session: ApsSession, argument: str) -> None:
    _check_family(name, session)
    output = session.box.output
    if name.startswith("VOLT:LIM") and not output.current_priority:
        raise ScpiError(315, "Settings conflict error")
    setting = output.settings[name]
    output.set(name, scpi.number(argument, setting.low, setting.high, setting.reset))


# Words and switches --------------------------------------------------------------------------


def _get_word(name: str, session: ApsSession, argument: str) -> str:
    _check_family(name, session)
    word = session.box.words[name]
    return word if isinstance(word, str) else str(int(word))


def _set_word(name: str, choices: tuple[str, ...], session: ApsSession, argument: str) -> None:
    _check_family(name, session)
    word = scpi.keyword(argument, choices) if choices else scpi.boolean(argument)
    session.box.words[name] = word


def _get_switch(name: str, attribute: str, session: ApsSession, argument: str) -> str:
    _check_family(name, session)
    return str(int(getattr(session.box.output, attribute)))


def _set_switch(name: str, attribute: str, session: ApsSession, argument: str) -> None:
    _check_family(name, session)
    setattr(session.box.output, attribute, scpi.boolean(argument))


def _set_output(session: ApsSession, argument: str) -> None:
    session.box.output.switch(on=scpi.boolean(argument))


def _get_priority(session: ApsSession, argument: str) -> str:
    return "CURR" if session.box.output.current_priority else "VOLT"


def _set_priority(session: ApsSession, argument: str) -> None:
    current = scpi.keyword(argument, ("CURRent", "VOLTage")) == "CURR"
    if current != session.box.output.current_priority:
        session.box.words["OUTP:PROT:MODE"] = "LOWZ"
    session.box.output.set_priority(current=current)


# Measuring -----------------------------------------------------------------------------------


def _measure(quantity: str, session: ApsSession, argument: str) -> str:
    session.takes(session.box.acquisition_s)
    return scpi.real(getattr(session.box.acquire(), quantity))


def _fetch(quantity: str, session: ApsSession, argument: str) -> str:
    if session.box.reading is None:
        raise ScpiError(-230, "Data corrupt or stale")
    return scpi.real(getattr(session.box.reading, quantity))


def _needs_option(session: ApsSession, argument: str) -> str:
    raise ScpiError(302, "Option not installed")


def _air_inlet(session: ApsSession, argument: str) -> str:
    return scpi.real(24.0)


def _margin(session: ApsSession, argument: str) -> str:
    return scpi.real(41.0)


# Status and common commands ------------------------------------------------------------------


def _look(session: ApsSession, group: str) -> StatusRegister:
    session.box.output.look()
    return getattr(session.box.output, group)


def _get_bits(group: str, part: str, session: ApsSession, argument: str) -> str:
    return f"{getattr(_look(session, group), part):+d}"


def _set_bits(group: str, part: str, session: ApsSession, argument: str) -> None:
    setattr(_look(session, group), part, int(scpi.number(argument, 0, 65535, 0)))


def _take_event(group: str, session: ApsSession, argument: str) -> str:
    return f"{_look(session, group).take_event():+d}"


def _preset(session: ApsSession, argument: str) -> None:
    for group in session.box.output.status_groups:
        group.preset()


def _clear_status(session: ApsSession, argument: str) -> None:
    session.errors.clear()
    session.event_status = 0
    for group in session.box.output.status_groups:
        group.event = 0


def _take_event_status(session: ApsSession, argument: str) -> str:
    status, session.event_status = session.event_status, 0
    return f"{status:+d}"


def _get_mask(name: str, session: ApsSession, argument: str) -> str:
    return f"{getattr(session, name):+d}"


def _set_mask(name: str, session: ApsSession, argument: str) -> None:
    setattr(session, name, int(scpi.number(argument, 0, 255, 0)))


def _operation_complete(session: ApsSession, argument: str) -> None:
    session.event_status |= 1


def _self_test(session: ApsSession, argument: str) -> str:
    session.takes(5.2)
    return "+0"


# The table -----------------------------------------------------------------------------------

WORDS_AT_RESET = {_short(pattern): word for pattern, (word, _) in _WORDS.items()}

for _pattern in _NUMBERS:
    _name = _short(_pattern)
    _add(_pattern, partial(_get_number, _name), partial(_set_number, _name))
_add("OUTPut:PROTection:DELay", _queries["CURR:PROT:DEL"], _commands["CURR:PROT:DEL"])
_add("[SOURce]:RESistance", _queries["VOLT:RES"], _commands["VOLT:RES"])
for _pattern, (_, _choices) in _WORDS.items():
    _name = _short(_pattern)
    _add(_pattern, partial(_get_word, _name), partial(_set_word, _name, _choices))
_add("[SOURce]:RESistance:STATe", _queries["VOLT:RES:STAT"], _commands["VOLT:RES:STAT"])
for _pattern, _attribute in _SWITCHES.items():
    _name = _short(_pattern)
    _add(_pattern, partial(_get_switch, _name, _attribute), partial(_set_switch, _name, _attribute))

_add("OUTPut[:STATe]", lambda session, _: str(int(session.box.output.on)), _set_output)
_add("OUTPut:PROTection:CLEar", None, lambda session, _: session.box.output.clear_protection())
_add("OUTPut:PROTection:TEMPerature:MARGin", _margin)
_add("[SOURce]:FUNCtion", _get_priority, _set_priority)

for _node, _quantity in (("VOLTage", "voltage_V"), ("CURRent", "current_A")):
    for _kind in ("[:DC]", ":ACDC", ":HIGH", ":LOW", ":MAXimum", ":MINimum"):
        _add(f"MEASure[:SCALar]:{_node}{_kind}", partial(_measure, _quantity))
        _add(f"FETCh[:SCALar]:{_node}{_kind}", partial(_fetch, _quantity))
_add("MEASure[:SCALar]:POWer[:DC]", partial(_measure, "power_W"))
_add("FETCh[:SCALar]:POWer[:DC]", partial(_fetch, "power_W"))
for _kind in ("MAXimum", "MINimum"):
    _add(f"MEASure[:SCALar]:POWer:{_kind}", _needs_option)
_add("FETCh:AHOur", lambda session, _: scpi.real(session.box.counters()[0]))
_add("FETCh:WHOur", lambda session, _: scpi.real(session.box.counters()[1]))
_add("SENSe:AHOur:RESet", None, lambda session, _: session.box.reset_counter(0))
_add("SENSe:WHOur:RESet", None, lambda session, _: session.box.reset_counter(1))

for _node, _group in (
    ("OPERation", "operation"),
    ("QUEStionable", "questionable"),
    ("QUEStionable1", "questionable"),
    ("QUEStionable2", "questionable2"),
):
    _add(f"STATus:{_node}[:EVENt]", partial(_take_event, _group))
    _add(f"STATus:{_node}:CONDition", partial(_get_bits, _group, "condition"))
    for _part, _field in (
        ("ENABle", "enable"),
        ("PTRansition", "positive"),
        ("NTRansition", "negative"),
    ):
        _add(
            f"STATus:{_node}:{_part}",
            partial(_get_bits, _group, _field),
            partial(_set_bits, _group, _field),
        )
_add("STATus:PRESet", None, _preset)

_add("SYSTem:ERRor[:NEXT]", lambda session, _: session.next_error())
_add("SYSTem:VERSion", lambda session, _: "1999.0")
_add("SYSTem:TEMPerature:AMBient", _air_inlet)
_add("SYSTem:COMMunicate:TCPip:CONTrol", lambda session, _: "+0")  # no control socket here
_add("*IDN", lambda session, _: session.box.identity)
_add("*OPT", lambda session, _: "0")
_add("*TST", _self_test)
_add("*RST", None, lambda session, _: session.box.reset())
_add("*CLS", None, _clear_status)
_add("*WAI", None, lambda session, _: None)
_add("*OPC", lambda session, _: "1", _operation_complete)
_add("*ESR", _take_event_status)
_add("*STB", lambda session, _: f"{session.status_byte():+d}")
_add("*ESE", partial(_get_mask, "event_enable"), partial(_set_mask, "event_enable"))
_add("*SRE", partial(_get_mask, "service_enable"), partial(_set_mask, "service_enable"))
