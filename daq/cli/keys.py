"""`daq key …`: the keys of those who give commands over MQTT."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daq.access.keys import Key, client_file, load_keys, new_key, save_keys
from daq.access.names import is_name
from daq.access.secrets import write_secret
from daq.cli.output import DEFAULT_LAB, Json, LabFile, console, near, print_json
from daq.cli.tables import print_table
from daq.errors import InputError
from daq.filemodel import nearest
from daq.labreader import load_lab
from daq.model import Role

Client = Annotated[str, typer.Argument(help="The client's name; its commands carry it.")]
ROLES = ("viewer", "operator", "admin")


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    group = typer.Typer(help="Keys of those who give commands over MQTT.", no_args_is_help=True)
    for command in (add, list_, remove):
        group.command(command.__name__.rstrip("_"))(command)
    app.add_typer(group, name="key")


def add(
    name: Client,
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")],
    out: Annotated[
        Path | None, typer.Option(help="Where the client's own file goes; default: NAME.key.")
    ] = None,
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Make a key for a client; a running daemon takes it at once."""
    if not is_name(name):
        raise InputError(f"{name!r} is not a name", remedy="use letters, digits, '.', '_' and '-'")
    if role not in ROLES:
        raise InputError(f"{role!r} is not a role", remedy=f"roles: {', '.join(ROLES)}")
    path = _keys_file(lab)
    keys = _keys(path)
    if name in keys:
        raise InputError(f"{name} has a key already", remedy=f"daq key remove {name}")
    key = keys[name] = new_key(name, Role(role))
    mine = out or Path(f"{name}.key")
    if mine.exists():
        raise InputError(f"{mine} exists already", remedy="choose another with --out")
    write_secret(mine, client_file(key))
    save_keys(path, keys)
    if as_json:
        print_json({"client": name, "role": role, "file": str(mine.resolve())})
    else:
        where = near(mine.resolve())
        console().print(f"{name} is {role}; its key is in {where}: take it there safely")


def list_(lab: LabFile = DEFAULT_LAB, as_json: Json = False) -> None:
    """Show who has a key, and what they may do; never the keys."""
    path = _keys_file(lab)
    keys = _keys(path)
    if as_json:
        print_json({name: key.role.value for name, key in keys.items()})
    else:
        print_table(("client", "role"), [(name, key.role.value) for name, key in keys.items()])


def remove(name: Client, lab: LabFile = DEFAULT_LAB, as_json: Json = False) -> None:
    """Shut a client out; a running daemon knows at once."""
    path = _keys_file(lab)
    keys = _keys(path)
    if name not in keys:
        raise InputError(f"{name} has no key", remedy=nearest(name, keys))
    del keys[name]
    save_keys(path, keys)
    if as_json:
        print_json({"removed": name})
    else:
        console().print(f"{name} is shut out")


def _keys(path: Path) -> dict[str, Key]:
    return dict(load_keys(path)) if path.exists() else {}


def _keys_file(lab: str) -> Path:
    path = load_lab(Path(lab)).access.keys
    if path is None:
        raise InputError(
            f"{lab} names no keys file", remedy="add `access: {keys_file: keys.yaml}` to it"
        )
    return path
