"""A protocol of ours in the making: the mapping that its YAML will be, with comments."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from daq.errors import InputError, Place
from daq.protocol.exchange import saying
from daq.protocol.exchange.findings import Findings

MOST_STEPS = 20_000
_UNFIT = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Drive:
    """What a step drives: a magnitude in A, W or ohm, or a C-rate (unit "C")."""

    value: float
    unit: str

    def __str__(self) -> str:
        """As our YAML has it."""
        if self.unit == "C":
            return saying.rate(self.value)
        if self.unit == "ohm":
            return f"{saying.number(self.value)} ohm"
        return (saying.current if self.unit == "A" else saying.power)(self.value)


@dataclass(frozen=True, slots=True)
class When:
    """An end condition.

    Attributes:
        to: the step where it goes on, by the source's own count; None: with the next one.
        goes: the same as our YAML says it, such as `("goto", "step_17")`.
    """

    condition: str
    to: int | None = None
    goes: tuple[str, str] | None = None

    def entry(self) -> str | dict[str, str]:
        """As it is written in `until`."""
        return (
            self.condition if self.goes is None else {"when": self.condition, **dict([self.goes])}
        )


@dataclass(slots=True)
class Step:
    """One entry of `steps`.

    Attributes:
        keys: what names it, and what belongs to that, as in the YAML.
        place: in the source.
        index: in the source's own count, for jumps and loops.
        origin: the comment above it: what it was there.
        more: further keys, behind `until` and `at_most`.
        remark: the comment behind `at_most`.
        steps: of a `repeat`.
        drive: what a charge or discharge drives, for its `at_most`.
        voltage_limits: what `limits` in `more` says, if anything.
    """

    keys: dict[str, Any]
    place: Place
    index: int = 0
    origin: str = ""
    until: list[When] = field(default_factory=list[When])
    at_most: str = ""
    more: dict[str, Any] = field(default_factory=dict[str, Any])
    label: str = ""
    remark: str = ""
    steps: list[Step] | None = None
    drive: Drive | None = None
    voltage_limits: tuple[float | None, float | None] = (None, None)

    def moves(self) -> frozenset[str]:
        """Which ways it moves charge: "charge", "discharge"."""
        if self.steps is not None:
            return frozenset[str]().union(*(step.moves() for step in self.steps))
        both = {"charge", "discharge"}
        return frozenset(both & {*self.keys, *self.keys.get("cccv", {})})

    def data(self) -> dict[str, Any]:
        """As in the YAML, without the steps of a `repeat`."""
        written: dict[str, Any] = {"label": self.label} if self.label else {}
        written |= self.keys
        if self.until:
            entries = [when.entry() for when in self.until]
            written["until"] = entries[0] if entries == [self.until[0].condition] else entries
        if self.at_most:
            written["at_most"] = self.at_most
        return written | self.more


@dataclass(slots=True)
class Draft:
    """A whole protocol.

    Attributes:
        head: the comment at the top.
        capacity_Ah: nominal, if it was given or the source says it.
    """

    name: str
    head: list[str]
    steps: list[Step]
    record: dict[str, str] = field(default_factory=dict[str, str])
    safety: dict[str, Any] = field(default_factory=dict[str, Any])
    version: str = "1.0.0"
    capacity_Ah: float | None = None

    def share_record(self) -> None:
        """The recording rule of most steps becomes that of the protocol."""
        rules = [tuple(s.more["record"].items()) for s in walk(self.steps) if "record" in s.more]
        self.record = dict(Counter(rules).most_common(1)[0][0]) if rules else {}
        for step in walk(self.steps):
            if step.more.get("record") == self.record:
                del step.more["record"]

    def count(self) -> int:
        """How many steps it has, loops themselves not counted."""
        return sum(1 for step in walk(self.steps) if step.steps is None)


def walk(steps: list[Step]) -> list[Step]:
    """All of them, in the order of the file."""
    found: list[Step] = []
    for step in steps:
        found.append(step)
        if step.steps is not None:
            found += walk(step.steps)
    return found


@dataclass(frozen=True, slots=True)
class Task:
    """One conversion: where it reads from, and what the person who asked for it has said.

    Attributes:
        capacity_Ah: nominal capacity that was given, else that of the source.
        longest_s: `at_most` for what has no bound of its own.
    """

    file: str
    findings: Findings
    capacity_Ah: float | None = None
    longest_s: float | None = None

    def place(self, line: int = 1, column: int = 1) -> Place:
        """A place in the source."""
        return Place(self.file, line, column)


def name_from(text: str) -> str:
    """A protocol's name made of any text."""
    return _UNFIT.sub("-", text).strip("-")[:64].strip("-") or "imported"


def refuse_too_many(count: int, task: Task) -> None:
    """Guard of everything that expands a source.

    Raises:
        InputError: it has more steps than a person could mean.
    """
    if count > MOST_STEPS:
        raise InputError(
            f"more than {MOST_STEPS} steps",
            place=task.place(),
            remedy="use loops, or split the file",
        )
