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
        ("Began, UTC", moment(_seconds(facts.get("started_utc_s")))),
        ("Ended, UTC", moment(_seconds(facts.get("ended_utc_s")))),
        ("Outcome", _outcome(facts)),
        ("Software", f"{software.get('name', '')} {software.get('version', '')}".strip()),
    ]
    return [(name, str(value)) for name, value in pairs if value not in (None, "", "{}")]


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _station(facts: dict[str, Any]) -> str:
    return str(metadata.section(facts, "station").get("name", ""))


def _outcome(facts: dict[str, Any]) -> str:
    outcome, reason = facts.get("outcome") or "running", facts.get("reason")
    return f"{outcome}: {reason}" if reason else str(outcome)


def _metadata(free: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in free.items():
        shown = _joined(value) if isinstance(value, dict) else str(value)
        yield name.replace("_", " ").capitalize(), shown


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
