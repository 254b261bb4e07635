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
from daq.protocol.program import Condition, End, Instruction, Quantity, RecordRule, Repeat, Step
from daq.protocol.until import Clause
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
        after: kind of the step just before; empty at the beginning of the file and of a loop.
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
            key = self._clause_key(index)
            if condition.quantity is Quantity.TIME and condition.value > at_most_s:
                remedy = "make at_most longer than every time in until"
                self.refuse(f"{condition.text!r} lies beyond at_most", key, remedy)
            if condition.quantity is Quantity.VOLTAGE:
                self.check_voltage(condition.value, f"the end {condition.text!r}", key)
            if condition.quantity is Quantity.CHARGE:
                self.check_charge(condition.value, f"the end {condition.text!r}", key)
        return resolved

    def check_direction(self, clauses: Sequence[Clause], allowed: Ends) -> None:
        """Refuse an end that this kind of step cannot reach, or reaches at once."""
        for index, clause in enumerate(clauses):
            if (clause.quantity, clause.at_least) not in allowed:
                forms = sorted(f"{name} {'>=' if up else '<='}" for name, up in allowed)
                message = f"{clause.text!r} does not end a {self.key}"
                self.refuse(message, self._clause_key(index), f"it ends by {', '.join(forms)} …")

    def _clause_key(self, index: int) -> Where:
        return ("until", index) if isinstance(self.raw.get("until"), list) else ("until",)


@dataclass(slots=True)
class Builder:
    """Collects instructions; steps add themselves in the order of the file.

    Attributes:
        data: the protocol file with its parameters put in.
        tiers: from the station down to the protocol's `safety`.
    """

    document: Document
    data: Mapping[str, Any]
    cell: Cell
    tiers: tuple[Tier, ...]
    range: Range
    record: RecordRule
    bounded: bool
    instructions: list[Instruction] = field(default_factory=list[Instruction])
    steps: int = 0
    expected_s: float = 0.0
    at_most_s: float = 0.0
    cycles: int = 0
    _passes: int = 1

    def site(self, where: Where, key: str, limits: Limits | None, record: RecordRule) -> Site:
        """The ground for the next step, with what the step itself adds to the tiers."""
        self.steps += 1
        tiers = self.tiers if limits is None else (*self.tiers, ("this step's limits", limits))
        return Site(
            document=self.document,
            where=where,
            raw=_dig(self.data, where),
            after=self._after(),
            key=key,
            number=self.steps,
            cell=self.cell,
            tiers=tiers,
            limits=intersection(tiers, self.document.place((*where, "limits"))),
            range=self.range,
            record=record,
            bounded=self.bounded,
        )

    def _after(self) -> str:
        last = self.instructions[-1] if self.instructions else None
        return last.kind.value if isinstance(last, Step) else ""

    def add(self, step: Step, expected_s: float) -> None:
        """Append a step with the time that it should take."""
        self.instructions.append(step)
        self.at_most_s += self._passes * step.at_most_s
        self.expected_s += self._passes * min(expected_s, step.at_most_s)

    @contextmanager
    def loop(self, times: int, *, counts_cycles: bool, where: Where = ()) -> Generator[None]:
        """What is added inside runs `times` times in all."""
        begin = len(self.instructions)
        self.instructions.append(Repeat(times, begin, counts_cycles))
        self._passes *= times
        if self._passes > MOST_PASSES:
            place = self.document.place((*where, "repeat"), value=True)
            raise InputError(f"the loops make more than {MOST_PASSES} passes", place=place)
        self.cycles += self._passes if counts_cycles else 0
        yield
        self._passes //= times
        self.instructions[begin] = Repeat(times, len(self.instructions), counts_cycles)
        self.instructions.append(End(begin))


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
