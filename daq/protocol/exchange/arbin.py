"""Schedules of Arbin cyclers (`.sdu`, sections of `key=value`) -> ours.

Written against beep's `20170630-3_6C_9per_5C.sdu` (schedule version 7.00.13). Positive currents
charge. The limits of a step are alternatives, the up to three equations of a limit hold together;
a limit with `m_bStepLimit=0` only records. The capacities are those of the channel since they were
last reset, which a `Set Variable(s)` at the end of a cycle does.
"""

from __future__ import annotations

import re

from daq.errors import InputError, Place
from daq.filemodel import show
from daq.protocol.exchange import saying
from daq.protocol.exchange.arbin_file import Limit, Section, number, positive, read_sections
from daq.protocol.exchange.draft import Draft, Drive, Step, Task, When, name_from
from daq.protocol.exchange.ends import end_at_voltage, finish
from daq.protocol.exchange.flow import Loop, nest, resolve
from daq.protocol.exchange.safety import span

_MOST_STEPS = 2000
_UNITS = {"Current(A)": "A", "C-Rate": "C", "Power(W)": "W", "CCCV": "A"}
_RESETS = 15
"""Bits of `Set Variable(s)`: charge and discharge capacity, charge and discharge energy."""

_SCOPE = re.compile(r"(-?\d+\.?\d*)\^(-?\d+\.?\d*)")
_OFF = ("m_bCheckPowerSafety",)
_EXTENSIONS = (
    *("m_szExtCtrlValue2", "m_szExtDef", "m_szExtDef1", "m_uStepCtrlTypeExtFlag", "m_szAddIn"),
    *("m_bBurstModeEnable", "m_bSynchronizedStart"),
)


def read(content: bytes, task: Task) -> Draft:
    """Draft a protocol.

    Raises:
        InputError: the file as a whole is not a schedule; single steps are in the findings.
    """
    sections = read_sections(content, task)
    schedule = sections.get("Schedule")
    if schedule is None:
        raise InputError(f"{task.file} has no section [Schedule]", place=task.place())
    head = [f"From {task.file}, a schedule of an Arbin cycler."]
    if comment := schedule.get("m_szComments"):
        head.append(comment[:500])
    draft = Draft(name_from(task.file.rpartition("/")[2].rpartition(".")[0]), head, [])
    draft.safety = _safety(schedule, task)
    _refuse_own_safety(sections, task)
    draft.steps = _Builder(sections, task).build()
    draft.share_record()
    return draft


def _safety(schedule: Section, task: Task) -> dict[str, list[str]]:
    made: dict[str, list[str]] = {}
    for quantity, name in (("voltage", "Voltage"), ("current", "Current")):
        if schedule.get(f"m_bCheck{name}Safety") == "1":
            key = f"m_{name}SafetyScope"
            place = task.place(schedule.lines.get(key, schedule.line))
            with task.findings.collecting():
                match = _SCOPE.fullmatch(schedule.get(key))
                if match is None:
                    raise InputError(f"{key}: {show(schedule.get(key))} is not a span", place=place)
                made |= span(quantity, float(match[1]), float(match[2]), place)
    for key, value in schedule.values.items():
        on = key in _OFF and value.strip() == "1"
        if on or key.endswith("SafetyEnabled") and "^1" in value:
            place = task.place(schedule.lines[key])
            with task.findings.collecting():
                task.findings.change(place, f"the safety of {key}", "leaves it to the station")
    return made


def _refuse_own_safety(sections: dict[str, Section], task: Task) -> None:
    """Limits that the user has defined besides, of any quantity."""
    for name, section in sections.items():
        kind = section.get("m_szSafetyType")
        if name.startswith("Schedule_UserDefineSafety") and kind:
            place = task.place(section.line)
            with task.findings.collecting():
                what = f"a safety limit of the user's own, of {kind[:40]!r}"
                task.findings.change(place, what, "leaves it to the station")


def _refuse_extensions(section: Section, place: Place) -> None:
    """What else a step may be told; none of it has a counterpart.

    Raises:
        InputError: something is told.
    """
    for key in _EXTENSIONS:
        if (value := section.get(key)) not in ("", "0"):
            raise InputError(f"{key}={value[:40]} has no counterpart", place=place)


class _Builder:
    def __init__(self, sections: dict[str, Section], task: Task) -> None:
        self._sections = sections
        self._task = task
        self._way = ""
        self._steps: list[Section] = []
        while (found := sections.get(f"Schedule_Step{len(self._steps)}")) is not None:
            self._steps.append(found)
        if not 0 < len(self._steps) <= _MOST_STEPS:
            raise InputError("the schedule has no steps, or too many", place=task.place())
        labels = [step.get("m_szLabel") for step in self._steps]
        self._labels = {label: index for index, label in enumerate(labels)}

    def build(self) -> list[Step]:
        items: list[Step | Loop] = []
        for index, section in enumerate(self._steps):
            with self._task.findings.collecting():
                items += self._items(index, section)
        if self._task.findings.refused:
            return [one for one in items if isinstance(one, Step)]
        steps = nest(items)
        resolve(steps, len(self._steps), self._task)
        return steps

    def _items(self, index: int, section: Section) -> list[Step | Loop]:
        place = self._task.place(section.line)
        limits = self._limits(index)
        _refuse_extensions(section, place)
        if section.get("m_szCurrentRange"):
            self._task.findings.leave(place, "ranges of current and voltage: the cycler's own")
        kind = section.get("m_szStepCtrlType")
        if kind == "Set Variable(s)":
            return [self._loop(index, section, limits, place)]
        step = self._step(kind, section, place)
        step.index = index
        step.origin = f"step {index}, {section.get('m_szLabel')}"
        self._apply(step, limits)
        if rule := self._record(limits):
            step.more["record"] = rule
        return [*_asked_before(step), step]

    def _limits(self, index: int) -> list[Limit]:
        found: list[Limit] = []
        while (one := self._sections.get(f"Schedule_Step{index}_Limit{len(found)}")) is not None:
            equations = [
                (left, one.get(f"Equation{n}_szCompareSign"), one.get(f"Equation{n}_szRight"))
                for n in range(10)
                if (left := one.get(f"Equation{n}_szLeft"))
            ]
            place = self._task.place(one.line)
            ends = one.get("m_bStepLimit") == "1"
            found.append(Limit(ends, one.get("m_szGotoStep"), equations, place))
        return found

    def _step(self, kind: str, section: Section, place: Place) -> Step:
        if kind == "Rest":
            return Step({"rest": ""}, place)
        if kind == "Internal Resistance":
            what = "an Internal Resistance step"
            self._task.findings.change(place, what, "rests instead; add a pulse by hand")
            return Step({"rest": ""}, place)
        if kind == "Voltage(V)":
            return self._hold(section, place)
        if kind not in _UNITS:
            raise InputError(f"the control {kind[:40]!r} has no counterpart", place=place)
        signed = number(section.get("m_szCtrlValue"), place)
        if signed == 0.0:
            raise InputError("a current of zero", place=place, remedy="write a Rest")
        drive = Drive(abs(signed), _UNITS[kind])
        self._way = way = "charge" if signed > 0 else "discharge"
        if kind != "CCCV":
            return Step({way: str(drive)}, place, drive=drive)
        volts = saying.voltage(number(section.get("m_szExtCtrlValue1"), place))
        return Step({"cccv": {way: str(drive), "voltage": volts}}, place)

    def _hold(self, section: Section, place: Place) -> Step:
        if not self._way:
            raise InputError("a voltage before any current", place=place, remedy="write a CCCV")
        return Step({"hold": saying.voltage(number(section.get("m_szCtrlValue"), place))}, place)

    def _loop(self, index: int, section: Section, limits: list[Limit], place: Place) -> Loop:
        """The end of a cycle: resets the capacities, counts, and goes back."""
        resets, counts = section.get("m_szCtrlValue"), section.get("m_szExtCtrlValue1")
        limit = limits[0] if len(limits) == 1 else None
        equation = limit.equations[0] if limit and len(limit.equations) == 1 else ("", "", "")
        goes_back = limit is not None and self._labels.get(limit.goto, index) < index
        if equation[:2] != ("PV_CHAN_Cycle_Index", "<=") or not goes_back or limit is None:
            raise InputError("Set Variable(s) that is not the end of a loop of cycles", place=place)
        if resets != str(_RESETS) or counts != "1":
            raise InputError(f"it sets {resets[:10]} and counts {counts[:10]}", place=place)
        total = number(equation[2], limit.place)
        if not 1 <= total <= 100_000 or total != int(total):
            raise InputError(f"{total:g} is not a number of cycles", place=limit.place)
        return Loop(index, self._labels[limit.goto], int(total), place, f"step {index}: the loop")

    def _apply(self, step: Step, limits: list[Limit]) -> None:
        time: tuple[float, When] | None = None
        least: Drive | None = None
        for limit in limits:
            if not limit.ends:
                continue
            when = self._when(limit, step.index)
            left, sign, right = limit.equations[0] if limit.equations else ("", "", "")
            alone = len(limit.equations) == 1
            value = number(right, limit.place)
            if left == "PV_CHAN_Step_Time" and sign in (">", ">=") and alone and time is None:
                time = positive(value, limit.place), when
            elif left == "PV_CHAN_Voltage" and alone and sign[:1] in ("<", ">") and sign:
                end_at_voltage(step, value, sign[0] == ">", when, self._task)
            elif left == "PV_CHAN_CV_Stage_Current" and self._falls(step, sign, value):
                least = Drive(abs(value), "A")
                condition = f"current <= {least}{self._stage(limit)}"
                step.until.append(When(condition, when.to, when.goes))
            elif left in _CAPACITIES and alone and sign[:1] in ("<", ">") and sign:
                condition = self._capacity(left, sign, value, limit.place)
                step.until.append(When(condition, when.to, when.goes))
            else:
                text = " and ".join(" ".join(one) for one in limit.equations)
                raise InputError(f"the limit {text[:80]!r} has no counterpart", place=limit.place)
        finish(step, time, least, self._task)

    def _falls(self, step: Step, sign: str, value: float) -> bool:
        if "cccv" not in step.keys and "hold" not in step.keys:
            return False
        return sign[:1] == ("<" if value > 0 else ">") and value != 0.0

    def _stage(self, limit: Limit) -> str:
        """`CV_StageTime > 1`: the current has fallen for so long."""
        if len(limit.equations) == 1:
            return ""
        left, sign, right = limit.equations[1]
        if len(limit.equations) > 2 or left != "PV_CHAN_CV_StageTime" or sign[:1] != ">":
            raise InputError(f"the equation {left[:40]!r} has no counterpart", place=limit.place)
        seconds = positive(number(right, limit.place), limit.place)
        return f" for {saying.duration(seconds)}"

    def _capacity(self, left: str, sign: str, value: float, place: Place) -> str:
        what = f"{left} counts since it was last reset"
        self._task.findings.change(place, what, "counts it from the beginning of the cycle")
        side = ">=" if sign[0] == ">" else "<="
        return f"{_CAPACITIES[left]} {side} {saying.charge(positive(value, place))}"

    def _when(self, limit: Limit, index: int) -> When:
        if limit.goto == "Next Step":
            return When("")
        if limit.goto == "End Test":
            return When("", goes=("end", "run"))
        if limit.goto not in self._labels:
            raise InputError(f"there is no step {limit.goto[:40]!r}", place=limit.place)
        target = self._labels[limit.goto]
        return When("", None if target == index + 1 else target)

    def _record(self, limits: list[Limit]) -> dict[str, str]:
        rule: dict[str, str] = {}
        for limit in limits:
            if limit.ends:
                continue
            left, _, right = limit.equations[0] if limit.equations else ("", "", "")
            value = positive(number(right, limit.place), limit.place)
            if left == "DV_Time":
                rule["every"] = saying.duration(value)
            elif left == "DV_Voltage":
                rule["voltage"] = saying.voltage(value)
            elif left == "DV_Current":
                rule["current"] = saying.current(value)
            else:
                raise InputError(f"a record by {left[:40]!r} has no counterpart", place=limit.place)
            if len(limit.equations) > 1:
                text = f"{left} together with {limit.equations[1][0]}: records from the beginning"
                self._task.findings.leave(limit.place, text)
        return rule


def _asked_before(step: Step) -> list[Step]:
    """No charge moves in a rest: a limit of the capacity is a question before it.

    Raises:
        InputError: it goes on somewhere else than at the end.
    """
    found: list[Step] = []
    for when in [one for one in step.until if "rest" in step.keys]:
        if not when.condition.startswith("cycle."):
            continue
        if when.goes is None:
            raise InputError("a rest that ends by a capacity", place=step.place)
        question = {"if": when.condition, "then": [dict([when.goes])]}
        found.append(Step(question, step.place, step.index, step.origin))
        step.until.remove(when)
    return found


_CAPACITIES = {
    "PV_CHAN_Charge_Capacity": "cycle.charge",
    "PV_CHAN_Discharge_Capacity": "cycle.discharge",
}
