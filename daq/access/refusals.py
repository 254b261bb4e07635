"""Refusals, counted: every one gets into the audit log, a million of them as a few entries.

What is refused for the first time is told at once. While the same goes on, it is told with its
count at growing intervals, and no more than a handful of kinds at a time are told apart: a flood
must fill neither the disk nor memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

FIRST_INTERVAL_S = 1.0
LONGEST_INTERVAL_S = 600.0
MOST_KINDS = 32
NEW_KIND_S = 20.0
"""Whoever makes up a new name each time is told apart from the others no more often than this."""
LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was refused: the name is what the sender claims, not what is known."""

    client: str
    verb: str
    reason: str
    count: int = 1


OTHERS = Refusal("", "", "too many different refusals to name each")


@dataclass(slots=True)
class _Kind:
    count: int
    due_s: float
    interval_s: float = FIRST_INTERVAL_S


class Refusals:
    """Collects refusals; sans-I/O, real time is handed in."""

    def __init__(self) -> None:
        self._kinds: dict[Refusal, _Kind] = {}
        self._new = float(MOST_KINDS)
        self._new_at_s = 0.0

    def note(self, refusal: Refusal, now_s: float) -> None:
        """Count a refusal."""
        kind = Refusal(
            refusal.client[:64], refusal.verb[:64], refusal.reason[:LONGEST_TEXT], count=1
        )
        if kind not in self._kinds and not self._may_be_new(now_s):
            kind = OTHERS
        known = self._kinds.setdefault(kind, _Kind(0, now_s))
        known.count += refusal.count

    def _may_be_new(self, now_s: float) -> bool:
        self._new = min(MOST_KINDS, self._new + (now_s - self._new_at_s) / NEW_KIND_S)
        self._new_at_s = now_s
        if self._new < 1.0 or len(self._kinds) >= MOST_KINDS:
            return False
        self._new -= 1.0
        return True

    def due(self, now_s: float) -> Iterator[Refusal]:
        """What is to be told now, with how often it was refused since it was told last."""
        for kind, known in list(self._kinds.items()):
            if now_s < known.due_s:
                continue
            if known.count:
                yield Refusal(kind.client, kind.verb, kind.reason, known.count)
                known.count = 0
                known.due_s = now_s + known.interval_s
                known.interval_s = min(2 * known.interval_s, LONGEST_INTERVAL_S)
            elif now_s >= known.due_s + known.interval_s:
                del self._kinds[kind]  # it has ended

    def rest(self) -> Iterator[Refusal]:
        """What has not been told yet, at the end."""
        for kind, known in self._kinds.items():
            if known.count:
                yield Refusal(kind.client, kind.verb, kind.reason, known.count)
        self._kinds.clear()
