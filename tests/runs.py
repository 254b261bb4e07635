"""Synthetic runs for tests: what control would append to the journal, without control.

`formation` gives the entries of a whole run in order; `write` puts them through a true
`Journal`, as control does. The cell is a crude one, but its figures can be worked out by hand:
every charge moves `CHARGE_AH`, every discharge `CHARGE_AH` times the efficiency of the cycle.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from daq.journal import Journal, ended
from daq.model import Entry, Event, EventKind, Record, RunInfo

START_UTC_S = 1_790_000_000.0  # 2026-09-21
CHARGE_AH = 2.0
EFFICIENCIES = (0.86, 0.98, 0.99)
PROTOCOL_TEXT = 'protocol: formation-nmc-graphite\nversion: 1.2.0\n# 25 °C, "wet" cells\n'
LAB_TEXT = "lab: bench-3\ndata: ./data\n"

STEPS = (
    (1, "rest", "rest: 10 min"),
    (2, "charge", "charge: C/10"),
    (3, "hold", "hold: 4.2 V"),
    (4, "rest", "rest: 30 min"),
    (5, "discharge", "discharge: C/10"),
    (6, "eis", "eis: 10 kHz to 10 mHz"),
)
_REST, _CHARGE, _HOLD, _PAUSE, _DISCHARGE, _EIS = STEPS


def document(**changes: Any) -> dict[str, Any]:
    """What control knows about a run when it starts."""
    return {
        "software": {"name": "battery-daq", "version": "0.1.0", "python": "3.11.7"},
        "lab": _text("bench-3", LAB_TEXT) | {"clock_factor": 1.0},
        "operator": "ana",
        "cell": {
            "id": "NMC-0042",
            "batch": "B17",
            "chemistry": "nmc-graphite",
            "nominal_capacity_Ah": 2.0,
            "metadata": {
                "manufacturer": "in house",
                "supplier_lot": "L-991",
                "coat_weight_mg_cm2": 12.4,
                "drying": "120 degC, 12 h, vacuum",
                "mass": "45 g",
                "anode": {"name": "graphite", "loading": 7.1, "binder": "CMC"},
                "cathode": "NMC622",
            },
        },
        "protocol": _text("formation-nmc-graphite", PROTOCOL_TEXT)
        | {
            "version": "1.2.0",
            "parameters": {"v_max": "4.2 V"},
            "steps": [
                {"number": number, "kind": kind, "text": text, "line": number + 3}
                for number, kind, text in STEPS
            ],
            "expected_s": 1e5,
        },
        "station": {
            "limits": {"voltage_V": [2.0, 4.35], "current_A": [-10, math.inf]},
            "temperature_source": "mk53.1",
        },
        "instruments": [
            _instrument("cycler", "aps1", "keysight_aps", "Keysight Technologies", "N6974A"),
            _instrument("eis", "pico", "palmsens", "PalmSens", "EmStat Pico"),
            _instrument("chamber", "mk53", "binder", "Binder", "MK 53"),
        ],
        **changes,
    }


def _text(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "text": text, "sha256": sha256(text.encode()).hexdigest()}


def _instrument(role: str, name: str, driver: str, maker: str, model: str) -> dict[str, Any]:
    return {
        "role": role,
        "name": name,
        "channel": 1,
        "driver": driver,
        "resource": "TCPIP::127.0.0.1::5025::SOCKET",
        "identity": {"manufacturer": maker, "model": model, "serial": "S1", "firmware": "1.0"},
        "calibrated": "2026-03-01" if role == "cycler" else None,
        "calibration_due": "2027-03-01" if role == "cycler" else None,
        "channel_offsets": {"voltage_V": 1.2e-4},
    }


def run_info(run: str = "A1-20260921-001", station: str = "A1", **changes: Any) -> RunInfo:
    """A run that has just started."""
    return RunInfo(
        run, station, "NMC-0042", "formation-nmc-graphite", START_UTC_S, document(**changes)
    )


class _Pen:
    """Writes the records and events of one run, and keeps its counters."""

    def __init__(self, info: RunInfo, per_step: int) -> None:
        self._info = info
        self._per_step = per_step
        self._time_s = 0.0
        self._step_count = 0
        self._counters = [0.0, 0.0, 0.0, 0.0]
        self.cycle = 0

    def event(self, what: EventKind, /, **data: Any) -> Event:
        utc_s = START_UTC_S + self._time_s
        return Event(what, utc_s, self._info.station, self._info.id, self._time_s, data)

    def step(
        self, step: tuple[int, str, str], hours: float, move_Ah: float, volts: tuple[float, float]
    ) -> Iterator[Entry]:
        """A step that moves charge evenly while the voltage goes from one value to another."""
        number, kind, text = step
        self._step_count += 1
        yield self.event(EventKind.STEP_STARTED, **self._where(number, kind), text=text)
        start_s, current_A = self._time_s, move_Ah / hours
        for record in range(1, self._per_step + 1):
            part = (record - 1) / max(self._per_step - 1, 1)
            voltage = volts[0] + (volts[1] - volts[0]) * part
            self._move(move_Ah / self._per_step, voltage)
            self._time_s = start_s + 3600 * hours * part
            yield self._record(number, record, self._time_s - start_s, voltage, current_A)
        yield self.event(EventKind.STEP_ENDED, **self._where(number, kind), reason="time")

    def _where(self, number: int, kind: str) -> dict[str, Any]:
        return {
            "step": number,
            "step_count": self._step_count,
            "cycle": self.cycle,
            "kind": kind,
        }

    def _move(self, charge_Ah: float, voltage: float) -> None:
        out = charge_Ah < 0
        self._counters[out] += abs(charge_Ah)
        self._counters[2 + out] += abs(charge_Ah) * voltage

    def _record(
        self, number: int, record: int, step_time_s: float, voltage: float, current_A: float
    ) -> Record:
        info = self._info
        return Record(
            info.station, info.id, self._time_s, step_time_s, START_UTC_S + self._time_s,
            voltage, current_A, 25.0 + abs(current_A), math.nan if record == 2 else 25.0,
            self.cycle, number, self._step_count, record, *self._counters,
        )  # fmt: skip

    def spectrum(self, points: int) -> Iterator[Event]:
        """A charge-transfer arc on an ohmic resistance, from 10 kHz down."""
        for index in range(points):
            frequency = 1e4 * 10 ** (-6 * index / max(points - 1, 1))
            z = 0.02 + 0.03 / (1 + 2j * math.pi * frequency * 0.05)
            z += 0.004 / (2j * math.pi * frequency + 0.01) ** 0.5
            yield self.event(
                EventKind.SPECTRUM_POINT,
                step=6,
                step_count=self._step_count,
                cycle=self.cycle,
                index=index,
                frequency_Hz=frequency,
                z_real_ohm=z.real,
                z_imag_ohm=z.imag,
            )


def formation(
    info: RunInfo, *, cycles: int = 2, per_step: int = 20, points: int = 13
) -> Iterator[Entry]:
    """Every entry of a run, from `run_started` to `run_ended`."""
    pen = _Pen(info, per_step)
    yield pen.event(EventKind.RUN_STARTED, cell=info.cell, protocol=info.protocol)
    yield from pen.step(_REST, 0.2, 0.0, (3.1, 3.1))
    for cycle in range(cycles):
        pen.cycle = cycle + 1
        back_Ah = CHARGE_AH * EFFICIENCIES[min(cycle, len(EFFICIENCIES) - 1)]
        yield from pen.step(_CHARGE, 9.0, 0.9 * CHARGE_AH, (3.3, 4.2))
        yield from pen.step(_HOLD, 2.0, 0.1 * CHARGE_AH, (4.2, 4.2))
        yield from pen.step(_PAUSE, 0.5, 1e-7, (4.18, 4.15))
        yield from pen.step(_DISCHARGE, 9.0, -back_Ah, (4.1, 2.5))
    yield from pen.step(_EIS, 0.5, 0.0, (3.3, 3.3))
    yield from pen.spectrum(points)
    yield pen.event(EventKind.RUN_ENDED, outcome="completed", reason="the program is done")


def write(path: Path, *runs: tuple[RunInfo, Iterable[Entry]]) -> None:
    """Put whole runs into a journal and close it."""
    journal = Journal(path)
    try:
        for info, entries in runs:
            put(journal, info, entries)
    finally:
        journal.close()


def put(journal: Journal, info: RunInfo, entries: Iterable[Entry]) -> None:
    """Put the entries of one run into an open journal, and wait until they are on disk."""
    journal.save_run(info)
    for entry in entries:
        journal.append(entry)
        if isinstance(entry, Event) and entry.kind is EventKind.RUN_ENDED:
            journal.save_run(ended(info, entry.utc_s, str(entry.data["outcome"])))
    assert journal.sync().wait(10)


def without_end(entries: Iterable[Entry]) -> list[Entry]:
    """The same entries, as if the run went on."""
    kept = [e for e in entries if not (isinstance(e, Event) and e.kind is EventKind.RUN_ENDED)]
    return kept
