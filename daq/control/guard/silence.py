"""P1 C1 K1: what has not arrived, and what other contacts say."""

from __future__ import annotations

from math import inf

from daq.model import Sample, Trip

STALE_PERIODS = 3
STALE_MIN_S = 2.0
MISSED_POLLS = 2.75
"""Periods without an answer; at the third missed poll, a little early, as grids jitter."""


class Freshness:
    """P1: the age of the last valid sample of one source. Real time."""

    def __init__(self, source: str, period_s: float) -> None:
        self.source = source
        self.period_s = period_s
        self.allowed_s = max(STALE_PERIODS * period_s, STALE_MIN_S)
        self._stamp_s = -inf

    def fresh(self, stamp_s: float) -> None:
        """A valid sample arrived."""
        self._stamp_s = stamp_s

    def age_s(self, now_s: float) -> float:
        """Seconds since the last valid sample."""
        return now_s - self._stamp_s

    def judge(self, now_s: float, since_s: float = -inf) -> Trip | None:
        """Judge the silence up to `now_s`; what was before `since_s` does not count."""
        age = min(self.age_s(now_s), now_s - since_s)
        if age <= self.allowed_s:
            return None
        return Trip("P1", f"no valid sample of {self.source} for {age:.3g} s", self.source)


class Polls:
    """C1: three polls of the cycler in a row brought nothing: OFF is tried, and then a new link.

    Sooner than P1, and no trip: a link that comes back lets the step go on. A reply without a
    valid number is an answer: it counts to P1.
    """

    def __init__(self, period_s: float) -> None:
        self._allowed_s = MISSED_POLLS * period_s
        self._missed_at_s = inf  # before the first answer there is nothing to miss

    def answered(self, stamp_s: float) -> None:
        """The cycler has answered."""
        self._missed_at_s = stamp_s + self._allowed_s

    def judge(self, now_s: float) -> str:
        """Why OFF should be tried now; once for each silence."""
        if now_s <= self._missed_at_s:
            return ""
        self._missed_at_s = inf
        return "three polls of the cycler were not answered"


class Interlocks:
    """K1: contacts that must be closed: a chamber's alarms, doors, gas, smoke, emergency stops.

    Normally closed, so that a cut wire is an open contact, and a silent input counts as one.
    """

    def __init__(self, sources: dict[str, Freshness]) -> None:
        self._sources = sources
        self._open: dict[str, str] = {}

    def see(self, sample: Sample) -> None:
        """Take a reading of one of them, on the thread that reads it."""
        name = str(sample.source)
        self._sources[name].fresh(sample.stamp_s)
        if sample.reading.fault:
            self._open[name] = sample.reading.fault
        else:
            self._open.pop(name, None)

    def judge(self, now_s: float) -> Trip | None:
        """Whether all are closed, and say so."""
        for name, source in self._sources.items():
            if fault := self._open.get(name):
                return Trip("K1", f"{name}: {fault}", name)
            if silence := source.judge(now_s):
                return Trip("K1", silence.message, name)
        return None
