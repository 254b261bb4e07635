"""Ours for unicycler and PyBaMM: what they are told, and what they cannot be told."""

from __future__ import annotations

import json

import pytest

from daq.errors import InputError
from tests.unit.exchanging import Came, export

HEAD = "protocol: x\nversion: 1.0.0\n"
CYCLE = """
record: {every: 30 s, voltage: 5 mV}
safety: {voltage: [2.4 V, 4.3 V], current: [-3 A, 3 A], charge: 110 %}
steps:
  - rest: 1 h
  - repeat: 3
    steps:
      - charge: C/2
        until: [voltage >= 4.2 V, time >= 3 h]
        at_most: 4 h
      - hold: 4.2 V
        until: [current <= C/20, time >= 2 h]
        at_most: 3 h
      - cccv: {discharge: 1 A, voltage: 2.5 V}
        until: current <= 50 mA
        at_most: 9 h
"""


def steps(*lines: str) -> str:
    return HEAD + "steps:\n" + "".join(f"  {line}\n" for line in lines)


def test_unicycler_is_told_of_loops_directions_and_safety():
    document = json.loads(export(HEAD + CYCLE, "unicycler", capacity_Ah=2.5))
    assert document["sample"]["capacity_mAh"] == 2500.0
    assert document["record"] == {"time_s": 30.0, "voltage_V": 0.005}
    assert document["safety"] == {
        "min_voltage_V": 2.4, "max_voltage_V": 4.3, "min_current_mA": -3000.0,
        "max_current_mA": 3000.0, "max_capacity_mAh": 2750.0,
    }  # fmt: skip
    assert document["method"] == [
        {"step": "open_circuit_voltage", "until_time_s": 3600.0},
        {"step": "tag", "tag": "loop-1"},
        {
            "step": "constant_current",
            "rate_C": 0.5,
            "until_time_s": 10800.0,
            "until_voltage_V": 4.2,
        },
        {
            "step": "constant_voltage",
            "voltage_V": 4.2,
            "until_time_s": 7200.0,
            "until_rate_C": 0.05,
        },
        {"step": "constant_current", "current_mA": -1000.0, "until_voltage_V": 2.5},
        {"step": "constant_voltage", "voltage_V": 2.5, "until_current_mA": 50.0},
        {"step": "loop", "loop_to": "loop-1", "cycle_count": 3},
    ]


def test_pybamm_is_told_in_its_own_words():
    text = export(HEAD + CYCLE, "pybamm")
    assert '"Rest for 1 hours"' in text
    assert '"Charge at C/2 for 3 hours or until 4.2 V"' in text
    assert '"Discharge at 1 A until 2.5 V"' in text
    assert '"Hold at 2.5 V until 0.05 A"' in text
    assert text.rstrip().endswith("] * 3")
    assert [one.get("repeat") for one in Came(text, "pybamm").steps] == [None, 3]


def test_a_config_for_pybamm_is_positive_in_a_discharge_and_has_its_loops_written_out():
    document = json.loads(export(HEAD + CYCLE, "pybamm-config"))
    assert document["period"] == 30.0
    assert len(document["cycles"]) == 1 + 3
    charge, _, discharge, _ = document["cycles"][1]
    assert charge["value"] == -0.5
    assert discharge == {
        "type": "current", "value": 1.0, "terminations": [{"type": "voltage", "value": 2.5}],
    }  # fmt: skip


def test_a_spectrum_for_unicycler_has_its_peak():
    text = steps("- eis: {from: 10 kHz, to: 10 mHz, amplitude: 5 mV}")
    (step,) = json.loads(export(text, "unicycler"))["method"]
    assert step["amplitude_V"] == pytest.approx(0.005 * 2**0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("target", "lines", "why"),
    [
        ("unicycler", ["- charge: 2 W", "  until: voltage >= 4 V", "  at_most: 1 h"], "no power"),
        ("unicycler", ["- chamber: 25 degC"], "a temperature"),
        ("pybamm", ["- chamber: 25 degC"], "--to pybamm-config"),
        ("pybamm", ["- eis: {from: 10 Hz, to: 1 Hz, amplitude: 5 mV}"], "a spectrum"),
        ("pybamm", ["- charge: 1C", "  until: charge >= 50 %", "  at_most: 1 h"], "charge >= 50 %"),
        (
            "pybamm",
            ["- hold: 4 V", "  current: 1 A", "  until: time >= 1 h", "  at_most: 2 h"],
            "`current` of a hold",
        ),
        (
            "unicycler",
            ["- rest: 1 h", "  record: {every: 1 s}"],
            "`record` of a step",
        ),
        (
            "unicycler",
            ["- cccv: {charge: 1C, voltage: 4 V}", "  until: time >= 1 h", "  at_most: 2 h"],
            "counts from its beginning",
        ),
    ],
)
def test_what_the_other_side_cannot_say_is_refused_with_its_line(target, lines, why):
    (refused,) = export(steps(*lines), target)
    assert refused.startswith("<protocol>:4:") or refused.startswith("<protocol>:5:")
    assert why in refused


def test_a_pulse_a_resistance_and_a_ramp_are_told_where_they_have_a_counterpart():
    pulse = steps("- pulse: {discharge: 1C, for: 30 s}", "  until: voltage <= 2.5 V")
    assert '"Discharge at 1 C for 30 seconds or until 2.5 V"' in export(pulse, "pybamm")
    (step,) = json.loads(export(pulse, "unicycler", capacity_Ah=1.0))["method"]
    assert step == {
        "step": "constant_current", "rate_C": -1.0, "until_time_s": 30.0, "until_voltage_V": 2.5,
    }  # fmt: skip
    load = steps("- discharge: 20 mohm", "  until: voltage <= 2.5 V", "  at_most: 1 h")
    assert '"Discharge at 0.02 Ohm until 2.5 V"' in export(load, "pybamm")
    scan = steps("- ramp: {voltage: 4 V, from: 3 V, rate: 0.5 mV/s}", "  at_most: 1 h")
    (step,) = json.loads(export(scan, "unicycler"))["method"]
    assert step == {
        "step": "voltage_scan", "start_voltage_V": 3.0, "end_voltage_V": 4.0,
        "scan_rate_mV_per_s": 0.5,
    }  # fmt: skip
    again = Came(export(scan, "unicycler").replace("null", "50"), "unicycler")
    assert again.steps[0]["ramp"] == {"voltage": "4 V", "from": "3 V", "rate": "0.5 mV/s"}
    assert again.result.mistake is None


@pytest.mark.parametrize(
    "lines",
    [
        ["- rest: 1 h", "  until: voltage <= 3 V"],
        ["- operator: look", "  at_most: 1 h"],
        ["- repeat: 3", "  until: cycle >= 2", "  steps: [{rest: 1 h}]"],
        ["- if: cycle >= 2", "  then: [{rest: 1 h}]"],
        ["- capacity: {charge: C/2, voltage: [2.5 V, 4.2 V], discharge: C/5}"],
        ["- charge: 1C", "  until: [{when: voltage >= 4 V, end: run}]", "  at_most: 1 h"],
        ["- charge: 1C", "  until: voltage >= 4 V for 1 min", "  at_most: 1 h"],
        ["- charge: 1C", "  until: voltage >= 4 V and time >= 1 min", "  at_most: 1 h"],
        ["- charge: 1C", "  until: charge >= 50 %", "  at_most: 1 h"],
    ],
)
@pytest.mark.parametrize("target", ["unicycler", "pybamm", "pybamm-config"])
def test_what_only_we_can_say_is_refused_everywhere_and_never_dropped(lines, target):
    refused = export(steps(*lines), target, lossy=True)
    assert isinstance(refused, list)
    assert len(refused) == 1
    assert "no counterpart" in refused[0]


def test_limits_that_only_we_know_are_given_up_only_if_it_is_allowed():
    text = HEAD + "safety: {temperature: [10 degC, 45 degC]}\nsteps: [{rest: 1 h}]\n"
    assert "safety.temperature" in export(text, "unicycler")[0]
    assert json.loads(export(text, "unicycler", lossy=True))["safety"] == {}


def test_percent_of_an_unknown_capacity_is_refused():
    text = HEAD + "safety: {charge: 110 %}\nsteps: [{rest: 1 h}]\n"
    assert "--capacity" in export(text, "unicycler")[0]


def test_loops_that_would_fill_the_memory_are_refused():
    text = HEAD + "steps: [{repeat: 9999, steps: [{repeat: 9999, steps: [{rest: 1 s}]}]}]\n"
    with pytest.raises(InputError, match="more than 20000 steps"):
        export(text, "pybamm-config")


@pytest.mark.parametrize("target", ["unicycler", "pybamm", "pybamm-config"])
def test_there_and_back_again_the_steps_are_the_same(target):
    once = Came(export(HEAD + CYCLE, target, capacity_Ah=2.5), target)
    again = Came(export(once.text, target, capacity_Ah=2.5), target)
    assert again.steps == once.steps
    assert once.result.mistake is None
