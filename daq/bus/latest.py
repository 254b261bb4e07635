"""The latest numbers of a kind that comes for months, in memory that is all taken at once."""

from __future__ import annotations

from array import array


class Latest:
    """The last so many of the numbers that were appended.

    One thread appends; any other may look. A deque of floats would grow for hours where ticks are
    slow, and scatter its numbers among everything else that is allocated meanwhile.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._values = array("d", bytes(8 * most))
        self._count = 0

    def append(self, value: float) -> None:
        """Keep a number; the oldest one makes room."""
        self._values[self._count % len(self._values)] = value
        self._count += 1

    def values(self) -> list[float]:
        """Those that are kept, oldest first."""
        count, size = self._count, len(self._values)
        found = self._values.tolist()
        return found[:count] if count <= size else found[count % size :] + found[: count % size]
