"""How many samples a second the engine takes, alone, on one core.

`python -m bench.engine` prints JSON. The samples are what a 1 Hz cycler would send of a two-cycle
formation at C/2; they are made first, so that only the engine is timed.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from math import exp

from daq.model import Limits, Setpoint
from daq.protocol.condition import Condition, Quantity
from daq.protocol.engine import Engine
from daq.protocol.program import (
    Apply,
    End,
    Finished,
    Instruction,
    Observation,
    Program,
    RecordRule,
    Repeat,
    Step,
    StepKind,
    TurnOff,
)
from daq.protocol.recording import Keeper

CAPACITY_AH = 2.0
RATE_A = 1.0
LIMITS = Limits((2.4, 4.25), (-2.5, 2.5), (10.0, 45.0))
RECORD = RecordRule(10.0, 0.005, 0.01)
ROUNDS = 5


def run() -> dict[str, float]:
    """Samples a second, and nanoseconds a sample; the best of five rounds each."""
    program = formation()
    samples = record_run(program)
    columns = [
        (seen.time_s, seen.voltage_V, seen.current_A, seen.temperature_degC, seen.chamber_degC)
        for seen in samples
    ]
    engine_s = best(lambda: play(program, samples))
    construct_s = best(lambda: construct(columns))
    both_s = best(lambda: construct_and_play(program, columns))
    keeper_s = best(lambda: keep(samples))
    count = len(samples)
    return {
        "samples": count,
        "engine_samples_per_s": count / engine_s,
        "engine_and_observation_samples_per_s": count / both_s,
        "engine_ns_per_sample": engine_s / count * 1e9,
        "observation_ns_per_sample": construct_s / count * 1e9,
        "keeper_ns_per_sample": keeper_s / count * 1e9,
    }


def formation() -> Program:
    """Rest, then twice: charge, hold, rest, discharge, rest."""
    charge = step(2, StepKind.CHARGE, 14400.0, Setpoint(4.22, RATE_A, 0.0), "voltage", 4.2)
    hold = step(3, StepKind.HOLD, 14400.0, Setpoint(4.2, RATE_A, RATE_A), "current", 0.1)
    drain = step(5, StepKind.DISCHARGE, 14400.0, Setpoint(2.9, 0.0, RATE_A), "voltage", 3.0)
    rest = [step(number, StepKind.REST, 1800.0) for number in (1, 4, 6)]
    instructions: tuple[Instruction, ...] = (
        rest[0],
        Repeat(times=2, end=7, counts_cycles=True),
        charge,
        hold,
        rest[1],
        drain,
        rest[2],
        End(begin=1),
    )
    return Program("bench", "1", "", "cell", CAPACITY_AH, instructions, 0.0, 0.0)


def step(
    number: int,
    kind: StepKind,
    at_most_s: float,
    setpoint: Setpoint | None = None,
    quantity: str = "",
    value: float = 0.0,
) -> Step:
    """One step; a second condition on charge, as a careful author writes it."""
    until: tuple[Condition, ...] = ()
    if quantity:
        at_least = quantity == "voltage" and kind is StepKind.CHARGE
        until = (
            Condition(Quantity(quantity), at_least, value, f"{quantity} at {value}"),
            Condition(Quantity.CHARGE, True, 1.1 * CAPACITY_AH, "charge >= 110 %"),
        )
    return Step(number, kind, number, kind, LIMITS, RECORD, at_most_s, setpoint, until=until)


def record_run(program: Program) -> list[Observation]:
    """Run the program once on a straight-line cell at 1 Hz, and keep what the engine saw."""
    engine = Engine(program)
    samples = [Observation(0.0, 3.2, 0.0, 25.0, 25.0)]
    actions = engine.start(samples[0])
    charged_Ah, setpoint, regulated_s = 0.4, None, 0.0
    while not any(isinstance(action, Finished) for action in actions):
        for action in actions:
            if isinstance(action, Apply | TurnOff):
                setpoint = action.setpoint if isinstance(action, Apply) else None
                regulated_s = 0.0
        current_A = _current(setpoint, regulated_s)
        charged_Ah += current_A / 3600.0
        regulated_s += 1.0
        voltage_V = min(3.0 + 1.2 * charged_Ah / CAPACITY_AH + 0.02 * current_A, 4.2)
        samples.append(Observation(float(len(samples)), voltage_V, current_A, 25.0, 25.0))
        actions = engine.advance(samples[-1])
    return samples


def _current(setpoint: Setpoint | None, regulated_s: float) -> float:
    if setpoint is None:
        return 0.0
    if setpoint.charge_A and setpoint.discharge_A:
        return setpoint.charge_A * exp(-regulated_s / 600.0)
    return setpoint.charge_A - setpoint.discharge_A


def play(program: Program, samples: list[Observation]) -> None:
    """The engine alone."""
    engine = Engine(program)
    engine.start(samples[0])
    advance = engine.advance
    for seen in samples:
        advance(seen)
    if not engine.finished:
        raise RuntimeError("the engine did not take the same way twice")


def construct(columns: list[tuple[float, float, float, float, float]]) -> None:
    """The observations alone."""
    for time_s, voltage_V, current_A, cell_degC, chamber_degC in columns:
        Observation(time_s, voltage_V, current_A, cell_degC, chamber_degC)


def construct_and_play(
    program: Program, columns: list[tuple[float, float, float, float, float]]
) -> None:
    """Both, as the control loop does it."""
    engine = Engine(program)
    engine.start(Observation(*columns[0]))
    advance = engine.advance
    for time_s, voltage_V, current_A, cell_degC, chamber_degC in columns:
        advance(Observation(time_s, voltage_V, current_A, cell_degC, chamber_degC))


def keep(samples: list[Observation]) -> None:
    """The recording rule alone."""
    keeper = Keeper()
    for seen in samples:
        keeper.keep(
            RECORD, seen.time_s, seen.voltage_V, seen.current_A, seen.temperature_degC, False
        )


def best(play_once: Callable[[], None]) -> float:
    """The shortest of some rounds, s: what others do on this machine is not measured."""
    gc.collect()
    spent: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        play_once()
        spent.append(time.perf_counter() - began)
    return min(spent)


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
