"""Collects what the steps of a protocol make of themselves, in the order of the file."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from daq.driver import Range
from daq.errors import InputError
from daq.model import Cell, Limits
from daq.protocol.clause import Way
from daq.protocol.condition import Condition, Exit, Goes
from daq.protocol.program import Branch, End, Instruction, Leave, RecordRule, Repeat, Step
from daq.protocol.scopes import Scopes
from daq.protocol.site import Site, Tier, intersection
from daq.yamlfile import Document, Where

MOST_PASSES = 1_000_000  # a loop of loops beyond this is a typing mistake


@dataclass(frozen=True, slots=True)
class Source:
    """The file whose steps are being compiled: the protocol, or one that it includes.

    Attributes:
        data: the file with its parameters put in.
        tiers: from the station down to the file's `safety`.
        name: of an included file; empty for the protocol itself.
    """

    document: Document
    data: Mapping[str, Any]
    tiers: tuple[Tier, ...]
    record: RecordRule
    name: str = ""


@dataclass(slots=True)
class Builder:
    """Collects instructions; steps add themselves in the order of the file."""

    source: Source
    cell: Cell
    range: Range
    bounded: bool
    instructions: list[Instruction] = field(default_factory=list[Instruction])
    scopes: Scopes = field(default_factory=Scopes)
    steps: int = 0
    expected_s: float = 0.0
    at_most_s: float = 0.0
    cycles: int = 0
    _passes: int = 1
    _loops: list[bool] = field(default_factory=list[bool])  # whether each counts cycles
    _joined: bool = False  # more than one way leads to the next step

    def site(self, where: Where, key: str, limits: Limits | None, record: RecordRule) -> Site:
        """The ground for the next step, with what the step itself adds to the tiers."""
        self.steps += 1
        source = self.source
        tiers = source.tiers if limits is None else (*source.tiers, ("this step's limits", limits))
        return Site(
            document=source.document,
            where=where,
            raw=_dig(source.data, where),
            after=self._after(),
            key=key,
            number=self.steps,
            cell=self.cell,
            tiers=tiers,
            limits=intersection(tiers, source.document.place((*where, "limits"))),
            range=self.range,
            record=record,
            bounded=self.bounded,
            file=source.name,
        )

    def _after(self) -> str:
        last = self.instructions[-1] if self.instructions else None
        return last.kind.value if isinstance(last, Step) and not self._joined else ""

    def raw(self, where: Where) -> dict[str, Any]:
        """What is written at `where` of the present file, parameters put in."""
        return _dig(self.source.data, where)

    def refuse(self, message: str, where: Where, remedy: str = "") -> NoReturn:
        """Say what is wrong with the value at `where` of the present file."""
        raise InputError(
            message, place=self.source.document.place(where, value=True), remedy=remedy
        )

    # What the steps add.

    def add(self, step: Step, expected_s: float) -> None:
        """Append a step with the time that it should take."""
        self._joined = False
        self.instructions.append(step)
        self.at_most_s += self._passes * step.at_most_s
        self.expected_s += self._passes * min(expected_s, step.at_most_s)

    @contextmanager
    def loop(
        self,
        times: int,
        *,
        counts_cycles: bool,
        where: Where = (),
        until: tuple[Condition, ...] = (),
        written: bool = True,
    ) -> Generator[None]:
        """What is added inside runs `times` times in all; `written`: an `end` can leave it."""
        begin = len(self.instructions)
        self.instructions.append(Repeat(times, begin, counts_cycles, until))
        self._passes *= times
        if self._passes > MOST_PASSES:
            self.refuse(f"the loops make more than {MOST_PASSES} passes", (*where, "repeat"))
        self.cycles += self._passes if counts_cycles else 0
        outside = self._loops
        self._loops = [*outside, counts_cycles] if written else outside
        yield
        self._loops = outside
        self._passes //= times
        self.instructions[begin] = Repeat(times, len(self.instructions), counts_cycles, until)
        self.instructions.append(End(begin))

    def choose(
        self, condition: Condition, then: Callable[[], None], otherwise: Callable[[], None] | None
    ) -> None:
        """What `then` adds runs if the condition holds, what `otherwise` adds if it does not."""
        begin = len(self.instructions)
        self.instructions.append(Branch(condition, begin))
        then()
        over = -1
        if otherwise:
            over = self.scopes.jump_over()
            self.instructions.append(Leave(Goes(Exit.GOTO, over), "else"))
        self.instructions[begin] = Branch(condition, len(self.instructions))
        if otherwise:
            otherwise()
            self.scopes.land(over, len(self.instructions))
        self._joined = True

    def leave(self, goes: Goes, text: str) -> None:
        """Append a way to elsewhere."""
        self.instructions.append(Leave(goes, text))
        self._joined = True

    @contextmanager
    def disabled(self) -> Generator[None]:
        """What is added inside is checked and numbered, and not done."""
        kept = (len(self.instructions), self.expected_s, self.at_most_s, self.cycles, self._joined)
        scopes = self.scopes.copy()
        yield
        self.scopes.restore(scopes)
        count, self.expected_s, self.at_most_s, self.cycles, self._joined = kept
        del self.instructions[count:]

    @contextmanager
    def within(self, source: Source) -> Generator[None]:
        """What is added inside stands in another file."""
        outer, self.source = self.source, source
        yield
        self.source = outer

    # Labels, and what is kept under a name.

    def label(self, name: str, where: Where) -> None:
        """The next instruction can be gone to by this name."""
        if not self.scopes.label(name, len(self.instructions)):
            self.refuse(f"the label {name!r} is given twice", (*where, "label"), "change one")
        self._joined = True

    def goes(self, way: Way, where: Where) -> Goes:
        """Where a way leads; a goto is resolved when its list ends."""
        if way.exit is Exit.GOTO:
            place = self.source.document.place(where, value=True)
            number = self.scopes.goto(way.label, way.times, len(self.instructions), place)
            return Goes(Exit.GOTO, number)
        if way.exit is Exit.REPEAT and not self._loops:
            self.refuse("there is no `repeat` around this", where)
        if way.exit is Exit.CYCLE and not any(self._loops):
            self.refuse("no `repeat` around this counts cycles", where, "say `cycle: true` there")
        return Goes(way.exit)


def _dig(data: Any, where: Where) -> dict[str, Any]:
    for segment in where:
        data = data[segment]
    return data
