"""The JSON of PyBaMM's `Experiment.to_config()`: cycles of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from daq.errors import InputError, Place
from daq.filemodel import show
from daq.protocol.exchange import times
from daq.protocol.exchange.draft import Task
from daq.protocol.exchange.pybamm_step import End, Said
from daq.protocol.exchange.pybamm_text import Node, Times
from daq.protocol.exchange.structured import Item

_UNITS = {
    "rest": "",
    "current": "A",
    "c-rate": "C",
    "voltage": "V",
    "power": "W",
    "resistance": "ohm",
}
_ENDS = {"voltage": "V", "current": "A", "c-rate": "C"}
_KEYS = (
    *("type", "value", "duration", "terminations", "temperature", "period", "tags"),
    *("description", "direction", "start_time", "skip_ok"),
)
ZERO_K = 273.15


def cycles_of(top: Item, cycles: list[Any]) -> list[list[Item]]:
    """The steps of each cycle, not yet understood.

    Raises:
        InputError: a cycle is no list of mappings.
    """
    groups: list[list[Item]] = []
    for number, cycle in enumerate(cycles):
        where = ("cycles", number)
        if not isinstance(cycle, list):
            raise InputError(f"{show(cycle)} is not a list of steps", place=top.tree.place(where))
        for index, step in enumerate(cast("list[Any]", cycle)):
            if not isinstance(step, dict):
                place = top.tree.place((*where, index))
                raise InputError(f"{show(step)} is not a step", place=place)
        groups.append(
            [Item(top.tree, (*where, index), step) for index, step in enumerate(cycle)]  # type: ignore[reportUnknownArgumentType]
        )
    return groups


def append(nodes: list[Node], group: list[Item], task: Task, *, flat: bool) -> None:
    """Add a cycle; one that equals the cycle before is one more pass of that."""
    said: list[Node] = []
    for item in group:
        with task.findings.collecting():
            said.append(_said(item, task))
    if flat or len(said) == 1 and not (nodes and isinstance(nodes[-1], Times)):
        nodes.extend(said)
        return
    place = group[0].place() if group else task.place()
    last = nodes[-1] if nodes else None
    if isinstance(last, Times) and _meaning(last.nodes) == _meaning(said):
        nodes[-1] = replace(last, times=last.times + 1)
    elif said:
        nodes.append(Times(1, said, place, cycle=True))


def _meaning(nodes: Sequence[Node]) -> list[object]:
    """What is compared: all but the places."""
    return [replace(one, place=Place("", 0, 0)) if isinstance(one, Said) else one for one in nodes]


def _said(item: Item, task: Task) -> Said:
    item.only(_KEYS)
    kind = item.text("type")
    if kind not in _UNITS:
        known = ", ".join(_UNITS)
        raise item.refuse(f"there is no step {kind[:40]!r}", "type", f"known: {known}")
    if item.given("start_time"):
        message = "start_time: a step that begins at a time of the calendar"
        raise item.refuse(message, "start_time", "start the run then")
    if not item.flag("skip_ok", default=True):
        what = "skip_ok: false, a step that must not be skipped"
        task.findings.change(item.place("skip_ok"), what, "skips it where it is already satisfied")
    if item.given("direction"):
        task.findings.leave(item.place("direction"), "direction: it follows from the step before")
    value = 0.0 if kind == "rest" else _value(item)
    return Said(
        _UNITS[kind],
        value,
        item.place(),
        item.text("description") or f"{kind} {value:g}",
        _seconds(item, "duration"),
        [_end(one) for one in item.items("terminations")] if item.given("terminations") else [],
        _seconds(item, "period"),
        kelvin(item.values.get("temperature"), item.place("temperature")),
        _tags(item),
    )


def _value(item: Item) -> float:
    value = item.values.get("value")
    if isinstance(value, list):
        raise item.refuse(
            "value: a profile",
            "value",
            "save it as a table (time_s, current_A; charge positive) and play it with `profile`",
        )
    if isinstance(value, str):
        raise item.refuse(
            f"value: {show(value)} is an input parameter", "value", "put its value in"
        )
    number = item.number("value")
    if not number:
        raise item.refuse("value is missing or zero")
    return number


def _end(item: Item) -> End:
    item.only(("type", "value", "operator"))
    kind, value = item.text("type"), item.number("value")
    if kind not in _ENDS or value is None:
        raise item.refuse("a termination needs a type and a value", remedy=", ".join(_ENDS))
    operator = item.text("operator")
    if operator not in ("", "<", ">"):
        raise item.refuse(f"{operator[:10]!r} is no operator", "operator")
    return End(value, _ENDS[kind], operator)


def _seconds(item: Item, key: str) -> float | None:
    value = item.values.get(key)
    found = times.seconds(value) if isinstance(value, str) else item.number(key)
    if value is not None and (found is None or found <= 0):
        raise item.refuse(f"{key}: {show(value)} is not a duration", key)
    return found


def _tags(item: Item) -> tuple[str, ...]:
    tags = item.values.get("tags")
    many = cast("list[Any]", tags) if isinstance(tags, list) else [tags] if tags else []
    return tuple(str(tag)[:40] for tag in many)


def kelvin(value: object, place: Place) -> float | None:
    """Kelvin, or text such as "25oC"."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    text = str(value).replace(" ", "")
    for unit, zero in (("oC", ZERO_K), ("K", 0.0)):
        if text.endswith(unit):
            try:
                return float(text.removesuffix(unit)) + zero
            except ValueError:
                break
    raise InputError(f"{show(value)} is not a temperature", place=place)
