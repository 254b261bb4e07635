"""Whether the version was raised as its differences ask for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from daq.review.aspects import Needs
from daq.review.difference import RAISES, Difference

_NUMBERS = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the version should have done, and has.

    Attributes:
        raised: the first of its numbers that is higher now.
        lowered: it has become an earlier one.
    """

    old: str
    new: str
    needs: Needs
    raised: Needs
    lowered: bool

    @property
    def enough(self) -> bool:
        """Whether it was raised as far as it must be."""
        return not self.lowered and self.raised >= self.needs

    def __str__(self) -> str:
        numbers = f"version {self.old} -> {self.new}" if self.old != self.new else self.old
        if self.lowered:
            return f"{numbers}: this is lower than before"
        if self.needs is Needs.NOTHING:
            return f"{numbers}: no number needs to be raised"
        which = RAISES[self.needs]
        if self.enough:
            return f"{numbers}: right, the {which} number is to be raised at least"
        return f"version {self.new}: raise the {which} number, {self.suggestion}"

    @property
    def suggestion(self) -> str:
        """The next version that would be right."""
        first, second, third = _numbers(self.old)
        if self.needs is Needs.FIRST:
            return f"{first + 1}.0.0"
        if self.needs is Needs.SECOND:
            return f"{first}.{second + 1}.0"
        return f"{first}.{second}.{third + 1}"

    def document(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "old": self.old,
            "new": self.new,
            "to_raise": RAISES[self.needs],
            "raised": RAISES[self.raised],
            "enough": self.enough,
            "suggestion": None if self.enough else self.suggestion,
        }


def judge(old: str, new: str, found: Iterable[Difference]) -> Verdict:
    """Compare what the versions say with what has changed."""
    needs = max((one.needs for one in found), default=Needs.NOTHING)
    before, after = _numbers(old), _numbers(new)
    levels = (Needs.FIRST, Needs.SECOND, Needs.THIRD)
    moved = [level for level, a, b in zip(levels, before, after, strict=True) if a != b]
    raised = moved[0] if moved and after > before else Needs.NOTHING
    return Verdict(old, new, needs, raised, lowered=after < before)


def _numbers(version: str) -> tuple[int, int, int]:
    found = _NUMBERS.match(version)
    first, second, third = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return first, second, third
