"""Every message that the gateway publishes, as pydantic models: the source of the schema.

Not-a-number and infinity do not exist in JSON: both are written as null. Fields that are
measured may therefore be null; fields that are counted never are.
"""

from __future__ import annotations

import json
import math
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticSerializationError, to_json

COLUMNS = (
    "seq", "test_time_s", "step_time_s", "utc_s", "voltage_V", "current_A",
    "temperature_degC", "chamber_degC", "cycle", "step", "step_count", "step_record",
    "charge_Ah", "discharge_Ah", "charge_Wh", "discharge_Wh",
)  # fmt: skip
"""Columns of a batch of samples, in the order of its rows."""


class Outbound(BaseModel):
    """Base of what leaves the gateway. Unknown keys may come in a later version: ignore them."""

    model_config = ConfigDict(frozen=True)

    def payload(self) -> bytes:
        """The JSON text."""
        return as_json(self)


class Backlog(Outbound):
    """What has not been published live and still has to come on `history`."""

    entries: int = Field(ge=0, description="how many records and events are still to come")
    first_seq: int = Field(description="the oldest of them")
    last_seq: int = Field(description="the newest of them")


class Status(Outbound):
    """Birth and last will of the gateway; retained on `status`.

    A message whose session is lower than one that was seen before is a will that came late.
    """

    online: bool
    session: int = Field(ge=1, description="grows with each connection; birth and will share it")
    reason: str = Field(default="", description="why it is offline: 'ended' or 'connection lost'")
    version: str = ""
    pid: int | None = None
    started_utc_s: float | None = Field(
        default=None, description="when the gateway process started"
    )
    backlog: Backlog | None = Field(default=None, description="null when history is complete")


class TripState(Outbound):
    """A latched safety cut-off, as a state shows it."""

    check: str
    message: str
    source: str = ""
    utc_s: float | None = None


class Maintenance(Outbound):
    """A maintenance window, as a state shows it."""

    station: str
    from_utc_s: float
    until_utc_s: float
    by: str
    reason: str


class State(Outbound):
    """What a station does now; retained on `state`, at most twice a second."""

    model_config = ConfigDict(frozen=True, extra="allow")

    station: str
    mode: str = Field(description="idle, running, paused, waiting, tripped or offline")
    why: str = Field(default="", description="why it is paused, or what it waits for")
    run: str | None = None
    cell: str | None = None
    protocol: str | None = None
    version: str | None = None
    cycle: int | None = None
    cycles: int | None = None
    step: int | None = None
    step_kind: str | None = None
    step_text: str | None = None
    step_count: int | None = None
    step_time_s: float | None = None
    test_time_s: float | None = None
    expected_s: float | None = None
    remaining_s: float | None = None
    progress: float | None = Field(default=None, description="0 to 1")
    voltage_V: float | None = None
    current_A: float | None = Field(default=None, description="charge is positive")
    temperature_degC: float | None = None
    chamber_degC: float | None = None
    sensors: dict[str, float] = Field(
        default_factory=dict[str, float],
        description="auxiliary sensors, and the chamber's humidity_pct, by name with unit",
    )
    output_on: bool | None = None
    output_owed: bool = Field(default=False, description="an OFF is not verified yet")
    charge_Ah: float | None = None
    discharge_Ah: float | None = None
    charge_Wh: float | None = None
    discharge_Wh: float | None = None
    trip: TripState | None = None
    maintenance: Maintenance | None = Field(default=None, description="null when none is open")
    utc_s: float | None = None


class Symptom(Outbound):
    """What the root of an alarm has done to one station."""

    cause: str
    station: str
    message: str
    began_utc_s: float
    cell: str = ""
    run: str = ""


class Alarm(Outbound):
    """One alarm; the data of an `alarm` event is this with `state` beside it."""

    id: str = Field(description="what `ack` takes")
    cause: str = Field(description="one of a closed list, see docs/runbooks")
    severity: Literal["page", "ticket"]
    message: str
    subject: str = Field(description="with the cause it says which alarm this is")
    began_utc_s: float
    last_utc_s: float
    stations: list[str] = Field(default_factory=list, description="all that it concerns")
    cells: list[str] = Field(default_factory=list)
    batch: str = ""
    runs: list[str] = Field(default_factory=list)
    active: bool = Field(default=True, description="its own condition holds")
    calm_utc_s: float | None = None
    beneath: list[Symptom] = Field(
        default_factory=list[Symptom], description="symptoms of this root"
    )
    count: int = Field(default=1, ge=1, description="how often it was raised")
    suppressed: bool = Field(default=False, description="in a maintenance window: call nobody")
    acknowledged_by: str = ""
    acknowledged_utc_s: float | None = None
    acknowledged_reason: str = ""
    ended_utc_s: float | None = None
    runbook: str = Field(default="", description="what to do now")
    report: str = Field(default="", description="what a machine wrote, where there is such a text")


class Alarms(Outbound):
    """The alarms that are open now; retained on `alarms`."""

    utc_s: float
    last: int = Field(default=0, description="id of the newest alarm that there ever was")
    alarms: list[Alarm]


class Samples(Outbound):
    """A live batch of records of one station and run, in the order of `seq`."""

    station: str
    run: str = Field(description="empty for the slow records of an idle station")
    first_seq: int
    previous_seq: int | None = Field(
        default=None,
        description="seq of the last row of the batch before; null where rows may be missing "
        "before this one (they come on history)",
    )
    columns: tuple[str, ...] = COLUMNS
    rows: list[tuple[float | int | None, ...]]


class EventMessage(Outbound):
    """Something that happened: step edges, trips, alarms, start and end of runs."""

    seq: int
    previous_seq: int | None = Field(
        default=None,
        description="seq of the station's event before, on the same topic; null where events may "
        "be missing before this one",
    )
    station: str = Field(description="empty for events of the daemon itself")
    run: str
    kind: str
    utc_s: float
    test_time_s: float | None = None
    data: dict[str, Any] = Field(default_factory=dict)


class Span(Outbound):
    """The range of sequence numbers that is being back-filled."""

    first_seq: int
    last_seq: int


class HistorySamples(Outbound):
    """Back-fill: records that were not published live."""

    backfill: Literal[True] = True
    kind: Literal["samples"] = "samples"
    gap: Span
    station: str
    run: str
    first_seq: int
    previous_seq: int | None = Field(
        default=None,
        description="seq of the last row of the station's batch before on history; null where "
        "the back-fill begins or goes on after a break",
    )
    columns: tuple[str, ...] = COLUMNS
    rows: list[tuple[float | int | None, ...]]


class HistoryEvent(Outbound):
    """Back-fill: an event that was not published live."""

    backfill: Literal[True] = True
    kind: Literal["event"] = "event"
    gap: Span
    event: EventMessage


class ReplyMessage(Outbound):
    """What became of a command: `accepted`, then `done` or `refused`."""

    id: str
    client: str
    verb: str
    station: str = ""
    state: Literal["accepted", "done", "refused"]
    reason: str = ""
    data: dict[str, Any] = Field(default_factory=dict)
    utc_s: float


def as_json(value: Any) -> bytes:
    """JSON text of a model or of plain JSON values, with null where a number is not finite."""
    try:
        return to_json(value, inf_nan_mode="null")
    except PydanticSerializationError:
        # Text that is not Unicode, such as an instrument's stray bytes kept as surrogates: JSON
        # can escape them, UTF-8 cannot hold them.
        plain = value.model_dump() if isinstance(value, BaseModel) else value
        return json.dumps(_finite(plain)).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return {key: _finite(item) for key, item in items.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in cast("list[Any]", value)]
    return value
