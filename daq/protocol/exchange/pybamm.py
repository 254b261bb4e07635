"""PyBaMM experiments -> ours: text (`pybamm_text`) or the JSON of `Experiment.to_config()`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from daq.errors import InputError, Place
from daq.filemodel import show
from daq.protocol.exchange import pybamm_text, saying, times
from daq.protocol.exchange.draft import Draft, Step, Task, name_from, refuse_too_many
from daq.protocol.exchange.pybamm_step import End, Said, draft
from daq.protocol.exchange.pybamm_text import Experiment, Node, Times
from daq.protocol.exchange.structured import Item, read_json

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
_SETTINGS = ("period", "temperature", "termination")
_ZERO_K = 273.15


def read_text(content: bytes, task: Task) -> Draft:
    """Draft a protocol from text.

    Raises:
        InputError: it is no experiment at all.
    """
    return _draft(pybamm_text.read(content, task), task)


def read_config(content: bytes, task: Task) -> Draft:
    """Draft a protocol from JSON.

    Raises:
        InputError: it is no experiment at all.
    """
    top = Item.top(read_json(content, task.file))
    top.only(("cycles", "steps", *_SETTINGS))
    cycles = top.values.get("cycles", top.values.get("steps"))
    if not isinstance(cycles, list) or not cycles:
        raise top.refuse("there are no `cycles`")
    made = Experiment([])
    for key in _SETTINGS:
        if top.given(key):
            made.settings[key] = top.values[key]
            made.places[key] = top.place(key)
    flat = "cycles" not in top.values
    groups = [top.items("steps")] if flat else _cycles(top, cast("list[Any]", cycles))
    for group in groups:
        _append(made.nodes, group, task, flat=flat)
    return _draft(made, task)


def _cycles(top: Item, cycles: list[Any]) -> list[list[Item]]:
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


def _append(nodes: list[Node], group: list[Item], task: Task, *, flat: bool) -> None:
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
        _kelvin(item.values.get("temperature"), item.place("temperature")),
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


def _kelvin(value: object, place: Place) -> float | None:
    """Kelvin, or text such as "25oC"."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    text = str(value).replace(" ", "")
    for unit, zero in (("oC", _ZERO_K), ("K", 0.0)):
        if text.endswith(unit):
            try:
                return float(text.removesuffix(unit)) + zero
            except ValueError:
                break
    raise InputError(f"{show(value)} is not a temperature", place=place)


# The whole.


def _draft(experiment: Experiment, task: Task) -> Draft:
    head = [f"From {task.file}, an experiment of PyBaMM."]
    made = Draft(name_from(task.file.rpartition("/")[2].partition(".")[0]), head, [])
    with task.findings.collecting():
        _refuse_settings(experiment)
    every_s = _period(experiment) or 60.0
    made.record = {"every": saying.duration(every_s)}
    builder = _Builder(task, every_s, _temperature(experiment))
    made.steps = builder.steps(experiment.nodes)
    refuse_too_many(builder.count, task)
    return made


def _refuse_settings(experiment: Experiment) -> None:
    for key, value in experiment.settings.items():
        if key == "termination" and value is not None:
            raise InputError(
                f"termination {show(value)}: the whole experiment's end",
                place=experiment.places[key],
                remedy="put it into a loop by hand, such as "
                "`until: cycle.discharge <= 80 % of cycle 1`, and leave it out here",
            )
        if key not in _SETTINGS:
            raise InputError(f"unknown argument {key[:40]!r}", place=experiment.places[key])


def _period(experiment: Experiment) -> float | None:
    value = experiment.settings.get("period")
    if value is None:
        return None
    found = times.seconds(value) if isinstance(value, str) else value
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 < found < 1e9:
        raise InputError(f"{show(value)} is not a period", place=experiment.places["period"])
    return float(found)


def _temperature(experiment: Experiment) -> float | None:
    key = "temperature"
    value = experiment.settings.get(key)
    return None if value is None else _kelvin(value, experiment.places[key])


@dataclass(slots=True)
class _Builder:
    """Nodes -> steps; keeps track of what the chamber was told last."""

    task: Task
    every_s: float
    common_K: float | None
    told_K: float | None = None
    count: int = 0

    def steps(self, nodes: Sequence[Node]) -> list[Step]:
        """In order, with a `chamber` step wherever the temperature changes."""
        found: list[Step] = []
        for node in nodes:
            found += self._said(node) if isinstance(node, Said) else self._times(node)
        return found

    def _said(self, said: Said) -> list[Step]:
        found: list[Step] = []
        with self.task.findings.collecting():
            found = [*self._chamber(said), self._step(said)]
        self.count += len(found)
        return found

    def _step(self, said: Said) -> Step:
        step = draft(said, self.task)
        if said.period_s and said.period_s != self.every_s:
            step.more["record"] = {"every": saying.duration(said.period_s)}
        return step

    def _chamber(self, said: Said) -> list[Step]:
        wanted_K = said.temperature_K or self.common_K
        if wanted_K is None and self.told_K is not None:
            what = "a step without a temperature after one with: the ambient one of a model"
            self.task.findings.change(said.place, what, "leaves the chamber where it is")
        if wanted_K is None or wanted_K == self.told_K:
            return []
        self.told_K = wanted_K
        celsius = round(wanted_K - _ZERO_K, 6)
        return [Step({"chamber": saying.temperature(celsius)}, said.place)]

    def _times(self, node: Times) -> list[Step]:
        """A tuple that is repeated is a cycle for each pass; the same within one is not."""
        if node.times == 1 and not (node.cycle and len(node.nodes) > 1):
            return self.steps(node.nodes)
        inner = node.nodes
        while len(inner) == 1 and isinstance(inner[0], Times) and inner[0].times == 1:
            inner = inner[0].nodes
        every = _all(inner)
        if len({said.temperature_K for said in every}) > 1:
            self.told_K = None  # the second pass begins where the first has ended
            before: list[Step] = []
        else:
            before = self._chamber(every[0]) if every else []
        steps = self.steps(inner)
        if node.times == 1 and not _is_cycle(steps):
            return [*before, *steps]
        return [*before, Step({"repeat": node.times}, node.place, steps=steps)]


def _is_cycle(steps: list[Step]) -> bool:
    """Whether they both charge and discharge: then a pass of them is a cycle of ours."""
    return len(Step({}, Place("", 1, 1), steps=steps).moves()) == 2


def _all(nodes: Sequence[Node]) -> list[Said]:
    flat: list[Said] = []
    for node in nodes:
        flat += [node] if isinstance(node, Said) else _all(node.nodes)
    return flat
