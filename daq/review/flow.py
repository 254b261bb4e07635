"""Which way a program can go: what is ever reached, and what is known by then.

Every condition is taken as one that may hold or not. What is said here of a step to come is
therefore never too little: where nothing leads, nothing ever will.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from daq.protocol.condition import Condition, Exit, Goes
from daq.protocol.program import (
    Branch,
    End,
    Instruction,
    Leave,
    Program,
    Repeat,
    Step,
    StepKind,
)

SOC = "soc:"
"""Stands among the names for a state of charge that somebody has said; no name has a colon."""
ENDS_BY_ITS_CONDITIONS = frozenset(
    {StepKind.CHARGE, StepKind.DISCHARGE, StepKind.HOLD, StepKind.CCCV}
)
"""Steps that only their `until` ends; the others are over by themselves."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What may come after what.

    Attributes:
        reached: index of every instruction that can be reached.
        known: by instruction: the names under which something may have been saved before it.
        around: by instruction: the loops that it is in, outermost first; a loop is in itself.
    """

    program: Program
    reached: frozenset[int]
    known: tuple[frozenset[str], ...]
    around: tuple[tuple[int, ...], ...]

    def most_cycles(self, index: int) -> float:
        """The highest number that the cycle can have there."""
        program = self.program
        if any(target.times for target in program.targets):
            return program.cycles
        outer = self.around[index][:1]
        until = _loop(program, outer[0]).end if outer else index
        passes, count = [1], 0
        for item in program.instructions[:until]:
            if isinstance(item, Repeat):
                passes.append(passes[-1] * item.times)
                count += passes[-1] if item.counts_cycles else 0
            elif isinstance(item, End):
                passes.pop()
        return min(count, program.cycles)


def flow_of(program: Program) -> Flow:
    """Follow every way through a program."""
    around = _around(program)
    ways = [tuple(_ways(program, index, around)) for index in range(len(program.instructions))]
    count = len(program.instructions)
    known: dict[int, frozenset[str]] = {0: frozenset()}
    waiting = [0]
    while waiting:
        index = waiting.pop()
        after = known[index] | _learns(program.instructions[index])
        for to in ways[index]:
            if to in known and after <= known[to]:
                continue
            known[to] = known.get(to, frozenset()) | after
            waiting += [to] if to < count else []
    every = tuple(known.get(index, frozenset()) for index in range(count))
    return Flow(program, frozenset(known) & frozenset(range(count)), every, around)


def _around(program: Program) -> tuple[tuple[int, ...], ...]:
    found: list[tuple[int, ...]] = []
    loops: list[int] = []
    for index, item in enumerate(program.instructions):
        if isinstance(item, Repeat):
            loops.append(index)
        found.append(tuple(loops))
        if isinstance(item, End):
            loops.pop()
    return tuple(found)


def _learns(item: Instruction) -> frozenset[str]:
    if not isinstance(item, Step):
        return frozenset()
    names = {item.save} if item.save else set[str]()
    return frozenset(names | ({SOC} if item.charged else set[str]()))


def _ways(program: Program, index: int, around: tuple[tuple[int, ...], ...]) -> Iterator[int]:
    """Where an instruction may lead; beyond the last one is the end of the program."""
    item = program.instructions[index]
    if isinstance(item, Leave):
        yield from _led(program, item.goes, around[index])
        return
    if isinstance(item, Branch):
        yield item.otherwise
    elif isinstance(item, End) and _loop(program, item.begin).times > 1:
        yield item.begin + 1
    elif isinstance(item, Step):
        for condition in item.until:
            if condition.goes:
                yield from _led(program, condition.goes, around[index])
        if not falls_through(item):
            return
    yield index + 1


def falls_through(step: Step) -> bool:
    """Whether the next line can come after it."""
    if step.kind not in ENDS_BY_ITS_CONDITIONS:
        return True
    return any(condition.goes is None for condition in step.until)


def _led(program: Program, goes: Goes, loops: tuple[int, ...]) -> Iterator[int]:
    if goes.exit is Exit.GOTO:
        yield program.targets[goes.target].index
    elif goes.exit is Exit.REPEAT:
        yield _loop(program, loops[-1]).end + 1
    elif goes.exit is Exit.CYCLE:
        counting = [begin for begin in loops if _loop(program, begin).counts_cycles]
        yield _loop(program, counting[-1]).end


def _loop(program: Program, index: int) -> Repeat:
    item = program.instructions[index]
    if not isinstance(item, Repeat):
        raise ValueError(f"instruction {index} of {program.protocol} opens no loop")
    return item


def conditions_of(item: Instruction) -> tuple[Condition, ...]:
    """The conditions that an instruction looks at."""
    if isinstance(item, Step | Repeat):
        return item.until
    return (item.condition,) if isinstance(item, Branch) else ()
