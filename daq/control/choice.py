"""What a `start` is about: which cell, which protocol and version.

Refused here: what is not there, what is not as it should be, and a cell that is under another run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from daq import units
from daq.access.names import is_name
from daq.config import Lab
from daq.control.station import Station
from daq.errors import CommandRefused, InputError
from daq.filemodel import NAME_PATTERN
from daq.model import Cell
from daq.protocol.source import ProtocolSource, load_protocol, parse_protocol
from daq.registry.cells import UNREGISTERED, Cells
from daq.registry.protocols import Protocols

_MOST_AH = 100_000.0


def chosen_cell(lab: Lab, arguments: Mapping[str, Any]) -> Cell:
    """The cell that is to be tested, with all that is known of it at this moment.

    Raises:
        InputError: there is none of this id; or it is wrongly described, or said to be unknown
            and is known.
    """
    ident = str(arguments.get("cell") or "")
    known = Cells(lab.data, lab.cells)
    if not arguments.get("unregistered"):
        if arguments.get("capacity"):
            raise InputError("a capacity is given only for an unregistered cell")
        return _described(known, ident)
    if not is_name(ident):
        raise InputError(f"{ident[:64]!r} is not an id", remedy="letters, digits, '.', '_', '-'")
    if ident in known.of_lab_file or known.find(ident):
        raise InputError(f"cell {ident} is known", remedy="start it without `unregistered`")
    nominal_Ah = units.parse(arguments.get("capacity"), units.CHARGE)
    if not 0.0 < nominal_Ah <= _MOST_AH:
        raise InputError(f"{nominal_Ah:g} Ah is no capacity", remedy="write it like 2.5 Ah")
    return Cell(ident, nominal_Ah, origin={"source": UNREGISTERED})


def _described(known: Cells, ident: str) -> Cell:
    try:
        return known.cell(ident)
    except InputError as error:
        if ident in known.of_lab_file or not is_name(ident) or known.find(ident):
            raise
        stop = " " if error.remedy.endswith("?") else "; "
        remedy = f"{error.remedy}{stop}daq cell add {ident} registers a new one"
        raise InputError(error.message, remedy=remedy) from error


def refuse_if_mounted(cell: str, station: Station, stations: Iterable[Station]) -> None:
    """Refuse a cell that is under a run at another station, whatever state that run is in.

    Raises:
        CommandRefused: says where it is.
    """
    for other in stations:
        run = other.conductor.run
        if other is not station and run and run.info.cell == cell:
            raise CommandRefused(
                f"cell {cell} is being tested at {other.name}, in run {run.info.id}",
                remedy=f"is the id right? else stop that run first: daq stop {other.name}",
            )


def chosen_protocol(
    lab: Lab, station: str, arguments: Mapping[str, Any]
) -> tuple[ProtocolSource, dict[str, Any] | None]:
    """The protocol that is to be run, and who released it; None when nobody did.

    Raises:
        CommandRefused: there is no such protocol, or no version of it for this station.
        InputError: it is wrong, or calls itself a released version and is another text.
    """
    protocols, name = Protocols(lab.data), str(arguments.get("protocol") or "")
    chosen = strings(arguments.get("parameters"))
    if text := arguments.get("text"):
        label = str(arguments.get("name") or "protocol")
        files = strings(arguments.get("files"), "files")
        source = parse_protocol(str(text), label, files, chosen)
    elif protocols.knows(name):
        source = protocols.at(name, station)
    else:
        source = load_protocol(_in_folder(lab.protocols, name, protocols), chosen=chosen)
    protocols.check_label(source)
    return source, _release(protocols, source)


def strings(given: object, what: str = "parameters") -> dict[str, str]:
    """A mapping of texts that came in a command; empty when there is none.

    Raises:
        CommandRefused: it is something else.
    """
    if not given:
        return {}
    if not isinstance(given, Mapping):
        raise CommandRefused(f"{what} must be a mapping of names to texts")
    return {str(key): str(value) for key, value in given.items()}  # type: ignore[misc]


def _release(protocols: Protocols, source: ProtocolSource) -> dict[str, Any] | None:
    model = source.model
    found = {one.version: one for one in protocols.versions(model.protocol)}.get(model.version)
    return {key: asdict(found)[key] for key in ("utc", "who")} if found else None


def _in_folder(folder: Path, name: str, protocols: Protocols) -> Path:
    path = inside(folder, name)
    if path is None:
        files = (found.name for found in folder.glob("*.yaml"))
        known = ", ".join([*protocols.names(), *sorted(files)])
        remedy = f"there are: {known}" if known else "`daq protocol add FILE` releases one"
        raise CommandRefused(f"there is no protocol {name!r}", remedy=remedy)
    return path


def inside(folder: Path, name: str) -> Path | None:
    """A file of the folder, or of one within it; None for anything that leads elsewhere."""
    if not all(re.fullmatch(NAME_PATTERN, part) for part in name.split("/")):
        return None
    path = (folder / name).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None
