"""The alarm book: which alarms are open, and what becomes of each report. No clock, no thread.

Reports that belong to one root are one alarm: a symptom is listed beneath its root, which need
not have been reported itself, and holds it open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from daq.control.alarms.alarm import Alarm, Place, Report, State, Symptom, subject_of
from daq.control.alarms.causes import RULES, Cause
from daq.model import Severity

AGAIN_S = 300.0
"""An alarm that is raised over and over is told again at most so often."""
MOST_SYMPTOMS = 200
RUNBOOKS = "docs/runbooks/"

Happening = tuple[State, Alarm]
Key = tuple[Cause, str]


class Book:
    """The open alarms.

    Args:
        place: which cell is at a station, and in which run.
        hushed: whether a station is in a maintenance window at that moment.
        runbooks: what the name of a page is put behind: a folder or an address.
    """

    def __init__(
        self,
        *,
        place: Callable[[str], Place] = lambda _: Place(),
        hushed: Callable[[str, float], bool] = lambda _, __: False,
        runbooks: str = RUNBOOKS,
    ) -> None:
        self.last = 0
        self._place = place
        self._hushed = hushed
        self._runbooks = runbooks
        self._open: dict[Key, Alarm] = {}
        self._told_utc_s: dict[str, float] = {}

    @property
    def open(self) -> tuple[Alarm, ...]:
        """All open alarms, oldest first."""
        return tuple(self._open.values())

    def restore(self, alarms: Iterable[Alarm], last: int) -> None:
        """Open the book where an earlier session left it."""
        self._open = {alarm.key: alarm for alarm in alarms}
        self.last = last

    # Reports.

    def take(self, report: Report) -> list[Happening]:
        """What becomes of a report."""
        if report.over:
            return self._end(report)
        if report.under or RULES[report.cause].joined:
            return self._raise_beneath(report)
        return self._raise(report)

    def _raise(self, report: Report) -> list[Happening]:
        rule = RULES[report.cause]
        places = [self._place(station) for station in report.stations]
        key = report.cause, subject_of(rule.about, report, places[0] if places else Place())
        found = self._open.get(key)
        made = found or self._new(key, report)
        made = replace(made, active=not rule.momentary, calm_utc_s=None)
        made = _widened(made, report.stations, places)
        return self._keep(made, report, known=found is not None)

    def _raise_beneath(self, report: Report) -> list[Happening]:
        station = report.stations[0] if report.stations else ""
        place = self._place(station)
        own = report.cause, subject_of(RULES[report.cause].about, report, place)
        key = report.under or own
        found = self._open.get(key)
        made = found or replace(self._new(key, report), active=False)
        symptom = Symptom(
            report.cause, station, report.message, report.utc_s, place.cell, place.run
        )
        made = _widened(_with(made, symptom), (station,) if station else (), [place])
        return self._keep(made, report, known=found is not None)

    def _new(self, key: Key, report: Report) -> Alarm:
        self.last += 1
        cause, subject = key
        return Alarm(
            str(self.last),
            cause,
            report.severity or RULES[cause].severity,
            report.message,
            subject,
            report.utc_s,
            report.utc_s,
            runbook=f"{self._runbooks}{cause.value}.md",
        )

    def _keep(self, made: Alarm, report: Report, *, known: bool) -> list[Happening]:
        before = self._open.get(made.key)
        severity = max(made.severity, report.severity or made.severity, key=_loudness)
        made = replace(made, severity=severity, report=report.report or made.report)
        if known:
            count = made.count + 1
            made = replace(made, count=count, last_utc_s=max(report.utc_s, made.last_utc_s))
            if not report.under:
                made = replace(made, message=report.message)
        made = replace(made, suppressed=self._is_suppressed(made, report.utc_s))
        self._open[made.key] = made
        if not known:
            return [self._told(State.BEGAN, made)]
        due = report.utc_s - self._told_utc_s.get(made.id, 0.0) >= AGAIN_S
        return [self._told(State.AGAIN, made)] if due or _is_news(before, made) else []

    # The end of it.

    def _end(self, report: Report) -> list[Happening]:
        happenings: list[Happening] = []
        for alarm in self.open:
            left = _without(alarm, report)
            if self._is_meant(alarm, report):
                left = replace(left, active=False, calm_utc_s=report.utc_s)
            if left != alarm:
                happenings += self._settle(left, report.utc_s)
        return happenings

    def _is_meant(self, alarm: Alarm, report: Report) -> bool:
        if alarm.cause != report.cause or not alarm.active:
            return False
        if report.stations and not report.subject:
            return report.stations[0] in alarm.stations
        return alarm.subject == report.subject

    def _settle(self, alarm: Alarm, utc_s: float) -> list[Happening]:
        """Close an alarm whose condition is gone, or keep what is left of it."""
        before = self._open[alarm.key]
        if before.calm_utc_s is not None and alarm.calm_utc_s is not None:
            alarm = replace(alarm, calm_utc_s=before.calm_utc_s)
        self._open[alarm.key] = alarm
        if alarm.active or alarm.beneath:
            fewer = len(alarm.beneath) < len(before.beneath)
            return [(State.CHANGED, alarm)] if fewer else []
        since = alarm.calm_utc_s
        if since is not None and utc_s - since < RULES[alarm.cause].quiet_s:
            return []
        return [self._close(alarm, utc_s)]

    def drop(self, is_gone: Callable[[Alarm], bool], utc_s: float) -> list[Happening]:
        """End alarms about what is not there any more."""
        return [self._close(alarm, utc_s) for alarm in self.open if is_gone(alarm)]

    def _close(self, alarm: Alarm, utc_s: float) -> Happening:
        del self._open[alarm.key]
        self._told_utc_s.pop(alarm.id, None)
        return State.ENDED, replace(alarm, active=False, ended_utc_s=utc_s)

    # A person, and time.

    def acknowledge(self, ident: str, by: str, reason: str, utc_s: float) -> list[Happening]:
        """Somebody has taken it on; what has no condition is over with that.

        Raises:
            KeyError: there is no such open alarm.
        """
        alarm = next((one for one in self.open if one.id == ident), None)
        if alarm is None:
            raise KeyError(ident)
        taken = replace(
            alarm, acknowledged_by=by, acknowledged_reason=reason, acknowledged_utc_s=utc_s
        )
        self._open[alarm.key] = taken
        happenings = [self._told(State.ACKNOWLEDGED, taken)]
        return happenings + ([self._close(taken, utc_s)] if RULES[alarm.cause].momentary else [])

    def tick(self, utc_s: float) -> list[Happening]:
        """What only time brings: an end that was waited for, a window that opened or closed."""
        happenings: list[Happening] = []
        for alarm in self.open:
            if alarm.calm_utc_s is not None and not alarm.active:
                happenings += self._settle(alarm, utc_s)
                if alarm.key not in self._open:
                    continue
            suppressed = self._is_suppressed(alarm, utc_s)
            if suppressed != alarm.suppressed:
                self._open[alarm.key] = changed = replace(alarm, suppressed=suppressed)
                state = State.CHANGED if suppressed else State.AGAIN
                happenings.append(self._told(state, changed))
        return happenings

    def _is_suppressed(self, alarm: Alarm, utc_s: float) -> bool:
        if RULES[alarm.cause].always_heard or not alarm.stations:
            return False
        if any(RULES[symptom.cause].always_heard for symptom in alarm.beneath):
            return False
        return all(self._hushed(station, utc_s) for station in alarm.stations)

    def _told(self, state: State, alarm: Alarm) -> Happening:
        self._told_utc_s[alarm.id] = alarm.last_utc_s
        return state, alarm


def _loudness(severity: Severity) -> int:
    return (Severity.TICKET, Severity.PAGE).index(severity)


def _is_news(before: Alarm | None, now: Alarm) -> bool:
    """Whether more than the count has changed, so that it should be told at once."""
    return before is None or _telling(before) != _telling(now)


def _telling(alarm: Alarm) -> tuple[object, ...]:
    text = alarm.message if RULES[alarm.cause].momentary else ""  # another occurrence of it
    beneath = len(alarm.beneath)
    return alarm.severity, alarm.stations, beneath, alarm.suppressed, alarm.report, text


def _widened(alarm: Alarm, stations: tuple[str, ...], places: Iterable[Place]) -> Alarm:
    places = list(places)
    return replace(
        alarm,
        stations=_union(alarm.stations, stations),
        cells=_union(alarm.cells, (place.cell for place in places)),
        runs=_union(alarm.runs, (place.run for place in places)),
        batch=alarm.batch or next((place.batch for place in places if place.batch), ""),
    )


def _union(known: tuple[str, ...], more: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*known, *(item for item in more if item))))


def _with(alarm: Alarm, symptom: Symptom) -> Alarm:
    same = (symptom.cause, symptom.station)
    if any((one.cause, one.station) == same for one in alarm.beneath):
        return alarm
    return replace(alarm, beneath=(*alarm.beneath, symptom)[:MOST_SYMPTOMS])


def _without(alarm: Alarm, report: Report) -> Alarm:
    left = tuple(
        one
        for one in alarm.beneath
        if one.cause != report.cause or one.station not in report.stations
    )
    return alarm if left == alarm.beneath else replace(alarm, beneath=left)


def counts(alarms: Iterable[Alarm]) -> Mapping[str, int]:
    """How many are open, by how loud they are; what is suppressed or acknowledged is apart."""
    found = {"open": 0, "page": 0, "ticket": 0, "suppressed": 0, "acknowledged": 0}
    for alarm in alarms:
        found["open"] += 1
        if alarm.suppressed:
            found["suppressed"] += 1
        elif alarm.acknowledged_by:
            found["acknowledged"] += 1
        else:
            found[alarm.severity.value] += 1
    return found
