"""Holds a run against the cycler's own counters of charge and energy, from step edge to step edge.

The counters are asked while the output is still OFF, just before a step energises it; at any other
edge after everything that it brings about was done: OFF, the next setpoint, the reading after it.
So what is compared is not quite a step: it is what flowed between two such moments, and the run's
own integrals are taken between the same two. Between two steps that both regulate, these go on from
the latest sample to the counters' answer with that sample's current, or a slow line would look like
a deviation.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite
from typing import Any, NamedTuple

from daq.clock import monotonic
from daq.control.output import CyclerOutput
from daq.control.run import Run
from daq.errors import InstrumentError
from daq.model import Counted, Counters, EventKind, Reading, Sample
from daq.protocol.program import StepEnded

FAILURES_AT_MOST = 2
"""In a row; then they are not asked any more. Each may cost the link, and so interrupt a run."""

IMPOSSIBLE = 2.0
"""Times what the channel's largest current can move in the time: the counter did not just count."""

SECONDS_PER_HOUR = 3600.0


class _Mark(NamedTuple):
    """Both countings at one moment."""

    time_s: float  # lab clock
    connection: int  # of the instrument, counted since the daemon started
    counted: Counted
    counters: Counters


class Counting:
    """The counters of one cycler channel; on its home bus thread.

    Args:
        output: the channel.
        note: appends an event of the station.
        lab_s: the lab clock at a real stamp.

    Attributes:
        due: an edge asks for a look.
    """

    def __init__(
        self, output: CyclerOutput, note: Callable[..., None], lab_s: Callable[[float], float]
    ) -> None:
        self.due = False
        self._output = output
        self._note = note
        self._lab_s = lab_s
        self._answered = False
        self._failures = 0
        self._before: _Mark | None = None
        self._ended: StepEnded | None = None

    @property
    def asked(self) -> bool:
        """Whether there is somebody to ask."""
        return bool(self._output.driver.count_messages) and self._failures < FAILURES_AT_MOST

    def begin(self, *, anew: bool) -> None:
        """A run begins anew, or goes on after an interruption, in the middle of a step."""
        self.due = self.asked and anew
        self._before = self._ended = None

    def ended(self, step: StepEnded) -> None:
        """A step has ended. Of several that end at once the first one took the time."""
        self.due = self.asked
        self._ended = self._ended or step

    def probe(self) -> None:
        """After a connect, output OFF: whether this unit answers at all, before a run needs it."""
        if self.asked and not self._answered:
            self._ask()

    def look(self, run: Run, sample: Sample) -> None:
        """Ask the counters if that is due, and note what came of the step that has ended.

        Args:
            run: that goes on.
            sample: the latest of the cycler, which the run has seen.
        """
        if not self.due:
            return
        before, ended = self._before, self._ended
        self._before = self._mark(run, sample)
        self.due, self._ended = False, None
        if ended:
            found = _compared(before, self._before, self._most_A())
            run.note(EventKind.COUNTED, sample.utc_s, _about(ended) | found)

    def _mark(self, run: Run, sample: Sample) -> _Mark | None:
        asked_s = monotonic()
        if (counted := self._ask()) is None:
            return None
        connection, counters = self._output.instrument.connections, run.engine.counters
        if self._output.on:
            now_s = self._lab_s((asked_s + monotonic()) / 2)
            counters = _after(counters, sample.reading, now_s - sample.time_s)
        return _Mark(sample.time_s, connection, counted, counters)

    def _ask(self) -> Counted | None:
        instrument = self._output.instrument
        if not instrument.online:
            return None
        try:
            counted = self._output.driver.counted(self._output.channel)
        except InstrumentError as error:
            self._failed(error)
            return None
        self._answered = True
        self._failures = 0 if counted else FAILURES_AT_MOST
        return counted

    def _failed(self, error: InstrumentError) -> None:
        instrument = self._output.instrument
        self._failures += 1
        instrument.failed(error)
        if not self.asked:
            text = f"the counters of {instrument.name} are not asked any more: {error}"
            self._note(EventKind.NOTE, text=text)

    def _most_A(self) -> float:
        channel = self._output.instrument.ranges.get(self._output.channel)
        return max(abs(bound) for bound in channel.current_A) if channel else inf


def _about(ended: StepEnded) -> dict[str, Any]:
    return {
        "step": ended.step.number,
        "step_count": ended.step_count,
        "cycle": ended.cycle,
        "energised": ended.step.setpoint is not None,
    }


def _after(counters: Counters, reading: Reading, seconds: float) -> Counters:
    """What a run has counted a little after its latest sample, if that goes on as it is."""
    into_Ah = reading.current_A * seconds / SECONDS_PER_HOUR
    into_Wh = into_Ah * reading.voltage_V
    return Counters(
        counters.charge_Ah + max(into_Ah, 0.0),
        counters.discharge_Ah + max(-into_Ah, 0.0),
        counters.charge_Wh + max(into_Wh, 0.0),
        counters.discharge_Wh + max(-into_Wh, 0.0),
    )


def _compared(before: _Mark | None, after: _Mark | None, most_A: float) -> dict[str, Any]:
    """What flowed between two marks, by both countings; nulls, and why, where that is not known."""
    missing = _missing(before, after, most_A)
    if before is None or after is None or missing:
        return {**dict.fromkeys(_NAMES), "missing": missing}
    ours, theirs = _moved(before.counters, after.counters), after.counted
    numbers = (
        *ours,
        theirs.net_Ah - before.counted.net_Ah,
        theirs.net_Wh - before.counted.net_Wh,
        max(theirs.digit_Ah, before.counted.digit_Ah),
        max(theirs.digit_Wh, before.counted.digit_Wh),
    )
    known = [number if isfinite(number) else None for number in numbers]
    return {**dict(zip(_NAMES, known, strict=True)), "missing": missing}


_NAMES = (
    "net_Ah", "net_Wh", "moved_Ah", "moved_Wh", "instrument_net_Ah", "instrument_net_Wh",
    "instrument_digit_Ah", "instrument_digit_Wh",
)  # fmt: skip


def _missing(before: _Mark | None, after: _Mark | None, most_A: float) -> str:
    if after is None:
        return "the counters did not answer at the end"
    if before is None:
        return "the counters were not read at the beginning"
    if before.connection != after.connection:
        return "the link was lost in between: the counters may have begun anew"
    if not isfinite(most_A):
        return ""
    possible_Ah = IMPOSSIBLE * most_A * (after.time_s - before.time_s) / SECONDS_PER_HOUR
    counted_Ah = abs(after.counted.net_Ah - before.counted.net_Ah)
    if not counted_Ah <= possible_Ah + before.counted.digit_Ah:  # nor is nan, which is an overflow
        return "the counters were reset in between, or ran over"
    return ""


def _moved(before: Counters, after: Counters) -> tuple[float, float, float, float]:
    """(net Ah, net Wh, moved Ah, moved Wh) between two counts of a run."""
    into_Ah, into_Wh = after.charge_Ah - before.charge_Ah, after.charge_Wh - before.charge_Wh
    out_Ah = after.discharge_Ah - before.discharge_Ah
    out_Wh = after.discharge_Wh - before.discharge_Wh
    return into_Ah - out_Ah, into_Wh - out_Wh, into_Ah + out_Ah, into_Wh + out_Wh
