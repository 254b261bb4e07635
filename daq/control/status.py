"""What a station looks like from outside: one flat document, the same for CLI, MQTT and journal.

Numbers that are not known are None: these documents leave the process as JSON.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from daq.clock import monotonic
from daq.control.conductor import Conductor
from daq.control.run import Run
from daq.control.station import Station
from daq.protocol.engine import Engine
from daq.protocol.program import End, Program, Repeat

_NO_RUN: dict[str, Any] = dict.fromkeys(
    (
        "run", "cell", "protocol", "version", "cycle", "cycles", "step", "step_kind",
        "step_text", "step_count", "step_time_s", "test_time_s", "expected_s", "remaining_s",
        "progress", "charge_Ah", "discharge_Ah", "charge_Wh", "discharge_Wh",
    )
)  # fmt: skip


def station_status(station: Station) -> dict[str, Any]:
    """The status of one station. Reads attributes of another thread, changes nothing."""
    run = station.conductor.run
    return {
        "station": station.name,
        "mode": station.mode.value,
        "why": _why(station.conductor),
        **_readings(station),
        **(_run_status(run) if run else _NO_RUN),
        "trip": _trip(station),
        "maintenance": station.maintenance,
        "utc_s": station.utc(),
    }


def _why(conductor: Conductor) -> str:
    return conductor.paused or conductor.waiting


def _trip(station: Station) -> dict[str, str] | None:
    trip = station.latch
    return trip and {"check": trip.check, "message": trip.message, "source": trip.source}


def _readings(station: Station) -> dict[str, Any]:
    sample = station.last
    reading = sample.reading if sample else None
    return {
        "voltage_V": number(reading.voltage_V) if reading else None,
        "current_A": number(reading.current_A) if reading else None,
        "temperature_degC": number(station.climate.cell_degC),
        "chamber_degC": number(station.climate.chamber_degC),
        "sensors": station.sensors.named(monotonic()),
        "output_on": station.output.on,
        "output_owed": station.output.owed,
    }


def _run_status(run: Run) -> dict[str, Any]:
    engine, info = run.engine, run.info
    program = engine.program
    static = {
        "run": info.id,
        "cell": info.cell,
        "protocol": program.protocol,
        "version": program.version,
        "expected_s": number(program.expected_s),
    }
    if not engine.started:
        return _NO_RUN | static
    return _NO_RUN | static | _engine_status(engine) | run.counters()


def _engine_status(engine: Engine) -> dict[str, Any]:
    step = engine.step
    left_s = engine.program.expected_s * (1 - engine.progress)
    return {
        "cycle": engine.cycle,
        "cycles": cycles(engine.program),
        "step": step.number,
        "step_kind": step.kind.value,
        "step_text": step.text,
        "step_count": engine.step_count,
        "step_time_s": number(engine.step_time_s),
        "test_time_s": number(engine.test_time_s),
        "remaining_s": number(left_s),
        "progress": number(engine.progress),
    }


def number(value: float) -> float | None:
    """A float for JSON: None where it is nan or infinite."""
    return value if isfinite(value) else None


def cycles(program: Program) -> int:
    """How many cycles a program has in all."""
    total, factors = 0, [1]
    for item in program.instructions:
        if isinstance(item, Repeat):
            factors.append(factors[-1] * item.times)
            total += factors[-1] if item.counts_cycles else 0
        elif isinstance(item, End):
            factors.pop()
    return total
