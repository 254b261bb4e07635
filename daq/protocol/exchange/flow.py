"""Flat lists with backward loops and jumps -> nested `repeat`s with labels.

In most formats a loop is a line that says "back to line 4, three times"; ours are brackets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daq.errors import InputError, Place
from daq.protocol.exchange.draft import Step, Task, When

DEEPEST = 12
"""Loops in loops; a YAML file of ours is at most 32 levels deep, and each loop takes two."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A line that goes back.

    Attributes:
        start: index of the first line of the loop.
        total: how many passes in all.
    """

    index: int
    start: int
    total: int
    place: Place
    origin: str = ""


def nest(items: Sequence[Step | Loop]) -> list[Step]:
    """Put what stands in a loop into a `repeat`.

    Raises:
        InputError: two loops overlap without one being inside the other, one holds nothing, or
            they are nested too deep.
    """
    done: list[_Nested] = []
    for item in items:
        if isinstance(item, Step):
            done.append(_Nested(item, item.index, 0))
            continue
        first = len(done)
        while first and done[first - 1].last >= item.start:
            first -= 1
        done[first:] = [_repeat(item, done[first:])]
    return [one.step for one in done]


@dataclass(frozen=True, slots=True)
class _Nested:
    """A step, the highest index in it, and how deep loops are nested in it."""

    step: Step
    last: int
    depth: int


def _repeat(loop: Loop, body: list[_Nested]) -> _Nested:
    """A `repeat`; it stands where its first step stood."""
    if not body:
        raise refused("the loop holds no step", loop.place, "remove it")
    if body[0].step.steps is not None and body[0].step.index < loop.start:
        raise refused(
            "this loop begins inside another that ends before it",
            loop.place,
            "loops must lie wholly inside or outside each other",
        )
    depth = 1 + max(one.depth for one in body)
    refuse_too_deep(depth, loop.place)
    steps = [one.step for one in body]
    made = Step({"repeat": loop.total}, loop.place, loop.start, loop.origin, steps=steps)
    return _Nested(made, body[-1].last, depth)


def refuse_too_deep(depth: int, place: Place) -> None:
    """Guard of everything that walks loops in loops.

    Raises:
        InputError: they are nested deeper than a file of ours can hold.
    """
    if depth > DEEPEST:
        raise refused(f"loops in loops, more than {DEEPEST} deep", place, "flatten them")


def resolve(steps: list[Step], end: int, task: Task) -> None:
    """Turn where each end condition goes on into the label, or the `end`, that it means.

    What our language does not know is refused in the findings.

    Args:
        steps: nested; they are changed.
        end: index behind the last line: a jump there, or beyond, completes the run.
        task: takes the findings.
    """
    _resolve(steps, [], end, task)
    if steps:  # behind the last step the run is complete anyway
        steps[-1].until = [_plain_end(when) for when in steps[-1].until]


def _plain_end(when: When) -> When:
    return When(when.condition) if when.goes == ("end", "run") else when


Here = list[tuple[list[Step], int]]
"""A step's way from the top: each list and the position in it."""


def _resolve(steps: list[Step], above: Here, end: int, task: Task) -> None:
    for position, step in enumerate(steps):
        here = [*above, (steps, position)]
        if step.steps is not None:
            _resolve(step.steps, here, end, task)
        with task.findings.collecting():
            step.until = [_resolved(when, here, end, step) for when in step.until]


def _resolved(when: When, here: Here, end: int, step: Step) -> When:
    if when.to is None:
        return when
    if when.to >= end:
        return When(when.condition, goes=("end", "run"))
    for outwards, (steps, position) in enumerate(reversed(here)):
        found = _find(steps, when.to)
        if found is not None:
            return _onwards(when, outwards, found - position, steps[found], step)
    raise refused(
        f"{when.condition!r} goes to step {when.to + 1}, into a loop or onto what is no step",
        step.place,
        "a loop of ours can be left by a jump, and not entered",
    )


def _onwards(when: When, outwards: int, distance: int, target: Step, step: Step) -> When:
    """The jump, as our language has it, over `distance` steps of a list so far outwards."""
    if distance <= 0:
        raise refused(
            f"{when.condition!r} goes back to step {target.index + 1}",
            step.place,
            "write this loop as a `repeat`, or a `goto` that says how many `times`",
        )
    if distance == 1 and outwards == 0:
        return When(when.condition)
    if distance == 1 and outwards == 1:
        return When(when.condition, goes=("end", "repeat"))
    target.label = target.label or f"step_{target.index + 1}"
    return When(when.condition, goes=("goto", target.label))


def _find(steps: list[Step], index: int) -> int | None:
    return next((n for n, step in enumerate(steps) if step.index == index), None)


def refused(message: str, place: Place, remedy: str) -> InputError:
    """The error for what our language cannot say."""
    return InputError(message, place=place, remedy=remedy)
