"""A run of the whole daemon, held against what the cyclers themselves have counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daq.model import EventKind
from daq.report.data import RunData, load
from daq.report.document import document
from daq.report.summary import Choices, summarise
from daq.report.tables import tables
from tests.system.daemon import FAMILIES, Daemon, running_daemon, wait_until

SECONDS = 360.0
FACTORS = {"keysight_aps": 60.0, "ea_psb": 30.0}
"""The EA takes 50 ms a message: of the same step it sees less in as much real time."""

PROTOCOL = f"""
protocol: there-and-back
version: 1.0.0
record: {{every: 20 s, voltage: 5 mV}}
safety: {{voltage: [2.4 V, 4.25 V], temperature: [5 degC, 50 degC], charge: 115 %}}
steps:
  - charge: 1C
    until: time >= {SECONDS:g} s
    at_most: 1 h
  - rest: 1 min
  - discharge: 1C
    until: time >= {SECONDS:g} s
    at_most: 1 h
  - rest: 1 min
"""
DIGITS_PCT = {"keysight_aps": 0.05, "ea_psb": 0.8}
"""The simulated EA shows its counter to 1 mAh, of some 250 mAh."""


def finished(daemon: Daemon) -> RunData:
    run = daemon.run(PROTOCOL)
    wait_until(lambda: daemon.events(EventKind.RUN_ENDED), daemon.log, 120)
    path = daemon.data / "runs" / f"{run}.h5"
    wait_until(path.exists, daemon.log)
    return load(path)


def open_pct(data: RunData) -> float:
    """Of a step's charge: what the switchings leave open, which lie between two records each."""
    step_A = np.abs(np.diff(data.rows["current"]))
    switched = step_A > 0.5 * step_A.max()
    return 100 * float(np.diff(data.rows["test_time"])[switched].sum() / 2) / (2 * SECONDS)


def figures(data: RunData) -> dict[str, Any]:
    return document(summarise(data, Choices(circuit="")))


def deviations(found: dict[str, Any]) -> dict[str, float]:
    """By the kind of step; the rests move nothing."""
    return {
        step["kind"]: step["instrument"]["charge_deviation_pct"]
        for step in found["steps"]
        if step["kind"] != "rest"
    }


@pytest.mark.timeout(200)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_is_held_against_what_its_cycler_has_counted(tmp_path: Path, family: str) -> None:
    with running_daemon(tmp_path, factor=FACTORS[family], dialect=family) as (_, daemon):
        data = finished(daemon)
        journal = len(daemon.events(EventKind.COUNTED))
    found = figures(data)
    assert [step["instrument"]["missing"] for step in found["steps"]] == [None] * 4
    assert journal == 4 == found["whole"]["instrument"]["steps"]
    allowed_pct = DIGITS_PCT[family] + open_pct(data)
    assert allowed_pct < {"keysight_aps": 1.5, "ea_psb": 9.0}[family], "the machine is too busy"
    assert all(abs(one) < allowed_pct for one in deviations(found).values())
    assert 0 < found["whole"]["instrument"]["charge_deviation_pct"] < allowed_pct
    energy_pct = found["whole"]["instrument"]["energy_deviation_pct"]
    assert energy_pct is None if family == "ea_psb" else 0 < energy_pct < allowed_pct
    for step in found["steps"]:
        if step["kind"] != "rest":  # its own charge goes up to the same two moments
            assert step["instrument"]["net_Ah"] == pytest.approx(
                step["net_Ah"], rel=allowed_pct / 100
            )
    (table,) = (one for one in tables(summarise(data)) if "own counters" in one.title)
    assert [row[0] for row in table.rows] == ["1", "3"]


@pytest.mark.timeout(200)
def test_a_reading_that_is_off_shows_against_the_counters(tmp_path: Path) -> None:
    with running_daemon(tmp_path, factor=60.0) as (bench, daemon):
        bench.fault("aps1", "offset", quantity="current_A", by=0.05)
        data = finished(daemon)
    found = figures(data)
    off, allowed_pct = deviations(found), 0.1 + open_pct(data)
    assert allowed_pct < 1.9
    assert off["charge"] == pytest.approx(2.0, abs=allowed_pct)  # 0.05 A of 2.5 A
    assert off["discharge"] == pytest.approx(2.0, abs=allowed_pct)
    assert found["whole"]["instrument"]["charge_deviation_pct"] > 1.5


@pytest.mark.timeout(200)
def test_a_cycler_that_has_no_counters_shows_none_and_its_run_is_whole(tmp_path: Path) -> None:
    options = {"counters": False}
    with running_daemon(tmp_path, factor=60.0, options=options) as (_, daemon):
        data = finished(daemon)
        (ended,) = daemon.events(EventKind.RUN_ENDED)
        assert ended.data["outcome"] == "completed"
        assert daemon.events(EventKind.COUNTED) == []
        assert not daemon.events(EventKind.TRIP)
        paused = daemon.events(EventKind.PAUSED)
        waits = [e for e in daemon.events(EventKind.NOTE) if "waits" in e.data.get("text", "")]
    assert not paused
    assert not waits, "the run was interrupted by somebody who asked for counters"
    found = figures(data)
    assert found["whole"]["instrument"] is None
    assert {step["instrument"] for step in found["steps"]} == {None}
    assert not [one for one in tables(summarise(data)) if "own counters" in one.title]
