"""What belongs to which step and cycle, on the crude cell whose figures are known by hand."""

from __future__ import annotations

from math import isnan
from pathlib import Path

import numpy as np
import pytest

from daq.figures import pulses, scopes
from daq.journal import JournalReader
from daq.model import Event, EventKind
from daq.report.data import load
from daq.report.summary import Choices, summarise
from tests import runs


@pytest.fixture
def data(tmp_path: Path):
    info = runs.run_info()
    runs.write(tmp_path / "j.sqlite", (info, runs.formation(info, cycles=2)))
    with JournalReader(tmp_path / "j.sqlite") as reader:
        return load(reader, info.id)


def test_the_cycles_have_the_efficiencies_that_the_cell_was_given(data) -> None:
    cycles = scopes.cycle_figures(data.rows)
    found = [cycle.coulombic_efficiency_pct for cycle in cycles]
    assert found == pytest.approx([86.0, 98.0])
    assert cycles[1].retention_pct == pytest.approx(100 * 0.98 / 0.86)


def test_a_cycle_that_goes_one_way_only_has_no_efficiency(data) -> None:
    rows = data.rows[data.rows["step_count"] <= 3]  # rest, charge, hold
    (cycle,) = scopes.cycle_figures(rows)
    assert not cycle.both_ways
    assert isnan(cycle.coulombic_efficiency_pct) and isnan(cycle.retention_pct)
    assert cycle.reference_cycle == -1
    assert cycle.whole.moved.charge_Ah == pytest.approx(2.0)


def test_a_run_that_still_goes_on_is_read_from_the_journal(tmp_path: Path) -> None:
    info = runs.run_info()
    entries = runs.without_end(runs.formation(info, cycles=1))
    runs.write(tmp_path / "j.sqlite", (info, entries))
    with JournalReader(tmp_path / "j.sqlite") as reader:
        summary = summarise(load(reader, info.id), Choices(circuit=""))
    assert len(summary.steps) == 6
    assert summary.reasons[2] == "time"
    assert summary.spectra[0].fault == "no circuit was chosen"


def test_a_gap_is_not_integrated_by_the_records_as_it_is_not_by_the_counters(
    tmp_path: Path,
) -> None:
    info = runs.run_info()
    entries = list(runs.formation(info, cycles=1))
    records = [entry for entry in entries if not isinstance(entry, Event)]
    charge = [record for record in records if record.step == 2]
    gap = {"from_utc_s": charge[4].utc_s, "to_utc_s": charge[5].utc_s}
    entries.insert(
        -1, Event(EventKind.GAP, charge[5].utc_s, "A1", info.id, 0.0, {**gap, "reason": "away"})
    )
    runs.write(tmp_path / "j.sqlite", (info, entries))
    with JournalReader(tmp_path / "j.sqlite") as reader:
        data = load(reader, info.id)
    assert int(data.unseen.sum()) == 1
    seen = scopes.run_scope(data.rows).integrated.charge_Ah
    without = scopes.run_scope(data.rows, data.unseen).integrated.charge_Ah
    width_h = (charge[5].test_time_s - charge[4].test_time_s) / 3600
    assert seen - without == pytest.approx(0.2 * width_h)


def test_nominal_capacity_is_needed_to_tell_a_pulse_from_noise(data) -> None:
    assert pulses.find_pulses(data.rows, float("nan")) == []
    assert pulses.find_pulses(data.rows, 0.0) == []


def test_records_that_are_too_far_apart_give_no_resistance(data) -> None:
    # A record every 1705 s: around 30,000 s that is near enough, around 1 s and 3,000 s it is not.
    found = pulses.find_pulses(data.rows, 2.0, times_s=(1.0, 3e3, 3e4))
    begun = [pulse for pulse in found if pulse.edge == "on"]
    assert [pulse.step for pulse in begun] == [2, 5, 5]  # the second charge follows no rest
    for pulse in begun:
        told = {at.after_s: np.isfinite(at.ohm) for at in pulse.resistances}
        assert told == {1.0: False, 3e3: False, 3e4: True}
    assert pulses.find_pulses(data.rows, 2.0, times_s=(1.0,)) == []
