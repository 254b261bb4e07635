"""What setpoints follow: resistances, powers, ramps, pulses and profiles."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from daq.errors import InputError
from daq.model import Setpoint
from daq.protocol.program import StepKind
from daq.protocol.source import load_protocol, parse_protocol
from tests.unit.language.bench import HEAD, Player, compiled, play

DRIVE = "time_s,rate_C\n0,-0.5\n20,0.25\n30,-1\n50.5,0\n60,0\n"


def test_a_resistance_draws_less_as_the_voltage_falls() -> None:
    player = play("  - {discharge: 4 ohm, until: voltage <= 3.2 V, at_most: 3 h}", soc=0.9)
    first, last = player.asked[0][1], player.asked[-1][1]
    assert first.discharge_A == pytest.approx(4.08 / 4, rel=0.02)
    assert last.discharge_A == pytest.approx(3.2 / 4, rel=0.01)
    assert all(one.charge_A == 0.0 for _, one in player.asked)


def test_a_power_draws_more_as_the_voltage_falls() -> None:
    player = play("  - {discharge: 4 W, until: voltage <= 3.2 V, at_most: 3 h}", soc=0.9)
    for time_s, setpoint in player.asked[1:]:
        assert setpoint.discharge_A > 4 / 4.2, time_s
    assert player.asked[-1][1].discharge_A == pytest.approx(4 / 3.2, rel=0.01)


def test_a_resistance_that_asks_for_too_much_at_its_beginning_is_refused() -> None:
    with pytest.raises(InputError, match=r"discharge at 0\.3 ohm \(15 A at 4\.5 V\)"):
        compiled("  - {discharge: 0.3 ohm, until: voltage <= 3 V, at_most: 1 h}")
    with pytest.raises(InputError, match="is a resistance"):
        compiled("  - {charge: 3 ohm, until: voltage >= 4 V, at_most: 1 h}")


def test_a_ramp_of_voltage_begins_where_the_cell_is_and_ends_when_it_has_arrived() -> None:
    player = play("  - {ramp: {voltage: 3.8 V, rate: 1 mV/s, current: 2C}, at_most: 1 h}")
    assert player.asked[0][1].voltage_V == pytest.approx(3.6)
    assert player.time_s == pytest.approx(200.0, abs=1.0)
    assert player.ended == [(1, "ramp over")]
    voltages = [setpoint.voltage_V for _, setpoint in player.asked]
    assert voltages == sorted(voltages)
    assert voltages[-1] == pytest.approx(3.8, abs=0.0011)
    for time_s, setpoint in player.asked:
        assert setpoint.voltage_V == pytest.approx(3.6 + 1e-3 * time_s, abs=1e-6)
        assert (setpoint.charge_A, setpoint.discharge_A) == (2.0, 2.0)


def test_a_ramp_of_voltage_may_go_down_from_where_it_is_told() -> None:
    player = play(
        "  - {ramp: {voltage: 3.4 V, from: 3.7 V, rate: 2 mV/s, current: 8C}, at_most: 1 h,"
        " until: voltage <= 3.5 V}"
    )
    assert player.asked[0][1].voltage_V == 3.7
    assert player.ended == [(1, "voltage <= 3.5 V")]
    assert 99.0 <= player.time_s <= 110.0


def test_a_ramp_of_current_goes_in_a_straight_line() -> None:
    player = play("  - {ramp: {charge: 2C, from: C/10, over: 100 s}, at_most: 1 h}")
    assert player.ended == [(1, "ramp over")]
    for time_s, setpoint in player.asked:
        assert setpoint.charge_A == pytest.approx(0.1 + 1.9 * time_s / 100.0, rel=1e-6)
        assert setpoint.discharge_A == 0.0
    assert len(player.asked) > 90
    # The mean of 0.1 and 2 A for 100 s.
    assert player.engine.counters.charge_Ah == pytest.approx(105.0 / 3600.0, rel=0.02)


@pytest.mark.parametrize(
    ("ramp", "said"),
    [
        ("{voltage: 4 V}", "the key 'rate' is missing"),
        ("{charge: 1C}", "the key 'over' is missing"),
        ("{rate: 1 mV/s}", "a ramp moves one thing"),
        ("{voltage: 4 V, charge: 1C, rate: 1 mV/s}", "a ramp moves one thing"),
        ("{voltage: 4 V, rate: 1 mV/s, over: 1 h}", "'over' does not belong to a ramp of voltage"),
        ("{charge: 1C, over: 1 h, current: 1C}", "'current' does not belong to a ramp of charge"),
        ("{voltage: 5 V, rate: 1 mV/s}", "above the 4.5 V of station A1"),
        ("{voltage: 4 V, from: 1 V, rate: 1 mV/s}", "below the 2 V of station A1"),
        ("{voltage: 4 V, from: 1C, rate: 1 mV/s}", "is no beginning here"),
        ("{charge: 20C, over: 1 min}", "above the 10 A of station A1"),
        ("{charge: 1C, over: 2 h}", "outlasts its at_most"),
        ("{voltage: 4 V, rate: 1 mA/s}", "is not a unit"),
        ("{voltage: 4 V, rate: 0 V/s}", "out of range"),
    ],
)
def test_a_ramp_that_cannot_be_is_refused(ramp: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as refused:
        compiled(f"  - {{ramp: {ramp}, at_most: 1 h}}")
    assert refused.value.place
    assert refused.value.place.line == 4


# Pulses.


def test_a_pulse_ends_by_time_and_is_recorded_fast_at_its_beginning() -> None:
    player = play("  - {pulse: {discharge: 2C, for: 18 s}}\n  - rest: 40 s")
    assert player.ended == [(1, "time >= 18 s"), (2, "40 s")]
    pulse, rest = player.program.steps
    assert pulse.kind is StepKind.PULSE
    assert (pulse.record.first_every_s, pulse.record.first_for_s) == (0.1, 10.0)
    assert pulse.record.fastest_s == 0.1
    assert rest.record.fastest_s == 10.0
    assert player.asked[0][1].discharge_A == 2.0
    assert player.engine.counters.discharge_Ah == pytest.approx(36.0 / 3600.0, rel=0.06)


def test_a_pulse_may_be_recorded_as_its_author_says() -> None:
    (step,) = compiled(
        "  - {pulse: {charge: 2 W, for: 5 s}, record: {first: {every: 20 ms, for: 2 s}}}"
    ).steps
    assert (step.record.first_every_s, step.record.first_for_s) == (0.02, 2.0)
    assert step.course
    assert step.course.values == (2.0,)


def test_a_pulse_that_hits_its_voltage_leaves_the_loop() -> None:
    player = play(
        """\
  - repeat: 100
    steps:
      - pulse: {discharge: 1C, for: 6 min}
        until: [{when: voltage <= 3.1 V, end: repeat}]
      - rest: 1 min
  - rest: 2 min"""
    )
    assert player.numbers[:2] == [1, 2]
    assert player.numbers[-2:] == [1, 3]
    assert player.ended[-2] == (1, "voltage <= 3.1 V")


@pytest.mark.parametrize(
    ("pulse", "said"),
    [
        ("{for: 10 s}", "a pulse charges or discharges"),
        ("{charge: 1C, discharge: 1C, for: 10 s}", "a pulse charges or discharges"),
        ("{charge: 1C}", "the key 'for' is missing"),
        ("{charge: 20C, for: 1 s}", "above the 10 A of station A1"),
        ("{discharge: 1C, for: 1 s}, until: voltage >= 4 V", "does not end a pulse"),
    ],
)
def test_a_pulse_that_cannot_be_is_refused(pulse: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        compiled(f"  - {{pulse: {pulse}}}")


# Profiles.


def played(more: str = "", *, dt_s: float = 0.5) -> Player:
    steps = f"  - profile: {{file: drive.csv{more}}}"
    return Player(compiled(steps, files={"drive.csv": DRIVE}), dt_s=dt_s).run()


def test_a_profile_keeps_to_its_times_and_its_signs() -> None:
    player = played()
    assert [(time_s, one.charge_A, one.discharge_A) for time_s, one in player.asked] == [
        (0.0, 0.0, 0.5),
        (20.0, 0.25, 0.0),
        (30.0, 0.0, 1.0),
        (50.5, 0.0, 0.0),
    ]
    assert player.ended == [(1, "profile over")]
    assert player.time_s == 60.0
    assert player.engine.net_Ah == pytest.approx((-10 + 2.5 - 20.5) / 3600.0, rel=0.03)


def test_a_profile_is_scaled_by_a_factor_or_to_its_largest_value() -> None:
    assert played(", scale: 2").asked[0][1].discharge_A == 1.0
    assert played(", scale: 3C").asked[2][1].discharge_A == 3.0
    assert played(", scale: 500 mA").asked[2][1].discharge_A == 0.5


def test_between_its_points_a_profile_may_go_in_straight_lines() -> None:
    player = played(", interpolate: true")
    at_10_s = next(one for time_s, one in player.asked if time_s == 10.0)
    assert at_10_s.discharge_A == pytest.approx(0.125)


def test_limits_and_ends_are_live_while_a_profile_plays() -> None:
    program = compiled(
        "  - {profile: {file: drive.csv}, until: voltage <= 3.55 V}", files={"drive.csv": DRIVE}
    )
    player = Player(program).run()
    assert player.ended == [(1, "voltage <= 3.55 V")]
    assert player.time_s == 31.0


@pytest.mark.parametrize(
    ("until", "top_V", "bottom_V"),
    [
        ("voltage <= 3.1 V", 4.49, 3.09),
        ("voltage >= 4.1 V", 4.11, 2.01),
        ("[voltage >= 4.1 V, voltage <= 3.1 V]", 4.11, 3.09),
    ],
)
def test_a_profile_that_ends_at_a_low_voltage_still_charges_on_its_way_there(
    until: str, top_V: float, bottom_V: float
) -> None:
    step = f"  - {{profile: {{file: drive.csv}}, until: {until}}}"
    player = Player(compiled(step, files={"drive.csv": DRIVE})).run()
    down, up, *_ = [setpoint for _, setpoint in player.asked]
    assert (down.voltage_V, down.discharge_A) == (pytest.approx(bottom_V), 0.5)
    assert (up.voltage_V, up.charge_A) == (pytest.approx(top_V), 0.25)
    # 0.25 A for 10 s: an instrument told 3.11 V there would have put nothing in.
    assert player.engine.counters.charge_Ah == pytest.approx(2.5 / 3600.0, rel=0.1)


def test_an_end_on_the_other_side_says_nothing_of_the_voltage_to_charge_to() -> None:
    charge, discharge = compiled(
        """\
  - {charge: 1C, until: [voltage >= 4.1 V, voltage <= 2.5 V after 1 min], at_most: 1 h}
  - {discharge: 1C, until: [voltage <= 3.1 V, voltage >= 4.2 V after 1 min], at_most: 1 h}"""
    ).steps
    assert charge.setpoint
    assert discharge.setpoint
    assert charge.setpoint.voltage_V == pytest.approx(4.11)
    assert discharge.setpoint.voltage_V == pytest.approx(3.09)


def test_a_profile_of_power_is_checked_at_the_voltage_where_it_asks_for_most() -> None:
    table = "time_s,power_W\n0,-12\n10,6\n20,0\n"
    step = "  - {profile: {file: drive.csv}, limits: {voltage: [3 V, 4.2 V]}}"
    (made,) = compiled(step, files={"drive.csv": table}).steps
    assert made.setpoint == Setpoint(4.19, pytest.approx(6 / 3.01), pytest.approx(12 / 3.01))
    with pytest.raises(InputError, match="below the -10 A of station A1"):
        compiled("  - {profile: {file: drive.csv, scale: 40 W}}", files={"drive.csv": table})


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "drive.csv:1:1: the header is ''"),
        ("t,I\n0,1\n1,1\n", "drive.csv:1:1: the header is 't, I'"),
        ("time_s,current_mA\n0,1\n1,1\n", "current_mA"),
        ("time_s,current_A\n0,1\n", "begins at 0 s and has two points"),
        ("time_s,current_A\n1,1\n2,1\n", "begins at 0 s"),
        ("time_s,current_A\n0,1\n2,1\n2,1\n", "drive.csv:4:1: the time goes from 2 s to 2 s"),
        ("time_s,current_A\n0,1\n1,x\n", "drive.csv:3:1: '1,x' is not two numbers"),
        ("time_s,current_A\n0,1\n1,1,1\n", "drive.csv:3:1: '1,1,1' is not two numbers"),
        ("time_s,current_A\n0,1\n1,nan\n", "drive.csv:3:1: a number is not finite"),
        ("time_s,current_A\n0,1\n1,-1e99\n", "below the -10 A"),
    ],
)
def test_a_table_that_is_no_profile_is_refused_with_its_line(table: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        compiled("  - profile: {file: drive.csv}", files={"drive.csv": table})


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("{file: other.csv}", "other.csv has not come with the protocol"),
        ("{file: ../drive.csv}", "'../drive.csv' is not the name of a file here"),
        ("{file: /etc/passwd}", "is not the name of a file here"),
        ("{file: drive.csv, scale: 0}", "a positive factor"),
        ("{file: drive.csv, scale: 10 W}", "is no scale for a profile of rate_C"),
        ("{file: drive.csv, scale: 3 V}", "is a voltage"),
        ("{file: drive.csv}, at_most: 10 s", "the profile takes 60 s"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(profile: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as refused:
        compiled(f"  - {{profile: {profile}}}", files={"drive.csv": DRIVE})
    assert refused.value.place
    assert refused.value.place.line == 4


# The files that come with a protocol.


def folder(tmp_path: Path, steps: str, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / name.replace("__", ".")).write_text(text, encoding="utf-8")
    path = tmp_path / "main.yaml"
    path.write_text(f"{HEAD}steps:\n{steps}\n", encoding="utf-8")
    return path


INNER = (
    "protocol: inner\nversion: 1.0.0\nparameters: {rate: C/5}\nrecord: {every: 3 s}\n"
    "safety: {voltage: [2.8 V, 4.1 V]}\n"
    "steps:\n  - {charge: $rate, until: voltage >= 4.05 V, at_most: 9 h}\n"
)


def test_a_protocol_is_put_in_with_its_own_rules_and_other_parameters(tmp_path: Path) -> None:
    path = folder(tmp_path, "  - rest: 1 min\n  - {include: inner.yaml, with: {rate: 1C}}\n"
                            "  - rest: 2 min", inner__yaml=INNER)  # fmt: skip
    source = load_protocol(path)
    assert source.files == {"inner.yaml": INNER}
    again = parse_protocol(source.text, "main.yaml", source.files)
    assert again.sha256 == source.sha256
    program = compiled(
        "  - rest: 1 min\n  - {include: inner.yaml, with: {rate: 1C}}\n  - rest: 2 min",
        files=dict(source.files),
    )
    before, inside, after = program.steps
    assert inside.setpoint == Setpoint(pytest.approx(4.06), 1.0, 0.0)
    assert inside.limits.voltage_V == (2.8, 4.1)
    assert (before.record.every_s, inside.record.every_s, after.record.every_s) == (10.0, 3.0, 10.0)
    assert (inside.place, after.place) == ("line 7 of inner.yaml", "line 6")
    assert [step.number for step in program.steps] == [1, 2, 3]


def test_the_hash_of_a_protocol_changes_with_what_it_brings(tmp_path: Path) -> None:
    path = folder(tmp_path, "  - rest: 1 s\n  - include: inner.yaml", inner__yaml=INNER)
    before = load_protocol(path).sha256
    (tmp_path / "inner.yaml").write_text(INNER + "# a remark\n", encoding="utf-8")
    assert load_protocol(path).sha256 != before


@pytest.mark.parametrize(
    ("line", "inner", "said"),
    [
        ("include: none.yaml", INNER, "main.yaml:4:14: cannot read none.yaml"),
        ("include: ../inner.yaml", INNER, "is not the name of a file here"),
        ("{include: inner.yaml, with: {rat: 1C}}", INNER, "inner.yaml has no parameter 'rat'"),
        ("{include: inner.yaml, with: {rate: 1 V}}", INNER, "inner.yaml:7:"),
        ("include: inner.yaml", INNER.replace("charge", "chrage"), "there is no step 'chrage'"),
        ("include: inner.yaml", "protocol: inner\n", "the key 'version' is missing"),
        ("include: inner.yaml", INNER + "  - goto: out\n", "no label 'out'"),
        (
            "include: inner.yaml",
            INNER + "  - include: inner.yaml\n",
            "inner.yaml includes itself",
        ),
        ("include: inner.yaml", INNER.replace("4.05 V", "4.3 V"), "4.1 V of safety of inner.yaml"),
    ],
)
def test_an_include_that_cannot_be_is_refused_where_the_mistake_is(
    tmp_path: Path, line: str, inner: str, said: str
) -> None:
    path = folder(tmp_path, f"  - {line}\n  - rest: 1 s", inner__yaml=inner)
    with pytest.raises(InputError) as refused:
        source = load_protocol(path)
        compiled(f"  - {line}\n  - rest: 1 s", files=dict(source.files))
    assert said in str(refused.value)


def test_a_file_outside_the_folder_is_not_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text(INNER, encoding="utf-8")
    inside = tmp_path / "lab"
    inside.mkdir()
    (inside / "inner.yaml").symlink_to(tmp_path / "secret.yaml")
    path = folder(inside, "  - include: inner.yaml")
    with pytest.raises(InputError, match="is not in the folder of the protocol"):
        load_protocol(path)


def test_a_wrong_parameter_is_named_where_it_is_used() -> None:
    head = HEAD + "parameters: {v_max: 4.2 A}\n"
    steps = "steps:\n  - {charge: C/2, until: voltage >= $v_max, at_most: 9 h}\n"
    with pytest.raises(InputError, match=r":5:26: .*, \$v_max is 4\.2 A \("):
        parse_protocol(head + steps)
    good = parse_protocol(head.replace("4.2 A", "4.2 V") + steps)
    with pytest.raises(InputError, match=r"\$v_max is 4\.2 \("):
        good.with_parameters({"v_max": "4.2"})
