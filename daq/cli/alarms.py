"""Commands about alarms: `daq alarms`, `daq alarms ack`, `daq maintenance`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from daq import units
from daq.cli.control import Broker, StationName, call
from daq.cli.output import DEFAULT_LAB, Json, LabFile, answer, console
from daq.cli.tables import Column, fitted, show
from daq.errors import InputError

_STYLES = {"page": "bold red", "ticket": "yellow"}
_LEAST_MESSAGE = 30

alarms_app = typer.Typer(invoke_without_command=True, help="Show the open alarms.")


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    app.add_typer(alarms_app, name="alarms")
    app.command()(maintenance)


@alarms_app.callback()
def alarms(
    context: typer.Context,
    station: Annotated[str, typer.Option(help="Only those that concern this one.")] = "",
    lab: LabFile = DEFAULT_LAB,
    broker: Broker = "",
    as_json: Json = False,
) -> None:
    """Show the open alarms; `daq alarms ack ID --reason TEXT` takes one on."""
    if context.invoked_subcommand:
        return
    data = answer(call(lab, broker, "alarms", station), "", as_json=as_json)
    if as_json:
        return
    found: list[Mapping[str, Any]] = data["alarms"]
    if not found:
        console().print("no alarm is open")
        return
    show(fitted(_columns(found), console().width))
    for one in found:
        print(f"{one['id']}: {one['runbook']}")


def _columns(alarms: list[Mapping[str, Any]]) -> list[Column]:
    def each(key: str) -> list[Any]:
        return [one[key] for one in alarms]

    return [
        Column("id", each("id"), right=True),
        Column("severity", [_severity(one) for one in alarms]),
        Column("cause", each("cause")),
        Column("where", [_where(one) for one in alarms], least=8),
        Column("since", [_moment(one["began_utc_s"]) for one in alarms], rank=1),
        Column("times", each("count"), rank=3, right=True),
        Column("taken by", [one["acknowledged_by"] or None for one in alarms], rank=2),
        Column("message", [_message(one) for one in alarms], least=_LEAST_MESSAGE),
    ]


def _severity(alarm: Mapping[str, Any]) -> Text:
    if alarm["suppressed"]:
        return Text("maintenance", "dim")
    return Text(alarm["severity"], _STYLES.get(alarm["severity"], ""))


def _where(alarm: Mapping[str, Any]) -> str:
    named = ", ".join(alarm["stations"]) or alarm["subject"] or "the lab"
    return named if not alarm["cells"] else f"{named} ({', '.join(alarm['cells'])})"


def _message(alarm: Mapping[str, Any]) -> str:
    beneath = len(alarm["beneath"])
    more = f" [{beneath} beneath it]" if beneath > 1 else ""
    return alarm["message"] + more


def _moment(utc_s: float) -> str:
    return datetime.fromtimestamp(utc_s, UTC).strftime("%m-%d %H:%M:%S")


@alarms_app.command()
def ack(
    ident: Annotated[str, typer.Argument(metavar="ID", help="The alarm's id.")],
    reason: Annotated[str, typer.Option(help="What you do about it. Mandatory.")],
    lab: LabFile = DEFAULT_LAB,
    broker: Broker = "",
    as_json: Json = False,
) -> None:
    """Acknowledge an alarm: you have taken it on. It ends when its condition is gone."""
    reply = call(lab, broker, "ack", alarm=ident, reason=reason)
    over = reply.data.get("ended_utc_s") is not None
    text = "acknowledged" + (", and over with that" if over else "; it ends when it is gone")
    answer(reply, f"alarm {ident}: {text}", as_json=as_json)


def maintenance(
    station: StationName,
    for_: Annotated[str, typer.Option("--for", help="How long, e.g. 2h; at most 24 h.")] = "",
    end: Annotated[bool, typer.Option("--end", help="Close the window before its time.")] = False,
    reason: Annotated[str, typer.Option(help="Goes into the journal.")] = "",
    lab: LabFile = DEFAULT_LAB,
    broker: Broker = "",
    as_json: Json = False,
) -> None:
    """Open a maintenance window: a station's alarms call nobody. It is tripped and cut as ever."""
    if bool(for_) == end:
        raise InputError("say either --for TIME or --end")
    if end:
        reply = call(lab, broker, "maintenance", station, end=True, reason=reason)
        answer(reply, f"{station}: its alarms are heard again", as_json=as_json)
        return
    reply = call(
        lab, broker, "maintenance", station, for_s=units.parse(for_, units.TIME), reason=reason
    )
    until = _moment(reply.data.get("until_utc_s") or 0.0)
    answer(reply, f"{station}: maintenance until {until}", as_json=as_json)
