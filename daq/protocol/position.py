"""Where a program stands: a flat program counter with a stack of loops."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any, NamedTuple

from daq.protocol.program import End, Program, Repeat, Step, StepKind


class LoopPass(NamedTuple):
    """One open loop: "pass 2 of 3", or "cycle 2 of 3" where it counts cycles."""

    number: int
    times: int
    counts_cycles: bool


class Position:
    """The program counter.

    `goto` will be one more instruction: set `index`, and drop the loops that it leaves.

    Attributes:
        index: of the present instruction; -1 before the first.
        step_index: of the present step, which stays the last one after the end.
        cycle: 0 before the first cycle, then 1...
        done_s: expected duration of all steps that have been left.
    """

    def __init__(self, program: Program) -> None:
        self.index = -1
        self.cycle = 0
        self.done_s = 0.0
        self.step_index = -1
        self._program = program
        self._loops: list[list[int]] = []  # [index of the Repeat, number of the pass]

    def next_step(self) -> Step | None:
        """Move on to the next step, through any loop brackets; None at the end."""
        instructions = self._program.instructions
        self.index += 1
        while self.index < len(instructions):
            item = instructions[self.index]
            if isinstance(item, Step):
                self.step_index = self.index
                return item
            self.index = self._open(item) if isinstance(item, Repeat) else self._close(item)
        return None

    def present_step(self) -> Step:
        """The step at `step_index`.

        Raises:
            ValueError: there is none.
        """
        item = self._program.instructions[self.step_index]
        if not isinstance(item, Step):
            raise ValueError(
                f"instruction {self.step_index} of {self._program.protocol} is no step"
            )
        return item

    def _open(self, repeat: Repeat) -> int:
        if repeat.times < 1:
            return repeat.end + 1
        self._loops.append([self.index, 1])
        self.cycle += repeat.counts_cycles
        return self.index + 1

    def _close(self, end: End) -> int:
        loop = self._loops[-1]
        repeat = self._repeat(end.begin)
        if loop[1] >= repeat.times:
            self._loops.pop()
            return self.index + 1
        loop[1] += 1
        self.cycle += repeat.counts_cycles
        return end.begin + 1

    def _repeat(self, index: int) -> Repeat:
        item = self._program.instructions[index]
        if not isinstance(item, Repeat):
            raise ValueError(f"instruction {index} of {self._program.protocol} opens no loop")
        return item

    @property
    def passes(self) -> tuple[LoopPass, ...]:
        """The open loops, outermost first."""
        return tuple(
            LoopPass(number, self._repeat(index).times, self._repeat(index).counts_cycles)
            for index, number in self._loops
        )

    def snapshot(self) -> dict[str, Any]:
        """JSON-able state."""
        return {
            "index": self.index,
            "step_index": self.step_index,
            "cycle": self.cycle,
            "done_s": self.done_s,
            "loops": [list(loop) for loop in self._loops],
        }

    @classmethod
    def restore(cls, program: Program, snapshot: dict[str, Any]) -> Position:
        """The position that `snapshot` was taken of."""
        position = cls(program)
        position.index = snapshot["index"]
        position.step_index = snapshot["step_index"]
        position.cycle = snapshot["cycle"]
        position.done_s = snapshot["done_s"]
        position._loops = [list(loop) for loop in snapshot["loops"]]
        return position


def duration_s(step: Step, nominal_Ah: float) -> float:
    """How long a step should take, for a progress bar: its time, or the whole cell at its rate."""
    longest = step.at_most_s if isfinite(step.at_most_s) else 0.0
    if step.setpoint is None or step.kind is StepKind.HOLD or not step.until:
        return longest
    current = max(step.setpoint.charge_A, step.setpoint.discharge_A)
    return min(longest, nominal_Ah / current * 3600.0) if current > 0.0 else longest


def total_s(program: Program) -> float:
    """How long the whole program should take by the same rule, every pass counted."""
    nominal = program.nominal_capacity_Ah
    return sum(times * duration_s(step, nominal) for step, times in _executions(program))


def _executions(program: Program) -> Iterator[tuple[Step, int]]:
    times = [1]
    for item in program.instructions:
        if isinstance(item, Step):
            yield item, times[-1]
        elif isinstance(item, Repeat):
            times.append(times[-1] * max(item.times, 0))
        else:
            times.pop()
