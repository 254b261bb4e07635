"""Limits and thresholds in tiers: no combination of tiers widens what any one of them allows."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.checks import OFF, Checks
from daq.errors import InputError
from daq.labreader import load_lab
from daq.model import EVERYWHERE, Limits
from daq.protocol.compile import compile_protocol
from daq.protocol.source import parse_protocol
from tests.unit.fakes import CELL, HARD

numbers = st.floats(-100.0, 100.0)
spans = st.one_of(
    st.just(EVERYWHERE), st.tuples(numbers, numbers).map(lambda ends: (min(ends), max(ends)))
)
limits = st.builds(Limits, spans, spans, spans, st.floats(0.0, 100.0), spans, spans)
checks = st.builds(Checks, **{field.name: st.floats(0.0, 1e6) for field in fields(Checks)})


@given(st.lists(limits, min_size=1, max_size=5), numbers)
def test_what_one_tier_forbids_all_of_them_forbid(tiers, value):
    together = Limits()
    for tier in tiers:
        together = together.tighten(tier)
    for field in fields(Limits):
        if field.name == "charge_Ah":
            assert together.charge_Ah == min(tier.charge_Ah for tier in tiers)
            continue
        allowed = getattr(together, field.name)
        for tier in tiers:
            low, high = getattr(tier, field.name)
            if allowed[0] <= value <= allowed[1]:
                assert low <= value <= high


@given(checks, checks)
def test_thresholds_only_tighten_and_the_order_does_not_matter(one, other):
    both = one.tighten(other)
    assert both == other.tighten(one)
    assert both.tighten(one) == both
    for name, off in OFF.items():
        stricter = max if off == 0.0 else min
        assert getattr(both, name) == stricter(getattr(one, name), getattr(other, name))


def compiled(steps: str, safety: str = "{}", tier: Limits = HARD):
    text = f"protocol: t\nversion: 1.0.0\nsafety: {safety}\nsteps:\n{steps}"
    return compile_protocol(parse_protocol(text, "t.yaml"), CELL, [("station A1", tier)])


CHARGE = "  - charge: 1C\n    until: voltage >= 4.2 V\n    at_most: 2 h\n"
DISCHARGE = "  - discharge: 1C\n    until: voltage <= 2.7 V\n    at_most: 2 h\n"
COLD = Limits((2.0, 4.35), (-10.0, 10.0), (-30.0, 60.0))


def test_each_direction_has_its_own_temperatures_and_no_charge_is_below_freezing():
    program = compiled(
        CHARGE + DISCHARGE + "  - rest: 1 h\n",
        "{charging_temperature: [-20 degC, 40 degC], discharging_temperature: [-10 degC, 50 degC]}",
        COLD,
    )
    spans = [step.limits.temperature_degC for step in program.steps]
    assert spans == [(0.0, 40.0), (-10.0, 50.0), (-30.0, 60.0)]


def test_a_charge_that_is_wanted_below_freezing_is_refused():
    with pytest.raises(InputError, match="no temperature is left") as refused:
        compiled(CHARGE, "{temperature: [-30 degC, -5 degC]}", COLD)
    assert refused.value.remedy == "no cell is charged below 0 degC"
    assert compiled(DISCHARGE, "{temperature: [-30 degC, -5 degC]}", COLD)


def test_charge_is_limited_to_105_percent_where_nobody_says_anything():
    assert compiled(CHARGE).steps[0].limits.charge_Ah == pytest.approx(1.05 * 2.5)
    said = compiled(CHARGE, "{charge: 125 %}").steps[0]
    assert said.limits.charge_Ah == pytest.approx(1.25 * 2.5)
    ceiling = Limits(HARD.voltage_V, HARD.current_A, HARD.temperature_degC, 2.6)
    assert compiled(CHARGE, "{charge: 125 %}", ceiling).steps[0].limits.charge_Ah == 2.6


def test_a_program_has_its_longest_time_and_its_cycles():
    program = compiled(f"  - repeat: 3\n    steps:\n{_deeper(CHARGE)}{_deeper(DISCHARGE)}")
    assert program.cycles == 3
    assert program.longest_s == pytest.approx(1.02 * 6 * 7200.0 + 60.0)
    program = compiled(CHARGE, "{time: 1 h, cycles: 1, checks: {T3: 1 K/min, P2: off}}")
    assert (program.longest_s, program.cycles) == (3600.0, 1)
    assert program.checks.T3 == 1.0
    assert Checks().tighten(program.checks).P2 == 60.0  # a protocol switches nothing off


def _deeper(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())


@pytest.mark.parametrize(
    "step",
    [
        "  - charge: 1C\n    until: voltage >= 4.2 V\n",
        "  - discharge: 1C\n    until: voltage <= 2.7 V\n",
        "  - hold: 4.2 V\n    until: current <= C/50\n",
        "  - cccv: {charge: 1C, voltage: 4.2 V}\n    until: current <= C/50\n",
    ],
)
def test_every_step_that_moves_charge_says_at_most_how_long(step):
    with pytest.raises(InputError, match="at_most"):
        compiled(step)


def test_a_sweep_has_a_longest_time_of_its_own():
    program = compiled("  - eis: {from: 1 kHz, to: 10 Hz, amplitude: 5 mV}\n")
    assert program.steps[0].at_most_s == 3600.0


LAB = """
lab: t
instruments:
  aps1: {driver: keysight_aps, resource: "TCPIP::127.0.0.1::5025::SOCKET", period: PERIOD}
  mk53: {driver: binder, resource: "modbus+tcp://127.0.0.1:502"}
stations:
  A1:
    cycler: aps1
    chamber: mk53
    limits: {voltage: [2 V, 4 V], current: [-1 A, 1 A], temperature: [0 degC, 60 degC]}
"""


def lab(tmp_path, more: str = "", period: str = "1 s"):
    path = tmp_path / "lab.yaml"
    path.write_text(LAB.replace("PERIOD", period) + more)
    return load_lab(path)


def test_a_station_without_a_word_has_all_checks_and_its_chamber_as_interlock_and_group(tmp_path):
    station = lab(tmp_path).stations["A1"]
    assert station.checks == Checks()
    assert [str(ref) for ref in station.interlocks] == ["mk53.1"]
    assert station.group == "mk53.1"
    assert station.group_trips == {"K1"}
    assert station.relay is station.voltage_check is None


def test_a_station_says_what_it_wants(tmp_path):
    more = (
        "    checks: {T3: 4 K/min, P2: off, R1: 30, Q1: 120 %, S2: off}\n"
        "    interlocks: []\n    group: oven\n    group_trips: [T1]\n    relay: mk53\n"
        "    voltage_check: mk53\n"
    )
    station = lab(tmp_path, more).stations["A1"]
    assert (station.checks.T3, station.checks.R1, station.checks.Q1) == (4.0, 30.0, 1.2)
    assert station.checks.switched_off == ("S2", "P2")
    assert station.interlocks == ()
    assert (station.group, station.group_trips) == ("oven", {"K1", "T1"})
    assert str(station.relay) == str(station.voltage_check) == "mk53.1"


@pytest.mark.parametrize(
    ("more", "period", "said"),
    [
        ("    interlocks: [di9]\n", "1 s", "no instrument is called 'di9'"),
        ("    voltage_check: aps1.2\n", "1 s", "is of the cycler itself"),
        ("    relay: do1\n", "1 s", "no instrument is called 'do1'"),
        ("    checks: {V1: off}\n", "1 s", "unknown key 'V1'"),
        ("    checks: {T3: 2 K}\n", "1 s", "rate of temperature"),
        ("    group_trips: [door]\n", "1 s", "is not a check"),
        ("", "1.1 s", "guards no cell"),
    ],
)
def test_what_a_station_cannot_have_is_refused(tmp_path, more, period, said):
    with pytest.raises(InputError, match=said):
        lab(tmp_path, more, period)
