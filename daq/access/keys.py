"""The keys file: client -> role and secret. `daq key` writes it, control reads it.

    clients:
      scheduler-1: {role: operator, key: 64 hex digits}

It lies beside the lab file, not in it: a lab file travels with the data, a secret must not. A
change is noticed at the next command; a file that has become unreadable lets nobody in.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from daq.access.secrets import read_secret, write_secret
from daq.errors import InputError
from daq.filemodel import FileModel, Name, mistake, validate
from daq.model import Role
from daq.yamlfile import parse

SECRET_BYTES = 32
"""As long as the digest of SHA-256; a shorter key would be the weakest part."""
GRANTED = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
_HEADER = (
    "# Written by `daq key`; secret. One client each; removing a line shuts that client out.\n"
)


def _secret(value: object) -> str:
    # Says what is wrong without showing it: the message ends up in a log.
    text = value if isinstance(value, str) else ""
    if len(text) != 2 * SECRET_BYTES or not set(text) <= set("0123456789abcdef"):
        raise mistake(f"a key is {2 * SECRET_BYTES} hex digits", "make one with daq key add")
    return text


class KeyModel(FileModel):
    """One client's key."""

    role: Literal["viewer", "operator", "admin"] = Field(examples=["operator"])
    """What the client may do."""
    key: Annotated[str, BeforeValidator(_secret)]
    """Its secret."""


class KeysFileModel(FileModel):
    """The keys file."""

    clients: dict[Name, KeyModel]
    """Client -> key."""


@dataclass(frozen=True, slots=True)
class Key:
    """What the daemon knows of a client."""

    client: str
    role: Role
    secret: bytes = field(repr=False)


def load_keys(path: Path) -> Mapping[str, Key]:
    """Read a keys file.

    Raises:
        InputError: it is missing, wrong, or open to others.
    """
    models = validate(KeysFileModel, parse(read_secret(path), str(path))).clients
    return MappingProxyType(
        {
            name: Key(name, Role(model.role), bytes.fromhex(model.key))
            for name, model in models.items()
        }
    )


def save_keys(path: Path, keys: Mapping[str, Key]) -> None:
    """Write a keys file.

    Raises:
        InputError: it cannot be written.
    """
    lines = [
        f'  "{key.client}": {{role: {key.role.value}, key: "{key.secret.hex()}"}}\n'
        for key in keys.values()
    ]
    write_secret(path, f"{_HEADER}clients:{'' if lines else ' {}'}\n{''.join(lines)}")


def new_key(client: str, role: Role) -> Key:
    """A key that nobody can guess."""
    return Key(client, role, secrets.token_bytes(SECRET_BYTES))


def client_file(key: Key) -> str:
    """What a client keeps: its name and its secret on one line."""
    return f"{key.client} {key.secret.hex()}\n"


def load_client_key(path: Path) -> Key:
    """A client's own file, as `client_file` writes it; the role is the daemon's to know.

    Raises:
        InputError: it is missing, open to others, or something else.
    """
    client, _, secret = read_secret(path).strip().partition(" ")
    if not client or len(secret) != 2 * SECRET_BYTES or not set(secret) <= set("0123456789abcdef"):
        raise InputError(f"{path} is not a client's key", remedy="daq key add writes one")
    return Key(client, Role.NOBODY, bytes.fromhex(secret))


_NO_KEYS: Mapping[str, Key] = MappingProxyType({})


class KeyRing:
    """The keys as they stand in the file now.

    Args:
        path: the keys file; None: there are no keys.
        changed: called with the roles after a change, and with why there are none after a fault.
    """

    def __init__(
        self,
        path: Path | None,
        changed: Callable[[Mapping[str, str], str], None] = lambda roles, fault: None,
    ) -> None:
        self._path = path
        self._changed = changed
        self._seen: tuple[int, ...] | None = None
        self._keys = _NO_KEYS

    def find(self, client: str) -> Key | None:
        """The key of a client; None when it has none."""
        if self._path is not None:
            self._look(self._path)
        return self._keys.get(client)

    def _look(self, path: Path) -> None:
        seen = _mark(path)
        if seen == self._seen:
            return
        self._seen = seen
        fault = ""
        try:
            self._keys = load_keys(path)
        except InputError as error:
            self._keys, fault = _NO_KEYS, str(error)
        self._changed({name: key.role.value for name, key in self._keys.items()}, fault)


def _mark(path: Path) -> tuple[int, ...]:
    try:
        found = path.lstat()
    except OSError:
        return ()
    return (
        found.st_ino,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_size,
        found.st_mode,
        found.st_uid,
    )
