"""Snapshots of earlier versions, made into ones that this version reads.

A run that an update of the software has interrupted goes on like any other. Format 1 knew neither
cycles to look back at nor gotos, so that what it does not say is nothing.
"""

from __future__ import annotations

from typing import Any

FORMAT = 2

_CYCLE_MARKS = ("_cycle_charge_C", "_cycle_discharge_C", "_cycle_charge_J", "_cycle_discharge_J")
_EXECUTION: dict[str, Any] = {
    "confirmed": False,
    "start": None,
    "value": 0.0,
    "asked_degC": None,
    "trends": None,
}
_POSITION: dict[str, Any] = {"jumps": {}, "undecided": False, "ended": "", "lost": ""}


def present(snapshot: dict[str, Any]) -> dict[str, Any]:
    """The same snapshot in the present format.

    Raises:
        ValueError: it is of a later version.
    """
    if snapshot["format"] == FORMAT:
        return snapshot
    if snapshot["format"] != 1:
        raise ValueError(f"snapshot of format {snapshot['format']}, this engine reads {FORMAT}")
    return _from_1(snapshot)


def _from_1(snapshot: dict[str, Any]) -> dict[str, Any]:
    cycle = snapshot["position"]["cycle"]
    history: dict[str, Any] = {
        "cycle": cycle,
        "saved": {},
        "cycles": {},
        "previous": {},
        "charged": [],
    }
    start_s = snapshot["meter"]["start_s"]
    marks = {"cycle_s": start_s, **dict.fromkeys(_CYCLE_MARKS, 0.0)}
    execution = snapshot["execution"]
    return {
        **snapshot,
        "format": FORMAT,
        "position": _POSITION | snapshot["position"],
        "meter": snapshot["meter"] | marks,
        "history": history,
        "execution": execution and _EXECUTION | execution,
    }
