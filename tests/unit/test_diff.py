"""`daq diff`: what two versions of a protocol do differently, and what that asks of the version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from daq import cli
from daq.model import Cell
from daq.protocol.compile import compile_placed
from daq.protocol.source import parse_protocol
from daq.registry.protocols import Protocols
from daq.registry.shelf import Who
from daq.review.aspects import Needs
from daq.review.compared import Version
from daq.review.difference import Difference, differences
from daq.review.version import judge

OLD = """\
protocol: capacity
version: 1.2.0
parameters: {v_max: 4.2 V, rate: C/2}
record: {every: 10 s, voltage: 5 mV}
safety: {voltage: [2.4 V, 4.25 V], temperature: [10 degC, 45 degC]}
steps:
  - rest: 30 min
  - repeat: 3
    steps:
      - label: up
        charge: $rate
        until: voltage >= $v_max
        at_most: 3 h
      - rest: 10 min
      - discharge: $rate
        until: [voltage <= 2.5 V, {when: time >= 2 h, goto: up, times: 3}]
        at_most: 3 h
        save: taken
  - eis: {from: 10 kHz, to: 10 mHz, amplitude: 5 mV}
"""


def version(text: str, files: dict[str, str] | None = None) -> Version:
    source = parse_protocol(text, "p.yaml", files)
    return Version(source, compile_placed(source, Cell("c", 2.0), []))


def changed(*replaced: str, old: str = OLD) -> list[Difference]:
    """What differs once some words are replaced by others."""
    new = old
    for before, after in zip(replaced[::2], replaced[1::2], strict=True):
        assert before in new
        new = new.replace(before, after, 1)
    return differences(version(old), version(new))


def said(found: list[Difference]) -> list[str]:
    return [f"{one.what} {one.name}: {one.old} -> {one.new}" for one in found]


# What makes no difference.


@pytest.mark.parametrize(
    "replaced",
    [
        ("steps:\n", "# a comment\n\nsteps:\n"),
        ("4.2 V, rate", "4200 mV, rate"),
        ("rate: C/2", "rate: 0.5C"),
        ("{v_max: 4.2 V, rate: C/2}", "{rate: C/2, v_max: 4.2 V}"),
        ("        until: voltage >= $v_max\n        at_most: 3 h\n",
         "        at_most: 180 min\n        until: [voltage >= 4200 mV]\n"),
        ("label: up", "label: again", "goto: up", "goto: again"),
        ("version: 1.2.0", "version: 1.2.0\ndescription: in other words"),
        ("rest: 30 min", "rest: 0.5 h"),
    ],
    ids=["comment", "unit", "rate", "order", "keys", "label", "description", "hours"],
)  # fmt: skip
def test_what_is_only_written_otherwise_makes_no_difference(replaced: tuple[str, ...]) -> None:
    assert changed(*replaced) == []


def test_what_became_a_parameter_of_the_same_value_is_only_a_new_parameter() -> None:
    found = changed(
        "rate: C/2}", "rate: C/2, v_min: 2.5 V}", "voltage <= 2.5 V", "voltage <= $v_min"
    )
    assert said(found) == ["parameter v_min:  -> 2.5 V"]
    assert found[0].needs is Needs.SECOND


# Steps.


def test_a_new_default_shows_at_the_steps_that_it_changes() -> None:
    found = changed("rate: C/2", "rate: C/5")
    assert said(found) == [
        "parameter rate: C/2 -> C/5",
        "step 2 setpoint: 4.21 V, 0 to 1 A -> 4.21 V, 0 to 0.4 A",
        "step 4 setpoint: 2.49 V, -1 to 0 A -> 2.49 V, -0.4 to 0 A",
    ]
    assert [one.needs for one in found] == [Needs.THIRD, Needs.FIRST, Needs.FIRST]
    assert [(one.old_line, one.new_line) for one in found[1:]] == [(11, 11), (15, 15)]


def test_an_end_a_longest_time_a_record_and_limits_are_told_apart() -> None:
    assert [(one.name, one.needs) for one in changed("voltage <= 2.5 V", "voltage <= 2.6 V")] == [
        ("4 setpoint", Needs.FIRST),
        ("4 until", Needs.FIRST),
    ]
    assert [(one.name, one.needs) for one in changed("at_most: 3 h", "at_most: 4 h")] == [
        ("2 at_most", Needs.THIRD)
    ]
    more = "save: taken\n        record: {every: 1 s}\n        limits: {current: [-3 A, 3 A]}"
    assert said(changed("save: taken", more)) == [
        "step 4 limits:  -> current_A -3 to 3",
        "step 4 record:  -> every_s 1",
    ]


def test_another_time_of_a_rest_is_another_test() -> None:
    (rest,) = changed("rest: 30 min", "rest: 20 min")
    assert (rest.name, rest.old, rest.new) == ("1 time", "1800 s", "1200 s")
    assert rest.needs is Needs.FIRST


def test_a_step_that_came_and_one_that_went() -> None:
    (came,) = changed("  - rest: 30 min\n", "  - rest: 30 min\n  - chamber: 25 degC\n")
    assert (came.what, came.old, came.new) == ("step", "", "chamber 25 degC")
    assert (came.needs, came.old_line, came.new_line) == (Needs.SECOND, 0, 8)
    (went,) = changed("      - rest: 10 min\n", "")
    assert (went.new, went.needs, went.old_line) == ("", Needs.FIRST, 14)


def test_a_step_that_is_disabled_went() -> None:
    (went,) = changed("rest: 10 min", "{rest: 10 min, disabled: true}")
    assert (went.old, went.new) == ("rest 10 min", "")


def test_two_steps_that_changed_places() -> None:
    old = OLD.replace("  - rest: 30 min\n", "  - rest: 30 min\n  - chamber: 25 degC\n")
    new = OLD.replace("  - rest: 30 min\n", "  - chamber: 25 degC\n  - rest: 30 min\n")
    found = differences(version(old), version(new))
    assert len(found) == 2
    assert max(one.needs for one in found) is Needs.FIRST


def test_passes_and_ends_of_a_loop() -> None:
    assert said(changed("repeat: 3", "repeat: 5")) == ["repeat repeat: 3 -> 5"]
    found = changed("repeat: 3\n", "repeat: 3\n    until: cycle.time >= 2 d\n")
    assert said(found) == ["repeat until:  -> cycle.time >= 2 d"]


def test_a_goto_is_compared_by_where_it_leads() -> None:
    elsewhere = changed(
        "label: up\n        charge", "charge", "rest: 10 min", "{label: up, rest: 10 min}"
    )
    assert said(elsewhere) == ["step 4 goto: up, 3 times -> up, 3 times"]
    assert elsewhere[0].needs is Needs.FIRST
    assert said(changed("times: 3", "times: 5")) == ["step 4 goto: up, 3 times -> up, 5 times"]


def test_a_name_that_is_kept_is_added_and_may_not_change() -> None:
    assert [one.needs for one in changed("        save: taken\n", "")] == [Needs.FIRST]
    assert [one.needs for one in changed("save: taken", "save: given")] == [Needs.FIRST]
    assert [
        one.needs for one in changed("at_most: 3 h\n", "at_most: 3 h\n        save: put\n")
    ] == [Needs.SECOND]


def test_a_spectrum_a_soak_and_what_the_operator_is_asked() -> None:
    found = {one.name: one.needs for one in changed("to: 10 mHz", "to: 1 Hz")}
    assert found == {"5 spectrum": Needs.FIRST, "5 at_most": Needs.THIRD}
    old = OLD + "  - {chamber: 25 degC, soak: {within: 1 K, for: 5 min, at_most: 2 h}}\n"
    assert [one.needs for one in changed("within: 1 K", "within: 2 K", old=old)] == [Needs.FIRST]
    old = OLD + "  - operator: look\n    at_most: 1 d\n"
    (asked,) = changed("operator: look", "operator: listen", old=old)
    assert asked.needs is Needs.THIRD


def test_the_values_of_a_profile() -> None:
    text = "protocol: p\nversion: 1.0.0\nsteps:\n  - profile: {file: a.csv}\n"
    table = "time_s,rate_C\n0,-0.5\n20,0.25\n60,0\n"
    old = version(text, {"a.csv": table})
    assert differences(old, version(text, {"a.csv": table.replace("60", "60.0")})) == []
    found = differences(old, version(text, {"a.csv": table.replace("0.25", "0.3")}))
    assert "step 1 follows" in [f"{one.what} {one.name}" for one in found]


# The whole.


def test_records_safety_and_name() -> None:
    assert said(changed("every: 10 s", "every: 1 s")) == [
        "record : every_s 10, voltage_V 0.005 -> every_s 1, voltage_V 0.005"
    ]
    (limits,) = changed("45 degC", "50 degC")
    assert (limits.what, limits.name, limits.needs) == ("safety", "limits", Needs.THIRD)
    assert [one.name for one in changed("45 degC]", "45 degC], time: 3 d, checks: {T4: 5 K}")] == [
        "time and cycles",
        "checks",
    ]
    assert [one.needs for one in changed("protocol: capacity", "protocol: other")] == [Needs.FIRST]
    assert [one.name for one in changed("version: 1.2.0", "version: 1.2.0\nresume: operator")] == [
        "resume"
    ]


def test_parameters_are_a_promise_to_whoever_starts_a_run() -> None:
    found = changed("v_max: 4.2 V, ", "", "$v_max", "4.2 V")
    assert [(one.name, one.new, one.needs) for one in found] == [("v_max", "", Needs.FIRST)]


# The version.


@pytest.mark.parametrize(
    ("needs", "new", "enough"),
    [
        (Needs.FIRST, "2.0.0", True),
        (Needs.FIRST, "1.3.0", False),
        (Needs.FIRST, "1.2.0", False),
        (Needs.SECOND, "1.3.0", True),
        (Needs.SECOND, "2.0.0", True),
        (Needs.SECOND, "1.2.1", False),
        (Needs.THIRD, "1.2.1", True),
        (Needs.THIRD, "1.2.0", False),
        (Needs.NOTHING, "1.2.0", True),
        (Needs.NOTHING, "1.1.9", False),
    ],
)
def test_which_number_should_have_been_raised(needs: Needs, new: str, enough: bool) -> None:
    found = [Difference("step", "1", "a", "b", needs)] if needs else []
    assert judge("1.2.0", new, found).enough is enough


def test_the_right_version_is_suggested() -> None:
    suggested = {
        needs: judge("1.2", "1.2", [Difference("", "", "", "", needs)]).suggestion
        for needs in (Needs.FIRST, Needs.SECOND, Needs.THIRD)
    }
    assert list(suggested.values()) == ["2.0.0", "1.3.0", "1.2.1"]


# On the command line.

LAB = """
lab: bench-3
mqtt: {broker: none}
instruments:
  aps1: {driver: keysight_aps, resource: "TCPIP::127.0.0.1::9::SOCKET"}
stations:
  A1:
    cycler: aps1
    limits: {voltage: [2 V, 4.3 V], current: [-5 A, 5 A], temperature: [0 degC, 60 degC]}
cells:
  C-1: {nominal_capacity: 2 Ah}
"""


@pytest.fixture
def daq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command line beside `old.yaml` and a lab: exit code, stdout, stderr."""
    (tmp_path / "old.yaml").write_text(OLD, encoding="utf-8")
    (tmp_path / "lab.yaml").write_text(LAB, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def run(*words: str, new: str = OLD) -> tuple[int, str, str]:
        (tmp_path / "new.yaml").write_text(new, encoding="utf-8")
        code = cli.run(["diff", *words])
        return code, *capsys.readouterr()

    return run


def test_no_difference_in_meaning_is_exit_code_0(daq: Any) -> None:
    code, out, _ = daq("old.yaml", "new.yaml", new=OLD.replace("4.2 V", "4200 mV"))
    assert code == 0
    assert out == "no difference in meaning; 1.2.0: no number needs to be raised\n"


def test_differences_are_exit_code_1_and_judge_the_version(daq: Any) -> None:
    new = OLD.replace("rate: C/2", "rate: C/5").replace("1.2.0", "1.2.1")
    code, out, _ = daq("old.yaml", "new.yaml", new=new)
    assert code == 1
    assert out.splitlines()[-1] == "version 1.2.1: raise the first number, 2.0.0"
    right = new.replace("1.2.1", "2.0.0")
    assert "version 1.2.0 -> 2.0.0: right" in daq("old.yaml", "new.yaml", new=right)[1]


def test_differences_as_json(daq: Any) -> None:
    code, out, _ = daq("old.yaml", "new.yaml", "--json", new=OLD.replace("repeat: 3", "repeat: 4"))
    result = json.loads(out)
    assert code == 1
    assert result["same"] is False
    (one,) = result["differences"]
    assert (one["what"], one["old"], one["new"], one["raises"]) == ("repeat", "3", "4", "first")
    assert result["version"]["enough"] is False
    assert result["version"]["suggestion"] == "2.0.0"


def test_a_cell_of_the_lab_resolves_the_rates(daq: Any) -> None:
    new = OLD.replace("charge: $rate", "charge: 1 A", 1)
    assert daq("old.yaml", "new.yaml", new=new)[0] == 1
    assert daq("old.yaml", "new.yaml", "--cell", "C-1", new=new)[0] == 0
    assert daq("old.yaml", "new.yaml", "--capacity", "2", new=new)[0] == 0
    assert daq("old.yaml", "new.yaml", "--cell", "C-9", new=new)[0] == 2


def test_a_released_version_is_named_with_its_number(daq: Any, tmp_path: Path) -> None:
    Protocols(tmp_path / "data").release(parse_protocol(OLD), Who("somebody"))
    code, out, _ = daq("capacity@1.2.0", "new.yaml")
    assert (code, out.partition(";")[0]) == (0, "no difference in meaning")
    code, _, err = daq("capacity@9.9.9", "new.yaml")
    assert code == 2
    assert "9.9.9" in err


@pytest.mark.parametrize("name", ["missing.yaml", "@1.0.0", "capacity@"])
def test_what_is_not_there_is_exit_code_2(daq: Any, name: str) -> None:
    code, out, err = daq(name, "new.yaml")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
