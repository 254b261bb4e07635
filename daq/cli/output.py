"""How commands speak: tables for people, one JSON document with `--json` for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from daq.cli.tables import console
from daq.errors import DaqError, InputError
from daq.model import Reply

EXIT_FAILED = 1
EXIT_INPUT = 2
EXIT_SILENT = 3
EXIT_REFUSED = 4
EXIT_INTERRUPTED = 130

Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text.")]
LabFile = Annotated[
    str,
    typer.Option(
        "--lab",
        envvar="DAQ_LAB",
        help="The lab file of the daemon (its name, with --broker).",
        show_default=True,
    ),
]
DEFAULT_LAB = "lab.yaml"


class Silent(DaqError):
    """Nobody answers."""

    exit_code = EXIT_SILENT


class Refused(DaqError):
    """The daemon refused."""

    exit_code = EXIT_REFUSED


def complain(message: str, level: str = "error") -> None:
    """One line on stderr."""
    print(f"{level}: {message}", file=sys.stderr)


def print_json(document: Any) -> None:
    """One document on stdout."""
    print(json.dumps(document, indent=2, default=str))


def answer(reply: Reply, text: str, *, as_json: bool) -> Mapping[str, Any]:
    """Print what a command came to; its data.

    Raises:
        Refused: the daemon refused it.
    """
    if reply.state == "refused":
        raise Refused(reply.reason)
    if as_json:
        print_json(dict(reply.data))
    elif text:
        console().print(text)
    return reply.data


def pairs(items: Iterable[str]) -> dict[str, str]:
    """`name=value` arguments.

    Raises:
        InputError: one of them is something else.
    """
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise InputError(f"{item!r} is not name=value", remedy="write -p v_max='4.1 V'")
        found[name.strip()] = value.strip()
    return found


def data_folder(lab: str) -> Path:
    """The data folder of a lab file.

    Raises:
        InputError: the file is missing or wrong.
    """
    from daq.labreader import load_lab  # slow to import, and not every command needs it

    return load_lab(Path(lab)).data


def near(path: Path) -> str:
    """A path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def duration(seconds: float | None) -> str:
    """Seconds as people say them: 45 s, 12 min, 3.2 h, 5.1 d."""
    if seconds is None:
        return "-"
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"
