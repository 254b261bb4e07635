"""How much of the data that a run should have had has come."""

from __future__ import annotations

from collections import deque

HOUR_S = 3600.0
LEAST_S = 600.0
"""Before so much time of a run nothing can be said."""
BUCKET_S = 30.0
BACK = 0.002
"""It is over when the share is so much above the limit: it must not come and go."""


class Availability:
    """The share of expected samples that were valid, over a sliding hour of real time.

    Args:
        limit: least share.
        period_s: between two samples.
    """

    def __init__(self, limit: float, period_s: float) -> None:
        self._limit = limit
        self._period_s = period_s
        self._buckets: deque[tuple[float, int]] = deque()  # how long, how many valid samples
        self._began_s: float | None = None
        self._counted = 0
        self._wrong = ""

    def pause(self) -> None:
        """No run goes on: what comes now is nobody's data."""
        self._began_s = None

    def see(self, now_s: float, valid: int) -> str:
        """One look at the count of valid samples, which only grows."""
        if self._began_s is None:
            self._began_s, self._counted = now_s, valid
        elif now_s - self._began_s >= BUCKET_S:
            self._buckets.append((now_s - self._began_s, valid - self._counted))
            self._began_s, self._counted = now_s, valid
            while sum(length for length, _ in self._buckets) > HOUR_S:
                self._buckets.popleft()
            self._judge()
        return self._wrong

    def _judge(self) -> None:
        lasted_s = sum(length for length, _ in self._buckets)
        if lasted_s < LEAST_S:
            return
        share = sum(count for _, count in self._buckets) * self._period_s / lasted_s
        if share >= self._limit + (BACK if self._wrong else 0.0):
            self._wrong = ""
        elif not self._wrong:
            self._wrong = (
                f"{100.0 * share:.1f} % of the samples of the last "
                f"{lasted_s / 60.0:.0f} min were valid; less than {100.0 * self._limit:g} %"
            )
