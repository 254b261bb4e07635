"""aurora-unicycler's JSON -> ours. Written against version 0.4.6 of that package.

Positive currents charge. The conditions of a step are alternatives. `cycle_count` counts all
passes. A zero counts as not given, as it does there.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

from daq.protocol.exchange import saying
from daq.protocol.exchange.bounds import bound, rounded
from daq.protocol.exchange.draft import Draft, Drive, Step, Task, When, name_from
from daq.protocol.exchange.flow import Loop, nest
from daq.protocol.exchange.safety import span
from daq.protocol.exchange.structured import Item, read_json

_STEP = ("step", "id")
_SAFETY = (
    *("min_voltage_V", "max_voltage_V", "min_current_mA", "max_current_mA"),
    *("max_capacity_mAh", "delay_s"),
)
_KEYS = {
    "open_circuit_voltage": ("until_time_s",),
    "constant_current": ("rate_C", "current_mA", "until_time_s", "until_voltage_V"),
    "constant_voltage": ("voltage_V", "until_time_s", "until_rate_C", "until_current_mA"),
    "impedance_spectroscopy": (
        *("amplitude_V", "amplitude_mA", "start_frequency_Hz", "end_frequency_Hz"),
        *("points_per_decade", "measures_per_point", "drift_correction"),
    ),
    "voltage_scan": ("start_voltage_V", "end_voltage_V", "scan_rate_mV_per_s"),
    "loop": ("loop_to", "start_step", "cycle_count"),
    "tag": ("tag",),
}


def read(content: bytes, task: Task) -> Draft:
    """Draft a protocol.

    Raises:
        InputError: the file as a whole is not what it should be; what is wrong with single steps is
            in the findings.
    """
    top = Item.top(read_json(content, task.file))
    top.only(("unicycler", "sample", "record", "safety", "method"))
    sample = top.item("sample")
    sample.only(("name", "capacity_mAh"))
    capacity_mAh = sample.number("capacity_mAh")
    if task.capacity_Ah is None and capacity_mAh:
        task = replace(task, capacity_Ah=saying.scaled(capacity_mAh, -3))
    draft = Draft(name_from(sample.text("name").replace("$NAME", "")), _head(task, sample), [])
    draft.capacity_Ah = task.capacity_Ah
    with task.findings.collecting():
        draft.record = _record(top.item("record"))
    with task.findings.collecting():
        draft.safety = _safety(top.item("safety"), task)
    draft.steps = _steps(top.items("method"), task)
    return draft


def _head(task: Task, sample: Item) -> list[str]:
    head = [f"From {task.file}, an aurora-unicycler protocol."]
    if sample.given("capacity_mAh"):
        head.append(f"Its sample: {sample.number('capacity_mAh'):g} mAh.")
    return head


def _record(item: Item) -> dict[str, str]:
    item.only(("time_s", "voltage_V", "current_mA"))
    rule: dict[str, str] = {}
    if time_s := item.number("time_s"):
        rule["every"] = saying.duration(time_s)
    if voltage_V := item.number("voltage_V"):
        rule["voltage"] = saying.voltage(voltage_V)
    if current_mA := item.number("current_mA"):
        rule["current"] = saying.current(saying.scaled(current_mA, -3))
    return rule


def _safety(item: Item, task: Task) -> dict[str, object]:
    item.only(_SAFETY)
    safety: dict[str, object] = {}
    low, high = item.number("min_voltage_V"), item.number("max_voltage_V")
    safety |= span("voltage", low, high, item.place("min_voltage_V"))
    low, high = (_ampere(item, f"{end}_current_mA") for end in ("min", "max"))
    safety |= span("current", low, high, item.place("min_current_mA"))
    if capacity_mAh := item.number("max_capacity_mAh"):
        safety["charge"] = saying.charge(saying.scaled(capacity_mAh, -3))
    if item.number("delay_s"):
        task.findings.leave(item.place("delay_s"), "safety.delay_s: the guard acts at once")
    return safety


def _ampere(item: Item, key: str) -> float | None:
    value = item.number(key)
    return None if value is None else saying.scaled(value, -3)


def _steps(method: list[Item], task: Task) -> list[Step]:
    found: list[Step | Loop] = []
    tags: dict[str, int] = {}
    pending = ""
    for index, item in enumerate(method):
        with task.findings.collecting():
            kind = _kind(item)
            if kind == "tag":
                tags[item.text("tag")] = index
                pending = f"tag {item.text('tag')}: "
                continue
            if kind == "loop":
                found.append(_loop(item, index, tags))
                continue
            step = _step(kind, item, task)
            step.index = index
            step.origin = f"{pending}method {index + 1}, {_named(item, kind)}"
            found.append(step)
            pending = ""
    if task.findings.refused:
        return [one for one in found if isinstance(one, Step)]
    return nest(found)


def _named(item: Item, kind: str) -> str:
    name = item.text("id")
    return f"{kind} {name}" if name else kind


def _kind(item: Item) -> str:
    kind = item.text("step")
    if kind not in _KEYS:
        raise item.refuse(f"there is no step {kind!r}", "step", f"known: {', '.join(_KEYS)}")
    item.only((*_STEP, *_KEYS[kind]))
    return kind


def _loop(item: Item, index: int, tags: dict[str, int]) -> Loop:
    key = "start_step" if item.given("start_step") else "loop_to"
    target = item.values.get(key, 1)
    if isinstance(target, str) and not target.strip().isdigit():
        if target not in tags:
            raise item.refuse(f"there is no tag {target!r} above", key)
        start = tags[target]
    else:
        start = item.whole(key, 1) - 1 if item.given(key) else 0
    if start >= index:
        raise item.refuse("the loop goes forwards", key, "loops go backwards")
    return Loop(index, start, item.whole("cycle_count", 1), item.place())


def _step(kind: str, item: Item, task: Task) -> Step:
    if kind == "open_circuit_voltage":
        return _rest(item)
    if kind == "constant_current":
        return _constant_current(item, task)
    if kind == "constant_voltage":
        return _constant_voltage(item, task)
    if kind == "voltage_scan":
        return _scan(item)
    return _impedance(item, task)


def _rest(item: Item) -> Step:
    time_s = item.number("until_time_s")
    if not time_s or time_s < 0:
        raise item.refuse("a rest needs until_time_s")
    return Step({"rest": saying.duration(time_s)}, item.place())


def _constant_current(item: Item, task: Task) -> Step:
    signed, unit = _rate(item, "rate_C"), "C"
    if not signed:
        signed, unit = _ampere(item, "current_mA"), "A"
    if not signed:
        raise item.refuse("neither rate_C nor current_mA is given")
    way, sign = ("charge", ">=") if signed > 0 else ("discharge", "<=")
    drive = Drive(abs(signed), unit)
    step = Step({way: str(drive)}, item.place())
    if voltage_V := item.number("until_voltage_V"):
        step.until.append(When(f"voltage {sign} {saying.voltage(voltage_V)}"))
    return _ended(step, item, drive, task)


def _constant_voltage(item: Item, task: Task) -> Step:
    voltage_V = item.number("voltage_V")
    if voltage_V is None:
        raise item.refuse("voltage_V is missing")
    step = Step({"hold": saying.voltage(voltage_V)}, item.place())
    end, unit = _rate(item, "until_rate_C"), "C"
    if not end:
        end, unit = _ampere(item, "until_current_mA"), "A"
    least = Drive(abs(end), unit) if end else None
    if least:
        step.until.append(When(f"current <= {least}"))
    return _ended(step, item, least, task)


def _ended(step: Step, item: Item, least: Drive | None, task: Task) -> Step:
    time_s = item.number("until_time_s") or None
    if time_s is not None and time_s < 0:
        raise item.refuse("until_time_s is negative", "until_time_s")
    return bound(step, time_s, least, task)


def _scan(item: Item) -> Step:
    start, end, rate = (item.number(key) for key in _KEYS["voltage_scan"])
    if start is None or end is None or not rate or rate < 0 or start == end:
        raise item.refuse("a scan needs two different voltages and a positive rate")
    keys = {
        "voltage": saying.voltage(end),
        "from": saying.voltage(start),
        "rate": f"{saying.number(rate)} mV/s",
    }
    longest_s = 1.05 * abs(end - start) / saying.scaled(rate, -3) + 60.0
    step = Step({"ramp": keys}, item.place(), at_most=saying.duration(rounded(longest_s)))
    return step


def _impedance(item: Item, task: Task) -> Step:
    start, end = item.number("start_frequency_Hz"), item.number("end_frequency_Hz")
    if not start or not end or start <= 0 or end <= 0:
        raise item.refuse("both frequencies must be positive")
    if start < end:
        task.findings.change(item.place(), "the spectrum goes upwards", "measures it downwards")
        start, end = end, start
    _averaging(item, task)
    keys: dict[str, object] = {"from": saying.frequency(start), "to": saying.frequency(end)}
    if item.given("points_per_decade"):
        keys["per_decade"] = item.whole("points_per_decade", 1)
    keys["amplitude"] = _amplitude(item)
    return Step({"eis": keys}, item.place())


def _averaging(item: Item, task: Task) -> None:
    if item.given("measures_per_point") and item.whole("measures_per_point", 1) > 1:
        place = item.place("measures_per_point")
        task.findings.change(place, "several measures per point", "measures each point once")
    if item.flag("drift_correction"):
        place = item.place("drift_correction")
        task.findings.change(place, "drift correction", "leaves it out")


def _amplitude(item: Item) -> str:
    """Theirs is the peak of the sine (EC-Lab's `Va`), ours is rms."""
    volts, milliamperes = item.number("amplitude_V"), item.number("amplitude_mA")
    if bool(volts) == bool(milliamperes):
        raise item.refuse("either amplitude_V or amplitude_mA must be given")
    if volts:
        return saying.voltage(rms(abs(volts)))
    return saying.current(rms(saying.scaled(abs(milliamperes or 0.0), -3)))


def rms(peak: float) -> float:
    """Of a sine, to six digits: nobody means more."""
    return float(f"{peak / sqrt(2.0):.6g}")


def _rate(item: Item, key: str) -> float | None:
    """A C-rate: 0.5, "1/5", "C/3", "D/2" (discharge)."""
    text = item.values.get(key)
    if not isinstance(text, str) or "/" not in text:
        return item.number(key)
    above, _, below = text.replace(" ", "").partition("/")
    sign = -1.0 if "D" in above else 1.0
    try:
        return sign * float(above.strip("CD") or 1.0) / float(below)
    except (ValueError, ZeroDivisionError):
        raise item.refuse(f"{key}: {text[:40]!r} is not a C-rate", key) from None
