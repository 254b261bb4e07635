"""Ours -> aurora-unicycler's JSON, for version 0.4.6 of that package."""

from __future__ import annotations

import json
from math import sqrt
from typing import Any

from daq import units
from daq.errors import InputError
from daq.protocol.exchange import saying
from daq.protocol.exchange.draft import Drive, Task
from daq.protocol.exchange.own import Node, Own, Phase

_DEFAULT_EVERY_S = 10.0


def write(own: Own, task: Task) -> str:
    """The text of the file; what it cannot say is in the findings."""
    capacity = None if task.capacity_Ah is None else saying.scaled(task.capacity_Ah, 3)
    writer = _Writer(task)
    document: dict[str, Any] = {
        "sample": {"name": "$NAME", "capacity_mAh": capacity},
        "record": _record(own, task),
        "safety": _safety(own, task),
        "method": writer.method(own.nodes),
    }
    return json.dumps(document, indent=2) + "\n"


def _record(own: Own, task: Task) -> dict[str, float]:
    made = {"time_s": units.parse(own.record.get("every", f"{_DEFAULT_EVERY_S} s"), units.TIME)}
    if "voltage" in own.record:
        made["voltage_V"] = units.parse(own.record["voltage"], units.VOLTAGE)
    place = own.document.place(("record",))
    if "current" in own.record:
        amount = units.parse_any(own.record["current"], units.CURRENT, units.RATE, units.FRACTION)
        if amount.kind is units.CURRENT:
            made["current_mA"] = saying.scaled(amount.value, 3)
        elif task.capacity_Ah is not None:
            made["current_mA"] = float(f"{1000.0 * amount.value * task.capacity_Ah:.9g}")
        else:
            task.findings.leave(place, "record.current in parts of 1C, without a --capacity")
    for key in own.record:
        if key not in ("every", "voltage", "current"):
            task.findings.leave(place, f"record.{key}")
    return made


def _safety(own: Own, task: Task) -> dict[str, float]:
    made: dict[str, float] = {}
    if "voltage" in own.safety:
        low, high = (units.parse(end, units.VOLTAGE) for end in own.safety["voltage"])
        made |= {"min_voltage_V": low, "max_voltage_V": high}
    if "current" in own.safety:
        low, high = (units.parse(end, units.CURRENT) for end in own.safety["current"])
        made |= {"min_current_mA": saying.scaled(low, 3), "max_current_mA": saying.scaled(high, 3)}
    with task.findings.collecting():
        made |= _capacity(own, task)
    for key in own.safety:
        if key not in ("voltage", "current", "charge"):
            place = own.document.place(("safety", key))
            with task.findings.collecting():
                task.findings.change(place, f"safety.{key}", "leaves it out")
    return made


def _capacity(own: Own, task: Task) -> dict[str, float]:
    if "charge" not in own.safety:
        return {}
    amount = units.parse_any(own.safety["charge"], units.CHARGE, units.FRACTION)
    place = own.document.place(("safety", "charge"))
    if amount.kind is units.CHARGE:
        return {"max_capacity_mAh": saying.scaled(amount.value, 3)}
    if task.capacity_Ah is None:
        raise InputError(
            "safety.charge in percent of a capacity that is not known",
            place=place,
            remedy="give the nominal capacity: --capacity '2.5 Ah'",
        )
    return {"max_capacity_mAh": float(f"{1000.0 * amount.value * task.capacity_Ah:.9g}")}


class _Writer:
    """Nodes -> the flat list of steps, with a tag before each loop."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._loops = 0

    def method(self, nodes: list[Node]) -> list[dict[str, Any]]:
        steps: list[dict[str, Any]] = []
        for node in nodes:
            with self._task.findings.collecting():
                steps += self._phase(node) if isinstance(node, Phase) else self._loop(node)
        return steps

    def _loop(self, node: Any) -> list[dict[str, Any]]:
        self._loops += 1
        tag = f"loop-{self._loops}"
        body = self.method(node.nodes)
        if not body:
            return []
        back = {"step": "loop", "loop_to": tag, "cycle_count": node.times}
        return [{"step": "tag", "tag": tag}, *body, back]

    def _phase(self, phase: Phase) -> list[dict[str, Any]]:
        if phase.kind == "chamber":
            self._task.findings.change(phase.place, "a temperature", "leaves it out")
            return []
        if phase.record:
            self._task.findings.change(phase.place, "`record` of a step", "leaves it out")
        return [self._step(phase)]

    def _step(self, phase: Phase) -> dict[str, Any]:
        if phase.kind == "rest":
            return {"step": "open_circuit_voltage", "until_time_s": phase.time_s}
        if phase.kind == "current":
            return self._current(phase)
        if phase.kind == "hold":
            return self._hold(phase)
        if phase.kind == "scan":
            return _scan(phase)
        return self._eis(phase)

    def _current(self, phase: Phase) -> dict[str, Any]:
        step: dict[str, Any] = {"step": "constant_current"}
        step |= self._amount(phase, phase.drive, "rate_C", "current_mA")
        if phase.way == "discharge":
            step = {key: -one if isinstance(one, float) else one for key, one in step.items()}
        return step | _ends(phase)

    def _hold(self, phase: Phase) -> dict[str, Any]:
        step = {"step": "constant_voltage", "voltage_V": phase.volts} | _ends(phase)
        if phase.end_current is not None:
            step |= self._amount(phase, phase.end_current, "until_rate_C", "until_current_mA")
        return step

    def _amount(
        self, phase: Phase, drive: Drive | None, rate: str, current: str
    ) -> dict[str, float]:
        if drive is not None and drive.unit == "A":
            return {current: saying.scaled(drive.value, 3)}
        if drive is not None and drive.unit == "C":
            if self._task.capacity_Ah is None:
                remedy = "or give one there: sample.capacity_mAh"
                self._task.findings.leave(phase.place, f"C-rates without a --capacity; {remedy}")
            return {rate: drive.value}
        raise InputError("unicycler knows no power and no resistance", place=phase.place)

    def _eis(self, phase: Phase) -> dict[str, Any]:
        values = dict(phase.values)
        step: dict[str, Any] = {"step": "impedance_spectroscopy"}
        step["start_frequency_Hz"] = units.parse(values.pop("from"), units.FREQUENCY)
        step["end_frequency_Hz"] = units.parse(values.pop("to"), units.FREQUENCY)
        step["points_per_decade"] = values.pop("per_decade", 10)
        amplitude = units.parse_any(values.pop("amplitude"), units.VOLTAGE, units.CURRENT)
        peak = float(f"{amplitude.value * sqrt(2.0):.6g}")
        if amplitude.kind is units.VOLTAGE:
            step["amplitude_V"] = peak
        else:
            step["amplitude_mA"] = saying.scaled(peak, 3)
        values.pop("at_most", None)
        if values:
            raise InputError(f"`{next(iter(values))}` of a spectrum", place=phase.place)
        return step


def _ends(phase: Phase) -> dict[str, float]:
    made: dict[str, float] = {}
    if phase.time_s is not None:
        made["until_time_s"] = phase.time_s
    if phase.end_volts is not None:
        made["until_voltage_V"] = phase.end_volts
    return made


def _scan(phase: Phase) -> dict[str, Any]:
    return {
        "step": "voltage_scan",
        "start_voltage_V": phase.from_volts,
        "end_voltage_V": phase.volts,
        "scan_rate_mV_per_s": saying.scaled(phase.rate_V_per_s, 3),
    }
