"""`daq check` beyond single lines: what cannot work in the whole of a protocol, one rule a test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daq import cli
from daq.errors import InputError
from daq.model import Cell
from daq.protocol.compile import compile_placed
from daq.protocol.source import parse_protocol
from daq.review.finding import Finding
from daq.review.flow import flow_of
from daq.review.rules import review
from daq.review.subject import Station, Subject

HEAD = (
    "protocol: p\nversion: 1.0.0\nsafety: {voltage: [2.4 V, 4.25 V], temperature: [5 degC, 45 degC]"
)
FIRST = 5  # line of the first step
CHARGE = "  - {charge: C/2, until: voltage >= 4.2 V, at_most: 3 h}\n"
DISCHARGE = "  - {discharge: C/2, until: voltage <= 2.5 V, at_most: 3 h}\n"
STATION = Station("A1", period_s=0.5, chamber=True, eis=True, window=1.1)
PROFILE = "time_s,rate_C\n0,-0.1\n0.2,0.1\n10,0\n"


def findings(
    steps: str, more: str = "", station: Station | None = None, files: dict[str, str] | None = None
) -> list[Finding]:
    source = parse_protocol(f"{HEAD}{more}}}\nsteps:\n{steps}", "p.yaml", files)
    compiled = compile_placed(source, Cell("c", 1.0), [])
    return review(Subject(source, compiled, flow_of(compiled.program), station))


def said(*arguments: Any, **more: Any) -> list[str]:
    """Each finding as `level line: message`."""
    found = findings(*arguments, **more)
    return [f"{one.level} {one.place.line}: {one.message}" for one in found]


def only(*arguments: Any, **more: Any) -> str:
    (one,) = said(*arguments, **more)
    return one


def test_a_protocol_without_mistakes_has_no_findings() -> None:
    assert said("  - rest: 1 h\n" + CHARGE + DISCHARGE, station=STATION) == []


# Ways.


@pytest.mark.parametrize(
    "way",
    [
        "  - end: run\n",
        "  - goto: done\n",
        "  - {charge: C/2, until: [{when: voltage >= 4.2 V, end: run}], at_most: 3 h}\n",
    ],
)
def test_a_step_that_no_way_leads_to_is_found_once(way: str) -> None:
    steps = f"  - rest: 1 h\n{way}  - rest: 2 h\n  - rest: 3 h\n  - {{label: done, rest: 1 h}}\n"
    # Where nothing goes to the label, the last step is unreachable as well; that is said once.
    assert only(steps) == f"warning {FIRST + 2}: no way leads to this step"


def test_a_step_behind_a_label_that_somebody_goes_to_is_reached() -> None:
    steps = (
        "  - rest: 1 h\n"
        "  - {discharge: C/2, until: [{when: voltage <= 3 V, goto: done}, time >= 1 h],"
        " at_most: 3 h}\n"
        "  - end: run\n"
        "  - {label: done, rest: 1 h}\n"
    )
    assert said(steps) == []


def test_both_arms_of_an_if_and_what_follows_are_reached() -> None:
    steps = (
        "  - rest: 1 h\n  - if: run.time >= 1 h\n    then:\n      - rest: 1 min\n"
        "    else:\n      - rest: 2 min\n  - rest: 3 min\n"
    )
    assert said(steps) == []


def test_what_follows_the_end_of_a_loop_in_it_is_not_reached() -> None:
    steps = "  - repeat: 3\n    steps:\n      - rest: 1 h\n      - end: repeat\n      - rest: 2 h\n"
    assert only(steps) == f"warning {FIRST + 4}: no way leads to this step"


def test_a_loop_in_which_everything_is_disabled_does_nothing() -> None:
    steps = "  - rest: 1 h\n  - repeat: 3\n    steps:\n      - {rest: 1 h, disabled: later}\n"
    assert said(steps) == [
        f"warning {FIRST + 1}: nothing is done in this repeat",
        f"note {FIRST + 3}: this is disabled: later",
    ]


# A hold that ends when its current rises.


def test_a_hold_that_ends_when_its_current_rises_is_a_warning() -> None:
    (one,) = findings("  - {hold: 4.2 V, until: current >= C/20, at_most: 3 h}\n")
    assert (one.level, one.place.line, one.place.column) == ("warning", FIRST, 26)
    assert one.message.startswith("'current >= C/20' may be true at once")
    assert "<=" in one.remedy


@pytest.mark.parametrize(
    "until",
    [
        "current <= C/20",
        "[current <= C/20, current >= 1C]",
        "current >= C/20 after 1 h",
    ],
)
def test_a_watch_for_a_current_that_should_not_rise_is_none(until: str) -> None:
    assert said(f"  - {{hold: 4.2 V, until: {until}, at_most: 3 h}}\n") == []


# What comes after a loop of cycles.

LOOP = "  - repeat: 3\n    steps:\n    " + CHARGE + "    " + DISCHARGE


def test_what_moves_charge_after_the_cycles_counts_to_the_last_and_is_told_once() -> None:
    steps = LOOP + "  - rest: 1 h\n" + CHARGE + DISCHARGE
    assert only(steps) == f"note {FIRST + 5}: this counts to the last cycle of the loop before it"


@pytest.mark.parametrize(
    "steps",
    [
        LOOP + "  - rest: 1 h\n",
        LOOP + LOOP,
        CHARGE + LOOP,
        LOOP.replace("repeat: 3", "repeat: 3\n    cycle: false") + CHARGE,
    ],
)
def test_a_rest_after_the_cycles_and_another_loop_do_no_harm(steps: str) -> None:
    assert said(steps) == []


# Conditions that never hold.


def test_a_reference_that_is_saved_only_later_never_holds() -> None:
    steps = (
        "  - {discharge: C/2, until: charge >= 80 % of initial, at_most: 3 h}\n"
        "  - {discharge: C/2, until: voltage <= 2.5 V, at_most: 3 h, save: initial}\n"
    )
    assert only(steps) == (
        f"error {FIRST}: 'charge >= 80 % of initial' never holds: "
        "nothing is saved as 'initial' before it"
    )


def test_what_an_earlier_pass_has_saved_is_known_in_the_next() -> None:
    steps = (
        "  - repeat: 3\n    steps:\n"
        "      - {discharge: C/2, until: [charge >= 80 % of last, voltage <= 3 V], at_most: 3 h}\n"
        "      - {charge: C/2, until: voltage >= 4.2 V, at_most: 3 h, save: last}\n"
    )
    assert said(steps) == []


def test_one_end_of_several_that_never_holds_is_a_warning() -> None:
    steps = (
        "  - {discharge: C/2, until: [charge >= 80 % of last, voltage <= 3 V], at_most: 3 h}\n"
        "  - {charge: C/2, until: voltage >= 4.2 V, at_most: 3 h, save: last}\n"
    )
    assert only(steps).startswith(f"warning {FIRST}: 'charge >= 80 % of last' never holds")


def test_a_state_of_charge_that_nobody_has_said_yet_never_holds() -> None:
    steps = (
        "  - {discharge: C/2, until: soc <= 20 %, at_most: 3 h}\n"
        "  - {charge: C/2, until: voltage >= 4.2 V, at_most: 3 h, soc: 100 %}\n"
    )
    assert "no step before it says what the state of charge is" in only(steps)


@pytest.mark.parametrize("condition", ["soc >= 110 %", "soc >= 101 %"])
def test_a_state_of_charge_beyond_full_never_holds(condition: str) -> None:
    steps = (
        "  - {charge: C/2, until: voltage >= 4.2 V, at_most: 3 h, soc: 100 %}\n"
        f"  - {{charge: C/10, until: {condition}, at_most: 3 h}}\n"
    )
    assert only(steps) == (
        f"error {FIRST + 1}: {condition!r} never holds: a state of charge is 100 % at most"
    )


@pytest.mark.parametrize(("passes", "found"), [(3, 1), (4, 0)])
def test_a_cycle_that_is_never_reached(passes: int, found: int) -> None:
    steps = (
        f"  - repeat: {passes}\n    steps:\n      - repeat: 50\n        steps:\n"
        "    " + "    " + CHARGE + "    " + "    " + DISCHARGE
        + "      - if: cycle >= 200\n        then:\n          - rest: 1 h\n"
    )  # fmt: skip
    result = said(steps)
    assert len(result) == found
    assert all("there are 150 cycles at most until there" in one for one in result)


def test_cycles_that_come_later_do_not_count() -> None:
    loop = "  - repeat: 5\n    steps:\n    " + CHARGE + "    " + DISCHARGE
    steps = loop + "  - if: cycle >= 6\n    then:\n      - rest: 1 h\n" + loop
    assert "there are 5 cycles at most" in only(steps)


def test_the_cycles_after_a_goto_that_goes_back_count() -> None:
    loop = "  - label: again\n    repeat: 5\n    steps:\n    " + CHARGE + "    " + DISCHARGE
    steps = loop + "  - if: cycle >= 6\n    then:\n      - end: run\n  - {goto: again, times: 3}\n"
    assert said(steps) == []


def test_a_cycle_to_look_back_at_must_be_there() -> None:
    loop = "  - repeat: 5\n    until: cycle.discharge <= 80 % of cycle 9\n    steps:\n    "
    assert "there are 5 cycles at most" in only(loop + CHARGE + "    " + DISCHARGE)


def test_the_cycle_before_the_only_one_is_not_there() -> None:
    steps = (
        CHARGE + "  - if: cycle.charge <= 99 % of previous cycle\n    then:\n      - rest: 1 h\n"
    )
    assert "there is one cycle only" in only(steps)


def test_a_current_beyond_the_steps_own_never_flows() -> None:
    steps = "  - {hold: 4.1 V, current: C/5, until: current >= C/2, at_most: 1 h}\n"
    assert "the step allows no more than 0.2 A" in only(steps)


def test_a_contradiction_never_holds() -> None:
    both = "voltage >= 4.1 V and voltage <= 3.9 V"
    steps = f"  - {{rest: 1 h, until: {both}}}\n"
    assert only(steps) == f"warning {FIRST}: {both!r} never holds: no voltage is both"


def test_of_alternatives_each_must_be_impossible() -> None:
    one = "(voltage >= 4.1 V and voltage <= 3.9 V) or temperature >= 40 degC"
    assert said(f"  - {{rest: 1 h, until: ({one}) for 2 min}}\n") == []


def test_the_condition_of_a_chamber_that_the_station_lacks_never_holds() -> None:
    bare = Station("A1", 0.5, chamber=False, eis=True, window=1.1)
    steps = "  - {rest: 1 h, until: chamber <= 20 degC}\n"
    assert "station A1 has no chamber" in only(steps, station=bare)
    assert said(steps, station=STATION) == []


# Limits that come first.


def test_an_end_at_the_limit_is_pre_empted_by_noise() -> None:
    steps = "  - {charge: C/2, until: voltage >= 4.245 V, at_most: 3 h}\n"
    found = only(steps)
    assert found.startswith(f"warning {FIRST}: the end 'voltage >= 4.245 V' is 5 mV from the limit")
    assert said(steps.replace("4.245", "4.24")) == []


def test_a_discharge_to_the_lower_limit_too() -> None:
    steps = "  - {discharge: C/2, until: voltage <= 2.4 V, at_most: 3 h}\n"
    assert "at the limit of 2.4 V" in only(steps)


@pytest.mark.parametrize(
    "step",
    ["hold: 4.25 V, current: C/2", "cccv: {charge: C/2, voltage: 4.25 V}"],
)
def test_a_voltage_that_is_held_at_the_limit(step: str) -> None:
    steps = f"  - {{{step}, until: current <= C/20, at_most: 3 h}}\n"
    found = only(steps)
    assert found.startswith("error")
    assert "at 4.25 V is at the limit of 4.25 V" in found
    assert only(steps.replace("4.25", "4.245")).startswith("warning")


def test_the_limits_of_the_step_count_too() -> None:
    steps = (
        "  - {charge: C/2, until: voltage >= 4.1 V, at_most: 3 h,"
        " limits: {voltage: [3 V, 4.105 V]}}\n"
    )
    assert "the limit of 4.105 V" in only(steps)


@pytest.mark.parametrize(
    ("condition", "check"),
    [
        ("temperature >= 50 degC", "T1 trips above 45 degC"),
        ("temperature <= 2 degC", "T2 trips below 5 degC"),
        ("step.charge >= 120 %", "Q1 trips at 1.05 Ah"),
    ],
)
def test_an_end_beyond_a_limit_comes_too_late(condition: str, check: str) -> None:
    steps = f"  - {{charge: C/2, until: [voltage >= 4.2 V, {condition}], at_most: 3 h}}\n"
    found = only(steps)
    assert found.startswith(f"error {FIRST}: the end {condition!r} comes too late")
    assert check in found


def test_more_charge_than_its_limit_is_refused_by_the_compiler() -> None:
    steps = "  - {charge: C/2, until: charge >= 120 %, at_most: 3 h}\n"
    with pytest.raises(InputError, match="above the 1.05 Ah"):
        findings(steps)


def test_more_than_the_cell_holds_cannot_be_drawn() -> None:
    steps = "  - {discharge: C/2, until: charge >= 112 %, at_most: 3 h}\n"
    found = only(steps, ", charge: 130 %")
    assert "Q2 trips when 1.1 Ah are drawn" in found


def test_a_program_that_safety_ends_before_it_is_over() -> None:
    found = only("  - rest: 10 h\n", ", time: 5 h")
    assert found == "warning 3: the program takes about 10 h, and is ended before"
    loop = "  - repeat: 5\n    steps:\n    " + CHARGE + "    " + DISCHARGE
    found = only(loop, ", cycles: 3")
    assert found == "warning 3: the program has 5 cycles, and is ended before"


def test_a_program_of_many_years_is_a_typing_mistake() -> None:
    assert "about 11.4 years" in only("  - repeat: 100000\n    steps:\n      - rest: 1 h\n")


@pytest.mark.parametrize("step", ["charge: C/2", "hold: 4.1 V", "cccv: {charge: 1C, voltage: 4 V}"])
def test_a_step_without_its_longest_time_is_refused(step: str) -> None:
    with pytest.raises(InputError, match="at_most"):
        findings(f"  - {{{step}, until: current <= C/20}}\n")


# Notes.


def test_what_is_disabled_and_what_nobody_uses_is_noted() -> None:
    steps = (
        "  - {rest: 1 h, disabled: true}\n"
        "  - {discharge: C/2, until: voltage <= 2.5 V, at_most: 3 h, save: initial}\n"
    )
    assert said(steps) == [
        f"note {FIRST}: this is disabled",
        f"note {FIRST + 1}: nothing is compared with what is saved as 'initial'",
    ]


def test_what_is_saved_for_a_state_of_charge_is_used() -> None:
    steps = (
        "  - {discharge: C/2, until: voltage <= 2.5 V, at_most: 3 h, save: initial}\n"
        "  - {charge: C/2, until: voltage >= 4.2 V, at_most: 3 h, soc: {is: 100 %, of: initial}}\n"
    )
    assert said(steps) == []


# At a station.


def test_what_the_station_lacks_is_an_error() -> None:
    bare = Station("A1", 0.5, chamber=False, eis=False, window=1.1)
    steps = "  - chamber: 25 degC\n  - eis: {from: 10 kHz, to: 1 Hz, amplitude: 5 mV}\n"
    assert said(steps, station=bare) == [
        f"error {FIRST}: station A1 has no chamber",
        f"error {FIRST + 1}: station A1 has no `eis`",
    ]
    assert said(steps, station=STATION) == []
    assert said(steps) == []


def test_a_station_whose_cycler_may_do_anything_is_told_of() -> None:
    unknown = replace(STATION, currents_known=False)
    told = f"note {FIRST + 1}: what the cycler of station A1 can do is not known here"
    assert only("  - rest: 1 h\n" + CHARGE + DISCHARGE, station=unknown) == told
    assert said("  - rest: 1 h\n", station=unknown) == []


SLOW = replace(STATION, fastest_s=0.5)
CANNOT = "the cycler cannot be read faster than every 0.5 s"


def test_a_profile_finer_than_the_cycler_can_be_read() -> None:
    steps = "  - profile: {file: p.csv}\n"
    found = only(steps, station=SLOW, files={"p.csv": PROFILE})
    assert found == f"error {FIRST}: the profile has a step of 0.2 s, and {CANNOT}"
    quick = replace(STATION, fastest_s=0.1)  # read faster than its period while it plays
    assert said(steps, station=quick, files={"p.csv": PROFILE}) == []
    accelerated = Station("A1", 0.0, chamber=True, eis=True, window=1.1)
    assert said(steps, station=accelerated, files={"p.csv": PROFILE}) == []


def test_records_faster_than_the_cycler_can_be_read() -> None:
    steps = "  - {rest: 1 h, record: {every: 100 ms}}\n  - pulse: {discharge: 1C, for: 10 s}\n"
    assert said(steps, station=SLOW) == [
        f"warning {FIRST}: a record every 0.1 s is asked for, and {CANNOT}",
        f"note {FIRST + 1}: recorded every 0.1 s at first, and {CANNOT}",
    ]
    assert said(steps, station=replace(STATION, fastest_s=0.1)) == []


def test_a_current_that_the_cycler_is_read_too_rarely_for() -> None:
    steps = "  - {discharge: 5C, until: voltage <= 3 V, at_most: 1 h}\n"
    assert "must be read every 200 ms or faster" in only(steps, station=STATION)


# Places.


def test_every_finding_has_file_line_and_column() -> None:
    steps = (
        "  - charge: C/2\n    until:\n      - voltage >= 4.2 V\n"
        "      - temperature >= 50 degC\n    at_most: 3 h\n"
    )
    (one,) = findings(steps)
    assert (one.place.file, one.place.line, one.place.column) == ("p.yaml", FIRST + 3, 9)


def test_a_finding_in_an_included_file_is_placed_there() -> None:
    part = "protocol: part\nversion: 1.0.0\nsteps:\n" + CHARGE.replace("4.2", "4.25")
    (one,) = findings("  - include: part.yaml\n", files={"part.yaml": part})
    assert (one.place.file, one.place.line) == ("part.yaml", 4)


# On the command line.

LAB = """
lab: bench-3
mqtt: {broker: none}
instruments:
  aps1: {driver: keysight_aps, resource: "TCPIP::127.0.0.1::9::SOCKET"}
  mk53: {driver: binder, resource: "modbus+tcp://127.0.0.1:9", unit: 1,
         options: {temperature: [0 degC, 60 degC]}}
stations:
  A1:
    cycler: aps1
    chamber: mk53
    limits: {voltage: [2.0 V, 4.3 V], current: [-5 A, 5 A], temperature: [-20 degC, 80 degC]}
"""


@pytest.fixture
def daq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command line in a folder of its own: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(text: str, *words: str) -> tuple[int, str, str]:
        (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
        (tmp_path / "lab.yaml").write_text(LAB, encoding="utf-8")
        code = cli.run(["check", "p.yaml", *words])
        return code, *capsys.readouterr()

    return run


WARNS = f"{HEAD}}}\nsteps:\n{CHARGE.replace('4.2', '4.25')}"
SOC_TOO_EARLY = CHARGE.replace("voltage >= 4.2 V", "soc >= 50 %")
FAILS = f"{HEAD}}}\nsteps:\n{SOC_TOO_EARLY}  - {{rest: 1 h, soc: 50 %}}\n"


def test_a_warning_is_exit_code_0_and_with_strict_1(daq: Any) -> None:
    code, out, err = daq(WARNS)
    assert (code, out) == (0, "p.yaml: ok\n")
    assert err.startswith("warning: p.yaml:5:26: the end 'voltage >= 4.25 V' is at the limit")
    assert daq(WARNS, "--strict")[0] == 1


def test_an_error_of_the_whole_is_exit_code_2(daq: Any) -> None:
    code, out, err = daq(FAILS)
    assert (code, out) == (2, "")
    assert err.startswith("error: p.yaml:5:26: 'soc >= 50 %' never holds")


def test_an_editor_gets_every_finding(daq: Any) -> None:
    code, out, _ = daq(FAILS, "--json")
    (result,) = json.loads(out)
    assert code == 2
    assert (result["ok"], result["line"], result["column"]) == (False, 5, 26)
    (finding,) = result["findings"]
    assert finding["level"] == "error"
    assert (finding["file"], finding["line"], finding["column"]) == ("p.yaml", 5, 26)
    (result,) = json.loads(daq(WARNS, "--json")[1])
    assert result["ok"]
    assert [one["level"] for one in result["findings"]] == ["warning"]


def test_what_the_options_of_a_driver_tell_is_a_limit(daq: Any) -> None:
    text = "protocol: p\nversion: 1.0.0\nsteps:\n  - chamber: 70 degC\n"
    assert daq(text)[0] == 0
    code, _, err = daq(text, "--lab", "lab.yaml")
    assert code == 2
    assert "chamber at 70 degC is above the 60 degC of the instrument's range" in err


def test_a_station_that_lacks_what_the_program_needs_is_named(daq: Any) -> None:
    text = (
        "protocol: p\nversion: 1.0.0\nsteps:\n  - eis: {from: 10 kHz, to: 1 Hz, amplitude: 5 mV}\n"
    )
    code, _, err = daq(text, "--lab", "lab.yaml", "--station", "A1")
    assert code == 2
    assert err.startswith("error: p.yaml:4:10: station A1 has no `eis`")
