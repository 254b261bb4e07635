"""Whether an interrupted run may go on by itself, and letting it.

Nothing here energises anything: what is found fit gets the same `resume` as from an operator,
with all of its checks. What is not found fit within `PATIENCE_S` waits for its operator, and
says why.

What a cell's voltage should be after it was left alone is not known exactly: it relaxes by the
ohmic drop at once and by the polarisation slowly. The drop is taken from the run's own records:
the jumps of voltage at the edges of its steps, where current jumped. See docs/decisions/130.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import nan
from statistics import median

from daq.clock import monotonic
from daq.config import ResumePolicy
from daq.control.guard import valid
from daq.control.run import Run
from daq.control.station import Station
from daq.errors import DaqError
from daq.logs import get_logger
from daq.model import Event, EventKind, Record, Span

STOPPING = "the daemon is stopping"
"""Why a run is paused at an ordinary end; no operator has wanted it."""
RESTARTED = "the daemon was restarted"
PATIENCE_S = 60.0
"""How long the bench has to come up: after a power cut instruments need their time; real time."""
LOOK_S = 15.0
"""How long the cell then has to look as expected; real time."""
STEADY_S = 2.0
"""How long all conditions must hold together; real time."""
JUMP_A = 0.01
"""Smaller jumps of current say little about a resistance."""
EDGES = 5
_log = get_logger()


@dataclass(frozen=True, slots=True)
class Interruption:
    """A run that the end of the daemon interrupted, as the journal knows it.

    Attributes:
        away_s: real seconds since control was last known to live; nan: unknown.
        paused: why the run was paused already; empty when it was going on.
        lab_changed: the lab file is not the one that the run was started with.
        expected_V: where the voltage of the cell should be now; None: it cannot be told.
    """

    run: Run
    away_s: float
    paused: str
    lab_changed: bool
    expected_V: Span | None


def pause_of(events: Iterable[Event]) -> str:
    """Why a run was paused when it was last heard of; empty when it was going on."""
    why = ""
    for event in events:
        if event.kind is EventKind.RESUMED:
            why = ""
        elif event.kind is EventKind.PAUSED and event.data["reason"] != STOPPING:
            why = str(event.data["reason"])
        elif event.kind is EventKind.TRIP:
            why = f"tripped: {event.data['message']}"
    return why


def expected_voltage(records: Sequence[Record], tolerance_V: float) -> Span | None:
    """Where the voltage of a cell should be that was left alone after these records.

    Args:
        records: of one run, in order, those that matter: both sides of each edge, and the last.
        tolerance_V: for noise, and for what the model below leaves out.

    Returns:
        From half the ohmic drop (it may have been switched off just now) to twice of it (the
        polarisation relaxes as well), downwards after a charge and upwards after a discharge.
        None when there are no records, or current flowed and no edge tells the resistance.
    """
    readings = [item for item in records if valid(item.voltage_V) and valid(item.current_A)]
    if not readings:
        return None
    last = readings[-1]
    loaded_A = next((r.current_A for r in reversed(readings) if abs(r.current_A) >= JUMP_A), 0.0)
    resistance_ohm = _resistance_ohm(readings)
    if loaded_A and resistance_ohm is None:
        return None
    drop_V = loaded_A * (resistance_ohm or 0.0)
    resting = abs(last.current_A) < JUMP_A
    ends = (
        last.voltage_V - (0.0 if resting else 0.5) * drop_V,
        last.voltage_V - (1.0 if resting else 2.0) * drop_V,
    )
    return min(ends) - tolerance_V, max(ends) + tolerance_V


def _resistance_ohm(readings: Sequence[Record]) -> float | None:
    """Median over the latest edges of the jump of voltage over the jump of current."""
    found = [
        (after.voltage_V - before.voltage_V) / (after.current_A - before.current_A)
        for before, after in zip(readings, readings[1:], strict=False)
        if (before.step_count != after.step_count or _begins(before, after))
        and abs(after.current_A - before.current_A) >= JUMP_A
    ]
    return max(0.0, median(found[-EDGES:])) if found else None


def _begins(before: Record, after: Record) -> bool:
    """Whether a run did its first thing between two records."""
    return after.step_count == 1 and (before.step_record, after.step_record) == (1, 2)


class Resumptions:
    """The interrupted runs of a lab, until each has gone on or waits for its operator.

    Args:
        policy: of the lab file.
        why_not: says why a station must not be energised; empty when nothing speaks against it.
        refused: told of every run that waits for its operator.
    """

    def __init__(
        self,
        policy: ResumePolicy,
        why_not: Callable[[str], str],
        refused: Callable[[Station, str], None],
    ) -> None:
        self.policy = policy
        self._why_not = why_not
        self._refused = refused
        self._pending: list[_Pending] = []

    def add(self, station: Station, interruption: Interruption) -> None:
        """Take charge of one run; before its bus runs."""
        self._pending.append(_Pending(station, interruption, monotonic()))

    def tend(self) -> None:
        """Look at each run that is still pending. On the event loop; never blocks."""
        self._pending = [item for item in self._pending if self._pends(item)]

    def _pends(self, item: _Pending) -> bool:
        conductor = item.station.conductor
        if conductor.run is not item.found.run or conductor.paused != RESTARTED:
            return False  # somebody was quicker, or it has tripped
        now = monotonic()
        if why := forbidden(item.found, self.policy):
            return self._give_up(item, why)
        if why := self._bench_lacks(item.station):
            item.fit_since_s = None
            return now - item.since_s <= PATIENCE_S or self._give_up(item, why)
        if item.up_since_s is None:
            item.up_since_s = now
        if why := _surprising(item):
            item.fit_since_s = None
            return now - item.up_since_s <= LOOK_S or self._give_up(item, why)
        if item.fit_since_s is None:
            item.fit_since_s = now
        return now - item.fit_since_s < STEADY_S or self._go_on(item)

    def _bench_lacks(self, station: Station) -> str:
        """What is not there yet; empty when the cell can be looked at."""
        if not station.output.instrument.online:
            return f"{station.wiring.cycler} is offline"
        if why := self._why_not(station.name):
            return why
        return "" if station.last else "there is no sample yet"

    def _go_on(self, item: _Pending) -> bool:
        station = item.station
        station.home.post(lambda: _resume(station))
        _log.info("run goes on by itself", run=item.found.run.info.id, away_s=item.found.away_s)
        return False

    def _give_up(self, item: _Pending, why: str) -> bool:
        station = item.station
        reason = f"waits for its operator: {why}"
        station.home.post(lambda: station.conductor.repause(reason))
        self._refused(station, reason)
        return False


@dataclass(slots=True)
class _Pending:
    station: Station
    found: Interruption
    since_s: float
    up_since_s: float | None = None
    fit_since_s: float | None = None


def forbidden(found: Interruption, policy: ResumePolicy) -> str:
    """What rules it out whatever the bench looks like; empty when nothing does."""
    if not policy.automatic:
        return "the lab file wants it so (`resume`)"
    if found.run.engine.program.waits_for_operator:
        return "its protocol wants it so (`resume`)"
    if found.paused:
        return found.paused
    if found.lab_changed:
        return "the lab file was changed meanwhile"
    if not 0.0 <= found.away_s <= policy.within_s:
        return f"the daemon was away for {found.away_s:.0f} s, {policy.within_s:.0f} s are allowed"
    if found.expected_V is None:
        return "no step edge was recorded yet, so it cannot be told what the voltage should be"
    return ""


def _surprising(item: _Pending) -> str:
    """What is not as a cell looks that was left alone; empty when everything is."""
    sample = item.station.last
    voltage_V = sample.reading.voltage_V if sample else nan
    return _out_of("voltage", voltage_V, "V", item.found.expected_V) or _out_of(
        "temperature", item.station.climate.cell_degC, "degC", _temperature(item.found.run)
    )


def _temperature(run: Run) -> Span:
    engine = run.engine
    step = engine.step if engine.started else engine.program.steps[0]
    return step.limits.temperature_degC


def _out_of(quantity: str, value: float, unit: str, span: Span | None) -> str:
    if span is None or (valid(value) and span[0] <= value <= span[1]):
        return ""
    return f"the {quantity} is {value:.4g} {unit}, expected are {span[0]:.4g} to {span[1]:.4g}"


def _resume(station: Station) -> None:
    if station.conductor.paused == RESTARTED and (why := station.resume("policy")):
        raise DaqError(why)
