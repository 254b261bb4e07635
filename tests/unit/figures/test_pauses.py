"""A run that stood still for a while: no part of a step, and seen in every picture."""

from __future__ import annotations

from math import inf
from pathlib import Path

import numpy as np
import pytest

from daq.figures.differential import Curve, dqdv, dvdq
from daq.journal import Journal
from daq.pauses import Pauses, held_s, only_pauses
from daq.recorder import plot as run_plot
from daq.report import tables
from daq.report.data import load
from daq.report.document import document
from daq.report.drawing import time_picture
from daq.report.summary import Choices, Summary, summarise
from simulators.cell import Cell
from simulators.clock import ManualClock
from simulators.rig import Position
from tests.virtual import VirtualBench, closed_file

CHARGE = """
protocol: charge
version: 1.0.0
record: {every: 10 s}
safety: {voltage: [2.4 V, 4.25 V], charge: 115 %}
steps:
  - charge: 1C
    until: time >= 40 min
    at_most: 1 h
"""
PAUSE = (15 * 60.0, 26 * 60.0)


def charged(folder: Path, pause: tuple[float, float]) -> Path:
    """A charge of 40 minutes at 2.5 A, paused or not."""
    folder.mkdir()
    clock = ManualClock()
    journal = Journal(folder / "j.sqlite")
    position = Position(Cell("nmc", 2.5, 0.1, formed=True), clock)
    bench = VirtualBench(journal, position, clock, CHARGE, pause=pause)
    bench.run()
    journal.close()
    return closed_file(folder / "j.sqlite", bench.info.id, folder)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same charge without a pause, and with one."""
    folder = tmp_path_factory.mktemp("pauses")
    return charged(folder / "whole", (inf, 0.0)), charged(folder / "paused", PAUSE)


@pytest.fixture(scope="module")
def both(files: tuple[Path, Path]) -> tuple[Summary, Summary]:
    whole, paused = (summarise(load(file), Choices(circuit="")) for file in files)
    return whole, paused


def test_a_pause_is_no_time_of_its_step_and_does_not_dilute_its_current(both) -> None:
    whole, paused = (one.steps[0] for one in both)
    assert paused.whole.duration_s == pytest.approx(2400, abs=2)
    assert paused.whole.paused_s == pytest.approx(PAUSE[1], abs=2)
    assert paused.mean_A == pytest.approx(2.5, rel=2e-3)
    assert (whole.whole.paused_s, whole.mean_A) == (0.0, pytest.approx(2.5, rel=2e-3))


def test_the_tables_and_the_json_tell_of_the_pause(both) -> None:
    whole, paused = both
    assert "0:40:00 h and 0:26:00 h of pauses" in tables.totals_table(paused).note
    assert "of pauses" not in tables.totals_table(whole).note
    (step,) = document(paused)["steps"]
    assert step["paused_s"] == pytest.approx(PAUSE[1], abs=2)


def test_a_pause_makes_no_spike_of_the_differential_curves(both) -> None:
    (whole,), (paused,) = (one.differentials for one in both)
    middle = slice(len(whole.dvdq.y) // 10, -len(whole.dvdq.y) // 10)
    assert np.nanmax(np.abs(paused.dvdq.y[middle])) < 3 * np.abs(whole.dvdq.y[middle]).max()
    assert np.isnan(paused.dvdq.y).sum() == 1
    assert np.nanmax(paused.dqdv.y) < 1.1 * whole.dqdv.y.max()
    assert _area(paused.dqdv) == pytest.approx(40 / 60 * 2.5, rel=0.02)


def _area(curve: Curve) -> float:
    """Below all of its pieces."""
    step = curve.x[1] - curve.x[0]
    return step * float(np.nansum(curve.y))


def _spans(axis) -> list[tuple[float, float]]:
    """From and to of what is hatched as a pause, in hours."""
    bars = [one for one in axis.collections if one.get_label() == run_plot.STOOD_STILL]
    boxes = [path.get_extents() for one in bars for path in one.get_paths()]
    return [(box.x0, box.x1) for box in boxes]


def test_a_pause_is_hatched_over_its_step_in_the_pictures(both, files) -> None:
    whole, paused = both
    assert all(_spans(axis) == [] for axis in time_picture(whole).axes)
    start_h, end_h = PAUSE[0] / 3600, sum(PAUSE) / 3600
    for axis in time_picture(paused).axes[:3]:
        assert _spans(axis) == [pytest.approx((start_h, end_h), abs=2 / 3600)]
    legend = time_picture(paused).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["charge", "stood still"]


def test_daq_plot_hatches_the_same_pause(files, tmp_path: Path, monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(run_plot, "_hatch_pauses", lambda axes, spans: seen.append(spans))
    run_plot.plot(files[1], tmp_path / "p.png")
    assert seen == [[pytest.approx((PAUSE[0] / 3600, sum(PAUSE) / 3600), abs=2 / 3600)]]


TIME_S = np.array([0.0, 10, 20, 30, 40, 50, 60, 70, 70.02, 80])
STEP_S = np.array([0.0, 10, 14, 14, 14, 21, 31, 41, 0.0, 9.98])  # stands from 14 s to 43 s
COUNT = np.array([1, 1, 1, 1, 1, 1, 1, 1, 2, 2])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 10])
def test_a_pause_is_the_same_however_the_records_come(size: int) -> None:
    found = Pauses()
    for start in range(0, len(TIME_S), size):
        part = slice(start, start + size)
        found.add(TIME_S[part], STEP_S[part], COUNT[part])
    assert found.spans_s() == [pytest.approx((14.0, 43.0))]


def test_the_milliseconds_before_an_output_is_on_are_no_pause() -> None:
    held = held_s(np.array([0.0, 0.3, 10.3]), np.array([0.0, 0.0, 10.0]), np.array([1, 1, 1]))
    assert held.tolist() == [0.0, pytest.approx(0.3), 0.0]
    assert only_pauses(held).sum() == 0


def test_charge_and_voltage_across_a_break_are_left_out() -> None:
    charge = np.linspace(0, 1, 201)
    volts = 3.0 + 0.5 * charge - np.where(charge > 0.5, 0.2, 0.0)
    breaks = np.diff(charge > 0.5, prepend=False)
    assert np.abs(dvdq(charge, volts).y).max() > 5  # the jump, smeared
    curve = dvdq(charge, volts, breaks=breaks)
    known = np.isfinite(curve.y)
    assert curve.y[known] == pytest.approx(0.5)
    assert _area(dqdv(charge, volts, breaks=breaks)) == pytest.approx(1 - 1 / 200)
