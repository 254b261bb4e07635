"""What ends a step of a Maccor procedure, and what it reports."""

from __future__ import annotations

import re

from daq.errors import InputError, Place
from daq.protocol.exchange import saying, times
from daq.protocol.exchange.draft import Drive, Step, Task, When
from daq.protocol.exchange.ends import end_at_voltage, finish
from daq.protocol.exchange.xmltree import Node

_NUMBER = re.compile(r"(\d+\.?\d*(?:[eE][-+]?\d{1,3})?|\.\d+)(C?)", re.ASCII)


def passes(node: Node, index: int, place: Place) -> int:
    """How many passes a `Loop` makes in all.

    Raises:
        InputError: it is no plain count.
    """
    entries = entries_of(node)
    if len(entries) == 1 and entries[0].value("EndType") == "Loop Cnt":
        count, step = entries[0].value("Value"), entries[0].value("Step")
        if count.isdigit() and 0 < int(count[:7]) <= 100_000 and step.isdigit():
            if int(step[:6]) == index + 2:
                return int(count)
    raise InputError("a loop that is not `Loop Cnt = n` and then the next step", place=place)


def entries_of(node: Node) -> list[Node]:
    """The ends of a step."""
    ends = node.child("Ends")
    return ends.children if ends else []


def amount(text: str, place: Place) -> Drive:
    """A current in ampere, or a C-rate ("2.0C").

    Raises:
        InputError: it is neither.
    """
    match = _NUMBER.fullmatch(text)
    if match is None or not 0.0 < float(match[1]) < 1e6:
        raise InputError(f"{text[:40]!r} is not a current", place=place)
    return Drive(float(match[1]), "C" if match[2] else "A")


def read_volts(text: str, place: Place) -> float:
    """A voltage.

    Raises:
        InputError: it is none.
    """
    match = _NUMBER.fullmatch(text.removeprefix("-"))
    if match is None or match[2] or not float(match[1]) < 1e4:
        raise InputError(f"{text[:40]!r} is not a voltage", place=place)
    return float(text)


def record(node: Node, place: Place) -> dict[str, str]:
    """The recording rule that the reports of a step make.

    Raises:
        InputError: a report has no counterpart.
    """
    rule: dict[str, str] = {}
    reports = node.child("Reports")
    for entry in reports.children if reports else []:
        kind, value = entry.value("ReportType"), entry.value("Value")
        if kind == "StepTime" and (every_s := times.clock(value)):
            rule["every"] = saying.duration(every_s)
        elif kind == "Voltage":
            rule["voltage"] = saying.voltage(read_volts(value, place))
        elif kind == "Current":
            rule["current"] = str(amount(value, place))
        else:
            raise InputError(f"a report of {kind[:20]!r} at {value[:20]!r}", place=place)
    return rule


class Ends:
    """The ends of a step: alternatives, each with the step where it goes on."""

    def __init__(self, node: Node, index: int, place: Place, task: Task) -> None:
        self._entries = entries_of(node)
        self._next = index + 1
        self._place = place
        self._task = task

    def apply(self, step: Step) -> None:
        """Give them to a step of ours.

        Raises:
            InputError: one of them has no counterpart.
        """
        time: tuple[float, When] | None = None
        least: Drive | None = None
        for entry in self._entries:
            kind, operator = entry.value("EndType"), entry.value("Oper")
            when = self._when(entry)
            if kind == "StepTime" and operator in ("=", ">=") and time is None:
                time = self._seconds(entry), when
            elif kind == "Voltage" and operator in (">=", "<="):
                volts = read_volts(entry.value("Value"), self._place)
                end_at_voltage(step, volts, operator == ">=", when, self._task)
            elif kind == "Current" and operator == "<=" and {"cccv", "hold"} & set(step.keys):
                least = amount(entry.value("Value"), self._place)
                step.until.append(When(f"current <= {least}", when.to))
            else:
                place = self._task.place(entry.line)
                raise InputError(f"the end {kind!r} {operator!r} has no counterpart", place=place)
        finish(step, time, least, self._task)

    def _seconds(self, entry: Node) -> float:
        found = times.clock(entry.value("Value"))
        if found is None:
            message = f"{entry.value('Value')[:20]!r} is not a duration"
            raise InputError(message, place=self._task.place(entry.line))
        return found

    def _when(self, entry: Node) -> When:
        if entry.value("SpecialType"):
            place = self._task.place(entry.line)
            raise InputError(
                f"an end of the special type {entry.value('SpecialType')!r}", place=place
            )
        text = entry.value("Step")
        if not text.isdigit() or not 0 < int(text[:6]):
            raise InputError(f"{text[:20]!r} is not a step", place=self._task.place(entry.line))
        target = int(text[:6]) - 1
        return When("", None if target == self._next else target)
