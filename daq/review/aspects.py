"""What an instruction of a program means, aspect by aspect, so that two can be compared.

How it is written does not count: units, the order of keys, comments, names of parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields, replace
from enum import IntEnum
from math import inf, isnan
from typing import Any

from daq.model import EVERYWHERE, Limits, Setpoint
from daq.protocol.build import Origin
from daq.protocol.condition import Condition, Exit, Goes
from daq.protocol.course import Course
from daq.protocol.program import (
    Branch,
    End,
    Instruction,
    Leave,
    RecordRule,
    Repeat,
    Step,
    StepKind,
)
from daq.protocol.site import SAFETY

_DIGITS = 12  # beyond them a number is a rounding of the same


class Needs(IntEnum):
    """Which number of a version a difference raises; docs/protocol-language.md says when."""

    NOTHING = 0
    THIRD = 1  # it changes no result
    SECOND = 2  # something is added
    FIRST = 3  # results are no longer comparable


@dataclass(frozen=True, slots=True)
class Aspect:
    """One side of what an instruction means.

    Attributes:
        key: equal where the meaning is.
        shown: the same for people.
        needs: which number of the version a change of it raises.
    """

    key: Any
    shown: str
    needs: Needs = Needs.FIRST


Aspects = dict[str, Aspect]


def kind_of(item: Instruction) -> str:
    """What two instructions have in common at least, if one is a changed version of the other."""
    return item.kind.value if isinstance(item, Step) else type(item).__name__


def aspects(item: Instruction, origin: Origin, rule: RecordRule) -> Aspects:
    """Of one instruction.

    Args:
        item: the instruction.
        origin: where it stands.
        rule: how its file records; only what the step itself says counts.
    """
    if isinstance(item, Step):
        return _of_step(item, origin, rule)
    if isinstance(item, Repeat):
        return {
            "repeat": Aspect(item.times, str(item.times)),
            "until": _until(item.until),
            "cycle": Aspect(item.counts_cycles, str(item.counts_cycles).lower()),
        }
    if isinstance(item, Branch):
        return {"if": _until((item.condition,))}
    if isinstance(item, Leave):
        return {"way": Aspect(_way(item.goes), item.text)}
    return {}


def _of_step(step: Step, origin: Origin, rule: RecordRule) -> Aspects:
    found = {
        "setpoint": Aspect(_number(step.setpoint), _setpoint(step.setpoint)),
        "follows": _course(step.course),
        "until": _until(step.until),
        **_longest(step),
        "soak": Aspect(_number(step.soak), _dataclass(step.soak)),
        "spectrum": Aspect(_number(step.spectrum), _dataclass(step.spectrum)),
        "outputs": Aspect(step.outputs, ", ".join(f"{k} {on}" for k, on in step.outputs)),
        "save": Aspect(step.save, step.save, Needs.SECOND),
        "soc": Aspect(_number(step.charged), _dataclass(step.charged), Needs.SECOND),
        "limits": _limits(origin),
        "record": _record(step.record, rule),
    }
    if step.kind == "operator":
        found["asks"] = Aspect(step.text, step.text, Needs.THIRD)
    return found


def _longest(step: Step) -> Aspects:
    """The time after which a step has failed; of a rest, after which it has done its work."""
    aspect = Aspect(_number(step.at_most_s), f"{step.at_most_s:g} s", Needs.THIRD)
    if step.kind is StepKind.REST:
        return {"time": replace(aspect, needs=Needs.FIRST)}
    return {"at_most": aspect}


def _setpoint(setpoint: Setpoint | None) -> str:
    if setpoint is None:
        return "OFF"
    low, high = 0.0 - setpoint.discharge_A, setpoint.charge_A
    return f"{setpoint.voltage_V:g} V, {low:.4g} to {high:.4g} A"


def _course(course: Course | None) -> Aspect:
    if course is None:
        return Aspect(None, "")
    if len(course.values) > 2:
        shown = f"{course.follows} over {course.times_s[-1]:g} s, {len(course.values)} points"
    elif course.rate:
        shown = f"{course.follows} to {course.target:g} V at {course.rate:g} V/s"
    else:
        shown = f"{course.follows} {' to '.join(f'{value:g}' for value in course.values)}"
    return Aspect(_number(course), shown)


def _until(conditions: Iterable[Condition]) -> Aspect:
    every = tuple(conditions)
    shown = " or ".join(f"{one.text}{_led(one.goes)}" for one in every)
    return Aspect(tuple(_condition(one) for one in every), shown)


def _led(goes: Goes | None) -> str:
    if goes is None:
        return ""
    return ", then goto" if goes.exit is Exit.GOTO else f", then end {goes.exit}"


def _condition(one: Condition) -> Any:
    return (
        *(one.quantity, one.at_least, _number(one.value), _number(one.reference)),
        *(_number(one.left), one.sensor, one.over_s, one.for_s, one.after_s),
        *(tuple(_condition(part) for part in one.parts), _way(one.goes)),
    )


def _way(goes: Goes | None) -> str:
    """Where a goto leads is compared when it is known which instruction is which."""
    return goes.exit.value if goes else ""


def _limits(origin: Origin) -> Aspect:
    """The step's own, and those of a file that is included; the protocol's stand for themselves."""
    own = Limits()
    for name, tier in origin.tiers:
        if name.startswith(("this step's", "safety of ")) and name != SAFETY:
            own = own.tighten(tier)
    return Aspect(_number(own), limits_text(own), Needs.THIRD)


def _record(record: RecordRule, rule: RecordRule) -> Aspect:
    own = {
        one.name: getattr(record, one.name)
        for one in fields(RecordRule)
        if getattr(record, one.name) != getattr(rule, one.name)
    }
    return Aspect(_number(tuple(own.items())), record_text(own), Needs.THIRD)


def record_text(values: dict[str, float]) -> str:
    """A recording rule, or part of one, for people."""
    given = (f"{name} {value:g}" for name, value in values.items() if value not in (inf, 0.0))
    return ", ".join(given)


def limits_text(limits: Limits) -> str:
    """Limits for people; what does not limit is left out."""
    spans = (
        ("voltage_V", limits.voltage_V),
        ("current_A", limits.current_A),
        ("temperature_degC", limits.temperature_degC),
        ("charging_degC", limits.charging_degC),
        ("discharging_degC", limits.discharging_degC),
    )
    said = [f"{name} {span[0]:g} to {span[1]:g}" for name, span in spans if span != EVERYWHERE]
    said += [f"charge_Ah {limits.charge_Ah:g}"] if limits.charge_Ah < inf else []
    return ", ".join(said)


def _dataclass(value: Any) -> str:
    """What is said in it; what is not, is left out."""
    if value is None:
        return ""
    given = ((one.name, getattr(value, one.name)) for one in fields(value))
    return ", ".join(f"{name} {inner}" for name, inner in given if inner not in (0.0, inf, ""))


def _number(value: Any) -> Any:
    """The same with its numbers rounded, and nan as something that equals itself."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return "nan" if isnan(value) else float(f"{value:.{_DIGITS}g}")
    if isinstance(value, tuple):
        return tuple(_number(inner) for inner in value)  # pyright: ignore[reportUnknownVariableType]
    return tuple(_number(inner) for inner in astuple(value))


def is_bracket(item: Instruction) -> bool:
    """Whether it only closes what another one has opened."""
    return isinstance(item, End)
