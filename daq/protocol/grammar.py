"""The grammar of conditions: `voltage >= 4.2 V and time >= 30 min` -> clauses.

The grammar itself stands in `conditions.lark`; here its trees become clauses, which know what their
words mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache
from importlib.resources import files

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput
from pydantic_core import PydanticCustomError

from daq import units
from daq.errors import UnitError
from daq.filemodel import mistake, nearest, show
from daq.protocol.clause import KINDS, MEMBER_OF, MEMBERS, Clause
from daq.protocol.condition import Past, Quantity, Reference
from daq.units import Amount, Kind
from daq.yamlfile import Where

SLOPE_OVER_S = 60.0
"""Window of a slope where none is given."""
LONGEST = 500
"""Characters of a condition: more is no condition that anybody can read."""
MOST_BRACKETS = 20
EXAMPLE = "write it like `voltage >= 4.2 V`"
_LONGEST_SPAN_S = 30 * 86400.0
_NAMES = [quantity for quantity in KINDS if quantity is not Quantity.SENSOR]
_SPANS = {"for": "for_s", "after": "after_s", "over": "over_s"}


def parse_clause(text: object, where: Where = ()) -> Clause:
    """Understand one condition; errors are pydantic's, so that they carry their place."""
    if not isinstance(text, str) or len(text) > LONGEST:
        raise mistake(f"{show(text)} is not an end condition", EXAMPLE, where)
    if text.count("(") > MOST_BRACKETS:
        raise mistake(f"more than {MOST_BRACKETS} brackets in one condition", EXAMPLE, where)
    try:
        return _parse(text)
    except PydanticCustomError as error:
        context = error.context or {}
        raise mistake(context["message"], context["remedy"], where) from error


@lru_cache(maxsize=1024)
def _parse(text: str) -> Clause:
    try:
        tree: Tree[Token] = _grammar().parse(text)  # pyright: ignore[reportUnknownMemberType]
    except UnexpectedInput as error:
        raise _not_understood(text, error) from error
    return _Reader(text).either(_tree(tree.children[0]))


@cache
def _grammar() -> Lark:
    source = files("daq.protocol").joinpath("conditions.lark").read_text(encoding="utf-8")
    return Lark(source, parser="lalr", propagate_positions=True)


def _not_understood(text: str, error: UnexpectedInput) -> PydanticCustomError:
    column = getattr(error, "column", 0)
    rest = text[column - 1 :].strip() if isinstance(column, int) and column > 1 else ""
    word = re.match(r"\S{1,20}", rest)
    at = f": {word[0]!r} is not expected there" if word else ""
    remedy = f"a number has a point, not a comma; {EXAMPLE}" if rest.startswith(",") else EXAMPLE
    return mistake(f"{show(text)} is not an end condition{at}", remedy)


def _tree(node: object) -> Tree[Token]:
    if not isinstance(node, Tree):
        raise TypeError(f"{node!r} is no tree")
    return node  # pyright: ignore[reportUnknownVariableType]


class _Reader:
    """Turns the trees of one text into clauses."""

    def __init__(self, text: str) -> None:
        self._text = text

    def either(self, tree: Tree[Token]) -> Clause:
        """`a or b`."""
        return self._joined(tree, Quantity.ANY, self.both)

    def both(self, tree: Tree[Token]) -> Clause:
        """`a and b`."""
        return self._joined(tree, Quantity.ALL, self.timed)

    def _joined(
        self, tree: Tree[Token], quantity: Quantity, read: Callable[[Tree[Token]], Clause]
    ) -> Clause:
        parts = tuple(read(_tree(child)) for child in tree.children)
        if len(parts) == 1:
            return parts[0]
        return Clause(quantity, True, None, self._words(tree), parts=parts)

    def timed(self, tree: Tree[Token]) -> Clause:
        """A comparison, or something in brackets, with `for`, `after` and `over`."""
        inner, *spans = (_tree(child) for child in tree.children)
        clause = self.comparison(inner) if inner.data == "comparison" else self.either(inner)
        for span in spans:
            word, amount = (str(token) for token in span.children)
            duration_s = _amount(amount, units.TIME).value
            clause = _with_span(clause, word, duration_s)
        if clause.quantity in (Quantity.SLOPE, Quantity.WARMING) and not clause.over_s:
            clause = replace(clause, over_s=SLOPE_OVER_S)
        return replace(clause, text=self._words(tree))

    def comparison(self, tree: Tree[Token]) -> Clause:
        """`quantity >= value`."""
        quantity_tree, operator, value = tree.children
        if str(operator) not in (">=", "<="):
            raise mistake(f"{str(operator)!r} is not allowed here", "write >= or <=")
        name = str(_tree(quantity_tree).children[0])
        quantity, left, sensor = _looked_at(name)
        at_least, text = str(operator) == ">=", self._words(tree)
        clause = Clause(quantity, at_least, None, text, left=left, sensor=sensor)
        return self._value(clause, _tree(value))

    def _value(self, clause: Clause, tree: Tree[Token]) -> Clause:
        kinds = MEMBERS[clause.left.member] if clause.left else KINDS[clause.quantity]
        if tree.data == "amount":
            return replace(clause, amount=_compared(clause.quantity, str(tree.children[0]), kinds))
        factor = 1.0
        if tree.data == "part":
            factor = _amount(str(tree.children[0]), units.FRACTION).value
        reference = _reference(clause, _tree(tree.children[-1]))
        return replace(clause, reference=replace(reference, factor=factor))

    def _words(self, tree: Tree[Token]) -> str:
        text = self._text[tree.meta.start_pos : tree.meta.end_pos]
        return re.sub(r"\s*([<>]=)\s*", r" \1 ", " ".join(text.split()))


def _with_span(clause: Clause, word: str, duration_s: float) -> Clause:
    if word == "over" and clause.quantity not in (Quantity.SLOPE, Quantity.WARMING):
        raise mistake(f"{clause.text!r} is no slope", "`over` gives the window of dV/dt or dT/dt")
    if not 0.0 < duration_s <= _LONGEST_SPAN_S:
        raise mistake(f"`{word}` is out of range", "more than nothing, at most 30 days")
    if getattr(clause, _SPANS[word]):
        raise mistake(f"{clause.text!r} has two `{word}`", "leave one of them out")
    if word == "over":
        return replace(clause, over_s=duration_s)
    return (
        replace(clause, for_s=duration_s) if word == "for" else replace(clause, after_s=duration_s)
    )


def _looked_at(name: str) -> tuple[Quantity, Reference | None, str]:
    """What stands on the left: a quantity, something that was saved, or a sensor."""
    if name in _NAMES:
        return Quantity(name), None, ""
    scope, dot, member = name.partition(".")
    if scope == "sensor" and dot:
        return Quantity.SENSOR, None, member
    if dot and scope not in ("step", "cycle", "run"):
        return Quantity.REFERENCE, _saved(scope, member), ""
    raise mistake(f"there is no quantity {name!r}", nearest(name, _NAMES))


def _saved(name: str, member: str) -> Reference:
    if member not in MEMBERS:
        raise mistake(f"nothing keeps a {member!r}", nearest(member, MEMBERS))
    return Reference(Past.SAVED, name, member)


def _reference(clause: Clause, tree: Tree[Token]) -> Reference:
    """What stands on the right, where it is no number."""
    token, *number = (token for token in tree.children if isinstance(token, Token))
    if token.type == "SCOPED":
        name, _, member = str(token).partition(".")
        return _same_kind(clause, _saved(name, member))
    if token.type == "PLAIN":
        return _saved(str(token), _member(clause, str(token)))
    scope, _, member = clause.quantity.partition(".")
    if scope != "cycle" or not member:
        raise mistake(f"{clause.text!r} compares with a cycle", "write `cycle.…` on the left")
    if token.type == "PREVIOUS":
        return Reference(Past.PREVIOUS, "", member)
    return Reference(Past.CYCLE, str(_whole(str(number[0]))), member)


def _same_kind(clause: Clause, reference: Reference) -> Reference:
    if MEMBERS[reference.member] is not _kinds(clause):
        other = f"{reference.name}.{reference.member}"
        raise mistake(
            f"{clause.text!r}: {other} is another kind of quantity", "compare like with like"
        )
    return reference


def _kinds(clause: Clause) -> tuple[Kind, ...]:
    return MEMBERS[clause.left.member] if clause.left else KINDS[clause.quantity]


def _member(clause: Clause, name: str) -> str:
    if clause.left:
        return clause.left.member
    if clause.quantity not in MEMBER_OF:
        remedy = f"write {name}.{' or '.join(MEMBERS)}"
        raise mistake(f"{clause.text!r}: what of {name!r} is meant?", remedy)
    return MEMBER_OF[clause.quantity]


def _compared(quantity: Quantity, text: str, kinds: tuple[Kind, ...]) -> Amount:
    if quantity is Quantity.CYCLE:
        return Amount(float(_whole(text)), units.FRACTION)
    return _amount(text, *kinds)


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text.strip()) or int(text) < 1:
        raise mistake(f"{text!r} is not the number of a cycle", "they are counted from 1")
    return int(text)


def _amount(text: str, *kinds: Kind) -> Amount:
    try:
        return units.parse_any(text, *kinds)
    except UnitError as error:
        raise mistake(error.message, error.remedy) from error
