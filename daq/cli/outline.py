"""A program as an outline: its steps as they stand inside loops and branches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

from daq.protocol.build import ELSE
from daq.protocol.program import Branch, End, Instruction, Leave, Program, Repeat, Step

INDENT = "  "


def outline(program: Program) -> Iterator[tuple[int, Step | Repeat | Branch | Leave]]:
    """Each instruction but the ends of loops, and in how many loops and branches it stands.

    The one cycle that a program without loops consists of is none that anybody has written.
    """
    inside: list[int] = []  # where each of them is over
    for index, item in enumerate(program.instructions):
        while inside and inside[-1] <= index:
            inside.pop()
        if isinstance(item, End) or (index == 0 and _is_everything(item, program)):
            continue
        if _is_else(item):
            inside[-1] = program.targets[item.goes.target].index
            yield len(inside) - 1, item
            continue
        yield len(inside), item
        if isinstance(item, Repeat):
            inside.append(item.end)
        elif isinstance(item, Branch):
            inside.append(item.otherwise)


def heading(item: Repeat | Branch | Leave) -> str:
    """What stands over a loop or a branch, or leads elsewhere."""
    if isinstance(item, Repeat):
        return _passes(item)
    return f"if {item.condition.text}" if isinstance(item, Branch) else item.text


def _passes(loop: Repeat) -> str:
    times, most = loop.times, "up to " if loop.until else ""
    if loop.counts_cycles:
        return f"{most}{times} cycle{'' if times == 1 else 's'}"
    return f"repeat {most}{times} times" if times > 1 else "once"


def _is_everything(item: Instruction, program: Program) -> bool:
    last = len(program.instructions) - 1
    return isinstance(item, Repeat) and (item.times, item.end) == (1, last)


def _is_else(item: Instruction) -> TypeGuard[Leave]:
    return isinstance(item, Leave) and item.text == ELSE
