"""One step of a PyBaMM experiment, as text or as its JSON -> ours. Written against 26.10.

PyBaMM's currents are positive in a discharge. A duration is a normal end. Where none is given the
experiment counts as infeasible after PyBaMM's own default: 24 h, or twice what a C-rate takes; our
`at_most` is that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isfinite

from daq.errors import InputError, Place
from daq.protocol.exchange import saying, times
from daq.protocol.exchange.bounds import bound
from daq.protocol.exchange.draft import Drive, Step, Task, When
from daq.protocol.exchange.ends import end_at_voltage

_DAY_S = 86400.0
_NUMBER = r"\d+\.?\d*(?:[eE][-+]?\d{1,3})?|\.\d+"
_VALUE = re.compile(rf"\s*([<>]?)\s*(-?(?:{_NUMBER}))\s*(m?)(A|V|W|Ohm|C)\s*", re.ASCII)
_FRACTION = re.compile(rf"\s*([<>]?)\s*C\s*/\s*({_NUMBER})\s*", re.ASCII)
_PERIOD = re.compile(r"(.*\S)\s*\(\s*(.*?)\s+period\)\s*", re.DOTALL)
_FORM = re.compile(
    r"(?P<verb>Charge|Discharge|Hold|Rest)(?:\s+at\s+(?P<value>.+?))?"
    r"(?:\s+for\s+(?P<time>.+?))?(?:\s+or)?(?:\s+until\s+(?P<until>.+?))?\s*"
)
_EXAMPLE = 'such as "Charge at C/3 for 2 hours or until 4.2 V"'


@dataclass(frozen=True, slots=True)
class End:
    """A termination: amperes, volts or a C-rate ("C"); the operator is "", ">" or "<"."""

    value: float
    unit: str
    operator: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What a step says; currents as PyBaMM has them, positive in a discharge.

    Attributes:
        unit: A, V, W, ohm, C, or "" for a rest.
    """

    unit: str
    value: float
    place: Place
    text: str
    time_s: float | None = None
    ends: list[End] = field(default_factory=list[End])
    period_s: float | None = None
    temperature_K: float | None = None
    tags: tuple[str, ...] = ()


def parse(text: str, place: Place) -> Said:
    """Understand a step that is written as text.

    Raises:
        InputError: PyBaMM would not, either, or reads it as something that nobody means.
    """
    whole, period_s = _period(text.strip(), place)
    match = _FORM.fullmatch(whole) if len(whole) <= 200 else None
    if match is None:
        raise InputError(f"{text[:80]!r} is not a step", place=place, remedy=_EXAMPLE)
    time_s = times.seconds(match["time"]) if match["time"] else None
    if match["time"] and time_s is None:
        raise InputError(f"{match['time'][:40]!r} is not a duration", place=place)
    ends = [_end(match["until"], place)] if match["until"] else []
    if not ends and time_s is None:
        raise InputError(f"{text[:80]!r} has neither `for` nor `until`", place=place)
    unit, value = _drive(match["verb"], match["value"], place)
    return Said(unit, value, place, text.strip(), time_s, ends, period_s)


def _period(text: str, place: Place) -> tuple[str, float | None]:
    match = _PERIOD.fullmatch(text)
    if match is None:
        return text, None
    period_s = times.seconds(match[2])
    if period_s is None:
        raise InputError(f"{match[2][:40]!r} is not a period", place=place)
    return match[1], period_s


def _drive(verb: str, text: str | None, place: Place) -> tuple[str, float]:
    if verb == "Rest":
        if text is not None:
            raise InputError("a rest is at nothing", place=place)
        return "", 0.0
    found = _quantity(text or "", place)
    if (found.unit == "V") != (verb == "Hold") or found.operator or found.value <= 0:
        what = "a voltage" if verb == "Hold" else "a current, power, resistance or C-rate"
        raise InputError(f"{verb} at {(text or '')[:40]!r}: {what} is expected", place=place)
    return found.unit, -found.value if verb == "Charge" else found.value


def _end(text: str, place: Place) -> End:
    found = _quantity(text, place)
    if found.unit not in ("A", "V", "C"):
        raise InputError(f"until {text[:40]!r}: only A, V and C end a step", place=place)
    return found


def _quantity(text: str, place: Place) -> End:
    if match := _FRACTION.fullmatch(text):
        return _sane(End(1.0 / (float(match[2]) or float("inf")), "C", match[1]), text, place)
    match = _VALUE.fullmatch(text)
    if match is None:
        raise InputError(f"{text[:40]!r} is not a value with a unit", place=place, remedy=_EXAMPLE)
    value = saying.scaled(float(match[2]), -3 if match[3] else 0)
    return _sane(
        End(value, match[4].lower() if match[4] == "Ohm" else match[4], match[1]), text, place
    )


def _sane(end: End, text: str, place: Place) -> End:
    if not isfinite(end.value) or end.value == 0.0 or abs(end.value) > 1e6:
        raise InputError(f"{text[:40]!r} is out of range", place=place)
    return end


def draft(said: Said, task: Task) -> Step:
    """The step in our words.

    Raises:
        InputError: our language cannot say it.
    """
    origin = said.text + (f"; tags: {', '.join(said.tags)}" if said.tags else "")
    step = Step(_keys(said), said.place, origin=origin)
    for end in said.ends:
        _add(end, step, said, task)
    if not said.unit:
        step.keys["rest"] = saying.duration(said.time_s or _DAY_S)
        return step
    least = Drive(abs(said.value), said.unit) if said.unit != "V" else None
    bound(step, said.time_s, None, _with_default(said, least, task))
    if said.time_s is None:
        step.remark = "after this time PyBaMM calls the step infeasible"
    return step


def _with_default(said: Said, least: Drive | None, task: Task) -> Task:
    rate = least is not None and least.unit == "C"
    default_s = 2.0 * 3600.0 / abs(said.value) if rate else _DAY_S
    return Task(task.file, task.findings, longest_s=default_s)


def _keys(said: Said) -> dict[str, str]:
    if not said.unit:
        return {"rest": ""}
    if said.unit == "V":
        return {"hold": saying.voltage(said.value)}
    way = "discharge" if said.value > 0 else "charge"
    if said.unit == "ohm" and way == "charge":
        raise InputError("a charge through a resistance", place=said.place)
    return {way: str(Drive(abs(said.value), said.unit))}


def _add(end: End, step: Step, said: Said, task: Task) -> None:
    if end.unit == "V":
        at_least = end.operator == ">" if end.operator else "charge" in step.keys
        if not end.operator and said.unit in ("", "V"):
            raise InputError(
                "a voltage without > or < ends neither a rest nor a hold", place=said.place
            )
        end_at_voltage(step, end.value, at_least, When(""), task)
        return
    if said.unit in ("A", "C", ""):
        raise InputError("a current cannot end a step that holds a current", place=said.place)
    if end.operator and end.unit == "A":
        raise InputError(
            "a current with > or < has a sign, and a step of ours compares its magnitude",
            place=said.place,
            remedy="leave the operator out: the step ends when the current has fallen to it",
        )
    step.until.append(When(f"current <= {Drive(abs(end.value), end.unit)}"))
