"""Collects what the steps of a protocol make of themselves, in the order of the file."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from daq.driver import Range
from daq.errors import InputError, Place
from daq.model import Cell, Limits
from daq.protocol.clause import Way
from daq.protocol.condition import Condition, Exit, Goes
from daq.protocol.program import Branch, End, Instruction, Leave, RecordRule, Repeat, Step
from daq.protocol.scopes import Scopes
from daq.protocol.site import Site, Tier, intersection
from daq.yamlfile import Document, Where

ELSE = "else"
"""The way past what is done if a condition does not hold."""
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


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an instruction comes from, for what is said about it later.

    Attributes:
        tiers: the limits that hold there, from the station down.
    """

    document: Document
    where: Where
    tiers: tuple[Tier, ...]

    def place(self, *key: str | int) -> Place:
        """Of the value at `key` of what stands there; without one, of the whole."""
        return self.document.place((*self.where, *key), value=True)


@dataclass(frozen=True, slots=True)
class Skipped:
    """What is disabled, and why; "" where nothing is said."""

    place: Place
    why: str


@dataclass(slots=True)
class Builder:
    """Collects instructions; steps add themselves in the order of the file."""

    source: Source
    cell: Cell
    range: Range
    bounded: bool
    instructions: list[Instruction] = field(default_factory=list[Instruction])
    origins: list[Origin] = field(default_factory=list[Origin])  # one for each instruction
    skipped: list[Skipped] = field(default_factory=list[Skipped])
    scopes: Scopes = field(default_factory=Scopes)
    steps: int = 0
    expected_s: float = 0.0
    at_most_s: float = 0.0
    cycles: int = 0
    _passes: int = 1
    _loops: list[bool] = field(default_factory=list[bool])  # whether each counts cycles
    _joined: bool = False  # more than one way leads to the next step
    _origin: Origin = field(init=False)

    def __post_init__(self) -> None:
        self.stand(())

    def stand(self, where: Where, tiers: tuple[Tier, ...] | None = None) -> None:
        """What comes next stands there in the present file."""
        source = self.source
        self._origin = Origin(source.document, where, source.tiers if tiers is None else tiers)

    def _append(self, item: Instruction) -> None:
        self.instructions.append(item)
        self.origins.append(self._origin)

    def site(self, where: Where, key: str, limits: Limits | None, record: RecordRule) -> Site:
        """The ground for the next step, with what the step itself adds to the tiers."""
        self.steps += 1
        source = self.source
        tiers = source.tiers if limits is None else (*source.tiers, ("this step's limits", limits))
        self.stand(where, tiers)
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
        self._append(step)
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
        self._append(Repeat(times, begin, counts_cycles, until))
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
        self._append(End(begin))

    def choose(
        self, condition: Condition, then: Callable[[], None], otherwise: Callable[[], None] | None
    ) -> None:
        """What `then` adds runs if the condition holds, what `otherwise` adds if it does not."""
        begin = len(self.instructions)
        self._append(Branch(condition, begin))
        then()
        over = -1
        if otherwise:
            over = self.scopes.jump_over()
            self._append(Leave(Goes(Exit.GOTO, over), ELSE))
        self.instructions[begin] = Branch(condition, len(self.instructions))
        if otherwise:
            otherwise()
            self.scopes.land(over, len(self.instructions))
        self._joined = True

    def leave(self, goes: Goes, text: str) -> None:
        """Append a way to elsewhere."""
        self._append(Leave(goes, text))
        self._joined = True

    @contextmanager
    def disabled(self, where: Where, why: str) -> Generator[None]:
        """What is added inside is checked and numbered, and not done."""
        skipped = [*self.skipped, Skipped(self.source.document.place(where), why)]
        kept = (len(self.instructions), self.expected_s, self.at_most_s, self.cycles, self._joined)
        scopes = self.scopes.copy()
        yield
        self.scopes.restore(scopes)
        self.skipped = skipped
        count, self.expected_s, self.at_most_s, self.cycles, self._joined = kept
        del self.instructions[count:], self.origins[count:]

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
