"""The SCPI part of a simulated instrument: headers, messages, error queues, status registers.

SCPI-1999 volume 1 chapters 6 (headers), 20 (status) and 21 (errors). What differs from box to box
(when an answer is given at all, what a bad command undoes) is in the dialect.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from itertools import product

_NODE = re.compile(r"(\[)?:?([A-Z*]+)([a-z]*)(\d*)\]?")
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([a-zA-Z]*)")
_UNITS = {
    "": 1.0, "V": 1.0, "A": 1.0, "S": 1.0, "OHM": 1.0, "W": 1.0,
    "MV": 1e-3, "MA": 1e-3, "MS": 1e-3, "UA": 1e-6, "US": 1e-6, "KV": 1e3,
}  # fmt: skip
INFINITY = 9.9e37
NOT_A_NUMBER = 9.91e37


class ScpiError(Exception):
    """An entry for the error queue."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f'{code:+d},"{text}"')
        self.code = code


def undefined_header() -> ScpiError:
    """The header is not in the command tree."""
    return ScpiError(-113, "Undefined header")


def spellings(pattern: str) -> Iterator[str]:
    """Every spelling of a header such as `OUTPut[:STATe]`, in upper case.

    Each node is written short or long, an optional one may be left out.
    """
    choices: list[set[str]] = []
    for optional, short, rest, digits in _NODE.findall(pattern):
        node = {short + digits, short + rest.upper() + digits}
        choices.append(node | {""} if optional else node)
    for nodes in product(*choices):
        yield ":".join(n for n in nodes if n)


@lru_cache(maxsize=1024)  # a client asks the same thing all day
def units(message: str) -> tuple[tuple[str, str], ...]:
    """Split a program message into (header, argument), headers in upper case and from the root.

    A header without a leading colon continues in the branch of the one before, so
    `VOLT:PROT 4.4;LOW 2` is `VOLT:PROT` and `VOLT:LOW`; a common command leaves the branch alone.
    """
    return tuple(_units(message))


def _units(message: str) -> Iterator[tuple[str, str]]:
    branch = ""
    for unit in _split(message):
        header, _, argument = unit.partition(" ")
        header = header.upper()
        if header.startswith("*"):
            yield header, argument.strip()
            continue
        full = header[1:] if header.startswith(":") else branch + header
        branch = full.rpartition(":")[0] + ":" if ":" in full else ""
        yield full if not full.startswith("*") else ":" + full, argument.strip()


def _split(message: str) -> list[str]:
    """Cut at semicolons outside quotes."""
    if '"' not in message:
        parts = message.split(";")
    else:
        parts = re.findall(r'(?:[^;"]|"[^"]*"?)+', message)
    return [part.strip() for part in parts if part.strip()]


def number(argument: str, low: float, high: float, default: float) -> float:
    """Read a numeric argument.

    Raises:
        ScpiError: No number, a wrong unit, or out of range (refused, not clamped).
    """
    word = argument.upper()
    named = {"MIN": low, "MINIMUM": low, "MAX": high, "MAXIMUM": high, "DEF": default}
    if word in named:
        return named[word]
    value = INFINITY if word in ("INF", "INFINITY") else _literal(argument)
    slack = 1e-9 * max(abs(low), abs(high))
    if not low - slack <= value <= high + slack:
        raise ScpiError(-222, "Data out of range")
    return value


def _literal(argument: str) -> float:
    """Read a decimal number with or without a unit."""
    found = _NUMBER.fullmatch(argument)
    if not argument:
        raise ScpiError(-109, "Missing parameter")
    if found is None:
        raise ScpiError(-104, "Data type error")
    if found[2].upper() not in _UNITS:
        raise ScpiError(-131, "Invalid suffix")
    return float(found[1]) * _UNITS[found[2].upper()]


def boolean(argument: str) -> bool:
    """Read ON, OFF, 1 or 0."""
    word = argument.upper()
    if word in ("ON", "1"):
        return True
    if word in ("OFF", "0"):
        return False
    if not word:
        raise ScpiError(-109, "Missing parameter")
    raise ScpiError(-224, "Illegal parameter value")


def keyword(argument: str, choices: tuple[str, ...]) -> str:
    """Read one of some keywords written as in manuals (`VOLTage`); return its short form."""
    for choice in choices:
        if argument.upper() in spellings(choice):
            return re.sub(r"[a-z]", "", choice)
    if not argument:
        raise ScpiError(-109, "Missing parameter")
    raise ScpiError(-224, "Illegal parameter value")


def real(value: float) -> str:
    """Format a float as `+8.160000E+01`."""
    return f"{value:+.6E}"


class ErrorQueue:
    """A queue of error texts; the last place is kept for its overflow."""

    def __init__(self, places: int = 20) -> None:
        self._places = places
        self._entries: deque[str] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def push(self, error: ScpiError) -> None:
        """Add an error."""
        if len(self._entries) < self._places:
            self._entries.append(str(error))
        else:
            self._entries[-1] = '-350,"Error queue overflow"'

    def pop(self) -> str | None:
        """Take the oldest; None if there is none."""
        return self._entries.popleft() if self._entries else None

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()


class StatusRegister:
    """Condition, event, enable and the two transition filters of one status group.

    Args:
        preset: Positive transition filter after `STATus:PRESet`.
    """

    def __init__(self, preset: int) -> None:
        self._preset = preset
        self.condition = 0
        self.event = 0
        self.preset()

    def preset(self) -> None:
        """As `STATus:PRESet`."""
        self.enable, self.positive, self.negative = 0, self._preset, 0

    def update(self, condition: int) -> None:
        """Latch the transitions to a new condition."""
        if condition == self.condition:
            return
        rising, falling = condition & ~self.condition, self.condition & ~condition
        self.event |= rising & self.positive | falling & self.negative
        self.condition = condition

    def pulse(self, bits: int) -> None:
        """Let bits rise and fall again."""
        self.event |= bits & self.positive

    def take_event(self) -> int:
        """Read the event register, which clears it."""
        event, self.event = self.event, 0
        return event

    @property
    def summary(self) -> bool:
        """Whether an enabled event stands."""
        return bool(self.event & self.enable)
