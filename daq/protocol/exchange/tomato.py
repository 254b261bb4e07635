"""Payloads of tomato -> ours: versions 0.1, 0.2, 1.0, 2.0, 2.1 and 2.2, as JSON or YAML.

Written against the schemas of dgbowl-schemas 127, and for the techniques of tomato 0.2's driver of
BioLogic potentiostats; the later payloads know no others of a cycler. Positive currents charge.
`goto` counts from 0 and `n_gotos` counts the passes after the first. `exit_on_limit` ends the
whole run where a limit is reached, which otherwise ends the step.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from daq.filemodel import show
from daq.protocol.exchange import saying
from daq.protocol.exchange.bounds import bound
from daq.protocol.exchange.draft import Draft, Drive, Step, Task, When, name_from
from daq.protocol.exchange.ends import end_at_voltage
from daq.protocol.exchange.flow import Loop, nest
from daq.protocol.exchange.structured import Item, read_json, read_yaml
from daq.protocol.exchange.tomato_payload import (
    Technique,
    capacity_Ah_of,
    every,
    techniques_of,
    version_of,
)

_OWN = ("device", "technique", "time", "current", "voltage", "is_delta", "n_cycles")
_LIMITS = tuple(f"limit_{what}_{end}" for what in ("voltage", "current") for end in ("min", "max"))
_RECORD = tuple(f"{verb}_every_{by}" for verb in ("record", "measure") for by in ("dt", "dE", "dI"))
_RANGES = ("I_range", "E_range")
_SCAN = ("scan_rate", "scan_start", "scan_end")
_LOOP = ("goto", "n_gotos")
_ALL = (*_OWN, *_LIMITS, *_RECORD, *_RANGES, *_SCAN, *_LOOP, "exit_on_limit")
_RATE = re.compile(r"(-?)(\d*\.?\d*)([CD])(?:/(\d+\.?\d*))?")
_UNHANDLED = "this importer knows open_circuit_voltage, constant_current, constant_voltage and loop"


def read(content: bytes, task: Task) -> Draft:
    """Draft a protocol.

    Raises:
        InputError: as for `unicycler.read`.
    """
    json = content.lstrip()[:1] == b"{"
    tree = (read_json if json else read_yaml)(content, task.file)
    top = Item.top(tree)
    version = version_of(top)
    top.only(("version", "sample", "method", "tomato", "settings", "user"))
    sample = top.item("sample")
    task = replace(task, capacity_Ah=task.capacity_Ah or capacity_Ah_of(sample))
    name = sample.text("name") or sample.text("identifier")
    for key in ("tomato", "settings", "user"):
        if top.given(key):
            task.findings.leave(top.place(key), f"{key}: how tomato handles the job")
    head = [f"From {task.file}, a tomato payload of version {version}."]
    techniques = techniques_of(top, version, task)
    steps = _steps(techniques, task)
    record = _record(techniques)
    return Draft(name_from(name), head, steps, record, capacity_Ah=task.capacity_Ah)


def _record(techniques: list[Technique | None]) -> dict[str, str]:
    """Of the first technique that says how to record; what others say differently is theirs."""
    none: dict[str, str] = {}
    return next((rule for one in techniques if one and (rule := _rule(one))), none)


def _rule(technique: Technique) -> dict[str, str]:
    if technique.name == "loop":
        return {}
    rule: dict[str, str] = {}
    if technique.every_s:
        rule["every"] = saying.duration(technique.every_s)
    if step_V := every(technique.item, "dE"):
        rule["voltage"] = saying.voltage(step_V)
    if step_A := every(technique.item, "dI"):
        rule["current"] = saying.current(step_A)
    return rule


def _steps(techniques: list[Technique | None], task: Task) -> list[Step]:
    common = _record(techniques)
    found: list[Step | Loop] = []
    for index, technique in enumerate(techniques):
        if technique is None:
            continue
        with task.findings.collecting():
            if technique.name == "loop":
                found.append(_loop(technique, index))
                continue
            step = _step(technique, task)
            step.index = index
            step.origin = _origin(technique, index)
            if (rule := _rule(technique)) != common and rule:
                step.more["record"] = rule
            found.append(step)
    if task.findings.refused:
        return [one for one in found if isinstance(one, Step)]
    return nest(found)


def _origin(technique: Technique, index: int) -> str:
    name = technique.outer.text("task_name")
    return f"method {index}, {technique.name}" + (f", {name}" if name else "")


def _loop(technique: Technique, index: int) -> Loop:
    item = technique.item
    start = item.whole("goto", 0)
    if start >= index:
        raise item.refuse("the loop goes forwards", "goto", "loops go backwards")
    return Loop(index, start, item.whole("n_gotos", 0) + 1, technique.outer.place())


def _step(technique: Technique, task: Task) -> Step:
    item = technique.item
    item.only(_ALL)
    if item.flag("is_delta"):
        message = "is_delta: relative to the step before"
        raise item.refuse(message, "is_delta", "write absolute values")
    if item.number("n_cycles"):
        raise item.refuse("n_cycles: a loop inside a technique", "n_cycles", "write it as a loop")
    for key in _RANGES:
        if item.given(key):
            task.findings.leave(item.place(key), f"{key}: the instrument's own")
    if technique.name == "open_circuit_voltage":
        return _rest(technique)
    if technique.name == "constant_current":
        return _constant_current(technique, task)
    if technique.name == "constant_voltage":
        return _constant_voltage(technique, task)
    raise technique.outer.refuse(
        f"there is no counterpart of the technique {technique.name!r}", remedy=_UNHANDLED
    )


def _rest(technique: Technique) -> Step:
    if not technique.time_s or technique.time_s < 0:
        raise technique.outer.refuse("a rest needs a time")
    return Step({"rest": saying.duration(technique.time_s)}, technique.outer.place())


def _constant_current(technique: Technique, task: Task) -> Step:
    item = technique.item
    signed = _current(item, "current")
    if signed is None or signed.value == 0.0:
        raise item.refuse("current is missing or zero")
    way = "charge" if signed.value > 0 else "discharge"
    drive = Drive(abs(signed.value), signed.unit)
    step = Step({way: str(drive)}, technique.outer.place())
    for end, at_least in (("max", True), ("min", False)):
        if (limit := item.number(f"limit_voltage_{end}")) is not None:
            end_at_voltage(step, limit, at_least, _limit("", item), task)
    _refuse_limits(item, "current")
    return _ended(step, technique, drive, task)


def _constant_voltage(technique: Technique, task: Task) -> Step:
    """The current falls towards zero: from above in a charge, from below in a discharge."""
    item = technique.item
    voltage_V = item.number("voltage")
    if voltage_V is None:
        raise item.refuse("voltage is missing")
    step = Step({"hold": saying.voltage(voltage_V)}, technique.outer.place())
    least = None
    for end, sign in (("min", 1.0), ("max", -1.0)):
        key = f"limit_current_{end}"
        limit = _current(item, key)
        if limit is None:
            continue
        if limit.value * sign < 0:
            raise item.refuse(f"{key}: only the fall of a current ends a hold", key)
        least = Drive(abs(limit.value), limit.unit)
        step.until.append(_limit(f"current <= {least}", item))
    _refuse_limits(item, "voltage")
    return _ended(step, technique, least, task)


def _refuse_limits(item: Item, what: str) -> None:
    for end in ("min", "max"):
        key = f"limit_{what}_{end}"
        if item.given(key):
            raise item.refuse(f"{key}: a limit of what the step itself holds", key)


def _limit(condition: str, item: Item) -> When:
    return When(condition, goes=("end", "run") if item.flag("exit_on_limit") else None)


def _ended(step: Step, technique: Technique, least: Drive | None, task: Task) -> Step:
    if technique.time_s is not None and technique.time_s <= 0:
        raise technique.outer.refuse("the time is not positive")
    return bound(step, technique.time_s, least, task)


def _current(item: Item, key: str) -> Drive | None:
    """Amperes, or a C-rate: "C/5", "2D" (discharge), "0.5C"."""
    value: Any = item.values.get(key)
    if isinstance(value, str) and (match := _RATE.fullmatch(value.replace(" ", ""))):
        minus, times_, letter, below = match.groups()
        hours = float(below or 1.0)
        if times_ == "." or hours == 0.0:
            raise item.refuse(f"{key}: {show(value)} is not a C-rate", key)
        sign = -1.0 if (letter == "D") != bool(minus) else 1.0
        return Drive(sign * float(times_ or 1.0) / hours, "C")
    if isinstance(value, list):
        raise item.refuse(f"{key}: several steps in one technique", key, "write them one by one")
    number = item.number(key)
    return None if number is None else Drive(number, "A")
