"""A Keysight DAQ970A: scans thermocouples and voltages into its memory, by its own timer.

`channels` wires channel `scc` (slot 1 to 3, channel 1 to 20) to a cell: configured for a
temperature it reads the cell's surface, for a voltage its terminals. What is wired to nothing is an
open thermocouple, or an open input: overload.

Options: `serial` (MY00000000), `noise_K` (0.05), `noise_V` (0.0002).

Oddities that are copied
    - `CONF` replaces the scan list by its own channels, and takes the channel out of the format.
    - `INIT` clears the memory; so does a change of the scan list.
    - The memory holds 100,000 readings; the oldest are overwritten.
    - `R?` gives a block of definite length, `#10` when there is nothing; what was read is erased.
    - Overload is +9.90000000E+37.
    - A query with an error in it is not answered.

UNCONFIRMED: the number of digits of a channel in the block (three here), the code of a channel that
does not exist (-222 here).
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from simulators import scpi
from simulators.clock import Clock
from simulators.rig import Position
from simulators.scpi import ErrorQueue, ScpiError
from simulators.wire import Out, Perturb

_MEMORY = 100_000
_OVERLOAD = 9.9e37
_LIST = re.compile(r"\(@([\d:,\s]*)\)")
_SLOTS, _IN_A_SLOT = 3, 20
_LONGEST_MESSAGE = 65536
_FLAGS: tuple[str, ...] = ("CHAN", "TIME", "ALAR", "UNIT")


class KeysightDaq970a:
    """One scanner.

    Args:
        name: Of the instrument, in the bench file.
        clock: The bench's clock; the scan's timer runs on bench time.
        wiring: Channel -> leads on a cell.
        options: See the module.

    Raises:
        ValueError: A wrong option or wiring.
    """

    max_connections = 5

    def __init__(
        self, name: str, clock: Clock, wiring: Mapping[int, Position], options: Mapping[str, Any]
    ) -> None:
        if beyond := [channel for channel in wiring if not _exists(channel)]:
            raise ValueError(f"channels: there is no channel {beyond[0]}")
        given = {"serial": "MY00000000", "noise_K": 0.05, "noise_V": 2e-4} | dict(options)
        if unknown := given.keys() - {"serial", "noise_K", "noise_V"}:
            raise ValueError(f"{min(unknown)}: unknown; known: noise_K, noise_V, serial")
        self.name = name
        self.clock = clock
        self.perturb = Perturb()
        self.identity = f"Keysight Technologies,DAQ970A,{given['serial']},A.02.04-00.16-11.29"
        self.kinds: dict[int, str] = {}
        self.scan: list[int] = []
        self.flags: dict[str, bool] = dict.fromkeys(_FLAGS, False)
        self.source, self.interval_s = "IMM", 10.0
        self.memory: deque[tuple[int, float]] = deque(maxlen=_MEMORY)
        self._noise = {"TEMP": float(given["noise_K"]), "VOLT": float(given["noise_V"])}
        self._wiring = wiring
        self._dice = random.Random(f"daq970a {name}")
        self._due_s: float | None = None

    def session(self) -> Daq970aSession:
        """Open a connection."""
        return Daq970aSession(self)

    def advance(self) -> None:
        """Scan as often as the timer has gone off; a slow look finds one scan for each."""
        now = self.clock.now()
        if self._due_s is None or now < self._due_s:
            return
        count = 1 + int((now - self._due_s) / self.interval_s)
        self._due_s += count * self.interval_s
        for _ in range(min(count, 1 + _MEMORY // max(1, len(self.scan)))):
            self.sweep()

    def sweep(self) -> None:
        """One pass over the scan list."""
        self.memory.extend((channel, self._measure(channel)) for channel in self.scan)

    def _measure(self, channel: int) -> float:
        leads, kind = self._wiring.get(channel), self.kinds.get(channel, "VOLT")
        if leads is None:
            return _OVERLOAD
        leads.advance()
        true = leads.temperature_degC if kind == "TEMP" else leads.voltage_V
        quantity = "temperature_degC" if kind == "TEMP" else "voltage_V"
        seen = self.perturb.value(quantity, true + self._dice.gauss(0.0, self._noise[kind]))
        return _OVERLOAD if seen != seen else seen

    def configure(self, channels: list[int], kind: str) -> None:
        """As `CONF`: these channels are the scan list now."""
        self.kinds |= dict.fromkeys(channels, kind)
        self.flags = dict.fromkeys(_FLAGS, False)
        self.set_scan(channels)

    def set_scan(self, channels: list[int]) -> None:
        """A new scan list; whatever runs has ended."""
        self.scan = channels
        self.abort()
        self.memory.clear()

    def start(self) -> None:
        """As `INIT`."""
        if not self.scan:
            raise ScpiError(-221, "Settings conflict; scan list is empty")
        self.memory.clear()
        if self.source == "TIM":
            self._due_s = self.clock.now()
            self.advance()
        else:
            self.sweep()

    def abort(self) -> None:
        """As `ABOR`; the memory stays."""
        self._due_s = None

    def take(self, most: int) -> str:
        """As `R?`."""
        taken = [self.memory.popleft() for _ in range(min(most, len(self.memory)))]
        text = ",".join(self._shown(channel, value) for channel, value in taken)
        return f"#{len(str(len(text)))}{len(text)}{text}"

    def _shown(self, channel: int, value: float) -> str:
        fields = [f"{value:+.8E}"]
        if self.flags["UNIT"]:
            fields[0] += " C" if self.kinds.get(channel) == "TEMP" else " VDC"
        if self.flags["TIME"]:
            fields.append("0000000000.000")
        if self.flags["CHAN"]:
            fields.append(f"{channel}")
        if self.flags["ALAR"]:
            fields.append("0")
        return ",".join(fields)


class Daq970aSession:
    """One connection."""

    def __init__(self, box: KeysightDaq970a) -> None:
        self._box = box
        self._errors = ErrorQueue()
        self._input = bytearray()

    def feed(self, data: bytes) -> Iterable[Out]:
        """Obey every complete message."""
        self._input += data
        outs: list[Out] = []
        while (end := self._input.find(b"\n")) >= 0:
            message = self._input[:end].decode("latin-1").strip()
            del self._input[: end + 1]
            outs += self._obey(message)
        if len(self._input) > _LONGEST_MESSAGE:
            self._input.clear()
        return outs

    def tick(self) -> Iterable[Out]:
        """It never speaks first."""
        return ()

    def close(self) -> None:
        """A scan goes on."""

    def _obey(self, message: str) -> list[Out]:
        answers: list[str] = []
        self._box.advance()
        try:
            for header, argument in scpi.units(message):
                answer = _find(header)(self, argument)
                if answer is not None:
                    answers.append(answer)
        except ScpiError as error:
            self._errors.push(error)
            return []
        return [Out(";".join(answers).encode("latin-1") + b"\n")] if answers else []

    def identity(self, _argument: str) -> str:
        """*IDN?"""
        return self._box.identity

    def error(self, _argument: str) -> str:
        """SYSTem:ERRor?"""
        return self._errors.pop() or '+0,"No error"'

    def configure_temperature(self, argument: str) -> None:
        """CONFigure:TEMPerature TC,K,1,DEF,(@101:103)."""
        probe, kind, *_ = [word.strip().upper() for word in argument.split(",")] + ["", ""]
        if probe not in ("TC", "RTD", "FRTD", "THER"):
            raise ScpiError(-224, "Illegal parameter value")
        if probe == "TC" and kind not in tuple("BEJKNRST"):
            raise ScpiError(-224, "Illegal parameter value")
        self._box.configure(_channels(argument), "TEMP")

    def configure_voltage(self, argument: str) -> None:
        """CONFigure:VOLTage:DC AUTO,DEF,(@104)."""
        self._box.configure(_channels(argument), "VOLT")

    def unit(self, argument: str) -> None:
        """UNIT:TEMPerature C,(@101:103)."""
        if argument.split(",")[0].strip().upper() != "C":
            raise ScpiError(-224, "Illegal parameter value")
        _channels(argument)

    def set_scan(self, argument: str) -> None:
        """ROUTe:SCAN (@101:103)."""
        self._box.set_scan(_channels(argument, empty=True))

    def scan(self, _argument: str) -> str:
        """ROUTe:SCAN?"""
        text = f"(@{','.join(str(channel) for channel in self._box.scan)})"
        return f"#{len(str(len(text)))}{len(text)}{text}"

    def scan_size(self, _argument: str) -> str:
        """ROUTe:SCAN:SIZE?"""
        return f"+{len(self._box.scan)}"

    def set_source(self, argument: str) -> None:
        """TRIGger:SOURce TIM."""
        words = ("IMMediate", "BUS", "TIMer", "EXTernal")
        self._box.source = scpi.keyword(argument, words)

    def set_interval(self, argument: str) -> None:
        """TRIGger:TIMer 1."""
        self._box.interval_s = max(0.01, scpi.number(argument, 0.0, 359999.0, 10.0))

    def set_count(self, argument: str) -> None:
        """TRIGger:COUNt INF."""
        if argument.upper() not in ("INF", "INFINITY"):
            scpi.number(argument, 1.0, 1e6, 1.0)

    def start(self, _argument: str) -> None:
        """INITiate."""
        self._box.start()

    def abort(self, _argument: str) -> None:
        """ABORt."""
        self._box.abort()

    def take(self, argument: str) -> str:
        """R? [n]."""
        most = scpi.number(argument, 1.0, _MEMORY, _MEMORY) if argument else _MEMORY
        return self._box.take(int(most))

    def points(self, _argument: str) -> str:
        """DATA:POINts?"""
        return f"+{len(self._box.memory)}"

    def flag(self, name: str, argument: str) -> None:
        """FORMat:READing:CHANnel ON, and its like."""
        self._box.flags[name] = scpi.boolean(argument)


Handler = Callable[[Daq970aSession, str], "str | None"]


def _flag(name: str) -> Handler:
    return lambda session, argument: session.flag(name, argument)


_COMMANDS: dict[str, Handler] = {
    spelling: handler
    for pattern, handler in {
        "CONFigure:TEMPerature": Daq970aSession.configure_temperature,
        "CONFigure[:VOLTage][:DC]": Daq970aSession.configure_voltage,
        "UNIT:TEMPerature": Daq970aSession.unit,
        "ROUTe:SCAN": Daq970aSession.set_scan,
        "TRIGger:SOURce": Daq970aSession.set_source,
        "TRIGger:TIMer": Daq970aSession.set_interval,
        "TRIGger:COUNt": Daq970aSession.set_count,
        "INITiate": Daq970aSession.start,
        "ABORt": Daq970aSession.abort,
        "FORMat:READing:CHANnel": _flag("CHAN"),
        "FORMat:READing:TIME": _flag("TIME"),
        "FORMat:READing:ALARm": _flag("ALAR"),
        "FORMat:READing:UNIT": _flag("UNIT"),
    }.items()
    for spelling in scpi.spellings(pattern)
}
_ASKED: dict[str, Handler] = {
    f"{spelling}?": handler
    for pattern, handler in {
        "SYSTem:ERRor": Daq970aSession.error,
        "ROUTe:SCAN": Daq970aSession.scan,
        "ROUTe:SCAN:SIZE": Daq970aSession.scan_size,
        "R": Daq970aSession.take,
        "DATA:POINts": Daq970aSession.points,
    }.items()
    for spelling in scpi.spellings(pattern)
}


_QUERIES: dict[str, Handler] = {**_ASKED, "*IDN?": Daq970aSession.identity}


def _find(header: str) -> Handler:
    found = _QUERIES.get(header) if header.endswith("?") else _COMMANDS.get(header)
    if found is None:
        raise scpi.undefined_header()
    return found


def _channels(argument: str, *, empty: bool = False) -> list[int]:
    """The channels of a list such as `(@101:103,205)`."""
    found = _LIST.search(argument)
    if found is None:
        raise ScpiError(-109, "Missing parameter")
    channels: list[int] = []
    for part in filter(None, (word.strip() for word in found[1].split(","))):
        first, _, last = part.partition(":")
        channels += range(int(first), int(last or first) + 1)
    if not all(_exists(channel) for channel in channels) or not (channels or empty):
        raise ScpiError(-222, "Data out of range; channel list")
    return channels


def _exists(channel: int) -> bool:
    return channel // 100 in range(1, _SLOTS + 1) and 1 <= channel % 100 <= _IN_A_SLOT


DIALECT = KeysightDaq970a
