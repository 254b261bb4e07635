"""The file of an Arbin schedule: sections of `key=value`, with their lines."""

from __future__ import annotations

from dataclasses import dataclass, field

from daq.errors import InputError, Place
from daq.protocol.exchange.draft import Task

LARGEST = 1 << 20


@dataclass(slots=True)
class Section:
    """One `[…]`: values and their lines."""

    line: int
    values: dict[str, str] = field(default_factory=dict[str, str])
    lines: dict[str, int] = field(default_factory=dict[str, int])

    def get(self, key: str) -> str:
        """Empty where it is missing."""
        return self.values.get(key, "").strip()


def read_sections(content: bytes, task: Task) -> dict[str, Section]:
    """The sections by name.

    Raises:
        InputError: it is too large, or a section is there twice.
    """
    if len(content) > LARGEST:
        raise InputError(f"{task.file} is larger than {LARGEST >> 20} MiB")
    found: dict[str, Section] = {}
    current = Section(1)
    for number, line in enumerate(content.decode("cp1252", "replace").splitlines(), start=1):
        name = line.strip()
        if name.startswith("[") and name.endswith("]"):
            if name[1:-1] in found:
                raise InputError(f"{name[:60]} is there twice", place=task.place(number))
            current = found[name[1:-1]] = Section(number)
        elif "=" in line:
            key, _, value = line.partition("=")
            current.values[key.strip()] = value
            current.lines[key.strip()] = number
    return found


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: its equations, and where it goes on."""

    ends: bool
    goto: str
    equations: list[tuple[str, str, str]]
    place: Place


def number(text: str, place: Place) -> float:
    """A finite number.

    Raises:
        InputError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e9:
        raise InputError(f"{text[:40]!r} is not a number", place=place)
    return value


def positive(value: float, place: Place) -> float:
    """The same, if it is positive.

    Raises:
        InputError: it is not.
    """
    if not value > 0:
        raise InputError(f"{value:g} is not positive", place=place)
    return value
