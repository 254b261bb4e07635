"""What follows from the journal's rows."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.model import Event, EventKind, Record
from daq.recorder import derive
from daq.recorder.columns import Rows
from tests import runs

INFO = runs.run_info()
ENTRIES = list(runs.formation(INFO))
RECORDS = [entry for entry in ENTRIES if isinstance(entry, Record)]
EVENTS = [entry for entry in ENTRIES if isinstance(entry, Event)]


def derived(records: list[Record], cuts: tuple[int, ...] = ()) -> Rows:
    deriver = derive.Deriver()
    edges = [0, *cuts, len(records)]
    parts = [records[a:b] for a, b in zip(edges, edges[1:], strict=False) if a < b]
    return np.concatenate([deriver.derive(derive.rows_of(part)) for part in parts])


def cycles(rows: Rows, cuts: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    fold = derive.CycleFold()
    for part in np.split(rows, cuts):
        if len(part):
            fold.add(part)
    found = fold.rows()
    return [dict(zip(found.dtype.names or (), row.item(), strict=True)) for row in found]


def test_a_step_counts_from_the_last_record_of_the_step_before() -> None:
    rows = derived(RECORDS)
    for number in np.unique(rows["step_count"]):
        step = rows[rows["step_count"] == number]
        before = rows[rows["step_count"] < number]
        start = before["charge_Ah"][-1] if len(before) else 0.0
        assert step["step_charge_Ah"].tolist() == (step["charge_Ah"] - start).tolist()


def test_what_the_steps_move_adds_up_to_what_the_run_moves() -> None:
    rows = derived(RECORDS)
    last = rows[np.append(np.flatnonzero(np.diff(rows["step_count"])), len(rows) - 1)]
    for name in derive.COUNTERS:
        assert last[f"step_{name}"].sum() == pytest.approx(rows[name][-1], rel=1e-12)


def test_a_cycle_counts_from_the_last_record_of_the_cycle_before() -> None:
    rows = derived(RECORDS)
    second = rows[rows["cycle_number"] == 2]
    assert second["cycle_charge_Ah"][-1] == pytest.approx(runs.CHARGE_AH, rel=1e-6)
    assert second["cycle_discharge_Ah"][0] == 0.0


@given(st.lists(st.integers(0, len(RECORDS)), max_size=8))
def test_how_the_rows_are_cut_into_batches_changes_no_bit(cuts: list[int]) -> None:
    at = tuple(sorted(cuts))
    whole = derived(RECORDS)
    assert derived(RECORDS, at).tobytes() == whole.tobytes()
    fold_a, fold_b = derive.CycleFold(), derive.CycleFold()
    fold_a.add(whole)
    for part in np.split(whole, at):
        if len(part):
            fold_b.add(part)
    assert fold_a.rows().tobytes() == fold_b.rows().tobytes()


def test_a_quantity_that_nothing_measured_is_nan() -> None:
    rows = derived(RECORDS)
    missing = [math.isnan(record.chamber_degC) for record in RECORDS]
    assert np.isnan(rows["chamber_degC"]).tolist() == missing
    assert any(missing)


def test_cycle_figures_are_those_of_the_cell() -> None:
    first, second = cycles(derived(RECORDS))[1:]
    assert first["capacity_charge"] == pytest.approx(2.0, rel=1e-6)
    assert first["capacity_discharge"] == pytest.approx(1.72)
    assert first["coulomb_efficiency"] == pytest.approx(86.0, rel=1e-6)
    assert second["coulomb_efficiency"] == pytest.approx(98.0, rel=1e-6)
    assert first["discharge_V_average"] == pytest.approx(3.3)
    assert (first["V_minimum"], first["V_maximum"]) == (2.5, 4.2)
    assert second["cycle_start"] == pytest.approx(first["cycle_start"] + 20.5 * 3600)


def test_a_rest_with_a_leaking_meter_is_not_the_end_of_charge() -> None:
    first = cycles(derived(RECORDS))[1]
    assert first["end_of_charge_V"] == 4.2  # and not 4.15, where the rest after it ends
    assert first["end_of_discharge_V"] == 2.5


def test_a_cycle_that_never_discharged_has_no_efficiency_end_or_mean() -> None:
    until_rest = [record for record in RECORDS if record.step_count <= 4]
    row = cycles(derived(until_rest))[1]
    assert row["coulomb_efficiency"] == 0.0
    assert math.isnan(row["end_of_discharge_V"])
    assert math.isnan(row["discharge_V_average"])
    rest = cycles(derived(until_rest))[0]
    assert math.isnan(rest["coulomb_efficiency"])


def test_a_spectrum_is_numbered_by_its_step_and_polar_agrees_with_cartesian() -> None:
    rows = derive.spectrum_rows(EVENTS)
    assert len(rows) == 13
    assert set(rows["test_id"]) == {10}
    z = rows["z_mag"] * np.exp(1j * np.radians(rows["z_phase"]))
    assert z.real == pytest.approx(rows["z_real"])
    assert z.imag == pytest.approx(rows["z_imag"])
    assert (rows["z_imag"] < 0).all()  # capacitive, as measured


def test_events_keep_all_but_spectrum_points_with_their_data() -> None:
    rows = derive.event_rows(EVENTS)
    kept = [event for event in EVENTS if event.kind is not EventKind.SPECTRUM_POINT]
    assert [kind.decode() for kind in rows["kind"]] == [event.kind.value for event in kept]
    assert [json.loads(data) for data in rows["data"]] == [dict(event.data) for event in kept]


@pytest.mark.parametrize("length", [0, 60, 200, 5000])
def test_an_event_too_long_for_the_live_file_stays_valid_json(length: int) -> None:
    event = Event(EventKind.NOTE, 0.0, data={"text": 'Ω"' * length})
    (row,) = derive.event_rows([event], width=256)
    read = json.loads(row["data"])
    assert read == dict(event.data) if length <= 60 else "truncated" in read


def test_a_run_without_events_or_points_gives_empty_tables() -> None:
    assert len(derive.event_rows([])) == len(derive.spectrum_rows([])) == 0
    assert len(derive.CycleFold().rows()) == 0
