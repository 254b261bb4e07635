"""What of a run a picture needs: thinned lines, and where steps and cycles begin."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from daq.pauses import Pauses
from daq.recorder.columns import Batch, Values

Floats = npt.NDArray[np.float64]

MOST_POINTS = 20_000
EDGES = ("test_time", "step_index", "step_count", "cycle_number")
READ = (*EDGES, "step_time_s")
"""The columns that an `Overview` wants beside those of its lines."""


def decimate(x: Floats, y: Floats, most: int = MOST_POINTS) -> tuple[Floats, Floats]:
    """At most about `most` points that draw the same line: lowest and highest of each bucket."""
    if len(x) <= most:
        return x, y
    size = -(-len(x) // (most // 2))
    whole = len(x) // size * size
    buckets = y[:whole].reshape(-1, size)
    starts = np.arange(0, whole, size)
    # NaN must not win: it counts as neither lowest nor highest.
    low = starts + np.where(np.isnan(buckets), np.inf, buckets).argmin(axis=1)
    high = starts + np.where(np.isnan(buckets), -np.inf, buckets).argmax(axis=1)
    kept = np.unique(np.concatenate([low, high, np.arange(whole, len(x)), [0, len(x) - 1]]))
    return x[kept], y[kept]


class Line:
    """A line that comes in pieces, each thinned at once: the whole need not fit into memory."""

    def __init__(self) -> None:
        self._parts: list[tuple[Floats, Floats]] = []

    def add(self, x: Floats, y: Floats) -> None:
        """The next piece."""
        self._parts.append(decimate(x, y))

    def points(self) -> tuple[Floats, Floats]:
        """The whole line. Lowest and highest of all pieces are those of the pieces' own."""
        empty: Floats = np.empty(0)
        x = np.concatenate([empty, *(x for x, _ in self._parts)])
        y = np.concatenate([empty, *(y for _, y in self._parts)])
        return decimate(x, y)


class Overview:
    """Lines over the time in hours, the rows at which a step or a cycle begins, and pauses.

    Args:
        batches: of columns with `names` and those of `READ`.
        names: the columns to make lines of.
    """

    def __init__(self, batches: Iterator[Batch], names: tuple[str, ...]) -> None:
        self._lines = {name: Line() for name in names}
        self._edges: dict[str, list[Values]] = {name: [] for name in EDGES}
        self._before: tuple[int, int] | None = None
        self._last: Batch | None = None
        self._pauses = Pauses()
        for rows in batches:
            self._add(rows)
        if self._last is not None:
            self._keep(self._last, np.array([len(self._last) - 1]))

    def _add(self, rows: Batch) -> None:
        hours = rows["test_time"] / 3600
        for name, line in self._lines.items():
            line.add(hours, rows[name])
        self._keep(rows, self._begun(rows))
        self._pauses.add(rows["test_time"], rows["step_time_s"], rows["step_count"])
        self._last = rows

    def _begun(self, rows: Batch) -> Values:
        """Rows at which a step or a cycle is another than in the row before."""
        step, cycle = rows["step_count"], rows["cycle_number"]
        changed = np.ones(len(rows), bool)
        changed[1:] = (np.diff(step) != 0) | (np.diff(cycle) != 0)
        changed[0] = self._before != (int(step[0]), int(cycle[0]))
        self._before = int(step[-1]), int(cycle[-1])
        return np.flatnonzero(changed)

    def _keep(self, rows: Batch, which: Values) -> None:
        for name, parts in self._edges.items():
            parts.append(rows[name][which])

    def line(self, name: str) -> tuple[Floats, Floats]:
        """Hours and values."""
        return self._lines[name].points()

    def edges(self, name: str) -> Values:
        """A column of `EDGES` at the first row of each step and cycle, and at the last of all."""
        return np.concatenate([np.empty(0), *self._edges[name]])

    def pauses(self) -> list[tuple[float, float]]:
        """Hours at which the run stood still, and at which it went on."""
        return [(start / 3600, end / 3600) for start, end in self._pauses.spans_s()]
