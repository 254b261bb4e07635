"""What was tested, how, with what, by whom: the head of a report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from daq.recorder import metadata
from daq.report.summary import Summary
from daq.report.tables import NONE, moment


def identity(summary: Summary) -> list[tuple[str, str]]:
    """Name and value of everything that is known of a run."""
    facts = summary.data.facts
    cell, protocol = metadata.section(facts, "cell"), metadata.section(facts, "protocol")
    lab, software = metadata.section(facts, "lab"), metadata.section(facts, "software")
    named = f"{protocol.get('name', '')} {protocol.get('version', '')}".strip()
    pairs = [
        ("Run", summary.data.run),
        ("Cell", cell.get("id")),
        ("Batch", cell.get("batch")),
        ("Chemistry", cell.get("chemistry")),
        ("Nominal capacity / Ah", cell.get("nominal_capacity_Ah")),
        *_metadata(metadata.section(cell, "metadata")),
        ("Protocol", named),
        ("Protocol, SHA-256", protocol.get("sha256")),
        ("Parameters", _joined(protocol.get("parameters"))),
        ("Lab, station", f"{lab.get('name', '')}, {_station(facts)}"),
        ("Lab file, SHA-256", lab.get("sha256")),
        ("Operator", facts.get("operator")),
        *_instruments(facts),
        ("Clock", _clock(lab)),
        ("Began, UTC", moment(_seconds(facts.get("started_utc_s")))),
        ("Ended, UTC", moment(_seconds(facts.get("ended_utc_s")))),
        ("Outcome", _outcome(facts)),
        ("Software", f"{software.get('name', '')} {software.get('version', '')}".strip()),
    ]
    return [(name, str(value)) for name, value in pairs if value not in (None, "", "{}")]


def _clock(lab: dict[str, Any]) -> str:
    """Lab time, where it is not real time; empty where it is."""
    factor = lab.get("clock_factor", 1.0)
    return "" if factor == 1.0 else f"{factor:g} x real time: simulated, dates are lab time"


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _station(facts: dict[str, Any]) -> str:
    return str(metadata.section(facts, "station").get("name", ""))


def _outcome(facts: dict[str, Any]) -> str:
    outcome, reason = facts.get("outcome") or "running", facts.get("reason")
    return f"{outcome}: {reason}" if reason else str(outcome)


_MEASURED: dict[str, tuple[str, float, str]] = {
    "mass_g": ("mass", 1.0, "g"),
    "active_mass_g": ("active mass", 1.0, "g"),
    "coat_weight_mg_cm2": ("coat weight", 1.0, "mg/cm²"),
    "thickness_m": ("thickness", 1e6, "µm"),
    "temperature_degC": ("temperature", 1.0, "°C"),
    "time_s": ("time", 1.0 / 3600.0, "h"),  # of drying
}
"""What a cell's file knows with a unit: its name for people, factor and unit."""


def _metadata(free: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in free.items():
        called, shown = _fact(name, value)
        yield called.capitalize(), shown


def _fact(name: str, value: Any) -> tuple[str, str]:
    """A fact's name and its value, for people; whatever it consists of, on one line."""
    if isinstance(value, dict):
        inner = (_fact(key, part) for key, part in cast("dict[str, Any]", value).items())
        return name.replace("_", " "), ", ".join(" ".join(one) for one in inner)
    if name in _MEASURED and isinstance(value, int | float):
        called, factor, unit = _MEASURED[name]
        return called, f"{factor * value:.6g} {unit}"
    return name.replace("_", " "), str(value)


def _joined(value: Any) -> str:
    pairs = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return ", ".join(f"{name} {part}" for name, part in pairs.items())


def _instruments(facts: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for one in metadata.instruments(facts):
        who = metadata.section(one, "identity")
        parts = [who.get("manufacturer"), who.get("model"), who.get("serial")]
        name = " ".join(str(part) for part in parts if part) or str(one.get("name", ""))
        calibrated, due = one.get("calibrated"), one.get("calibration_due")
        if calibrated or due:
            name += f"; calibrated {calibrated or NONE}, due {due or NONE}"
        role = str(one.get("role", "instrument"))
        yield role.upper() if role == "eis" else role.capitalize(), name
