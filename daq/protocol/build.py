"""What a step model is given to compile itself: the cell, every tier, and where it stands.

A `Site` is the ground that one step stands on; the `Builder` collects what the steps make of it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from daq.driver import Range
from daq.errors import InputError, Place
from daq.model import Cell, Limits, Span
from daq.protocol.clause import Clause, Way
from daq.protocol.condition import Condition, Exit, Goes, Quantity
from daq.protocol.program import Branch, End, Instruction, Leave, RecordRule, Repeat, Step
from daq.protocol.scopes import Scopes
from daq.yamlfile import Document, Where

Ends = frozenset[tuple[Quantity, bool]]
"""End conditions that a kind of step can have: quantity, and True for `>=`."""

Tier = tuple[str, Limits]
"""Who limits ("station A1", "cell c7"), and to what."""

INSTRUMENT = "the instrument's range"
_SPANS = ("voltage_V", "current_A", "temperature_degC", "charging_degC", "discharging_degC")
MOST_PASSES = 1_000_000  # a loop of loops beyond this is a typing mistake


@dataclass(frozen=True, slots=True)
class Site:
    """Where one step stands.

    Attributes:
        raw: the step's mapping as it was written, parameters put in.
        after: kind of the step just before; empty where another may come before it, too: at the
            beginning of the file and of a loop, at a label, after a branch.
        tiers: from the station down to the step.
        limits: their intersection.
        bounded: the station's limits are among the tiers; without them (a check of the file
            alone) what nothing limits stays infinite.
    """

    document: Document
    where: Where
    raw: dict[str, Any]
    after: str
    key: str
    number: int
    cell: Cell
    tiers: tuple[Tier, ...]
    limits: Limits
    range: Range
    record: RecordRule
    bounded: bool
    file: str = ""

    @property
    def nominal_Ah(self) -> float:
        """What C-rates and percentages refer to."""
        return self.cell.nominal_capacity_Ah

    @property
    def line(self) -> int:
        """Of the step in its file."""
        return self.document.place((*self.where, self.key)).line

    def refuse(self, message: str, key: Where, remedy: str = "") -> NoReturn:
        """Say what is wrong with the value at `key` of this step."""
        place = self.document.place((*self.where, *key), value=True)
        raise InputError(message, place=place, remedy=remedy)

    def check_voltage(self, value: float, what: str, key: Where) -> None:
        """Refuse a voltage outside any tier or the instrument's range."""
        self._check(value, what, key, "V", lambda limits: limits.voltage_V, self.range.voltage_V)

    def check_current(self, value: float, what: str, key: Where) -> None:
        """Refuse a current (charge positive) outside any tier or the instrument's range."""
        self._check(value, what, key, "A", lambda limits: limits.current_A, self.range.current_A)

    def check_tiers_current(self, value: float, what: str, key: Where) -> None:
        """Refuse a current outside any tier, whichever instrument drives it."""
        self._check(value, what, key, "A", lambda limits: limits.current_A)

    def check_temperature(self, value: float, what: str, key: Where) -> None:
        """Refuse a chamber setpoint outside any tier or the chamber's range."""
        reach = self.range.temperature_degC
        self._check(value, what, key, "degC", lambda limits: limits.temperature_degC, reach)

    def check_charge(self, value: float, what: str, key: Where) -> None:
        """Refuse more charge than any tier allows."""
        self._check(value, what, key, "Ah", lambda limits: (0.0, limits.charge_Ah))

    def _check(
        self,
        value: float,
        what: str,
        key: Where,
        unit: str,
        span: Callable[[Limits], Span],
        reach: Span | None = None,
    ) -> None:
        spans = [(name, span(limits)) for name, limits in self.tiers]
        for name, (low, high) in [*spans, *([(INSTRUMENT, reach)] if reach else [])]:
            if not low <= value <= high:
                side, limit = ("above", high) if value > high else ("below", low)
                message = f"{what} is {side} the {limit:.6g} {unit} of {name}"
                self.refuse(message, key, f"allowed there: {low:.6g} to {high:.6g} {unit}")

    def conditions(self, clauses: Sequence[Clause], at_most_s: float) -> tuple[Condition, ...]:
        """Resolve end conditions, and check that each could be reached and may be."""
        resolved = tuple(clause.resolve(self.nominal_Ah) for clause in clauses)
        for index, condition in enumerate(resolved):
            for comparison in condition.comparisons():
                self._check_comparison(comparison, self._clause_key(index), at_most_s)
        return resolved

    def _check_comparison(self, condition: Condition, key: Where, at_most_s: float) -> None:
        """nan, which is the value of a reference, is beyond nothing here."""
        if condition.reference is not None:
            return
        if condition.quantity is Quantity.TIME and condition.value > at_most_s:
            remedy = "make at_most longer than every time in until"
            self.refuse(f"{condition.text!r} lies beyond at_most", key, remedy)
        if condition.quantity is Quantity.VOLTAGE:
            self.check_voltage(condition.value, f"the end {condition.text!r}", key)
        if condition.quantity is Quantity.CHARGE:
            self.check_charge(condition.value, f"the end {condition.text!r}", key)

    def check_direction(self, clauses: Sequence[Clause], allowed: Ends) -> None:
        """Refuse an end that this kind of step cannot reach, or reaches at once."""
        for index, clause in enumerate(clauses):
            if not _can_end(clause, allowed):
                forms = sorted(f"{name} {'>=' if up else '<='}" for name, up in allowed)
                message = f"{clause.text!r} does not end a {self.key}"
                self.refuse(message, self._clause_key(index), f"it ends by {', '.join(forms)} …")

    def _clause_key(self, index: int) -> Where:
        return ("until", index) if isinstance(self.raw.get("until"), list) else ("until",)


def _can_end(clause: Clause, allowed: Ends) -> bool:
    """Whether a step of a kind can reach it, and not at once.

    Of what must hold together one such is enough, of alternatives each must be.
    """
    if clause.after_s:
        return True
    if clause.quantity is Quantity.ALL:
        return any(_can_end(part, allowed) for part in clause.parts)
    if clause.quantity is Quantity.ANY:
        return all(_can_end(part, allowed) for part in clause.parts)
    return (clause.quantity, clause.at_least) in allowed


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


def intersection(tiers: Sequence[Tier], place: Place) -> Limits:
    """All tiers at once.

    Raises:
        InputError: a tier leaves nothing of those above it.
    """
    limits = Limits()
    for name, tier in tiers:
        limits = limits.tighten(tier)
        for quantity in _SPANS:
            low, high = getattr(limits, quantity)
            if not low < high:
                named = quantity.rpartition("_")[0]
                raise InputError(
                    f"{name} and the limits above it have no {named} in common",
                    place=place,
                    remedy=f"together they ask for at least {low:.6g} and at most {high:.6g}",
                )
    return limits
