"""`daq protocol …`: released versions of protocols, and which one runs where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from daq.cli.control import Broker, call
from daq.cli.output import (
    DEFAULT_LAB,
    Json,
    LabFile,
    answer,
    console,
    data_folder,
    print_json,
)
from daq.cli.profiles import TABLES
from daq.cli.tables import print_table
from daq.control.rollout import listing
from daq.errors import InputError
from daq.filemodel import nearest
from daq.protocol.source import load_protocol
from daq.registry.protocols import Protocols
from daq.registry.rollouts import EVERYWHERE

Name = Annotated[str, typer.Argument(help="The protocol, as its file calls it.")]
Stations = Annotated[str, typer.Option("--stations", help="A1,A2; default: every station.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the history.")]
_REST = "all others"

protocol_app = typer.Typer(
    help="Released protocols: which versions there are, and which one runs where.",
    no_args_is_help=True,
)


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    for name, command in (
        ("add", add),
        ("list", list_),
        ("show", show),
        ("rollout", rollout),
        ("rollback", rollback),
    ):
        protocol_app.command(name)(command)
    app.add_typer(protocol_app, name="protocol")


def add(
    file: Annotated[Path, typer.Argument(help="The protocol file.")],
    reason: Reason = "",
    lab: LabFile = DEFAULT_LAB,
    broker: Broker = "",
    as_json: Json = False,
) -> None:
    """Release a version: it is kept as it is. It runs nowhere before it is rolled out."""
    source = load_protocol(file, TABLES)
    brings: dict[str, Any] = {"files": dict(source.files)} if source.files else {}
    reply = call(lab, broker, "release", text=source.text, name=file.name, reason=reason, **brings)
    label = f"{source.model.protocol} {source.model.version}"
    text = "is released" if reply.data.get("new") else "was released before, with the same text"
    answer(reply, f"{label} {text}", as_json=as_json)


def list_(lab: LabFile = DEFAULT_LAB, broker: Broker = "", as_json: Json = False) -> None:
    """List the released protocols, their versions, and where each one runs."""
    found = _listing(lab, broker)
    if as_json:
        print_json(found)
        return
    rows = [
        (name, version, _stations(one["stations"], version), sha256[:12])
        for name, one in found.items()
        for version, sha256 in one["versions"].items()
    ]
    if rows:
        print_table(("protocol", "version", "started at", "sha256"), rows)
    else:
        console().print("nothing was released yet; daq protocol add FILE")


def _listing(lab: str, broker: str) -> Mapping[str, Any]:
    """From the daemon behind a broker, else from the files: that needs no daemon."""
    if broker:
        return answer(call(lab, broker, "protocols"), "", as_json=False)["protocols"]
    return listing(Protocols(data_folder(lab)))


def _stations(where: Mapping[str, str], version: str) -> str | None:
    """The stations that start this version; those that nobody named come last."""
    names = sorted(name for name, at in where.items() if at == version and name != EVERYWHERE)
    others = set(where) - {EVERYWHERE}
    if where.get(EVERYWHERE) == version:
        names.append(_REST if others else "all")
    return ", ".join(names) or None


def show(
    name: Name,
    version: Annotated[str, typer.Option(help="Print the text of this version.")] = "",
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Show what was released, rolled out and rolled back; with --version the text itself."""
    protocols = Protocols(data_folder(lab))
    if not protocols.knows(name):
        raise InputError(
            f"there is no released protocol {name!r}", remedy=nearest(name, protocols.names())
        )
    if version:
        source = protocols.load(name, version)
        document = {"protocol": name, "version": version, "sha256": source.sha256}
        print_json({**document, "text": source.text}) if as_json else print(source.text, end="")
        return
    history = protocols.history(name)
    if as_json:
        print_json(history)
        return
    print_table(("when", "who", "what", "version", "where", "why"), map(_cells, history))


def _cells(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    when = str(entry.get("utc"))[:19].replace("T", " ")
    to: Mapping[str, str] = entry.get("to") or {}
    version = entry.get("version") or ", ".join(sorted(set(to.values())))
    where = ", ".join(
        "everywhere" if one == EVERYWHERE else one for one in entry.get("stations", ())
    )
    return (
        when,
        entry.get("who"),
        entry["what"],
        version,
        where or None,
        entry.get("reason") or None,
    )


def rollout(
    name: Name,
    version: Annotated[str, typer.Argument(help="A released version.")],
    stations: Stations = "",
    reason: Reason = "",
    lab: LabFile = DEFAULT_LAB,
    broker: Broker = "",
    as_json: Json = False,
) -> None:
    """Let stations start a version from now on. What runs goes on as it is."""
    chosen = _names(stations)
    reply = call(
        lab, broker, "rollout", protocol=name, version=version, stations=chosen, reason=reason
    )
    answer(reply, _running(name, reply.data), as_json=as_json)


def rollback(
    name: Name,
    stations: Annotated[
        str, typer.Option("--stations", help="A1,A2; default: those with the newest version.")
    ] = "",
    reason: Reason = "",
    lab: LabFile = DEFAULT_LAB,
    broker: Broker = "",
    as_json: Json = False,
) -> None:
    """Let stations start what they started before the last rollout. What runs goes on as it is."""
    reply = call(lab, broker, "rollback", protocol=name, stations=_names(stations), reason=reason)
    answer(reply, _running(name, reply.data), as_json=as_json)


def _names(stations: str) -> list[str]:
    names = [name.strip() for name in stations.split(",")] if stations else []
    if not all(names):
        raise InputError(f"{stations!r} is not a list of stations", remedy="write --stations A1,A2")
    return names


def _running(name: str, data: Mapping[str, Any]) -> str:
    """What each station starts from now on, stations of one version together."""
    where: dict[str, list[str]] = {}
    stations: Mapping[str, str | None] = data.get("stations") or {}
    for station, version in stations.items():
        where.setdefault(version or "nothing", []).append(station)
    lines = [f"{', '.join(found)}: {name} {version}" for version, found in where.items()]
    return "\n".join(lines)
