"""What importers write: exact quantities, a bound on every step, loops and jumps, safe YAML."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq import units
from daq.errors import InputError, Place
from daq.protocol.exchange import saying, times
from daq.protocol.exchange.bounds import beyond, bound_by_charge, longest_s
from daq.protocol.exchange.draft import Draft, Drive, Step, Task, When, name_from
from daq.protocol.exchange.findings import Findings
from daq.protocol.exchange.flow import Loop, nest, resolve
from daq.protocol.exchange.writer import write
from daq.yamlfile import parse

HERE = Place("source", 7, 3)
TASK = Task("source", Findings())

SAID = [
    (saying.voltage, units.VOLTAGE, 1e-6, 2000.0),
    (saying.current, units.CURRENT, 1e-6, 5000.0),
    (saying.power, units.POWER, 1e-6, 5000.0),
    (saying.charge, units.CHARGE, 1e-6, 5000.0),
    (saying.duration, units.TIME, 1e-3, 1e8),
    (saying.frequency, units.FREQUENCY, 1e-5, 1e7),
]


@pytest.mark.parametrize(
    ("say", "kind", "least", "most"), SAID, ids=lambda one: getattr(one, "__name__", str(one))
)
def test_a_quantity_is_the_same_when_it_is_read_again(say, kind, least, most):
    @settings(deadline=None)  # the first quantity loads pint
    @given(st.floats(least, most))
    def holds(value: float) -> None:
        assert units.parse(say(value), kind) == pytest.approx(value, rel=1e-15, abs=0.0)

    holds()


@given(st.floats(1e-4, 1e3))
def test_a_rate_is_the_same_when_it_is_read_again(value):
    assert units.parse(saying.rate(value), units.RATE) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (saying.rate(1 / 3), "C/3"),
        (saying.rate(0.05), "C/20"),
        (saying.rate(0.333333), "0.333333C"),
        (saying.rate(2.0), "2C"),
        (saying.current(saying.scaled(0.1, -3)), "0.1 mA"),
        (saying.current(22.82e-6), "22.82 uA"),
        (saying.voltage(0.005), "5 mV"),
        (saying.voltage(-0.1), "-0.1 V"),
        (saying.duration(5400.0), "90 min"),
        (saying.duration(64800.0), "18 h"),
        (saying.duration(0.01), "0.01 s"),
        (saying.frequency(0.01), "10 mHz"),
    ],
)
def test_quantities_read_as_a_person_writes_them(text, written):
    assert text == written


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("00:18:00", 1080.0),
        ("::.01", 0.01),
        ("03:00:00", 10800.0),
        ("100:00:00", 360000.0),
        ("::", None),
        ("00:00:00", None),
        ("1:2", None),
        ("9" * 100, None),
    ],
)
def test_a_clock_is_read(text, seconds):
    assert times.clock(text) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3 h", 10800.0),
        ("0.5 hours", 1800.0),
        ("10s", 10.0),
        ("60 mn", 3600.0),
        ("5 ms", 0.005),
        ("1e400 s", None),
        ("-1 s", None),
        ("0 s", None),
        ("2 parsecs", None),
        ("ten seconds", None),
    ],
)
def test_a_duration_in_words_is_read(text, seconds):
    assert times.seconds(text) == seconds


@pytest.mark.parametrize(("drive", "hours"), [(Drive(0.1, "C"), 15), (Drive(2.0, "A"), 113 / 60)])
def test_a_step_lasts_at_most_as_long_as_the_charge_allows(drive, hours):
    task = Task("source", Findings(), capacity_Ah=2.5)
    assert longest_s(drive, task) == pytest.approx(hours * 3600.0)


def test_a_duration_ends_a_step_before_its_at_most_fails_the_run():
    for seconds in (1.0, 600.0, 54000.0, 1e6):
        assert units.parse(beyond(seconds), units.TIME) > seconds


def test_what_nothing_bounds_is_refused_with_what_to_give():
    with pytest.raises(InputError, match="--capacity") as refused:
        bound_by_charge(Step({"charge": "1 A"}, HERE), Drive(1.0, "A"), TASK)
    assert refused.value.place == HERE


def step(index: int, *until: When) -> Step:
    return Step({"rest": f"{index + 1} s"}, HERE, index, until=list(until))


def shape(steps: list[Step]) -> list:
    return [
        one.index if one.steps is None else (one.keys["repeat"], shape(one.steps)) for one in steps
    ]


def test_backward_loops_become_nested_repeats():
    loops = [Loop(3, 1, 24, HERE), Loop(5, 0, 3, HERE)]
    flat = [step(0), step(1), step(2), loops[0], step(4), loops[1]]
    assert shape(nest(flat)) == [(3, [0, (24, [1, 2]), 4])]


def test_two_loops_may_begin_at_the_same_step():
    flat = [step(0), Loop(1, 0, 5, HERE), step(2), Loop(3, 0, 2, HERE)]
    assert shape(nest(flat)) == [(2, [(5, [0]), 2])]


@pytest.mark.parametrize(
    ("flat", "why"),
    [
        ([step(0), step(1), Loop(2, 0, 2, HERE), step(3), Loop(4, 1, 2, HERE)], "begins inside"),
        ([step(0), Loop(2, 2, 2, HERE)], "holds no step"),
        ([Loop(0, 0, 2, HERE)], "holds no step"),
        ([step(0), *(Loop(n, 0, 2, HERE) for n in range(1, 2000))], "12 deep"),
    ],
)
def test_loops_that_cross_or_hold_nothing_are_refused(flat, why):
    with pytest.raises(InputError, match=why):
        nest(flat)


def test_many_loops_one_after_the_other_take_no_time():
    flat: list = []
    for n in range(0, 40_000, 2):
        flat += [step(n), Loop(n + 1, n, 2, HERE)]
    assert len(nest(flat)) == 20_000


def resolved(steps: list[Step], end: int = 99) -> list[str]:
    findings = Findings()
    resolve(steps, end, Task("source", findings))
    return [error.message for error in findings.refused]


def test_a_jump_to_the_next_step_is_no_jump():
    steps = [step(0, When("voltage >= 4 V", to=1)), step(1)]
    assert resolved(steps) == []
    assert steps[0].data()["until"] == "voltage >= 4 V"


def test_a_jump_behind_the_innermost_loop_leaves_it():
    steps = nest([step(0, When("voltage <= 3 V", to=3)), step(1), Loop(2, 0, 9, HERE), step(3)])
    assert resolved(steps) == []
    inner = steps[0].steps
    assert inner
    assert inner[0].data()["until"] == [{"when": "voltage <= 3 V", "end": "repeat"}]


def test_a_jump_further_on_gets_a_label_and_one_beyond_the_end_ends_the_run():
    steps = [step(0, When("voltage >= 4 V", to=2), When("time >= 1 h", to=99)), step(1), step(2)]
    assert resolved(steps, end=3) == []
    assert steps[0].data()["until"] == [
        {"when": "voltage >= 4 V", "goto": "step_3"},
        {"when": "time >= 1 h", "end": "run"},
    ]
    assert steps[2].data()["label"] == "step_3"


def test_a_jump_back_and_a_jump_into_a_loop_are_refused():
    steps = nest(
        [step(0, When("a", to=2)), step(1), step(2), Loop(3, 1, 2, HERE), step(4, When("b", to=0))]
    )
    first, second = resolved(steps)
    assert "into a loop" in first
    assert "goes back" in second


HOSTILE = [
    "a: b # c",
    "x\ny: z",
    "- 1",
    "*alias",
    "&anchor",
    "!!int 3",
    "\x00\x85\u2028",
    "'\"",
    "{",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_source_becomes_more_than_a_comment(text):
    steps = [Step({"rest": "1 s"}, HERE, origin=text, remark="")]
    steps.append(
        Step({"charge": "1 A"}, HERE, at_most="1 h", remark=text, until=[When("time >= 1 s")])
    )
    written = write(Draft(name_from(text), [text], steps))
    assert parse(written).data["steps"] == [
        {"rest": "1 s"},
        {"charge": "1 A", "until": "time >= 1 s", "at_most": "1 h"},
    ]


@pytest.mark.parametrize(
    "text", ["../../etc/passwd", "", "$NAME", "a b", "x" * 200, "\u00e4\u00f6"]
)
def test_a_name_is_one_that_our_language_takes(text):
    name = name_from(text)
    assert 0 < len(name) <= 64
    assert not set(name) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
