"""`until` as it is written: a condition, or a list of conditions and of what they lead to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from daq import units
from daq.filemodel import mistake, nearest, show
from daq.protocol.clause import KINDS, MEMBERS, Clause, Way
from daq.protocol.condition import Exit, Quantity
from daq.protocol.grammar import EXAMPLE, LONGEST, parse_clause

MOST_JUMPS = 1000
_KEYS = ("when", "goto", "times", "end")
_ENDS = (Exit.REPEAT, Exit.CYCLE, Exit.RUN)
_WAY = "write it like {when: temperature >= 40 degC, goto: cool}"


class _Until:
    """Annotation: a condition or a list of them -> a tuple of clauses."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validate)

    def validate(self, value: object) -> tuple[Clause, ...]:
        if not isinstance(value, list):
            return self.entry(value, ())
        entries = cast(list[object], value)
        if not entries:
            raise mistake("the list of end conditions is empty", EXAMPLE)
        found = [self.entry(entry, (index,)) for index, entry in enumerate(entries)]
        return tuple(clause for clauses in found for clause in clauses)

    def entry(self, value: object, where: tuple[int, ...]) -> tuple[Clause, ...]:
        return _alternatives(parse_clause(value, where))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        ones = self.schemas()
        many = {"type": "array", "items": ones[0] if len(ones) == 1 else {"anyOf": ones}}
        described = "one condition, or a list of which any may hold"
        return {"anyOf": [*ones, many | {"minItems": 1}], "description": described}

    def schemas(self) -> list[dict[str, Any]]:
        return [condition_schema()]


class _UntilWithWays(_Until):
    """The same where an entry may say where the program goes on."""

    def entry(self, value: object, where: tuple[int, ...]) -> tuple[Clause, ...]:
        if not isinstance(value, Mapping):
            return super().entry(value, where)
        given = cast(Mapping[str, object], value)
        way = read_way(given, where)
        if "when" not in given:
            raise mistake("the key 'when' is missing", _WAY, where)
        found = super().entry(given["when"], cast(tuple[int, ...], (*where, "when")))
        return tuple(replace(clause, way=way) for clause in found)

    def schemas(self) -> list[dict[str, Any]]:
        way = {
            "type": "object",
            "properties": {
                "when": condition_schema() | {"description": "the condition"},
                "goto": {"type": "string", "description": "the label where the program goes on"},
                "times": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MOST_JUMPS,
                    "description": "how often in the run, where the goto goes back",
                },
                "end": {"enum": [*_ENDS], "description": "what ends: a loop, a cycle, the run"},
            },
            "required": ["when"],
            "additionalProperties": False,
        }
        return [condition_schema(), way]


def read_way(given: Mapping[str, object], where: tuple[int, ...]) -> Way:
    """What `goto`, `times` and `end` of a mapping say."""
    for key in given:
        if key not in _KEYS:
            raise mistake(f"unknown key {key!r}", nearest(key, _KEYS), (*where, key), at_key=True)
    if ("goto" in given) == ("end" in given):
        raise mistake("where does it go on?", _WAY, where)
    if "end" in given:
        return _end(given, where)
    label, times = given["goto"], given.get("times", 0)
    if not isinstance(label, str) or not label:
        raise mistake(f"{show(label)} is not a label", _WAY, (*where, "goto"))
    if "times" in given and not (isinstance(times, int) and 1 <= times <= MOST_JUMPS):
        raise mistake(f"{show(times)} is out of range", f"1 to {MOST_JUMPS}", (*where, "times"))
    return Way(Exit.GOTO, label, cast(int, times))


def _end(given: Mapping[str, object], where: tuple[int, ...]) -> Way:
    if given["end"] not in _ENDS:
        known = ", ".join(_ENDS)
        raise mistake(f"{show(given['end'])} cannot be ended", f"known: {known}", (*where, "end"))
    if "times" in given:
        raise mistake("`times` belongs to a goto", "leave it out", (*where, "times"), at_key=True)
    return Way(Exit(cast(str, given["end"])))


def _alternatives(clause: Clause) -> tuple[Clause, ...]:
    """`a or b` is two conditions, so that the reason of an end names the one that held."""
    if clause.quantity is Quantity.ANY and not (clause.for_s or clause.after_s):
        return clause.parts
    return (clause,)


Until = Annotated[tuple[Clause, ...], _UntilWithWays()]
Conditions = Annotated[tuple[Clause, ...], _Until()]
"""The same without ways: for a loop, which has one."""


class _Decides:
    """Annotation: one condition -> a clause."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(parse_clause)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return condition_schema()


Decides = Annotated[Clause, _Decides()]


def condition_schema() -> dict[str, Any]:
    """JSON Schema of a condition."""
    return {
        "type": "string",
        "maxLength": LONGEST,
        "pattern": pattern(),
        "examples": ["voltage >= 4.2 V", "current <= C/50 for 2 min"],
    }


def pattern() -> str:
    """A regular expression for editors: catches a misspelt word or a wrong unit, not all else."""
    comparison = rf"(?:{'|'.join(_comparisons())})"
    span = rf"(?:\s+(?:for|after|over)\s+(?:\$\w+|{_inner(units.pattern(units.TIME))}))*"
    one = rf"[(\s]*{comparison}[)\s]*{span}[)\s]*"
    return rf"^{one}(?:\s(?:and|or)\s{one})*$"


def _comparisons() -> list[str]:
    earlier = r"(?:\$\w+|\d[\d.]*\s*%)\s*of\s*\w[\w. ]*|[A-Za-z_]\w*(?:\.\w+)?"
    known = [
        rf"{_word(quantity)}\s*[<>]=\s*(?:\$\w+|{_number(quantity)}|{earlier})"
        for quantity in KINDS
    ]
    saved = rf"[A-Za-z_]\w*\.(?:{'|'.join(MEMBERS)})\s*[<>]=\s*\S.*?"
    return [*known, saved]


def _word(quantity: Quantity) -> str:
    word = quantity.replace(".", r"\.").replace("/", r"\/")
    return rf"{word}\.[\w-]+" if quantity is Quantity.SENSOR else word


def _number(quantity: Quantity) -> str:
    kinds = KINDS[quantity]
    return _inner(units.pattern(*kinds)) if kinds else r"\d+"


def _inner(anchored: str) -> str:
    return anchored.removeprefix(r"^\s*").removesuffix(r"\s*$")


def texts(clauses: Sequence[Clause]) -> str:
    """As a sentence."""
    return " or ".join(clause.text for clause in clauses)
