"""All pictures of one run, in the order in which they are looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from daq.report.curves import differential_picture, voltage_picture
from daq.report.drawing import cycles_picture, resistance_picture, time_picture
from daq.report.impedance import residuals_picture, spectra_picture
from daq.report.summary import Summary

_PICTURES: tuple[tuple[str, Callable[[Summary], Any]], ...] = (
    ("Voltage, current and temperature over time", time_picture),
    ("Capacity and efficiency by cycle", cycles_picture),
    ("Voltage over capacity", voltage_picture),
    ("Incremental capacity and differential voltage", differential_picture),
    ("DC resistance", resistance_picture),
    ("Impedance spectra", spectra_picture),
    ("Residuals of the last spectrum", residuals_picture),
)


def pictures(summary: Summary) -> list[tuple[str, str, Any]]:
    """(title, caption, figure) of each picture that the run has something for."""
    drawn = ((title, draw(summary)) for title, draw in _PICTURES)
    return [(title, _caption(title, summary), figure) for title, figure in drawn if figure]


def _caption(title: str, summary: Summary) -> str:
    smoothing = summary.choices.smoothing
    captions = {
        "Incremental capacity and differential voltage": (
            f"Of the parts of steps at constant current. dQ/dV: {smoothing.of_dqdv}. "
            f"dV/dQ: {smoothing.of_dvdq}."
        ),
        "Impedance spectra": "Im Z as measured: capacitive is negative, and drawn upwards.",
        "Voltage over capacity": "Charge and discharge of a cycle, each counted from its start.",
    }
    return captions.get(title, "")
