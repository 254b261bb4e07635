"""Where a program stands: a flat program counter with a stack of loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any, NamedTuple

from daq.protocol.condition import Condition, Exit, Goes
from daq.protocol.program import Branch, End, Instruction, Leave, Program, Repeat, Step, StepKind

MOVES_AT_ONCE = 1000
"""A loop of nothing but branches must not hold up the thread that guards."""

Decide = Callable[[Condition], bool]


def _never(_: Condition) -> bool:
    return False


class LoopPass(NamedTuple):
    """One open loop: "pass 2 of 3", or "cycle 2 of 3" where it counts cycles."""

    number: int
    times: int
    counts_cycles: bool


class Position:
    """The program counter.

    Attributes:
        index: of the present instruction; -1 before the first.
        step_index: of the present step, which stays the last one after the end.
        cycle: 0 before the first cycle, then 1...
        done_s: expected duration of all steps that have been left.
        undecided: `next_step` has found none yet, and wants to be asked again.
        ended: why there is no next step, where the program itself has said so.
        lost: why there is no next step, where one was wanted: a goto too often.
    """

    def __init__(self, program: Program) -> None:
        self.index = -1
        self.cycle = 0
        self.done_s = 0.0
        self.step_index = -1
        self.undecided = False
        self.ended = ""
        self.lost = ""
        self._program = program
        self._loops: list[list[int]] = []  # [index of the Repeat, number of the pass]
        self._jumps: dict[str, int] = {}  # index of the target: how often gone to

    def next_step(self, holds: Decide = _never) -> Step | None:
        """Move on to the next step, through any loop brackets and branches; None at the end.

        Args:
            holds: whether a condition holds at this moment.
        """
        instructions = self._program.instructions
        if not self.undecided:
            self.index += 1
        self.undecided = False
        for _ in range(MOVES_AT_ONCE):
            if self.lost or self.ended or self.index >= len(instructions):
                return None
            item = instructions[self.index]
            if isinstance(item, Step):
                self.step_index = self.index
                return item
            self.index = self._move(item, holds)
        self.undecided = True
        return None

    def _move(self, item: Instruction, holds: Decide) -> int:
        """Where to go on after an instruction that is no step."""
        if isinstance(item, Repeat):
            return self._open(item)
        if isinstance(item, End):
            return self._close(item, holds)
        if isinstance(item, Branch):
            return self.index + 1 if holds(item.condition) else item.otherwise
        if isinstance(item, Leave):
            self.leave(item.goes, item.text)
            return self.index + 1
        raise ValueError(f"instruction {self.index} is a step")

    def leave(self, goes: Goes, text: str) -> None:
        """Go on elsewhere: the next move starts there."""
        if goes.exit is Exit.RUN:
            self.ended = text
        elif goes.exit is Exit.GOTO:
            self._goto(goes.target)
        else:
            self._leave_loop(goes.exit)

    def _goto(self, number: int) -> None:
        target = self._program.targets[number]
        count = self._jumps[str(number)] = self._jumps.get(str(number), 0) + 1
        if target.times and count > target.times:
            self.lost = f"went back to {target.label!r} {target.times} times, and once more"
            return
        while self._loops and not self._inside(self._loops[-1][0], target.index):
            self._loops.pop()
        self.index = target.index - 1

    def _inside(self, begin: int, index: int) -> bool:
        return begin < index <= self._repeat(begin).end

    def _leave_loop(self, exit_: Exit) -> None:
        """After the innermost loop, or to the end of a pass of the one that counts cycles."""
        of_cycle = exit_ is Exit.CYCLE
        while of_cycle and not self._repeat(self._loops[-1][0]).counts_cycles:
            self._loops.pop()
        end = self._repeat(self._loops[-1][0]).end
        if of_cycle:
            self.index = end - 1
        else:
            self._loops.pop()
            self.index = end

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

    def _close(self, end: End, holds: Decide) -> int:
        loop = self._loops[-1]
        repeat = self._repeat(end.begin)
        if loop[1] >= repeat.times or any(holds(condition) for condition in repeat.until):
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
            "jumps": dict(self._jumps),
            "undecided": self.undecided,
            "ended": self.ended,
            "lost": self.lost,
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
        position._jumps = dict(snapshot["jumps"])
        position.undecided = snapshot["undecided"]
        position.ended, position.lost = snapshot["ended"], snapshot["lost"]
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
        elif isinstance(item, End):
            times.pop()
