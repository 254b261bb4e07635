"""Commands to a running daemon: start, status, pause, resume, stop, clear, forget."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from daq.cli import watch
from daq.cli.output import (
    DEFAULT_LAB,
    Json,
    LabFile,
    Silent,
    answer,
    data_folder,
    duration,
    pairs,
)
from daq.cli.profiles import TABLES
from daq.cli.sheet import Start, read_sheet, start_sheet
from daq.cli.tables import show
from daq.control.client import SOCKET_NAME, ControlClient, new_command
from daq.errors import DaqError, InputError
from daq.model import Reply
from daq.protocol.files import Files
from daq.protocol.source import parse_protocol, protocol_from
from daq.registry.scan import read_scan, scanned
from daq.yamlfile import read

Broker = Annotated[
    str,
    typer.Option(
        "--broker",
        help="Go over MQTT, e.g. mqtts://host:8883, not the local socket; signed with the key in "
        "the file that $DAQ_KEY_FILE names.",
    ),
]
StationName = Annotated[str, typer.Argument(help="The station, as in the lab file.")]


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    for command in (start, status, pause, resume, stop, clear, forget):
        app.command()(command)


def call(lab: str, broker: str, verb: str, station: str = "", **arguments: Any) -> Reply:
    """Send a command over the local socket, or over MQTT when a broker is given."""
    if broker:
        from daq.cli.remote import send  # MQTT stays out of the control process, which is `serve`

        name = Path(lab).stem if lab.endswith((".yaml", ".yml")) and not _is_file(lab) else lab
        if _is_file(lab):
            from daq.labreader import load_lab

            name = load_lab(Path(lab)).name
        return send(broker, name, new_command(verb, station, **arguments))
    folder = data_folder(lab)
    if not (folder / SOCKET_NAME).exists():
        raise Silent(f"no daemon runs for {lab}", remedy=f"start it: daq serve {lab}")
    try:
        return ControlClient(folder).call(verb, station, **arguments)
    except DaqError as error:
        raise Silent(error.message, remedy=error.remedy) from error


def _is_file(path: str) -> bool:
    return Path(path).is_file()


def start(
    station: Annotated[
        str, typer.Argument(help="The station, as in the lab file; not with --sheet.")
    ],
    protocol: Annotated[
        str,
        typer.Argument(help="A protocol file, or the bare name of a released protocol."),
    ] = "",
    cell: Annotated[str, typer.Option(help="Id of the cell.")] = "",
    scan: Annotated[bool, typer.Option("--scan", help="Take the cell from a scanner.")] = False,
    unregistered: Annotated[
        bool, typer.Option("--unregistered", help="Nobody has described this cell; see --capacity.")
    ] = False,
    capacity: Annotated[str, typer.Option(help="Of such a cell, e.g. '2.5 Ah'.")] = "",
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", help="name=value, e.g. -p v_max='4.1 V'."),
    ] = None,
    operator: Annotated[str, typer.Option(help="Who is responsible.")] = "",
    sheet: Annotated[
        Path | None,
        typer.Option(help="A CSV sheet: station, cell, and parameters; a run for each line."),
    ] = None,
    some: Annotated[
        bool, typer.Option("--some", help="With --sheet: the good lines, even if others are bad.")
    ] = False,
    lab: LabFile = DEFAULT_LAB,
    broker: Broker = "",
    as_json: Json = False,
) -> None:
    """Run a protocol on a cell at a station, or on many cells from a sheet."""
    if sheet:
        if protocol or cell or scan or unregistered:
            raise InputError(
                "a sheet names the stations and the cells", remedy="daq start --sheet CSV FILE"
            )
        _start_sheet(sheet, station, pairs(parameter or ()), operator, some, lab, broker, as_json)
        return
    if not protocol:
        raise InputError("which protocol?", remedy="daq start STATION PROTOCOL --cell ID")
    if unregistered != bool(capacity):
        raise InputError("--unregistered and --capacity go together", remedy="--capacity '2.5 Ah'")
    parameters = pairs(parameter or ())
    arguments = _protocol_arguments(protocol, parameters) | {"cell": one_cell(cell, scan)}
    if unregistered:
        arguments |= {"unregistered": True, "capacity": capacity}
    arguments["parameters"] = parameters
    if operator:
        arguments["operator"] = operator
    reply = call(lab, broker, "start", station, **arguments)
    run, expected = reply.data.get("run"), reply.data.get("expected_s")
    text = f"{station}: run [bold]{run}[/] has started; about {duration(expected)} of lab time"
    answer(reply, text, as_json=as_json)


def _start_sheet(
    sheet: Path,
    protocol: str,
    parameters: dict[str, str],
    operator: str,
    some: bool,
    lab: str,
    broker: str,
    as_json: bool,
) -> None:
    arguments: dict[str, Any] = _protocol_arguments(protocol)
    arguments |= {"operator": operator} if operator else {}
    known = None
    if "text" in arguments:
        files: dict[str, str] = arguments.get("files", {})
        known = parse_protocol(arguments["text"], protocol, files).parameters

    def send(verb: str, station: str, **more: Any) -> Reply:
        return call(lab, broker, verb, station, **more)

    lines = read_sheet(sheet, known)
    if known is not None:  # what the lines play, too
        chosen = ({**parameters, **line.parameters} for line in lines.lines)
        arguments |= _protocol_arguments(protocol, *chosen)
    if code := start_sheet(lines, Start(send, arguments, parameters, some), as_json=as_json):
        raise typer.Exit(code)


def _protocol_arguments(protocol: str, *chosen: Mapping[str, str]) -> dict[str, Any]:
    """A file travels as its text; what runs under a bare name is the daemon's to say.

    Args:
        protocol: file or name.
        chosen: the parameters of each start, which may name more files.

    Raises:
        InputError: the file cannot be read.
    """
    if "/" not in protocol and not protocol.endswith((".yaml", ".yml")):
        return {"protocol": protocol}
    path = Path(protocol)
    document, files = read(path), Files(path.parent, convert=TABLES)
    for parameters in (None, *chosen):
        with suppress(InputError):  # what is wrong with it is the daemon's to say
            protocol_from(document, files, parameters)
    brings = {"files": dict(files.texts)} if files.texts else {}
    return {"text": document.text, "name": path.name, **brings}


def one_cell(cell: str, scan: bool) -> str:
    """The id of a cell: as it was typed, or as it is scanned now.

    Raises:
        InputError: both or neither was asked for, or what was scanned is no id.
    """
    if bool(cell) == scan:
        raise InputError("name the cell with --cell, or say --scan")
    if not scan:
        return cell
    print("scan the cell: ", end="", file=sys.stderr, flush=True)
    return scanned(read_scan(sys.stdin) or "")


def status(
    station: Annotated[str, typer.Argument(help="One station; default: all.")] = "",
    follow: Annotated[bool, typer.Option("--watch", "-w", help="Keep the display up.")] = False,
    lab: LabFile = DEFAULT_LAB,
    broker: Broker = "",
    as_json: Json = False,
) -> None:
    """Show what every station does."""
    reply = call(lab, broker, "status", station)
    data = answer(reply, "", as_json=as_json)
    if as_json:
        return
    if not follow:
        show(watch.table(data))
        return
    with watch.live(data) as display:
        while True:
            time.sleep(1.0)
            display.update(watch.table(call(lab, broker, "status", station).data))


def pause(
    station: StationName,
    reason: Annotated[str, typer.Option(help="Goes into the journal.")] = "",
    lab: LabFile = DEFAULT_LAB,
    broker: Broker = "",
    as_json: Json = False,
) -> None:
    """Switch the output OFF and hold the run; its step's clock stops."""
    reply = call(lab, broker, "pause", station, reason=reason)
    answer(reply, f"{station}: paused, the output is OFF", as_json=as_json)


def resume(
    station: StationName,
    lab: LabFile = DEFAULT_LAB,
    broker: Broker = "",
    as_json: Json = False,
) -> None:
    """Go on with a paused run."""
    answer(call(lab, broker, "resume", station), f"{station}: goes on", as_json=as_json)


def stop(
    station: Annotated[str, typer.Argument(help="The station.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Every station.")] = False,
    reason: Annotated[str, typer.Option(help="Goes into the journal.")] = "",
    lab: LabFile = DEFAULT_LAB,
    broker: Broker = "",
    as_json: Json = False,
) -> None:
    """Switch the output OFF and end the run."""
    if bool(station) == everything:
        raise InputError("name a station, or say --all")
    reply = call(lab, broker, "stop", "*" if everything else station, reason=reason)
    stopped = ", ".join(reply.data.get("stopped") or [])
    answer(reply, f"OFF, verified: {stopped}", as_json=as_json)


def clear(
    station: StationName,
    reason: Annotated[str, typer.Option(help="Why it is safe now. Mandatory.")],
    lab: LabFile = DEFAULT_LAB,
    broker: Broker = "",
    as_json: Json = False,
) -> None:
    """Clear a trip. Never energises: a run stays paused until `daq resume`."""
    reply = call(lab, broker, "clear", station, reason=reason)
    waits = f"; a run waits for daq resume {station}" if reply.data.get("run") else ""
    answer(reply, f"{station}: cleared{waits}", as_json=as_json)


def forget(
    instrument: Annotated[str, typer.Argument(help="The instrument, as in the lab file.")],
    lab: LabFile = DEFAULT_LAB,
    broker: Broker = "",
    as_json: Json = False,
) -> None:
    """Accept another unit at an instrument's address: it was exchanged on purpose."""
    reply = call(lab, broker, "forget", instrument=instrument)
    answer(reply, f"{instrument}: whoever answers next is accepted", as_json=as_json)
