"""From journal rows to the rows of files: charges per step and per cycle, figures per cycle.

Everything here works on batches and carries what it needs from one to the next, so the live
file, the closed file and an export of a running run get the same numbers, bit for bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from daq.journal import MEASURED_COLUMNS
from daq.model import Event, EventKind, Record
from daq.recorder import columns
from daq.recorder.columns import CYCLES_DTYPE, EIS_DTYPE, RAW_DTYPE, Rows

Floats = npt.NDArray[np.float64]

COUNTERS = ("charge_Ah", "discharge_Ah", "charge_Wh", "discharge_Wh")
_WHOLE = {"cycle", "step", "step_count", "step_record"}
JOURNAL_DTYPE = np.dtype(
    [(name, columns.I4 if name in _WHOLE else columns.F8) for name in MEASURED_COLUMNS]
    + [("seq", columns.I8)]
)
_COPIED = tuple((column.h5, column.name) for column in columns.RAW if not column.derived)
_row_of = attrgetter(*MEASURED_COLUMNS, "seq")

# A step belongs to the charge of its cycle when it moved more than this part of it: what an
# open output seems to leak through the meter's offset must not count as a charge step.
_NEGLIGIBLE = 1e-3


def journal_rows(rows: Sequence[tuple[Any, ...]]) -> Rows:
    """Rows of `JournalReader.measured_rows` as a structured array; NULL becomes NaN."""
    return np.array(rows, JOURNAL_DTYPE)


def rows_of(records: Iterable[Record]) -> Rows:
    """The same from records."""
    return journal_rows([_row_of(record) for record in records])


class _Scope:
    """Counter values at the last record before the current step (or cycle) began."""

    def __init__(self, prefix: str, key: str) -> None:
        self.prefix = prefix
        self._key = key
        self._current = -1  # no step and no cycle has this number
        self._base: Floats = np.zeros(len(COUNTERS))

    def bases(self, rows: Rows, before: Floats) -> Floats:
        """For each row, the counters at the record before its step (cycle) began.

        Args:
            rows: journal rows.
            before: counters at the record before each row, shape (4, rows).
        """
        began = np.diff(rows[self._key], prepend=self._current) != 0
        first = np.maximum.accumulate(np.where(began, np.arange(len(rows)), -1))
        bases = np.where(first >= 0, before[:, first], self._base[:, np.newaxis])
        self._current = int(rows[self._key][-1])
        self._base = bases[:, -1].copy()
        return bases


class Deriver:
    """Turns the journal rows of one run, in order, into rows of `/raw_data`."""

    def __init__(self) -> None:
        self._last: Floats = np.zeros(len(COUNTERS))
        self._scopes = (_Scope("step_", "step_count"), _Scope("cycle_", "cycle"))

    def derive(self, rows: Rows) -> Rows:
        """The next batch; never empty."""
        out = np.empty(len(rows), RAW_DTYPE)
        for h5, name in _COPIED:
            out[h5] = rows[name]
        counters = np.stack([rows[name] for name in COUNTERS])
        before = np.concatenate([self._last[:, np.newaxis], counters[:, :-1]], axis=1)
        for scope in self._scopes:
            moved = counters - scope.bases(rows, before)
            for name, values in zip(COUNTERS, moved, strict=True):
                out[scope.prefix + name] = values
        self._last = counters[:, -1].copy()
        return out


def spectrum_rows(events: Iterable[Event]) -> Rows:
    """Rows of `/eis_data` from events of kind `spectrum_point`; other kinds are passed over."""
    points = [event for event in events if event.kind is EventKind.SPECTRUM_POINT]
    out = np.empty(len(points), EIS_DTYPE)
    for row, event in zip(out, points, strict=True):
        _fill_point(row, event)
    out["z_mag"] = np.hypot(out["z_real"], out["z_imag"])
    out["z_phase"] = np.degrees(np.arctan2(out["z_imag"], out["z_real"]))
    return out


def _fill_point(row: Any, event: Event) -> None:
    data = event.data
    row["test_id"] = row["step_count"] = data.get("step_count", 0)
    row["test_time"], row["time"], row["seq"] = event.test_time_s, event.utc_s, event.seq
    row["frequency"] = _number(data.get("frequency_Hz"))
    row["z_real"] = _number(data.get("z_real_ohm"))
    row["z_imag"] = _number(data.get("z_imag_ohm"))
    row["cycle_number"], row["step_index"] = data.get("cycle", 0), data.get("step", 0)
    row["point"] = data.get("index", 0)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


_TABLES = frozenset({EventKind.SPECTRUM_POINT, EventKind.SENSORS})


def event_rows(events: Iterable[Event], width: int | None = None) -> Rows:
    """Rows of `/events`: all kinds but those that have a table of their own.

    Args:
        events: the events of one run.
        width: bytes kept for the data; None keeps as many as the longest needs.
    """
    kept = [event for event in events if event.kind not in _TABLES]
    texts = [json.dumps(dict(event.data), ensure_ascii=False).encode() for event in kept]
    if width is None:
        width = max(map(len, texts), default=1)
    rows = [
        (event.seq, event.utc_s, event.test_time_s, event.kind.value.encode(), _fitted(text, width))
        for event, text in zip(kept, texts, strict=True)
    ]
    return np.array(rows, columns.dtype(columns.events(width)))


def _fitted(text: bytes, width: int) -> bytes:
    """The text, or as much of it as fits, still as valid JSON."""
    if len(text) <= width:
        return text
    part = text[: width // 2 - 20].decode(errors="ignore")
    return json.dumps({"truncated": part}, ensure_ascii=False).encode()[:width]


@dataclass(slots=True)
class _Cycle:
    """What has been seen of one cycle; fields as in `/cycle_stats`."""

    number: int
    start_s: float
    end_s: float = math.nan
    charge_Ah: float = 0.0
    discharge_Ah: float = 0.0
    charge_Wh: float = 0.0
    discharge_Wh: float = 0.0
    max_V: float = math.nan
    min_V: float = math.nan
    max_degC: float = math.nan
    min_degC: float = math.nan
    end_of_charge_V: float = math.nan
    end_of_discharge_V: float = math.nan

    def add(self, rows: Rows) -> None:
        """More rows of `/raw_data` of this cycle."""
        last = rows[-1]
        self.end_s = float(last["test_time"])
        for name in COUNTERS:
            setattr(self, name, float(last[f"cycle_{name}"]))
        self._widen(rows)
        self._step_ends(rows)

    def _widen(self, rows: Rows) -> None:
        # fmax and fmin pass NaN over, and stay NaN when there is nothing else.
        self.max_V = float(np.fmax(self.max_V, np.fmax.reduce(rows["voltage"])))
        self.min_V = float(np.fmin(self.min_V, np.fmin.reduce(rows["voltage"])))
        self.max_degC = float(np.fmax(self.max_degC, np.fmax.reduce(rows["temperature"])))
        self.min_degC = float(np.fmin(self.min_degC, np.fmin.reduce(rows["temperature"])))

    def _step_ends(self, rows: Rows) -> None:
        # The last row counts as an end too: when its step goes on, a later row replaces it.
        ends = rows[np.append(np.flatnonzero(np.diff(rows["step_count"])), len(rows) - 1)]
        moved = ends["step_charge_Ah"] - ends["step_discharge_Ah"]
        charging = ends[moved > _NEGLIGIBLE * ends["cycle_charge_Ah"]]
        discharging = ends[-moved > _NEGLIGIBLE * ends["cycle_discharge_Ah"]]
        if len(charging):
            self.end_of_charge_V = float(charging["voltage"][-1])
        if len(discharging):
            self.end_of_discharge_V = float(discharging["voltage"][-1])

    def row(self) -> tuple[float, ...]:
        """In the order of `columns.CYCLES`."""
        floor = _NEGLIGIBLE * max(self.charge_Ah, self.discharge_Ah)
        return (
            self.number,
            self.start_s,
            self.end_s - self.start_s,
            self.charge_Ah,
            self.discharge_Ah,
            self.charge_Wh,
            self.discharge_Wh,
            100 * _ratio(self.discharge_Ah, self.charge_Ah),
            100 * _ratio(self.discharge_Wh, self.charge_Wh),
            _ratio(self.charge_Wh, self.charge_Ah),
            _ratio(self.discharge_Wh, self.discharge_Ah),
            self.max_V,
            self.min_V,
            self.max_degC,
            self.min_degC,
            self.end_of_charge_V if self.charge_Ah > floor else math.nan,
            self.end_of_discharge_V if self.discharge_Ah > floor else math.nan,
        )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


class CycleFold:
    """Collects `/cycle_stats` from the rows of `/raw_data`, in order."""

    def __init__(self) -> None:
        self._cycles: list[_Cycle] = []

    def add(self, rows: Rows) -> None:
        """The next batch of one run; never empty."""
        cuts = np.flatnonzero(np.diff(rows["cycle_number"])) + 1
        for part in np.split(rows, cuts):
            self._of(int(part["cycle_number"][0]), float(part["test_time"][0])).add(part)

    def _of(self, number: int, start_s: float) -> _Cycle:
        if not self._cycles or self._cycles[-1].number != number:
            self._cycles.append(_Cycle(number, start_s))
        return self._cycles[-1]

    def rows(self) -> Rows:
        """One row a cycle."""
        return np.array([cycle.row() for cycle in self._cycles], CYCLES_DTYPE)
