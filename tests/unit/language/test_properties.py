"""Whatever program can be written: it ends, OFF, in the time that it names, and goes on exactly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from daq.errors import InputError
from daq.protocol.engine import Engine
from daq.protocol.program import Program
from tests.unit.language.bench import Player, compiled

LABELS = ("a", "b")
STEP_CONDITIONS = st.sampled_from(
    [
        "time >= 20 s",
        "time >= 5 s and voltage >= 3.4 V",
        "temperature >= 24 degC for 10 s",
        "charge >= 5 mAh",
        "charge >= 50 % of kept",
        "dV/dt >= 1 mV/min over 10 s",
        "-dV >= 1 mV after 5 s",
        "cycle.time >= 30 s",
        "run.charge >= 10 mAh or run.discharge >= 10 mAh",
    ]
)
MOMENTS = st.sampled_from(
    [
        "voltage >= 3.6 V",
        "cycle >= 2",
        "run.time >= 60 s",
        "cycle.discharge >= 3 mAh",
        "kept.charge >= 2 mAh",
        "cycle.charge >= 90 % of previous cycle",
        "soc >= 50 %",
    ]
)


def ways() -> st.SearchStrategy[dict[str, Any]]:
    goto = st.fixed_dictionaries({"goto": st.sampled_from(LABELS), "times": st.integers(1, 3)})
    return st.one_of(goto, st.sampled_from([{"end": end} for end in ("repeat", "cycle", "run")]))


@st.composite
def untils(draw: st.DrawFn) -> list[Any]:
    entries: list[Any] = draw(st.lists(STEP_CONDITIONS, min_size=1, max_size=2))
    if draw(st.booleans()):
        entries.append({"when": draw(STEP_CONDITIONS)} | draw(ways()))
    return entries


def moving(key: str, value: Any) -> st.SearchStrategy[dict[str, Any]]:
    return untils().map(lambda until: {key: value, "until": until, "at_most": "40 s"})


STEPS = st.one_of(
    st.just({"rest": "10 s"}),
    moving("charge", "1C"),
    moving("discharge", "2 W"),
    moving("cccv", {"charge": "2C", "voltage": "3.7 V"}),
    moving("hold", "3.6 V").map(lambda step: step | {"current": "1C"}),
    st.just({"pulse": {"discharge": "2C", "for": "5 s"}}),
    st.just({"ramp": {"discharge": "1C", "over": "10 s"}, "at_most": "1 min"}),
    st.just({"ramp": {"voltage": "3.65 V", "rate": "10 mV/s", "current": "1C"}, "at_most": "1 h"}),
    st.just({"chamber": "27 degC", "rate": "30 K/min"}),
    st.just({"profile": {"file": "p.csv"}}),
)


@st.composite
def entries(draw: st.DrawFn, inner: st.SearchStrategy[list[Any]] | None = None) -> dict[str, Any]:
    entry = dict(draw(STEPS))
    kind = draw(st.integers(0, 5)) if inner is not None else 0
    if inner is not None and kind == 1:
        entry = {"repeat": draw(st.integers(1, 3)), "steps": draw(inner)}
        if draw(st.booleans()):
            entry["until"] = draw(MOMENTS)
        if draw(st.booleans()):
            entry["cycle"] = draw(st.booleans())
    elif inner is not None and kind == 2:
        entry = {"if": draw(MOMENTS), "then": draw(inner)}
        if draw(st.booleans()):
            entry["else"] = draw(inner)
    elif kind == 3:
        way = draw(ways())
        entry = {key: value for key, value in way.items() if "goto" in way or key != "times"}
    if draw(st.integers(0, 3)) == 0:
        entry["label"] = draw(st.sampled_from(LABELS))
    if draw(st.integers(0, 9)) == 0:
        entry["disabled"] = True
    return entry


LISTS = st.recursive(
    st.lists(entries(), min_size=1, max_size=3),
    lambda inner: st.lists(entries(inner), min_size=1, max_size=3),
    max_leaves=6,
)
FIRST = {
    "charge": "1C",
    "until": ["time >= 10 s"],
    "at_most": "1 min",
    "save": "kept",
    "soc": "50 %",
}
TABLE = "time_s,rate_C\n0,1\n3,-1\n7,0\n9,0\n"


def program_of(steps: list[Any]) -> Program:
    """YAML is a superset of JSON; what cannot be compiled is not what is tested here."""
    text = "\n".join(f"  - {json.dumps(step)}" for step in [FIRST, *steps])
    try:
        return compiled(text, files={"p.csv": TABLE})
    except InputError as error:
        assert error.place, error
        assume(False)
        raise


many = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much]
)


@many
@given(LISTS)
def test_every_program_ends_off_in_the_time_that_it_names(steps: list[Any]) -> None:
    program = program_of(steps)
    player = Player(program, soc=0.4).run(most_s=program.at_most_s + 3600.0)
    assert player.finished, "it goes on for ever"
    assert player.setpoint is None
    assert player.time_s <= program.at_most_s + 5.0 * len(player.started) + 5.0
    assert len(player.ended) == len(player.started)
    assert max((cycle for _, _, cycle in player.started), default=0) <= program.cycles
    assert player.engine.advance(player.see()) == ()


@many
@given(LISTS, st.floats(3.0, 60.0))
def test_a_program_that_was_interrupted_anywhere_goes_on_exactly(
    steps: list[Any], every_s: float
) -> None:
    program = program_of(steps)
    whole, broken = Player(program, soc=0.4), Player(program, soc=0.4)
    whole.run(most_s=2000.0)
    while broken.finished is None and broken.time_s < 2000.0:
        broken.run(most_s=min(every_s, 2000.0 - broken.time_s))
        snapshot = json.loads(json.dumps(broken.engine.snapshot()))
        broken.engine = Engine.restore(program, snapshot)
    assert broken.ended == whole.ended
    assert broken.asked == whole.asked
    assert broken.engine.snapshot() == whole.engine.snapshot()


def test_the_programs_that_are_tried_are_not_all_alike() -> None:
    """The generator reaches every kind of instruction, and most of what it makes compiles."""
    seen: set[str] = set()
    made = 0

    @settings(max_examples=200, database=None, deadline=None)
    @given(LISTS)
    def try_one(steps: list[Any]) -> None:
        nonlocal made
        text = "\n".join(f"  - {json.dumps(step)}" for step in [FIRST, *steps])
        try:
            program = compiled(text, files={"p.csv": TABLE})
        except InputError:
            return
        made += 1
        seen.update(type(item).__name__ for item in program.instructions)

    try_one()
    assert seen == {"Step", "Repeat", "End", "Branch", "Leave"}
    assert made > 60, made


@pytest.mark.parametrize("number", [1, 5])
def test_a_goto_into_a_loop_that_was_left_begins_it_anew(number: int) -> None:
    steps = f"""\
  - label: loop
    repeat: {number}
    steps:
      - rest: 1 s
  - goto: loop
    times: 1
    label: tail"""
    player = Player(compiled(steps)).run()
    assert len(player.ended) == 2 * number
