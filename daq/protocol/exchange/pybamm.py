"""PyBaMM experiments -> ours: text (`pybamm_text`) or the JSON of `Experiment.to_config()`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from daq.errors import InputError, Place
from daq.filemodel import show
from daq.protocol.exchange import pybamm_text, saying, times
from daq.protocol.exchange.draft import Draft, Step, Task, name_from, refuse_too_many
from daq.protocol.exchange.pybamm_config import ZERO_K, append, cycles_of, kelvin
from daq.protocol.exchange.pybamm_step import Said, draft
from daq.protocol.exchange.pybamm_text import Experiment, Node, Times
from daq.protocol.exchange.structured import Item, read_json

_SETTINGS = ("period", "temperature", "termination")


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
    groups = [top.items("steps")] if flat else cycles_of(top, cast("list[Any]", cycles))
    for group in groups:
        append(made.nodes, group, task, flat=flat)
    return _draft(made, task)


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
    return None if value is None else kelvin(value, experiment.places[key])


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
        celsius = round(wanted_K - ZERO_K, 6)
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
