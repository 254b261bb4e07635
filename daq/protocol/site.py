"""The ground that one step stands on: the cell, every tier, and its place in the file.

A step's model is given it to plan itself, and to refuse what cannot be, at the very place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from daq.checks import CHARGE_DEFAULT
from daq.driver import Range
from daq.errors import InputError, Place
from daq.model import Cell, Limits, Span
from daq.protocol.clause import Clause
from daq.protocol.condition import Condition, Quantity
from daq.protocol.program import RecordRule
from daq.yamlfile import Document, Where

Ends = frozenset[tuple[Quantity, bool]]
"""End conditions that a kind of step can have: quantity, and True for `>=`."""

Tier = tuple[str, Limits]
"""Who limits ("station A1", "cell c7"), and to what."""

INSTRUMENT = "the instrument's range"
_SPANS = ("voltage_V", "current_A", "temperature_degC", "charging_degC", "discharging_degC")


SAFETY = "safety of this protocol"
DEFAULT_CHARGE = (
    f"the default of {100 * CHARGE_DEFAULT:g} %, as this protocol has no `safety: charge`"
)
"""The tier of a protocol that does not say how much charge may go in at most."""


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
                remedy = f"allowed there: {low:.6g} to {high:.6g} {unit}"
                if name == DEFAULT_CHARGE:
                    remedy += "; or say how much may be: `safety: {charge: 115 %}`"
                self.refuse(message, key, remedy)

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
                message = f"{clause.text!r} does not end a {self.key}"
                self.refuse(message, self._clause_key(index), _instead(clause, allowed))

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


def _instead(clause: Clause, allowed: Ends) -> str:
    """A remedy: the same the other way round, or all that there is."""
    if (clause.quantity, not clause.at_least) in allowed:
        was, is_ = (">=", "<=") if clause.at_least else ("<=", ">=")
        return f"did you mean {clause.text.replace(was, is_)!r}?"
    forms = sorted(f"{name} {'>=' if up else '<='}" for name, up in allowed)
    return f"it ends by {', '.join(forms)} …"


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
