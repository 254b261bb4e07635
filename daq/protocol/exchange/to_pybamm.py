"""Ours -> PyBaMM: the text of its steps in a Python list, or the JSON of `Experiment.from_config`.

PyBaMM's currents are positive in a discharge. Its text knows no temperature; the JSON does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from daq import units
from daq.errors import InputError
from daq.protocol.exchange import saying
from daq.protocol.exchange.draft import Drive, Task, refuse_too_many
from daq.protocol.exchange.own import Node, Own, Passes, Phase

_ZERO_K = 273.15
_TYPES = {"C": "c-rate", "A": "current", "W": "power", "ohm": "resistance"}
_MORE = "`--to pybamm-config` can say it"


def write_text(own: Own, task: Task) -> str:
    """A Python list of steps, to be given to `pybamm.Experiment`."""
    _leave_safety(own, task)
    lines = _listed(own.nodes, task)
    return f"# {own.name}, for pybamm.Experiment(...)\n{lines}\n"


def _listed(nodes: list[Node], task: Task) -> str:
    """A sum of lists: what stands between loops, and each loop times its passes."""
    return " + ".join(_parts(nodes, "[]", _cycle, task)) or "[]"


def _cycle(node: Passes, task: Task) -> str:
    return f"[\n    {_indented(_tuple(node.nodes, task))},\n] * {node.times}"


def _tuple(nodes: list[Node], task: Task) -> str:
    """A cycle; a loop in it is a product of its own."""
    parts = _parts(nodes, "()", _product, task)
    return parts[0] if len(parts) == 1 else f"({' + '.join(parts)})"


def _product(node: Passes, task: Task) -> str:
    return f"{_tuple(node.nodes, task)} * {node.times}"


def _parts(
    nodes: list[Node], brackets: str, loop: Callable[[Passes, Task], str], task: Task
) -> list[str]:
    """Each loop, and in brackets what stands between two of them."""
    parts: list[str] = []
    single: list[str] = []
    for node in nodes:
        if isinstance(node, Phase):
            with task.findings.collecting():
                single.append(json.dumps(_sentence(node)))
            continue
        parts += [_bracket(single, brackets)] if single else []
        single = []
        parts.append(loop(node, task))
    return parts + ([_bracket(single, brackets)] if single else [])


def _bracket(lines: list[str], pair: str) -> str:
    inner = "".join(f"    {line},\n" for line in lines)
    return f"{pair[0]}\n{inner}{pair[1]}"


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")


def _sentence(phase: Phase) -> str:
    ends = [] if phase.end_volts is None else [f"{saying.number(phase.end_volts)} V"]
    if phase.end_current is not None:
        ends.append(_value(phase.end_current))
    words = _beginning(phase)
    if phase.time_s is not None:
        words += f" for {_time(phase.time_s)}"
    if ends:
        words += f"{' or' if phase.time_s is not None else ''} until {ends[0]}"
    if "every" in phase.record:
        words += f" ({_time(units.parse(phase.record['every'], units.TIME))} period)"
    return words


def _beginning(phase: Phase) -> str:
    if phase.kind == "rest":
        return "Rest"
    if phase.kind == "current" and phase.drive is not None:
        return f"{phase.way.capitalize()} at {_value(phase.drive)}"
    if phase.kind == "hold" and phase.volts is not None:
        return f"Hold at {saying.number(phase.volts)} V"
    raise _unknown(phase, _MORE if phase.kind == "chamber" else "")


def _unknown(phase: Phase, remedy: str = "") -> InputError:
    names = {"scan": "a ramp", "eis": "a spectrum", "chamber": "a temperature"}
    return InputError(
        f"PyBaMM's experiment cannot say {names.get(phase.kind, phase.kind)}",
        place=phase.place,
        remedy=remedy,
    )


def _value(drive: Drive) -> str:
    if drive.unit == "C":
        text = saying.rate(drive.value)
        return text if text.startswith("C/") else f"{text.removesuffix('C')} C"
    return f"{saying.number(drive.value)} {'Ohm' if drive.unit == 'ohm' else drive.unit}"


def _time(seconds: float) -> str:
    number, _, unit = saying.duration(seconds).partition(" ")
    return f"{number} {({'h': 'hours', 'min': 'minutes', 's': 'seconds'})[unit]}"


# JSON.


def write_config(own: Own, task: Task) -> str:
    """The JSON that `pybamm.Experiment.from_config` takes."""
    _leave_safety(own, task)
    cycles = _Config(task).cycles(own.nodes)
    document: dict[str, Any] = {"cycles": cycles}
    if "every" in own.record:
        document["period"] = units.parse(own.record["every"], units.TIME)
    return json.dumps(document, indent=2) + "\n"


class _Config:
    """Nodes -> cycles; loops written out, the temperature on every step."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._kelvin: float | None = None
        self._count = 0

    def cycles(self, nodes: list[Node]) -> list[list[dict[str, Any]]]:
        found: list[list[dict[str, Any]]] = []
        for node in nodes:
            if isinstance(node, Phase):
                found += [[step] for step in self._steps([node])]
            else:
                for _ in range(node.times):
                    found.append(self._steps(node.nodes))
                    refuse_too_many(self._count, self._task)
        return [cycle for cycle in found if cycle]

    def _steps(self, nodes: list[Node]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for node in nodes:
            if isinstance(node, Passes):
                for _ in range(node.times):
                    found += self._steps(node.nodes)
                    refuse_too_many(self._count, self._task)
            elif node.kind == "chamber":
                self._kelvin = round(node.celsius + _ZERO_K, 6)
            else:
                with self._task.findings.collecting():
                    found.append(self._step(node))
                    self._count += 1
        return found

    def _step(self, phase: Phase) -> dict[str, Any]:
        step = _typed(phase)
        if phase.time_s is not None:
            step["duration"] = phase.time_s
        if ends := _terminations(phase):
            step["terminations"] = ends
        if "every" in phase.record:
            step["period"] = units.parse(phase.record["every"], units.TIME)
        if self._kelvin is not None:
            step["temperature"] = self._kelvin
        return step


def _typed(phase: Phase) -> dict[str, Any]:
    if phase.kind == "rest":
        return {"type": "rest"}
    if phase.kind == "hold":
        return {"type": "voltage", "value": phase.volts}
    if phase.kind == "current" and phase.drive is not None:
        sign = -1.0 if phase.way == "charge" else 1.0
        return {"type": _TYPES[phase.drive.unit], "value": sign * phase.drive.value}
    raise _unknown(phase)


def _terminations(phase: Phase) -> list[dict[str, Any]]:
    ends: list[dict[str, Any]] = []
    if phase.end_volts is not None:
        ends.append({"type": "voltage", "value": phase.end_volts})
    if phase.end_current is not None:
        ends.append({"type": _TYPES[phase.end_current.unit], "value": phase.end_current.value})
    return ends


def _leave_safety(own: Own, task: Task) -> None:
    if "safety" in own.document.data:
        task.findings.leave(own.document.place(("safety",)), "safety: a simulation needs no guard")
