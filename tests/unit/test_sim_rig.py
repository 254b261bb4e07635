"""Leads on a cell, regulation between two limits, and the ledger of what flowed."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.cell import Cell
from simulators.chamber import ChamberModel
from simulators.clock import BenchClock, ManualClock
from simulators.rig import Position


def wired(soc: float = 0.5, factor: float = 1.0) -> tuple[ManualClock, Position]:
    clock = ManualClock(factor)
    return clock, Position(Cell("nmc", 2.5, soc), clock, owner="aps1/1")


def pass_time(clock: ManualClock, position: Position, seconds: float) -> None:
    clock.advance(seconds)
    position.advance()


def test_an_open_cell_carries_no_current():
    clock, position = wired()
    pass_time(clock, position, 3600.0)
    assert position.current_A == 0.0
    assert position.regulation == "off"
    assert position.voltage_V == pytest.approx(position.open_circuit_V)


def test_a_charge_is_limited_by_current_first_and_by_voltage_later():
    clock, position = wired(soc=0.8)
    position.drive(4.2, 1.0, 0.0)
    assert (position.regulation, position.current_A) == ("cc+", 1.0)
    pass_time(clock, position, 3600.0)
    assert position.regulation == "cv"
    assert position.voltage_V == pytest.approx(4.2, abs=1e-6)
    assert 0.0 < position.current_A < 1.0


def test_a_discharge_is_limited_by_current_first_and_by_voltage_later():
    clock, position = wired(soc=0.2)
    position.drive(2.5, 0.0, 2.5)
    assert (position.regulation, position.current_A) == ("cc-", -2.5)
    pass_time(clock, position, 3600.0)
    assert position.regulation == "cv"
    assert position.voltage_V == pytest.approx(2.5, abs=1e-6)


def test_the_switch_to_constant_voltage_is_found_inside_one_long_step():
    coarse_clock, coarse = wired(soc=0.7)
    fine_clock, fine = wired(soc=0.7)
    for position in (coarse, fine):
        position.drive(4.2, 1.25, 0.0)
    pass_time(coarse_clock, coarse, 5000.0)
    for _ in range(50_000):
        pass_time(fine_clock, fine, 0.1)
    assert coarse.ledger.peak_V <= 4.2 + 1e-6
    assert coarse.ledger.charged_Ah == pytest.approx(fine.ledger.charged_Ah, rel=5e-4)
    assert coarse.current_A == pytest.approx(fine.current_A, abs=2e-4)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.floats(0.0, 1500.0), max_size=8))
def test_the_charge_that_flowed_does_not_depend_on_when_somebody_looked(cuts):
    clock, position = wired(soc=0.3)
    position.drive(4.2, 0.5, 0.0)
    for cut in cuts:
        pass_time(clock, position, cut)
    pass_time(clock, position, 12_000.0 - sum(cuts))
    assert position.ledger.charged_Ah == pytest.approx(0.5 * 12_000.0 / 3600.0, rel=1e-9)
    assert position.ledger.charged_Wh == pytest.approx(6.468, rel=1e-3)


def test_the_energy_of_a_rapid_look_and_a_slow_one_agree():
    books = []
    for looks in (1, 5000):
        clock, position = wired(soc=0.3)
        position.drive(4.2, 2.0, 0.0)
        for _ in range(looks):
            pass_time(clock, position, 2000.0 / looks)
        books.append(position.ledger.charged_Wh)
    assert books[0] == pytest.approx(books[1], rel=1e-4)


def test_the_ledger_keeps_charge_and_discharge_apart():
    clock, position = wired()
    position.drive(5.0, 2.0, 0.0)
    pass_time(clock, position, 360.0)
    position.drive(0.0, 0.0, 1.0)
    pass_time(clock, position, 720.0)
    ledger = position.ledger
    assert ledger.charged_Ah == pytest.approx(0.2)
    assert ledger.discharged_Ah == pytest.approx(0.2)
    assert ledger.charged_Wh > ledger.discharged_Wh > 0.0
    assert (ledger.peak_A, ledger.lowest_A) == (2.0, -1.0)


def test_every_switching_is_an_edge_with_both_stamps_and_a_new_setpoint_is_none():
    clock, position = wired(factor=100.0)
    pass_time(clock, position, 50.0)
    position.drive(4.2, 1.0, 0.0)
    position.drive(4.2, 0.5, 0.0)
    pass_time(clock, position, 100.0)
    position.open()
    position.open()
    edges = [(e.on, e.bench_s, e.real_s, e.by) for e in position.ledger.edges]
    assert edges == [(True, 50.0, 0.5, "aps1/1"), (False, 150.0, 1.5, "aps1/1")]
    assert position.ledger.on is False


def test_the_potentiostat_that_never_drove_cannot_open_the_cyclers_relay():
    clock, cycler = wired()
    potentiostat = cycler.lead("pico/1")
    cycler.drive(4.2, 1.0, 0.0)
    potentiostat.open()
    pass_time(clock, cycler, 10.0)
    assert cycler.current_A == 1.0
    assert potentiostat.current_A == 0.0
    assert potentiostat.regulation == "off"
    assert potentiostat.voltage_V == cycler.voltage_V


def test_a_second_source_takes_the_cell_over():
    clock, cycler = wired()
    potentiostat = cycler.lead("pico/1")
    cycler.drive(4.2, 1.0, 0.0)
    potentiostat.drive(4.2, 0.1, 0.1)
    cycler.open()
    pass_time(clock, cycler, 10.0)
    assert potentiostat.current_A == pytest.approx(0.1)
    assert [e.by for e in cycler.ledger.edges if e.on] == ["aps1/1", "pico/1"]


def test_what_flows_after_a_marked_limit_is_counted_from_the_crossing_on():
    clock, position = wired(soc=0.85)
    position.ledger.mark("overcharge", "voltage_V", 4.2)
    position.drive(4.6, 1.0, 0.0)
    pass_time(clock, position, 3000.0)
    mark = position.ledger.marks["overcharge"]
    assert mark.crossed_bench_s is not None
    assert 60.0 < mark.crossed_bench_s < 2900.0
    expected_Ah = (3000.0 - mark.crossed_bench_s) / 3600.0
    assert mark.charged_Ah == pytest.approx(expected_Ah, rel=1e-6)
    assert 4.2 < mark.energy_J / (3600.0 * expected_Ah) < 4.6


def test_a_crossing_seen_through_one_long_look_is_where_a_watchful_eye_sees_it():
    crossings = []
    for looks in (1, 3000):
        clock, position = wired(soc=0.85)
        position.ledger.mark("overcharge", "voltage_V", 4.2)
        position.drive(4.6, 1.0, 0.0)
        for _ in range(looks):
            pass_time(clock, position, 3000.0 / looks)
        crossings.append(position.ledger.marks["overcharge"].crossed_bench_s)
    assert crossings[0] == pytest.approx(crossings[1], abs=2.0)


def test_a_limit_that_is_never_crossed_counts_nothing():
    clock, position = wired()
    position.ledger.mark("empty", "voltage_V", 2.5, above=False)
    position.ledger.mark("hot", "temperature_degC", 60.0)
    position.ledger.mark("strong", "current_A", 1.5)
    position.drive(4.2, 1.0, 0.0)
    pass_time(clock, position, 600.0)
    marks = position.ledger.marks.values()
    assert all(m.crossed_bench_s is None and m.charged_Ah == 0.0 for m in marks)


def test_a_ledger_is_json_even_before_anything_happened():
    _, position = wired()
    record = json.loads(json.dumps(position.ledger.as_dict(), allow_nan=False))
    assert record["peak_V"] is None
    assert record["on"] is False


def test_a_cell_in_a_chamber_follows_its_air():
    clock = ManualClock()
    chamber = ChamberModel(clock, 20.0)
    position = Position(Cell("nmc", 2.5, temperature_degC=20.0), clock, chamber)
    chamber.set(45.0)
    chamber.start()
    for _ in range(120):
        pass_time(clock, position, 60.0)
    assert position.temperature_degC == pytest.approx(45.0, abs=0.5)


def test_the_bench_clock_runs_as_many_times_faster_as_it_is_told():
    clock = BenchClock(1000.0)
    real, bench = clock.real(), clock.now()
    while clock.real() - real < 0.02:
        pass
    assert (clock.now() - bench) / (clock.real() - real) == pytest.approx(1000.0, rel=0.2)


def test_an_interrupted_lead_carries_nothing_whoever_drives_it_and_mends():
    clock = ManualClock()
    leads = Position(Cell("nmc", 2.5, 0.5), clock, owner="aps1/1")
    relay = leads.lead("io/1")
    leads.drive(4.2, 1.0, 0.0)
    clock.advance(1.0)
    relay.interrupt()
    before = leads.ledger.charged_Ah
    clock.advance(60.0)
    leads.advance()
    assert (leads.current_A, leads.regulation) == (0.0, "cv")
    assert leads.ledger.charged_Ah == before
    leads.open()
    leads.drive(4.2, 1.0, 0.0)
    assert leads.current_A == 0.0
    relay.mend()
    assert leads.current_A == 1.0
    assert [(edge.on, edge.by) for edge in leads.ledger.edges] == [
        (True, "aps1/1"),
        (False, "io/1"),
        (True, "io/1"),
    ]


def test_an_open_lead_without_a_source_makes_no_edges():
    relay = Position(Cell("nmc", 2.5, 0.5), ManualClock(), owner="io/1")
    relay.interrupt()
    relay.mend()
    assert relay.ledger.edges == []
    assert relay.regulation == "off"
