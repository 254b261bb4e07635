"""Steps that ask the bench for something else than current: chamber, operator, outputs, spectra."""

from __future__ import annotations

import json
import re
from math import inf, isnan, nan

import pytest

from daq.errors import InputError
from daq.model import Spectrum
from daq.protocol.engine import Engine
from daq.protocol.program import RecordRule
from daq.protocol.recording import Keeper
from tests.unit.language.bench import Player, compiled, play


def test_a_chamber_is_led_along_a_ramp_and_soaks_when_it_has_arrived() -> None:
    player = play(
        "  - chamber: 45 degC\n    rate: 2 K/min\n"
        "    soak: {within: 0.5 K, for: 5 min, at_most: 2 h}"
    )
    first, *_, last = player.chamber_asked
    assert first[1].temperature_degC == 25.0
    assert last[1].temperature_degC == 45.0
    assert last[0] == pytest.approx(600.0, abs=4.0)
    assert {ask.target_degC for _, ask in player.chamber_asked} == {45.0}
    assert player.time_s == pytest.approx(900.0, abs=5.0)
    for time_s, ask in player.chamber_asked:
        assert ask.temperature_degC == pytest.approx(25.0 + time_s / 30.0, abs=0.1)


def test_a_ramp_without_soak_ends_when_the_last_was_asked_for() -> None:
    player = play("  - {chamber: 15 degC, rate: 1 K/min, humidity: 40 %}")
    assert player.time_s == pytest.approx(600.0, abs=7.0)
    assert player.chamber_asked[-1][1].humidity_pct == 40.0
    plain = play("  - chamber: 15 degC")
    assert [(ask.temperature_degC, isnan(ask.humidity_pct)) for _, ask in plain.chamber_asked] == [
        (15.0, True)
    ]


def test_a_ramp_goes_on_where_it_was_after_a_pause() -> None:
    player = Player(compiled("  - {chamber: 45 degC, rate: 1 K/min}"))
    player.run(most_s=300.0)
    player.act(player.engine.pause(player.see()))
    before = player.chamber_asked[-1][1].temperature_degC
    player.time_s += 1000.0
    player.act(player.engine.resume(player.see()))
    assert player.chamber_asked[-1][1].temperature_degC == pytest.approx(before, abs=0.11)
    player.run()
    assert player.time_s == pytest.approx(1200.0 + 1000.0, abs=8.0)


def test_a_step_that_waits_for_its_operator_ends_when_he_says_so() -> None:
    player = Player(compiled("  - {operator: turn the valve, at_most: 1 d}\n  - rest: 1 s"))
    player.run(most_s=100.0)
    assert player.ended == []
    assert player.setpoint is None
    engine = Engine.restore(player.program, json.loads(json.dumps(player.engine.snapshot())))
    player.engine = engine
    assert engine.confirm()
    player.run(most_s=1.0)
    assert player.ended == [(1, "confirmed")]
    assert not engine.confirm()


def test_an_operator_who_never_comes_fails_the_run() -> None:
    player = play("  - {operator: turn the valve, at_most: 1 h}", dt_s=60.0)
    assert player.finished
    assert player.finished.outcome == "failed"
    assert "not within 3600 s: confirmed" in player.finished.reason


def test_outputs_are_switched_while_the_cell_is_off() -> None:
    player = play("  - set: {stirrer: on, lamp: off}\n  - rest: 1 s")
    assert player.switched == [("stirrer", True), ("lamp", False)]
    assert player.ended[0] == (1, "switched")
    with pytest.raises(InputError, match="stirrer"):
        compiled("  - set: {stirrer: true}")


@pytest.mark.parametrize(
    ("eis", "spectrum"),
    [
        ("amplitude: 5 mV", Spectrum(1e4, 1.0, 10, 0.005, 0.0, 3600.0)),
        ("amplitude: 5 mV, bias: 20 mV", Spectrum(1e4, 1.0, 10, 0.005, 0.02, 3600.0)),
        ("amplitude: 10 mA", Spectrum(1e4, 1.0, 10, 0.0, 0.0, 3600.0, 0.01)),
        ("amplitude: C/50, charge: C/5", Spectrum(1e4, 1.0, 10, 0.0, 0.0, 3600.0, 0.02, 0.2)),
        ("amplitude: C/50, discharge: C/5", Spectrum(1e4, 1.0, 10, 0.0, 0.0, 3600.0, 0.02, -0.2)),
    ],
)
def test_a_spectrum_is_potentiostatic_or_galvanostatic(eis: str, spectrum: Spectrum) -> None:
    (step,) = compiled(f"  - eis: {{from: 10 kHz, to: 1 Hz, {eis}}}").steps
    assert step.spectrum == spectrum
    assert spectrum.galvanostatic is (spectrum.amplitude_V == 0.0)


def test_a_spectrum_during_charge_keeps_to_the_temperatures_of_a_charge() -> None:
    head = "safety: {charging_temperature: [10 degC, 45 degC]}\n"
    during, resting = compiled(
        "  - eis: {from: 10 kHz, to: 1 Hz, amplitude: C/50, charge: C/5}\n"
        "  - eis: {from: 10 kHz, to: 1 Hz, amplitude: C/50}",
        head,
    ).steps
    assert during.limits.temperature_degC == (10.0, 45.0)
    assert resting.limits.temperature_degC == (-20.0, 60.0)


@pytest.mark.parametrize(
    ("eis", "said"),
    [
        ("amplitude: 5 mV, charge: C/5", "belongs to a galvanostatic spectrum"),
        ("amplitude: 5 mA, bias: 5 mV", "belongs to a potentiostatic spectrum"),
        ("amplitude: 5 mA, charge: 1C, discharge: 1C", "a current flows one way"),
        ("amplitude: 2 V", "at most 1 V"),
        ("amplitude: 8 A", "a spectrum with a peak of 11.31 A is above the 10 A of station A1"),
        ("amplitude: 1 A, discharge: 9C", "is below the -10 A of station A1"),
    ],
)
def test_a_spectrum_that_cannot_be_is_refused(eis: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        compiled(f"  - eis: {{from: 10 kHz, to: 1 Hz, {eis}}}")


def test_a_capacity_check_keeps_what_its_discharge_has_moved() -> None:
    player = play(
        "  - capacity: {charge: 1C, voltage: [3.1 V, 4.2 V], discharge: 1C, rest: 1 min}\n"
        "    save: initial\n"
        "  - {charge: 1C, until: 'charge >= 50 % of initial', at_most: 2 h}"
    )
    assert player.numbers == [1, 2, 3, 4, 5]
    moved_Ah = (4.2 - 0.05 * 0.05 - 3.15) / 1.2
    half_s = player.time_s - player.started[-1][0]
    assert half_s == pytest.approx(0.5 * moved_Ah * 3600.0, abs=3.0)
    texts = [step.text for step in player.program.steps]
    assert texts[0] == "cccv charge 1C voltage 4.2 V until current <= C/20"
    assert texts[2] == "discharge 1C until voltage <= 3.1 V"


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("{charge: 1C, voltage: [3 V, 4.6 V], discharge: 1C}", "above the 4.5 V"),
        ("{charge: 1C, voltage: [1 V, 4.2 V], discharge: 1C}", "below the 2 V"),
        ("{charge: 1C, voltage: [4.2 V, 3 V], discharge: 1C}", "write the lower end first"),
        ("{charge: 20C, voltage: [3 V, 4.2 V], discharge: 1C}", "above the 10 A"),
        ("{voltage: [3 V, 4.2 V], discharge: 1C}", "the key 'charge' is missing"),
    ],
)
def test_a_capacity_check_that_cannot_be_is_refused(check: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        compiled(f"  - capacity: {check}")


# Records.


def kept(rule: RecordRule, charge_Ah_s: float = 0.0, until_s: float = 30.0) -> list[float]:
    """The times that a rule keeps of samples every 10 ms."""
    keeper, times = Keeper(), []
    for number in range(int(until_s * 100) + 1):
        time_s = number / 100.0
        edge = number == 0
        if keeper.keep(rule, time_s, 3.7, 1.0, 25.0, edge, charge_Ah_s * time_s, time_s):
            times.append(time_s)
    return times


def test_the_beginning_of_a_step_is_recorded_faster() -> None:
    times = kept(RecordRule(every_s=10.0, first_every_s=0.02, first_for_s=1.0))
    assert times[:3] == [0.0, 0.02, 0.04]
    assert len([time_s for time_s in times if time_s <= 1.0]) == 51
    assert times[51:] == [11.0, 21.0]


def test_a_change_of_charge_makes_a_record() -> None:
    assert kept(RecordRule(every_s=inf, charge_Ah=0.001), charge_Ah_s=1e-4) == [
        0.0,
        10.0,
        20.0,
        30.0,
    ]
    assert kept(RecordRule(every_s=inf, charge_Ah=0.001), charge_Ah_s=-1e-4) == [
        0.0,
        10.0,
        20.0,
        30.0,
    ]
    assert kept(RecordRule(every_s=inf), charge_Ah_s=1.0) == [0.0]


def test_a_record_rule_is_written_with_units() -> None:
    (step,) = compiled(
        "  - {rest: 1 h, record: {every: 1 min, charge: 0.1 %, first: {every: 50 ms, for: 2 s}}}"
    ).steps
    assert step.record == RecordRule(60.0, inf, inf, inf, 0.001, 0.05, 2.0)
    (step,) = compiled("  - rest: 1 h", "record: {charge: 2 mAh}\n").steps
    assert step.record.charge_Ah == 0.002


def test_a_keeper_goes_on_where_it_was() -> None:
    keeper = Keeper()
    rule = RecordRule(every_s=inf, charge_Ah=0.001)
    assert keeper.keep(rule, 0.0, 3.7, 1.0, nan, edge=True, charge_Ah=0.5)
    again = Keeper.restore(json.loads(json.dumps(keeper.snapshot())))
    assert not again.keep(rule, 1.0, 3.7, 1.0, nan, edge=False, charge_Ah=0.5005)
    assert again.keep(rule, 2.0, 3.7, 1.0, nan, edge=False, charge_Ah=0.501)
