"""Where a run stood still: paused, tripped, waiting for another, or its daemon down.

Read off the records: test time goes on then, the clock of the step does not.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LEAST_S = 1.0
"""A step's clock begins when its output is ON, milliseconds after its first sample: no pause."""
_STANDS_S = 1e-3


def held_s(test_time_s: Floats, step_time_s: Floats, step_count: npt.NDArray[np.int_]) -> Floats:
    """How long the step's clock stood still between the record before and each record.

    Returns:
        Shape (n,); 0 at the first record of each step.
    """
    out = np.zeros(len(test_time_s))
    went = np.diff(test_time_s)
    held = np.clip(went - np.diff(step_time_s), 0.0, went)
    stood = (np.diff(step_count) == 0) & (held > _STANDS_S)
    out[1:] = np.where(stood, held, 0.0)
    return out


def only_pauses(held: Floats) -> Floats:
    """The same without stretches that come to less than `LEAST_S`."""
    out = held.copy()
    for start, end in _stretches(held > 0):
        if held[start:end].sum() < LEAST_S:
            out[start:end] = 0.0
    return out


class Pauses:
    """Collects the pauses of one run from its records, which may come in pieces."""

    def __init__(self) -> None:
        self._found: list[tuple[float, float]] = []
        self._last: tuple[Floats, Floats, npt.NDArray[np.int_]] | None = None
        self._open = False

    def add(
        self, test_time_s: Floats, step_time_s: Floats, step_count: npt.NDArray[np.int_]
    ) -> None:
        """The next records, in order; never none."""
        if self._last is not None:
            time_s, clock_s, count = self._last
            test_time_s = np.concatenate([time_s, test_time_s])
            step_time_s = np.concatenate([clock_s, step_time_s])
            step_count = np.concatenate([count, step_count])
        self._last = test_time_s[-1:], step_time_s[-1:], step_count[-1:]
        held = held_s(test_time_s, step_time_s, step_count)
        open_before, self._open = self._open, bool(held[-1] > 0)
        for start, end in _stretches(held > 0):
            self._take(test_time_s, held, start, end, joined=open_before and start == 1)

    def _take(self, time_s: Floats, held: Floats, start: int, end: int, *, joined: bool) -> None:
        """A stretch began late between two records, and ended early between two others."""
        first = self._found.pop()[0] if joined else float(time_s[start] - held[start])
        alone = end - start == 1 and not joined
        last = float(time_s[start] if alone else time_s[end - 2] + held[end - 1])
        self._found.append((first, last))

    def spans_s(self) -> list[tuple[float, float]]:
        """From and to of each pause, in test time."""
        return [(start, end) for start, end in self._found if end - start >= LEAST_S]


def _stretches(flags: Flags) -> list[tuple[int, int]]:
    """Where flags are set: index of the first, and of the one after the last."""
    edges = np.flatnonzero(np.diff(flags, prepend=False, append=False))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
