"""The figures of a run, ready for JSON: units in the names, null for what is not known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, cast

from daq.figures.counted import StepCounted, run_counted
from daq.figures.differential import Smoothing
from daq.figures.moved import Moved
from daq.figures.pulses import Pulse
from daq.figures.scopes import CycleFigures, Scope
from daq.figures.spectra import Consistency, Fit
from daq.report.summary import SpectrumFigures, Summary

_EXTREMES = ("min_V", "max_V", "min_degC", "mean_degC", "max_degC")


def document(summary: Summary) -> dict[str, Any]:
    """Everything but the curves."""
    data = summary.data
    kinds = data.step_kinds
    found = {
        "run": data.run,
        "cell": data.cell,
        "nominal_capacity_Ah": data.nominal_Ah,
        "outcome": data.facts.get("outcome") or "running",
        "whole": scope(summary.whole) | {"instrument": _run_counted(summary)},
        "retention_reference_cycle": reference_cycle(summary),
        "cycles": [_cycle(one) for one in summary.cycles],
        "steps": [
            {
                "step_count": one.step_count,
                "step": one.step,
                "cycle": one.cycle,
                "kind": kinds.get(one.step, ""),
                "end_reason": summary.reasons.get(one.step_count),
                "mean_A": one.mean_A,
                **scope(one.whole),
                "instrument": _step_counted(summary.counted.get(one.step_count)),
            }
            for one in summary.steps
        ],
        "pulses": [_pulse(one) for one in summary.pulses],
        "spectra": [_spectrum(one) for one in summary.spectra],
        "method": method(summary.choices.smoothing),
    }
    return cast("dict[str, Any]", plain(found))


def reference_cycle(summary: Summary) -> int | None:
    """The cycle whose capacity is 100 % of retention."""
    numbers = {cycle.reference_cycle for cycle in summary.cycles} - {-1}
    return numbers.pop() if numbers else None


def method(smoothing: Smoothing) -> dict[str, str]:
    """How the figures were made, in words."""
    return {
        "capacity": "the daemon's counters: trapezoids over the time stamps of every sample; "
        "deviation_pct compares them with trapezoids over the kept records",
        "instrument": "its own counters of charge and energy, in less out, between the looks at "
        "them after the step's two edges; the daemon's less these, over what was moved",
        "resistance": "(V - V before) / (I - I before) at stated times after the edge of the "
        "current, interpolated between the records around each",
        "soc": "net charge counted from where the cell was last full or empty, over what the "
        "largest discharge from full took out",
        "dqdv": smoothing.of_dqdv,
        "dvdq": smoothing.of_dvdq,
    }


def scope(one: Scope) -> dict[str, Any]:
    """What a step, a cycle or the run has moved."""
    return {
        "start_s": one.start_s,
        "duration_s": one.duration_s,
        "paused_s": one.paused_s,
        "records": one.records,
        **moved(one.moved),
        "begin_V": one.begin_V,
        "end_V": one.end_V,
        **{name: getattr(one, name) for name in _EXTREMES},
        "deviation_pct": one.deviation_pct,
    }


def _run_counted(summary: Summary) -> dict[str, Any] | None:
    found = run_counted(list(summary.counted.values()))
    if found is None:
        return None
    return {
        "steps": found.steps,
        "charge_deviation_pct": found.charge_deviation_pct,
        "energy_deviation_pct": found.energy_deviation_pct,
    }


def _step_counted(one: StepCounted | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {
        "net_Ah": one.charge_Ah.instrument_net,
        "net_Wh": one.energy_Wh.instrument_net,
        "charge_deviation_pct": one.charge_Ah.deviation_pct,
        "energy_deviation_pct": one.energy_Wh.deviation_pct,
        "missing": one.missing or None,
    }


def moved(one: Moved) -> dict[str, float]:
    """Charge and energy, and what follows from them."""
    names = (
        "charge_Ah", "discharge_Ah", "net_Ah", "cumulative_Ah", "charge_Wh", "discharge_Wh",
        "net_Wh", "cumulative_Wh", "charge_mean_V", "discharge_mean_V",
    )  # fmt: skip
    return {name: getattr(one, name) for name in names}


def _cycle(one: CycleFigures) -> dict[str, Any]:
    return {
        "cycle": one.cycle,
        **scope(one.whole),
        "coulombic_efficiency_pct": one.coulombic_efficiency_pct,
        "energy_efficiency_pct": one.energy_efficiency_pct,
        "retention_pct": one.retention_pct,
    }


def _pulse(one: Pulse) -> dict[str, Any]:
    return {
        "step_count": one.step_count,
        "step": one.step,
        "cycle": one.cycle,
        "edge": one.edge,
        "test_time_s": one.time_s,
        "edge_uncertainty_s": one.uncertainty_s,
        "before_V": one.before_V,
        "before_A": one.before_A,
        "current_step_A": one.step_A,
        "step_lasts_s": one.lasts_s,
        "temperature_degC": one.temperature_degC,
        "net_charge_Ah": one.net_Ah,
        "soc_pct": one.soc_pct,
        "resistances": [
            {
                "after_s": at.after_s,
                "resistance_ohm": at.ohm,
                "from_s": at.from_s,
                "to_s": at.to_s,
                "voltage_V": at.voltage_V,
                "current_A": at.current_A,
            }
            for at in one.resistances
        ],
    }


def _spectrum(one: SpectrumFigures) -> dict[str, Any]:
    return {
        "test_id": one.test_id,
        "cycle": one.cycle,
        "test_time_s": one.time_s,
        "temperature_degC": one.temperature_degC,
        "points": len(one.z_ohm),
        "fit": _fit(one.fit) if one.fit else None,
        "fault": one.fault,
        "kramers_kronig": _consistency(one.consistency) if one.consistency else None,
    }


def _fit(one: Fit) -> dict[str, Any]:
    return {
        "circuit": one.circuit,
        "parameters": [
            {"name": p.name, "unit": p.unit, "value": p.value, "std_error": p.std_error}
            for p in one.parameters
        ],
        "rms_residual_pct": one.rms_pct,
        "frequency_Hz": one.frequency_Hz.tolist(),
        "residual_real_pct": one.residual_real_pct.tolist(),
        "residual_imag_pct": one.residual_imag_pct.tolist(),
    }


def _consistency(one: Consistency) -> dict[str, Any]:
    return {
        "sound": one.sound,
        "worst_residual_pct": one.worst_pct,
        "rms_residual_pct": one.rms_pct,
        "rc_pairs": one.pairs,
    }


def plain(value: Any) -> Any:
    """The same with null for NaN and infinity, which JSON has not."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("Sequence[Any]", value)]
    return value
