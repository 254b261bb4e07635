"""The Battery Data Format: its columns, labels and file names.

Labels are those of its ontology, version 1.3.0, whose terms stand at
https://w3id.org/battery-data-alliance/ontology/battery-data-format
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import numpy as np

from daq.recorder import columns, metadata
from daq.recorder.columns import Batch, Values
from daq.recorder.fields import Field, absent, copied, record_index
from daq.recorder.source import Source

ONTOLOGY = "1.3.0"
_FIRST = ("test_time", "voltage", "current", "time", "cycle_number", "step_count", "chamber_degC")
# The vocabulary is open: those that the ontology names, and others of the same make. `{}` is what
# is kept constant: current, power or resistance.
_STEP_TYPES = {
    "rest": ("REST", "REST"),
    "charge": ("{}_CHG", "{}_DCH"),
    "discharge": ("{}_CHG", "{}_DCH"),
    "pulse": ("{}_CHG", "{}_DCH"),
    "hold": ("CV_CHG", "CV_DCH"),
    "cccv": ("CCCV_CHG", "CCCV_DCH"),
    "ramp": ("RAMP", "RAMP"),
    "profile": ("PROFILE", "PROFILE"),
    "chamber": ("REST", "REST"),
    "operator": ("REST", "REST"),
    "eis": ("EIS", "EIS"),
}
"""Kind of step -> its type when charge goes in, and when it goes out."""
KINDS = tuple(_STEP_TYPES)
_FIXED = {"charge": 0, "discharge": 1}  # whatever an open output seems to do
_KEPT = {"power": "CP", "resistance": "CR"}
_SCOPES = (("", ""), ("step_", "Step "), ("cycle_", "Cycle "))


def fields(source: Source) -> list[Field]:
    """Required, recommended, then optional quantities; what nothing measured is left out."""
    missing = absent(source)
    plain = {
        column.h5: copied(column, column.bdf)
        for column in columns.RAW
        if column.bdf and column.h5 not in missing
    }
    order = [name for name in dict.fromkeys([*_FIRST, *plain]) if name in plain]
    return [
        *(plain[name] for name in order),
        record_index("Record Index / 1"),
        step_type(source, "Step Type"),
        _power(),
        *(one for scope in _SCOPES for one in _sums(*scope)),
    ]


def step_type(source: Source, header: str) -> Field:
    """What kind of step a record belongs to; empty where that is not known.

    A voltage that is held can let current in or out: the charge that the step has moved decides,
    and before it has moved any, the current.
    """
    kinds = metadata.step_kinds(source.facts)
    follows = metadata.step_follows(source.facts)
    last = max(kinds, default=0) + 1  # a step that is not known has the type of this one: none
    both = [_types(kinds.get(n, ""), follows.get(n, "")) for n in range(last + 1)]
    into, out = (np.array([pair[way] for pair in both]) for way in (0, 1))

    def values(rows: Batch, _before: int) -> Values:
        step = np.clip(rows["step_index"], 0, last)
        moved = rows["step_charge_Ah"] - rows["step_discharge_Ah"]
        outwards = np.where(moved == 0.0, rows["current"], moved) < 0.0
        return np.where(outwards, out[step], into[step])

    needs = ("step_index", "step_charge_Ah", "step_discharge_Ah", "current")
    return Field(header, needs, values, {"description": "Kind of the step"})


def _types(kind: str, follows: str) -> tuple[str, str]:
    """The type of a step when charge goes in, and when it goes out."""
    kept = _KEPT.get(follows, "CC")
    pair = [name.format(kept) for name in _STEP_TYPES.get(kind, ("", ""))]
    if kind in _FIXED:
        return pair[_FIXED[kind]], pair[_FIXED[kind]]
    return pair[0], pair[1]


def _power() -> Field:
    def values(rows: Batch, _before: int) -> Values:
        return rows["voltage"] * rows["current"]

    about = {"unit": "W", "description": "Voltage times current; charging is positive"}
    return Field("Power / W", ("voltage", "current"), values, about)


def _sums(scope: str, label: str) -> list[Field]:
    """Net (in minus out) and cumulative (in plus out) charge and energy of one scope."""
    return [
        _sum(f"{label}{word} {what} / {unit}", f"{scope}charge_{unit}", sign)
        for what, unit in (("Capacity", "Ah"), ("Energy", "Wh"))
        for word, sign in (("Net", -1.0), ("Cumulative", 1.0))
    ]


def _sum(header: str, into: str, sign: float) -> Field:
    out = into.replace("charge", "discharge")

    def values(rows: Batch, _before: int) -> Values:
        return rows[into] + sign * rows[out]

    word = "plus" if sign > 0 else "minus"
    about = {"unit": header.rpartition(" ")[2], "description": f"{into} {word} {out}"}
    return Field(header, (into, out), values, about)


def name(source: Source, ending: str) -> str:
    """`Institution__Cell__YYYYMMDD_HHMMSS`; with the time of day no two runs share a name."""
    facts = source.facts
    lab = _clean(metadata.section(facts, "lab").get("name") or "lab")
    cell = _clean(metadata.section(facts, "cell").get("id") or "cell")
    started = datetime.fromtimestamp(facts["started_utc_s"], UTC)
    return f"{lab}__{cell}__{started:%Y%m%d_%H%M%S}.{ending}"


def _clean(text: object) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", str(text))
