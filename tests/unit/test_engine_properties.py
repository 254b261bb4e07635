"""What holds for every program and whatever the bench says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.model import Limits, Setpoint, Spectrum
from daq.protocol.condition import Condition, Quantity
from daq.protocol.course import Course, Follows
from daq.protocol.engine import Engine
from daq.protocol.program import (
    AbortSweep,
    Action,
    Apply,
    End,
    Finished,
    Instruction,
    Observation,
    Program,
    RecordRule,
    Repeat,
    Soak,
    StartSweep,
    Step,
    StepEnded,
    StepKind,
    StepStarted,
    TurnOff,
)

# Programs.

VALUES = {
    Quantity.VOLTAGE: st.floats(2.0, 5.0),
    Quantity.CURRENT: st.floats(0.0, 3.0),
    Quantity.TEMPERATURE: st.floats(0.0, 60.0),
    Quantity.TIME: st.floats(0.0, 100.0),
    Quantity.CHARGE: st.floats(0.0, 0.05),
    Quantity.ENERGY: st.floats(0.0, 0.2),
}
SETPOINTS = {
    StepKind.CHARGE: Setpoint(4.3, 1.0, 0.0),
    StepKind.DISCHARGE: Setpoint(2.0, 0.0, 1.0),
    StepKind.HOLD: Setpoint(4.0, 2.0, 2.0),
    StepKind.CCCV: Setpoint(4.2, 1.0, 0.0),
}
KINDS = (*SETPOINTS, StepKind.REST, StepKind.CHAMBER, StepKind.EIS)
LIMITS = st.sampled_from(
    [
        Limits((2.0, 4.6), (-2.0, 2.0), (0.0, 50.0)),
        Limits((2.5, 4.2), (-1.0, 1.5), (10.0, 40.0)),
        Limits(),
    ]
)
AT_MOST_S = st.integers(0, 60).map(float)


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    quantity = draw(st.sampled_from(sorted(VALUES)))
    value, at_least = draw(VALUES[quantity]), draw(st.booleans())
    return Condition(quantity, at_least, value, f"{quantity} {at_least} {value}")


@st.composite
def steps(draw: st.DrawFn) -> Step:
    kind = draw(st.sampled_from(KINDS))
    plain = Step(0, kind, 1, "", draw(LIMITS), RecordRule(), draw(AT_MOST_S), SETPOINTS.get(kind))
    if kind is StepKind.CHAMBER:
        within, for_s = draw(st.sampled_from([0.5, 10.0])), float(draw(st.integers(0, 20)))
        return replace(plain, soak=Soak(30.0, within, for_s))
    if kind is StepKind.EIS:
        return replace(plain, spectrum=Spectrum(1e4, 1.0, 6, 0.005))
    until = tuple(draw(st.lists(conditions(), max_size=2)))
    watts = {StepKind.CHARGE: 4.0, StepKind.DISCHARGE: -4.0}.get(kind)
    if watts is None or not draw(st.booleans()):
        return replace(plain, until=until)
    course = Course(Follows.POWER, (0.0,), (watts,), top_V=4.2, bottom_V=2.5)
    return replace(plain, until=until, course=course)


Block = Step | tuple[int, bool, list["Block"]]
BLOCKS = st.recursive(
    steps(),
    lambda inner: st.tuples(
        st.integers(1, 3), st.booleans(), st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=5,
)


def flatten(blocks: Sequence[Block], into: list[Instruction]) -> list[Instruction]:
    for block in blocks:
        if isinstance(block, Step):
            into.append(replace(block, number=len(into) + 1))
            continue
        times, counts, inner = block
        begin = len(into)
        into.append(End(0))  # holds the place until the end is known
        flatten(inner, into)
        into[begin] = Repeat(times, len(into), counts)
        into.append(End(begin))
    return into


def as_program(blocks: list[Block]) -> Program:
    return Program("random", "1", "sha", "cell", 1.0, tuple(flatten(blocks, [])), 0.0, 0.0)


PROGRAMS = st.lists(BLOCKS, min_size=1, max_size=3).map(as_program)


def executions(program: Program) -> int:
    """How many steps the program runs, every pass counted."""
    times, count = [1], 0
    for item in program.instructions:
        if isinstance(item, Repeat):
            times.append(times[-1] * item.times)
        elif isinstance(item, End):
            times.pop()
        else:
            count += times[-1]
    return count


# Samples.

STATES = st.sampled_from(["", "idle", "running", "running", "done", "failed"])


def or_nan(numbers: st.SearchStrategy[float]) -> st.SearchStrategy[float]:
    return st.integers(0, 15).flatmap(lambda dice: numbers if dice else st.just(nan))


@st.composite
def samples(draw: st.DrawFn) -> tuple[float, Observation]:
    """The time to the next one, and the sample with its stamp to be filled in."""
    elapsed_s = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0, 7.3, 30.0]))
    volts = draw(or_nan(st.floats(1.9, 4.7)))
    amps = draw(or_nan(st.floats(-2.0, 2.0)))
    celsius = draw(or_nan(st.floats(12.0, 39.0)))
    return elapsed_s, Observation(0.0, volts, amps, celsius, draw(or_nan(st.floats(20, 45))),
                                  draw(STATES))  # fmt: skip


COMMANDS = st.sampled_from(["advance"] * 12 + ["pause", "resume", "resume"])
FEEDS = st.lists(st.tuples(samples(), COMMANDS), min_size=1, max_size=40)
Feed = list[tuple[tuple[float, Observation], str]]


def stamped(feed: Feed, start_s: float = 0.0) -> list[tuple[Observation, str]]:
    """The feed with its stamps."""
    time_s, out = start_s, []
    for (elapsed_s, seen), command in feed:
        time_s += elapsed_s
        out.append((replace(seen, time_s=time_s), command))
    return out


def tell(engine: Engine, seen: Observation, command: str) -> tuple[Action, ...]:
    if not engine.started:
        return engine.start(seen)
    commands: dict[str, Callable[[Observation], tuple[Action, ...]]] = {
        "advance": engine.advance,
        "pause": engine.pause,
        "resume": engine.resume,
    }
    return commands[command](seen)


# The bench, which believes nothing.


@dataclass
class Bench:
    """Carries out actions and refuses what must not happen."""

    on: Step | None = None
    sweeping: bool = False
    open_step: int = 0
    counts: list[int] = field(default_factory=list)
    finished: str = ""

    def act(self, actions: Sequence[Action], seen: Observation) -> None:
        if seen.measurement in ("done", "failed"):
            self.sweeping = False  # by itself
        for action in actions:
            assert not self.finished, "an action after the end"
            self.one(action, seen)
        if actions and isinstance(actions[-1], Finished):
            assert TurnOff() in actions
        if self.finished:
            assert self.on is None and not self.sweeping, "the end left something on"

    def one(self, action: Action, seen: Observation) -> None:
        match action:
            case Apply(setpoint, step):
                self.inside(step, seen, starting=self.on is not step)
                assert setpoint.charge_A >= 0.0 and setpoint.discharge_A >= 0.0
                assert not self.sweeping, "the cycler went on during a sweep"
                self.on = step
            case TurnOff():
                self.on = None
            case StartSweep():
                assert self.on is None, "a sweep started while the cycler was on"
                assert isfinite(seen.voltage_V)
                self.sweeping = True
            case AbortSweep():
                self.sweeping = False
            case StepStarted(step, count, _):
                assert self.open_step == 0, "two steps at once"
                self.inside(step, seen, starting=True)
                self.open_step = count
                self.counts.append(count)
            case StepEnded(_, count, _, reason):
                assert self.open_step == count, "a step ended that was not running"
                assert reason
                self.open_step = 0
            case Finished(outcome, _):
                self.finished = outcome
            case _:
                pass

    def inside(self, step: Step, seen: Observation, *, starting: bool) -> None:
        if not starting:
            return
        for value, (low, high) in (
            (seen.voltage_V, step.limits.voltage_V),
            (seen.temperature_degC, step.limits.temperature_degC),
        ):
            assert not isfinite(value) or low <= value <= high, "started outside its limits"


# The properties.


@settings(max_examples=80, deadline=None)
@given(PROGRAMS, FEEDS)
def test_the_bench_is_never_asked_for_what_must_not_happen(program: Program, feed: Feed):
    engine, bench = Engine(program), Bench()
    for seen, command in stamped(feed):
        actions = tell(engine, seen, command)
        bench.act(actions, seen)
        if any(isinstance(action, Apply) for action in actions):
            assert isfinite(seen.voltage_V), "energised without a valid voltage"
        assert bench.counts == sorted(set(bench.counts))
        if engine.paused or engine.phase == "waiting":
            assert bench.on is None and not bench.sweeping, "on while it pauses or waits"
    assert engine.finished == bool(bench.finished)


@settings(max_examples=50, deadline=None)
@given(PROGRAMS, FEEDS, st.sampled_from([0.5, 3.0, 20.0]))
def test_every_program_ends_within_the_sum_of_its_at_most(
    program: Program, feed: Feed, period_s: float
):
    """The samples are played over and over.

    Each step may be late by one period, and may have waited as long again for a voltage.
    """
    engine = Engine(program)
    bench = Bench()
    budget = sum_of_at_most(program) / period_s + 2 * executions(program) + 2
    observations = 0
    while not engine.finished:
        (_, seen), _ = feed[observations % len(feed)]
        now = replace(seen, time_s=observations * period_s)
        bench.act(tell(engine, now, "advance"), now)
        observations += 1
        assert observations <= 2 * budget + 60, "it does not end"
    assert bench.finished == engine.outcome


def sum_of_at_most(program: Program) -> float:
    times, total = [1], 0.0
    for item in program.instructions:
        if isinstance(item, Repeat):
            times.append(times[-1] * item.times)
        elif isinstance(item, End):
            times.pop()
        else:
            total += times[-1] * item.at_most_s
    return total


@settings(max_examples=80, deadline=None)
@given(PROGRAMS, FEEDS)
def test_charge_counted_is_the_trapezoid_of_the_samples(program: Program, feed: Feed):
    engine = Engine(program)
    seen_all = stamped(feed)
    for seen, command in seen_all:
        tell(engine, seen, command)
    valid = [
        (seen.time_s, seen.current_A, seen.voltage_V)
        for seen, _ in seen_all
        if isfinite(seen.voltage_V * seen.current_A)
    ]
    time_s, amps, volts = (np.array(column) for column in zip(*valid, strict=True)) if valid else (
        np.zeros(1), np.zeros(1), np.zeros(1))  # fmt: skip
    counted = engine.counters
    net_C = trapezoid(amps, time_s)
    assert (counted.charge_Ah - counted.discharge_Ah) * 3600 == pytest.approx(net_C, abs=1e-9)
    assert counted.charge_Ah * 3600 == pytest.approx(positive_part(time_s, amps), abs=1e-9)
    # With both signs in one interval, power is taken as two triangles, not as one trapezoid.
    one_sign = all(a * b >= 0 for a, b in zip(amps, amps[1:], strict=False))
    if one_sign:
        net_J = trapezoid(amps * volts, time_s)
        assert (counted.charge_Wh - counted.discharge_Wh) * 3600 == pytest.approx(net_J, abs=1e-8)
    assert min(counted.charge_Ah, counted.discharge_Ah) >= 0.0
    assert min(counted.charge_Wh, counted.discharge_Wh) >= 0.0


def trapezoid(values: np.ndarray, time_s: np.ndarray) -> float:
    return float(np.sum(np.diff(time_s) * (values[1:] + values[:-1]) / 2))


def positive_part(time_s: np.ndarray, amps: np.ndarray) -> float:
    """The integral of the positive part, with each zero crossing put in as a point of its own."""
    times, values = [time_s[0]], [amps[0]]
    for t0, t1, a0, a1 in zip(time_s, time_s[1:], amps, amps[1:], strict=False):
        if a0 * a1 < 0.0:
            times.append(t0 + (t1 - t0) * (a0 / (a0 - a1)))
            values.append(0.0)
        times.append(t1)
        values.append(a1)
    return trapezoid(np.maximum(values, 0.0), np.array(times))


@settings(max_examples=50, deadline=None)
@given(PROGRAMS, FEEDS)
def test_the_steps_add_up_to_the_run(program: Program, feed: Feed):
    engine, total, previous = Engine(program), 0.0, 0.0
    for seen, command in stamped(feed):
        before_count, before = engine.step_count, engine.counters.charge_Ah
        tell(engine, seen, command)
        now = engine.counters.charge_Ah
        if engine.step_count != before_count:
            total += previous + (now - before) if before_count else 0.0
            assert engine.step_counters.charge_Ah == 0.0
        previous = engine.step_counters.charge_Ah
    assert total + previous == pytest.approx(engine.counters.charge_Ah, abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(PROGRAMS, FEEDS, st.data())
def test_restoring_a_snapshot_anywhere_goes_on_exactly(
    program: Program, feed: Feed, data: st.DataObject
):
    cut = data.draw(st.integers(0, len(feed)))
    straight = Engine(program, settle_s=0.7)
    samples_ = stamped(feed, start_s=0.1)
    for seen, command in samples_[:cut]:
        tell(straight, seen, command)
    text = json.dumps(straight.snapshot(), allow_nan=False)
    restored = Engine.restore(program, json.loads(text))
    for seen, command in samples_[cut:]:
        assert tell(restored, seen, command) == tell(straight, seen, command)
        assert view(restored) == view(straight)
    assert restored.snapshot() == straight.snapshot()


def view(engine: Engine) -> tuple[object, ...]:
    return (
        engine.phase,
        engine.step if engine.started else None,
        engine.step_count,
        engine.cycle,
        engine.passes,
        engine.step_time_s,
        engine.test_time_s,
        engine.counters,
        engine.step_counters,
        engine.progress,
        engine.outcome,
    )


@settings(max_examples=50, deadline=None)
@given(PROGRAMS, FEEDS, st.data())
def test_a_stop_at_any_moment_ends_everything_off(
    program: Program, feed: Feed, data: st.DataObject
):
    engine, bench = Engine(program), Bench()
    cut = data.draw(st.integers(1, len(feed)))
    seen = Observation(0.0, nan, nan, nan, nan)
    for seen, command in stamped(feed)[:cut]:
        bench.act(tell(engine, seen, command), seen)
    was_finished = engine.finished
    bench.act(engine.stop(seen, "operator"), seen)
    assert engine.finished
    assert bench.open_step == 0
    assert was_finished or engine.outcome == bench.finished == "stopped"


@settings(max_examples=50, deadline=None)
@given(PROGRAMS, FEEDS)
def test_progress_and_cycles_never_go_back(program: Program, feed: Feed):
    engine = Engine(program)
    progress, cycle, step_count = 0.0, 0, 0
    for seen, command in stamped(feed):
        tell(engine, seen, command)
        # A pause moves the step's beginning, which rounds to the last bit of a stamp.
        assert progress - 1e-12 <= engine.progress <= 1.0
        assert (cycle, step_count) <= (engine.cycle, engine.step_count)
        progress, cycle, step_count = engine.progress, engine.cycle, engine.step_count
        assert all(1 <= loop.number <= loop.times for loop in engine.passes)
