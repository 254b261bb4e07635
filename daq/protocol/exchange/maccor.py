"""Procedures of Maccor cyclers (`.000`, XML) -> ours.

Written against the templates of TRI's beep (file format 11). A charge or discharge with a limit of
the voltage is constant current and then constant voltage; `Loop Cnt` counts all passes; currents
are magnitudes, in ampere or followed by C. A procedure does not say how long a step may take, so
the capacity must be known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from daq.errors import InputError, Place
from daq.protocol.exchange import saying
from daq.protocol.exchange.draft import Draft, Drive, Step, Task, When, name_from, walk
from daq.protocol.exchange.flow import refuse_too_deep, resolve
from daq.protocol.exchange.maccor_ends import Ends, amount, passes, read_volts, record
from daq.protocol.exchange.xmltree import Node
from daq.protocol.exchange.xmltree import read as read_xml

_WAYS = {"Charge": "charge", "Dischrge": "discharge"}
_BRACKET = re.compile(r"(Do|Loop) ([1-9])")
_FLOW = ("AdvCycle", "End")


def read(content: bytes, task: Task) -> Draft:
    """Draft a protocol.

    Raises:
        InputError: the file as a whole is not a procedure; single steps are in the findings.
    """
    top = read_xml(content, task.file)
    steps = top.child("ProcSteps")
    if top.tag != "MaccorTestProcedure" or steps is None:
        raise InputError("this is not a Maccor procedure", place=Place(task.file, top.line, 1))
    head = [f"From {task.file}, a procedure of a Maccor cycler.", *_described(top)]
    name = name_from(task.file.rpartition("/")[2].partition(".")[0])
    builder = _Builder(task)
    made = builder.build(steps.children)
    draft = Draft(name, head, made)
    draft.share_record()
    return draft


def _described(top: Node) -> list[str]:
    header = top.child("header")
    about = header.child("ProcDesc") if header else None
    text = about.value("desc") if about else ""
    return [text[:500]] if text else []


@dataclass(slots=True)
class _Level:
    """An open `Do`."""

    name: str
    index: int
    place: Place
    note: str
    steps: list[Step] = field(default_factory=list[Step])
    empty: bool = True
    """Whether nothing stands in it, not even what was refused."""
    advances: list[tuple[int, Place]] = field(default_factory=list[tuple[int, Place]])


class _Builder:
    """Steps in order, `Do` and `Loop` as brackets."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._levels = [_Level("", -1, task.place(), "")]
        self._gone: dict[int, int] = {}
        """Lines that are no step of ours -> the line where one goes on instead."""
        self._way = ""

    def build(self, nodes: Sequence[Node]) -> list[Step]:
        for index, node in enumerate(nodes):
            with self._task.findings.collecting():
                self._add(index, node)
        if len(self._levels) > 1:
            self._task.findings.refused.append(
                InputError(f"{self._levels[-1].name} is never closed", place=self._levels[-1].place)
            )
        made = self._levels[0].steps
        self._redirect(made, len(nodes))
        if not self._task.findings.refused:
            resolve(made, len(nodes), self._task)
        return made

    def _add(self, index: int, node: Node) -> None:
        kind = node.value("StepType")
        place = self._task.place(node.line)
        bracket = _BRACKET.fullmatch(kind)
        if bracket and bracket[1] == "Do":
            refuse_too_deep(len(self._levels), place)
            self._levels.append(_Level(f"Do {bracket[2]}", index, place, node.value("StepNote")))
        elif bracket:
            self._close(f"Do {bracket[2]}", index, node, place)
        elif kind == "AdvCycle":
            self._levels[-1].advances.append((index, place))
            self._gone[index] = index + 1
        elif kind == "End":
            self._gone[index] = 1 << 30
        else:
            self._levels[-1].empty = False
            self._levels[-1].steps.append(self._step(index, kind, node, place))

    def _close(self, name: str, index: int, node: Node, place: Place) -> None:
        if self._levels[-1].name != name:
            raise InputError(f"a Loop without its {name}", place=place)
        level = self._levels.pop()
        if level.empty:
            raise InputError("the loop holds no step", place=place)
        self._levels[-1].empty = False
        step = Step({"repeat": passes(node, index, place)}, level.place, level.index, level.note)
        step.steps = level.steps
        self._cycles(level, step, index)
        self._levels[-1].steps.append(step)

    def _cycles(self, level: _Level, step: Step, index: int) -> None:
        """AdvCycle at the end of a loop: each pass is a cycle. Without one it is none."""
        whole = len(step.moves()) == 2
        at_end = [(line, place) for line, place in level.advances if line == index - 1]
        if at_end and not whole or whole and not level.advances:
            step.keys["cycle"] = bool(at_end)
        for line, place in level.advances:
            if line != index - 1:
                self._refuse_advance(place)

    def _refuse_advance(self, place: Place) -> None:
        with self._task.findings.collecting():
            what = "AdvCycle elsewhere than at the end of a loop"
            self._task.findings.change(place, what, "counts the passes of loops as cycles")

    def _redirect(self, made: list[Step], end: int) -> None:
        for line, place in self._levels[0].advances:
            self._refuse_advance(place)
            self._gone[line] = line + 1
        for step in walk(made):
            step.until = [self._redirected(when, end) for when in step.until]

    def _redirected(self, when: When, end: int) -> When:
        to = when.to
        while to is not None and to in self._gone:
            to = min(self._gone[to], end)
        return When(when.condition, to, when.goes)

    def _step(self, index: int, kind: str, node: Node, place: Place) -> Step:
        _refuse_options(node, place)
        if node.value("Range"):
            self._task.findings.leave(place, "Range: the cycler's own current range")
        ends = Ends(node, index, place, self._task)
        mode = node.value("StepMode")
        if kind == "Rest":
            step = Step({"rest": ""}, place)
        elif kind in _WAYS and mode in ("Current", "Voltage"):
            step = self._moving(_WAYS[kind], mode, node, place)
        else:
            what = f"a step of the type {kind!r}" + (f" in the mode {mode!r}" if mode else "")
            raise InputError(f"{what} has no counterpart", place=place)
        step.index = index
        step.origin = f"step {index + 1}" + (
            f": {note}" if (note := node.value("StepNote")) else ""
        )
        ends.apply(step)
        if rule := record(node, place):
            step.more["record"] = rule
        return step

    def _moving(self, way: str, mode: str, node: Node, place: Place) -> Step:
        limits = node.child("Limits")
        volts = current = ""
        for entry in limits.children if limits else []:
            if entry.tag == "Voltage":
                volts = entry.text.strip()
            elif entry.tag == "Current":
                current = entry.text.strip()
            else:
                raise InputError(f"a limit of {entry.tag!r}", place=self._task.place(entry.line))
        before, self._way = self._way, way
        if mode == "Current" and not current:
            drive = amount(node.value("StepValue"), place)
            if not volts:
                return Step({way: str(drive)}, place, drive=drive)
            return _cccv(way, drive, read_volts(volts, place), place)
        if mode == "Voltage" and not volts:
            held = read_volts(node.value("StepValue"), place)
            if current:
                return _cccv(way, amount(current, place), held, place)
            if before == way:
                return Step({"hold": saying.voltage(held)}, place)
            raise InputError(
                f"a {way} at a voltage without a limit of the current, after no {way}",
                place=place,
                remedy="give it a limit of the current",
            )
        raise InputError("a limit of what the step itself holds", place=place)


def _cccv(way: str, drive: Drive, volts: float, place: Place) -> Step:
    return Step({"cccv": {way: str(drive), "voltage": saying.voltage(volts)}}, place)


def _refuse_options(node: Node, place: Place) -> None:
    for number in (1, 2, 3):
        if node.value(f"Option{number}") not in ("", "N"):
            raise InputError(f"Option{number} is set; what it does is not known here", place=place)
