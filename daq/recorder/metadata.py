"""What is known about a run beside its samples, as the files tell it.

The root attribute `metadata` is a `BatteryMetadata` document of battery-data-toolkit: its own
fields as far as they are known, and under `battery_daq` everything else, nothing left out but
the long texts (the protocol's and the lab's), which have datasets of their own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from daq.model import Event, EventKind, RunInfo

BATTDAT_VERSION = "0.4.6"
OWN = "battery_daq"

_PLAIN_TEXTS = ("manufacturer", "design", "form_factor", "dimensions")
_ELECTRODES = ("anode", "cathode", "electrolyte")
_ELECTRODE_TEXTS = ("name", "supplier", "product")
_ELECTRODE_NUMBERS = ("thickness", "area", "loading", "porosity")


def section(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A part of a run's document; empty when it is missing or not a mapping."""
    part = document.get(name)
    return dict(cast("Mapping[str, Any]", part)) if isinstance(part, Mapping) else {}


def instruments(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The instruments of a run's document; those that are not mappings are left out."""
    found = document.get("instruments")
    listed = cast("list[Any]", found) if isinstance(found, list) else []
    return [dict(cast("Mapping[str, Any]", item)) for item in listed if isinstance(item, Mapping)]


def step_kinds(facts: Mapping[str, Any]) -> dict[int, str]:
    """Number of each step of the protocol -> its kind ("charge", "rest" ...)."""
    return {int(step["number"]): str(step["kind"]) for step in _steps(facts)}


def step_follows(facts: Mapping[str, Any]) -> dict[int, str]:
    """Number of each step of the protocol -> what its setpoint follows ("power" ...), or ""."""
    return {int(step["number"]): str(step.get("follows") or "") for step in _steps(facts)}


def step_texts(facts: Mapping[str, Any]) -> dict[int, str]:
    """Number of each step of the protocol -> its line ("charge: C/20")."""
    return {int(step["number"]): str(step.get("text") or step["kind"]) for step in _steps(facts)}


def _steps(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = section(facts, "protocol").get("steps")
    return cast("list[dict[str, Any]]", listed) if isinstance(listed, list) else []


def run_facts(run: RunInfo, events: list[Event]) -> dict[str, Any]:
    """The `battery_daq` part: the run's document without its long texts, and how it went.

    Args:
        run: the run as the journal has it.
        events: its events so far; the last `run_ended` says how it ended.
    """
    facts = dict(run.document)
    for name in ("protocol", "lab"):
        facts[name] = {k: v for k, v in section(run.document, name).items() if k != "text"}
    facts |= {
        "run": run.id,
        "started_utc_s": run.started_utc_s,
        "started": _iso(run.started_utc_s),
        **_end(run, events),
    }
    facts["station"] = {"name": run.station, **section(run.document, "station")}
    return cast("dict[str, Any]", _jsonable(facts))


def _end(run: RunInfo, events: list[Event]) -> dict[str, Any]:
    ends = [event for event in events if event.kind is EventKind.RUN_ENDED]
    data = dict(ends[-1].data) if ends else {}
    utc_s = ends[-1].utc_s if ends else run.ended_utc_s
    return {
        "ended_utc_s": utc_s,
        "ended": _iso(utc_s),
        "outcome": data.get("outcome", run.outcome),
        "reason": data.get("reason", ""),
    }


def battdat_metadata(run: RunInfo, events: list[Event]) -> str:
    """The root attribute `metadata`, as JSON."""
    facts = run_facts(run, events)
    protocol, cell = section(facts, "protocol"), section(facts, "cell")
    cyclers = [item for item in instruments(facts) if item.get("role") == "cycler"]
    document = {
        "name": run.cell,
        "version": BATTDAT_VERSION,
        "source": section(facts, "lab").get("name"),
        "dataset_name": cell.get("batch") or None,
        "test_protocol": {
            "cycler": _model(cyclers[0]) if cyclers else None,
            "start_date": _iso(run.started_utc_s)[:10] or None,
            "schedule": f"{run.protocol} {protocol.get('version', '')}".strip(),
        },
        "battery": _battery(cell),
        OWN: facts,
    }
    return json.dumps(document)


def _model(instrument: dict[str, Any]) -> str | None:
    identity = section(instrument, "identity")
    parts = (identity.get("manufacturer"), identity.get("model"))
    return " ".join(str(part) for part in parts if part) or None


def _battery(cell: dict[str, Any]) -> dict[str, Any]:
    """A `BatteryDescription` from what the cell's free metadata says in that form.

    Anything of another type stays where it is, under `battery_daq`: one wrong type would make
    the toolkit refuse the file.
    """
    free = _in_its_words(section(cell, "metadata"))
    known: dict[str, Any] = {k: free[k] for k in _PLAIN_TEXTS if isinstance(free.get(k), str)}
    known |= {name: made for name in _ELECTRODES if (made := _electrode(free.get(name)))}
    if _is_number(free.get("mass")):
        known["mass"] = free["mass"]
    if _is_number(cell.get("nominal_capacity_Ah")):
        known["nominal_capacity"] = cell["nominal_capacity_Ah"]
    if cell.get("chemistry"):
        known["chemistry"] = cell["chemistry"]
    return known


def _in_its_words(free: dict[str, Any]) -> dict[str, Any]:
    """What the registry knows under the toolkit's names, in its units; its own words go before."""
    known = {"manufacturer": free.get("supplier")}
    if _is_number(free.get("mass_g")):
        known["mass"] = free["mass_g"] / 1000.0  # kg
    for name, ours in (("cathode", "positive"), ("anode", "negative")):
        electrode = section(free, ours)
        made = {"name": electrode.get("material"), "loading": electrode.get("coat_weight_mg_cm2")}
        if _is_number(electrode.get("thickness_m")):
            made["thickness"] = electrode["thickness_m"] * 1e6  # um
        known[name] = made
    return known | free


def _electrode(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, Mapping):
        return {}
    given = cast("Mapping[str, Any]", value)
    made = {k: given[k] for k in _ELECTRODE_TEXTS if isinstance(given.get(k), str)}
    made |= {k: given[k] for k in _ELECTRODE_NUMBERS if _is_number(given.get(k)) and given[k] >= 0}
    return made if "name" in made else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _iso(utc_s: float) -> str:
    if not math.isfinite(utc_s):
        return ""
    return datetime.fromtimestamp(utc_s, UTC).isoformat(timespec="milliseconds")


def _jsonable(value: Any) -> Any:
    """The same with NaN and infinity as null: JSON has neither."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(k): _jsonable(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in cast("list[Any]", value)]
    return value
