"""Flat lists with backward loops and jumps -> nested `repeat`s with labels.

In most formats a loop is a line that says "back to line 4, three times"; ours are brackets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daq.errors import InputError, Place
from daq.protocol.exchange.draft import Step, Task, When, walk


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
        InputError: two loops overlap without one being inside the other, or one holds nothing.
    """
    done: list[Step] = []
    for item in items:
        if isinstance(item, Step):
            done.append(item)
            continue
        first = next((n for n, step in enumerate(done) if _last(step) >= item.start), len(done))
        body = done[first:]
        if not body:
            raise refused("the loop holds no step", item.place, "remove it")
        if body[0].steps is not None and body[0].index < item.start:
            raise refused(
                "this loop begins inside another that ends before it",
                item.place,
                "loops must lie wholly inside or outside each other",
            )
        done[first:] = [repeat(item, body)]
    return done


def repeat(loop: Loop, body: list[Step]) -> Step:
    """A `repeat`; it stands where its first step stood."""
    origin = loop.origin
    return Step({"repeat": loop.total}, loop.place, loop.start, origin, steps=body)


def _last(step: Step) -> int:
    """The highest index inside."""
    return max(one.index for one in walk([step]))


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
