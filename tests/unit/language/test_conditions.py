"""Conditions: what is written, what it means, and what is refused."""

from __future__ import annotations

import re
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from daq.errors import InputError
from daq.protocol.clause import KINDS
from daq.protocol.condition import Past, Quantity, Reference
from daq.protocol.grammar import parse_clause
from daq.protocol.until import pattern
from tests.unit.language.bench import Player, compiled, play

GOOD = [
    "voltage >= 4.2 V",
    "current <= C/50 for 2 min",
    "voltage >= 4.1 V and time >= 30 min",
    "(charge >= 50 % or temperature >= 40 degC) and voltage >= 3.9 V",
    "-dV >= 5 mV after 10 min",
    "dV/dt <= 1 mV/h over 20 min after 30 min",
    "dT/dt >= 2 K/min",
    "cycle.discharge <= 80 % of initial.charge",
    "cycle.discharge <= 80 % of cycle 3",
    "cycle.charge_energy >= 99 % of previous cycle",
    "last.charge <= 80 % of initial",
    "voltage >= initial.voltage",
    "soc <= 20 %",
    "cycle >= 200",
    "sensor.top-plate >= 45 degC",
    "sensor.ref >= 1.2 V",
    "run.time >= 3 d",
    "power <= 100 mW",
    "chamber <= 30 degC",
    "step.discharge >= 500 mAh",
    "((voltage >= 4 V and time >= 1 min) or (time >= 2 min)) for 3 s",
]


@pytest.mark.parametrize("text", GOOD)
def test_a_condition_is_understood_and_keeps_its_words(text: str) -> None:
    assert parse_clause(text).text == text
    assert re.fullmatch(pattern(), text), "an editor would underline it"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not an end condition"),
        ("voltage", "is not an end condition"),
        ("voltage >= 4.2 V and", "is not an end condition: 'and' is not expected there"),
        ("voltage >= 4.2 V or or time >= 1 s", "is not an end condition"),
        ("voltage 4.2 V", "'4.2' is not expected there"),
        ("(voltage >= 4.2 V", "is not an end condition"),
        ("voltage >= 4.2 V)", "is not an end condition"),
        ("voltage > 4.2 V", "'>' is not allowed here"),
        ("voltage = 4.2 V", "'=' is not allowed here"),
        ("voltage >= 4.2", "4.2 has no unit"),
        ("voltage >= 4.2 A", "'4.2 A' is a current; a voltage is expected"),
        ("voltage >= 80 %", "'80 %' is a percentage; a voltage is expected"),
        ("volts >= 4.2 V", "there is no quantity 'volts'"),
        ("cycle.net >= 1 Ah", "there is no quantity 'cycle.net'"),
        ("initial.size >= 1 Ah", "nothing keeps a 'size'"),
        ("dV/dt <= 1 mV", "'1 mV' is a voltage; a rate of voltage is expected"),
        ("voltage >= 4 V over 3 min", "is no slope"),
        ("voltage >= 4 V for 0 s", "`for` is out of range"),
        ("voltage >= 4 V for 31 d", "`for` is out of range"),
        ("voltage >= 4 V for 3 V", "'3 V' is a voltage; a time is expected"),
        ("voltage >= 4 V for 1 s for 2 s", "has two `for`"),
        ("cycle >= 0", "is not the number of a cycle"),
        ("cycle >= 1.5", "is not the number of a cycle"),
        ("charge >= 80 % of cycle 3", "compares with a cycle"),
        ("power >= initial", "what of 'initial' is meant?"),
        ("voltage >= initial.charge", "is another kind of quantity"),
        ("cycle.discharge <= 80 V of initial", "'80 V' is a voltage; a percentage is expected"),
        ("(" * 200 + "voltage >= 4 V" + ")" * 200, "brackets"),
        ("voltage >= 4 V and " * 60, "is not an end condition"),
        ("__import__('os').system('true') >= 4 V", "is not an end condition"),
    ],
)
def test_what_is_no_condition_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(PydanticCustomError) as refused:
        parse_clause(text)
    assert said in (refused.value.context or {})["message"]


@given(st.text(alphabet="voltagecrn >=<4.2VA%()/dT-dfor and after of cycle initial.", max_size=60))
def test_whatever_is_typed_is_understood_or_refused(text: str) -> None:
    try:
        assert parse_clause(text).quantity in Quantity
    except PydanticCustomError as refused:
        assert (refused.context or {})["message"]


def test_a_reference_names_what_it_is_a_part_of() -> None:
    assert parse_clause("cycle.discharge <= 80 % of cycle 3").reference == Reference(
        Past.CYCLE, "3", "discharge", 0.8
    )
    assert parse_clause("energy >= 50 % of initial").reference == Reference(
        Past.SAVED, "initial", "energy", 0.5
    )


@pytest.mark.parametrize("quantity", [q for q in KINDS if q is not Quantity.SENSOR])
def test_every_quantity_can_be_asked_for(quantity: Quantity) -> None:
    kinds = KINDS[quantity]
    value = kinds[0].example if kinds else "7"
    assert parse_clause(f"{quantity} >= {value}").quantity is quantity


# What they mean, on a battery whose sums can be done by hand.


def only_reason(steps: str, **more: object) -> str:
    ((_, reason),) = play(steps, **more).ended
    return reason


def charge(until: str, rate: str = "1C") -> str:
    return f"  - {{charge: {rate}, until: '{until}', at_most: 2 h}}"


def test_what_must_hold_together_waits_for_the_last() -> None:
    player = play(charge("voltage >= 3.7 V and time >= 20 min"))
    assert player.time_s == 1200.0
    assert player.ended == [(1, "voltage >= 3.7 V and time >= 20 min")]


def test_of_alternatives_the_reason_names_the_one_that_held() -> None:
    assert only_reason(charge("voltage >= 4.2 V or time >= 5 min")) == "time >= 5 min"


def test_a_condition_with_a_time_must_hold_without_a_break() -> None:
    hot = lambda time_s: 45.0 if 100 <= time_s < 130 or time_s >= 300 else 25.0  # noqa: E731
    player = play(charge("temperature >= 40 degC for 1 min"), celsius=hot)
    assert player.time_s == 360.0


def test_a_mask_keeps_a_condition_from_being_looked_at() -> None:
    player = play("  - {discharge: 1C, until: 'voltage <= 3.6 V after 10 min', at_most: 1 h}")
    assert player.time_s == 600.0


def test_a_slope_is_known_only_when_its_window_is_full() -> None:
    # 1C on 1 Ah moves the voltage by 1.2 V in 3600 s: 333 uV/s, 1.2 V/h.
    steep = play(charge("dV/dt >= 1.19 V/h over 2 min"))
    assert 117.0 <= steep.time_s <= 122.0
    never = play(charge("dV/dt >= 1.21 V/h over 2 min"))
    assert never.finished
    assert never.finished.outcome == "failed"


def test_a_rest_ends_when_the_voltage_has_settled() -> None:
    player = play("  - {rest: 2 h, until: 'dV/dt <= 1 mV/h over 5 min after 10 min'}")
    assert player.time_s == 600.0


def test_the_cell_that_warms_too_fast_ends_its_step() -> None:
    warming = lambda time_s: 25.0 + max(0.0, time_s - 600.0) * 3.0 / 60.0  # noqa: E731
    player = play(charge("dT/dt >= 2.5 K/min"), celsius=warming)
    # Least squares through a minute of which the last part f rises gives f^2 (3 - 2 f) of its
    # slope: 2.5 of 3 K/min at f = 0.74.
    assert player.time_s == pytest.approx(600.0 + 0.74 * 60.0, abs=3.0)


def test_a_fall_below_the_highest_voltage_ends_a_charge() -> None:
    class Peaked(Player):
        @property
        def voltage_V(self) -> float:
            return super().voltage_V - 1e-4 * max(0.0, self.time_s - 900.0)

    program = compiled(charge("-dV >= 20 mV after 1 min", "C/10"))
    player = Peaked(program, dt_s=1.0).run()
    # C/10 rises by 33.3 uV/s and falls by 66.7 uV/s from 900 s on: 300 s for 20 mV.
    assert player.time_s == pytest.approx(1200.0, abs=2.0)


def test_charge_may_be_compared_with_what_was_measured() -> None:
    player = play(
        "  - {cccv: {charge: 1C, voltage: 4.2 V}, until: current <= C/20, at_most: 3 h}\n"
        "  - {discharge: 1C, until: voltage <= 3 V, at_most: 2 h, save: initial}\n"
        "  - {charge: 1C, until: 'charge >= 25 % of initial', at_most: 1 h}\n"
    )
    _, discharge, quarter = (time_s for time_s, _, _ in player.started)
    # From 4.2 V - 2.5 mV to 3.05 V open-circuit voltage at 1.2 V an Ah.
    moved_Ah = (4.2 - 0.05 * 0.05 - 3.05) / 1.2
    assert quarter - discharge == pytest.approx(3600.0 * moved_Ah, abs=4.0)
    assert player.time_s - quarter == pytest.approx(900.0 * moved_Ah, abs=2.0)


def test_soc_counts_from_where_it_was_said() -> None:
    player = play(
        "  - {cccv: {charge: 1C, voltage: 4.2 V}, until: current <= C/20, at_most: 3 h,"
        " soc: 100 %}\n"
        "  - {discharge: 1C, until: soc <= 80 %, at_most: 1 h}\n"
        "  - {charge: C/2, until: soc >= 90 %, at_most: 1 h}\n"
    )
    _, down, up = (time_s for time_s, _, _ in player.started)
    assert up - down == pytest.approx(720.0, abs=1.0)
    assert player.time_s - up == pytest.approx(720.0, abs=4.0)


def test_soc_may_refer_to_a_measured_capacity() -> None:
    player = play(
        "  - {charge: 1C, until: time >= 30 min, at_most: 1 h, save: half}\n"
        "  - {rest: 1 min, soc: {is: 100 %, of: half}}\n"
        "  - {discharge: 1C, until: soc <= 50 %, at_most: 1 h}\n"
    )
    assert player.time_s - player.started[2][0] == pytest.approx(900.0, abs=1.0)


def test_what_nobody_has_measured_holds_no_condition() -> None:
    player = Player(compiled(charge("sensor.top >= 30 degC")), sensors={"other": 99.0})
    player.run()
    assert player.finished
    assert "not within" in player.finished.reason
    hot = Player(compiled(charge("sensor.top >= 30 degC")), sensors={"top": 31.0}).run()
    assert hot.ended == [(1, "already satisfied: sensor.top >= 30 degC")]
    blind = Player(compiled(charge("chamber >= 30 degC")), chamber_degC=nan, chamber_K_s=0.0)
    blind.run()
    assert blind.finished
    assert blind.finished.outcome == "failed"


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (charge("soc >= 80 %"), "no step says what the state of charge is"),
        (charge("charge >= 50 % of initial"), "no step saves 'initial'"),
        (charge("voltage <= 4 V"), "does not end a charge"),
        (charge("voltage >= 4 V and voltage <= 4.5 V and current >= 1 A"), ""),
        (charge("cycle >= 3"), "does not end a charge"),
        (charge("time >= 3 h"), "lies beyond at_most"),
        (charge("voltage >= 4.6 V and time >= 1 min"), "above the 4.5 V"),
        ("  - {rest: 1 h, until: charge >= 1 Ah}", "does not end a rest"),
    ],
)
def test_a_condition_that_cannot_be_is_refused_before_anything_runs(steps: str, said: str) -> None:
    if not said:
        assert compiled(steps).steps
        return
    with pytest.raises(InputError, match=re.escape(said)) as refused:
        compiled(steps)
    assert refused.value.place
    assert refused.value.place.line == 4
