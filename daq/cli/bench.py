"""Commands that run something for long: the daemon, and a simulated bench."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from daq import logs
from daq.cli.output import EXIT_FAILED, Json, console, print_json
from daq.errors import DaqError, InputError

SIMULATORS = "simulators"


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    app.command()(serve)
    app.command()(simulate)
    app.command()(off)


def serve(
    lab: Annotated[Path, typer.Argument(help="The lab file.")],
    as_json: Annotated[bool, typer.Option("--json", help="The log as lines of JSON.")] = False,
) -> None:
    """Run the daemon for a lab, until Ctrl-C or SIGTERM."""
    from daq.control.supervisor import serve as serve_lab
    from daq.labreader import load_lab

    loaded = load_lab(lab)
    logs.setup("control", loaded.data / "logs", as_json=as_json)
    raise typer.Exit(serve_lab(loaded))


def simulate(
    config: Annotated[Path, typer.Argument(help="The bench file.")],
    ledger: Annotated[
        Path | None, typer.Option(help="Write what really flowed to this file at the end.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Changes nothing: it is JSON.")] = False,
) -> None:
    """Start simulated instruments and print their addresses, until Ctrl-C."""
    if find_spec(SIMULATORS) is None:
        raise DaqError("the simulators are not installed beside the daemon")
    if not config.is_file():
        raise InputError(f"there is no file {config}")
    arguments = [sys.executable, "-m", SIMULATORS, str(config)]
    arguments += ["--ledger", str(ledger)] if ledger else []
    os.execv(sys.executable, arguments)  # noqa: S606 - the same program, in its place


def off(
    lab: Annotated[Path, typer.Argument(help="The lab file.")],
    instrument: Annotated[list[str] | None, typer.Argument(help="Default: all.")] = None,
    as_json: Json = False,
) -> None:
    """Switch instruments off without a daemon, through their own drivers."""
    from daq.control.off import switch_lab_off
    from daq.labreader import load_lab

    loaded = load_lab(lab)
    for name in instrument or ():
        if name not in loaded.instruments:
            known = ", ".join(loaded.instruments)
            raise InputError(f"lab {loaded.name} has no instrument {name!r}", remedy=f"has {known}")
    results = switch_lab_off(loaded, instrument or ())
    if as_json:
        print_json(results)
    else:
        for name, error in results.items():
            console().print(f"{name}: {error or 'OFF, verified'}")
    if any(results.values()):
        raise typer.Exit(EXIT_FAILED)
