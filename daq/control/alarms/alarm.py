"""One alarm, as a frozen value, and as the JSON document that everybody outside sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

from daq.control.alarms.causes import About, Cause
from daq.model import Event, EventKind, Severity


class State(StrEnum):
    """What an event says about an alarm.

    `again`: it goes on, or is worse than it was. `changed`: it is better, and not over.
    """

    BEGAN = "began"
    AGAIN = "again"
    CHANGED = "changed"
    ACKNOWLEDGED = "acknowledged"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Place:
    """Which cell an alarm at a station is about, and in which run."""

    cell: str = ""
    batch: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What somebody said: something is wrong, or is not wrong any more.

    Attributes:
        subject: what the cause is about: an instrument's name, say; a cell's is found by its
            station when it is empty.
        stations: those that it concerns; of a report about a cell there is one.
        under: the root that it is a symptom of, with the root's subject; None when it is its own.
        over: it is not wrong any more.
    """

    cause: Cause
    utc_s: float
    message: str = ""
    severity: Severity | None = None
    subject: str = ""
    stations: tuple[str, ...] = ()
    under: tuple[Cause, str] | None = None
    report: str = ""
    over: bool = False


@dataclass(frozen=True, slots=True)
class Symptom:
    """What an alarm's root has done to one station; it holds the alarm open."""

    cause: Cause
    station: str
    message: str
    began_utc_s: float
    cell: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm.

    Attributes:
        id: what a person acknowledges it by.
        subject: with the cause it says which alarm this is: no two open ones have both alike.
        stations, cells, runs: all that it concerns.
        active: its own condition holds. It is over when that is gone and no symptom is left.
        calm_utc_s: since when its condition is gone, for a cause that wants to be sure.
        beneath: symptoms of this root.
        count: how often it was raised.
        suppressed: a maintenance window covers every station that it concerns.
        report: what a machine wrote, word for word, where there is such a text.
    """

    id: str
    cause: Cause
    severity: Severity
    message: str
    subject: str
    began_utc_s: float
    last_utc_s: float
    stations: tuple[str, ...] = ()
    cells: tuple[str, ...] = ()
    batch: str = ""
    runs: tuple[str, ...] = ()
    active: bool = True
    calm_utc_s: float | None = None
    beneath: tuple[Symptom, ...] = ()
    count: int = 1
    suppressed: bool = False
    acknowledged_by: str = ""
    acknowledged_utc_s: float | None = None
    acknowledged_reason: str = ""
    ended_utc_s: float | None = None
    runbook: str = ""
    report: str = ""

    @property
    def key(self) -> tuple[Cause, str]:
        """What is deduplicated by."""
        return self.cause, self.subject

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def event(self, state: State) -> Event:
        """As the journal keeps it: of its station and run when there is one of each."""
        utc_s = self.last_utc_s
        if state is State.ACKNOWLEDGED and self.acknowledged_utc_s is not None:
            utc_s = self.acknowledged_utc_s
        if state is State.ENDED and self.ended_utc_s is not None:
            utc_s = self.ended_utc_s
        station = self.stations[0] if len(self.stations) == 1 else ""
        run = self.runs[0] if station and len(self.runs) == 1 else ""
        data = {"state": state.value, **self.document()}
        return Event(EventKind.ALARM, utc_s, station, run, data=data)


def alarm_from(document: Mapping[str, Any]) -> Alarm:
    """The alarm of a document; keys that this version does not know are ignored.

    Raises:
        LookupError, TypeError, ValueError: it is not one.
    """
    known = {item.name for item in fields(Alarm)}
    values: dict[str, Any] = {key: value for key, value in document.items() if key in known}
    symptoms = (Symptom(**dict(one, cause=Cause(one["cause"]))) for one in values["beneath"])
    typed: dict[str, Any] = {
        "cause": Cause(values["cause"]),
        "severity": Severity(values["severity"]),
        "beneath": tuple(symptoms),
        **{key: tuple(values[key]) for key in ("stations", "cells", "runs")},
    }
    return Alarm(**values | typed)


def subject_of(about: About, report: Report, place: Place) -> str:
    """What an alarm of this report is one per."""
    station = report.stations[0] if report.stations else ""
    found = {
        About.LAB: "",
        About.NAMED: report.subject,
        About.CELL: report.subject or place.cell or station,
        About.BATCH: report.subject or place.batch or place.cell or station,
    }
    return found[about]
