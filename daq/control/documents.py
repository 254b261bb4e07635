"""Cells and limits as the documents of runs hold them, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daq.control.status import number
from daq.model import Cell, Limits


def spans(limits: Limits) -> dict[str, list[float | None]]:
    """Limits as JSON has them, with units; None where there is none."""
    return {
        "voltage_V": [number(bound) for bound in limits.voltage_V],
        "current_A": [number(bound) for bound in limits.current_A],
        "temperature_degC": [number(bound) for bound in limits.temperature_degC],
        "charging_degC": [number(bound) for bound in limits.charging_degC],
        "discharging_degC": [number(bound) for bound in limits.discharging_degC],
    }


def _limits(spans: Mapping[str, list[float | None]]) -> Limits:
    def span(key: str) -> tuple[float, float]:
        low, high = spans.get(key) or (None, None)  # older documents lack some
        return (float("-inf") if low is None else low, float("inf") if high is None else high)

    return Limits(
        span("voltage_V"),
        span("current_A"),
        span("temperature_degC"),
        charging_degC=span("charging_degC"),
        discharging_degC=span("discharging_degC"),
    )


def cell_document(cell: Cell) -> dict[str, Any]:
    """All that is known of a cell, as it travels with a run."""
    return {
        "id": cell.id,
        "batch": cell.batch,
        "chemistry": cell.chemistry,
        "nominal_capacity_Ah": cell.nominal_capacity_Ah,
        "limits": spans(cell.limits),
        "metadata": dict(cell.metadata),
        "origin": dict(cell.origin),
    }


def cell_from(document: Mapping[str, Any]) -> Cell:
    """The cell of a run, as it was when the run began.

    Raises:
        KeyError: the document is not of a cell.
    """
    return Cell(
        document["id"],
        document["nominal_capacity_Ah"],
        document["chemistry"],
        document["batch"],
        _limits(document["limits"]),
        document["metadata"],
        document.get("origin", {}),  # older documents lack it
    )
