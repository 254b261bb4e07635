"""The local command socket, seen from outside: one JSON object per line each way.

    -> {"verb": "stop", "id": "6f1c...", "client": "cli-ana", "station": "A1",
        "issued_utc_s": 1800000000.0, "expires_utc_s": null, "arguments": {"reason": "lunch"}}
    <- {"id": "6f1c...", "state": "done", "reason": "", "data": {}}

The socket is a file in the lab's data folder, readable by its owner only; it needs no broker.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import socket
import time
import uuid
from collections.abc import Mapping
from math import inf, isfinite
from pathlib import Path
from typing import Any, cast

from daq.errors import DaqError, InputError
from daq.jsontext import LARGEST, read_object
from daq.model import Command, Reply

SOCKET_NAME = "control.sock"
LONGEST_COMMAND = 2_000_000
"""Bytes of one line to the daemon: a protocol of 1 MiB, its line ends and quotes escaped."""
_LONGEST_REPLY = 4_000_000


def encode_command(command: Command) -> bytes:
    """One line for the socket."""
    expires = command.expires_utc_s
    document = {
        "verb": command.verb,
        "id": command.id,
        "client": command.client,
        "station": command.station,
        "issued_utc_s": command.issued_utc_s,
        "expires_utc_s": expires if isfinite(expires) else None,
        "arguments": dict(command.arguments),
    }
    return json.dumps(document).encode() + b"\n"


def decode_command(line: bytes) -> Command:
    """The command in a line.

    Raises:
        DaqError: it is not one.
    """
    return command_from(read_object(line, LONGEST_COMMAND), len(line))


def command_from(document: Mapping[str, Any], size: int) -> Command:
    """The command in a document that was so many bytes long.

    Raises:
        DaqError: it is not one.
    """
    expires = document.get("expires_utc_s")
    command = Command(
        text_in(document, "verb"),
        text_in(document, "id"),
        text_in(document, "client"),
        text_in(document, "station", optional=True),
        _moment(document, "issued_utc_s"),
        inf if expires is None else _moment(document, "expires_utc_s"),
        _arguments(document),
    )
    protocol = command.arguments.get("text")
    rest = size - (len(json.dumps(protocol)) if isinstance(protocol, str) else 0)
    if rest > LARGEST:
        raise InputError(f"not a command: more than {LARGEST} bytes beside the protocol's text")
    return command


def text_in(document: Mapping[str, Any], key: str, *, optional: bool = False) -> str:
    """A text of a document.

    Raises:
        InputError: there is none under this key.
    """
    value = document.get(key)
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        raise InputError(f"not a command: {key!r} is not a text")
    return value


def _moment(document: Mapping[str, Any], key: str) -> float:
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"not a command: {key!r} is not a time in Unix seconds")
    return float(value)


def _arguments(document: Mapping[str, Any]) -> dict[str, Any]:
    value = document.get("arguments")
    if value is not None and not isinstance(value, dict):
        raise InputError("not a command: 'arguments' is not an object")
    return cast("dict[str, Any]", value or {})


def encode_reply(reply: Reply) -> bytes:
    """One line for the socket."""
    document = {
        "id": reply.id,
        "state": reply.state,
        "reason": reply.reason,
        "data": dict(reply.data),
    }
    return json.dumps(document, default=str).encode() + b"\n"


def decode_reply(line: bytes) -> Reply:
    """The reply in a line.

    Raises:
        DaqError: it is not one.
    """
    try:
        document = json.loads(line)
        return Reply(document["id"], document["state"], document["reason"], document["data"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DaqError(f"the daemon did not answer as expected: {error}") from error


def new_command(verb: str, station: str = "", client: str = "", **arguments: Any) -> Command:
    """A command of this person at this moment."""
    client = client or f"cli-{getpass.getuser()}"
    return Command(verb, uuid.uuid4().hex, client, station, time.time(), inf, arguments)


class ControlClient:
    """Blocking client, for the command line and for scripts on the daemon's own machine.

    Args:
        data: the lab's data folder.
        timeout_s: longest wait for a reply.
    """

    def __init__(self, data: Path, timeout_s: float = 15.0) -> None:
        self._path = data / SOCKET_NAME
        self._timeout_s = timeout_s

    def call(self, verb: str, station: str = "", **arguments: Any) -> Reply:
        """Send one command and wait for its reply.

        Raises:
            DaqError: no daemon answers.
        """
        return self.send(new_command(verb, station, **arguments))

    def send(self, command: Command) -> Reply:
        """Send a ready-made command.

        Raises:
            DaqError: no daemon answers.
        """
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
                peer.settimeout(self._timeout_s)
                peer.connect(str(self._path))
                peer.sendall(encode_command(command))
                with peer.makefile("rb") as lines:
                    line = lines.readline(_LONGEST_REPLY)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise DaqError(
                f"no daemon runs on {self._path.parent}", remedy="start it: daq serve LAB"
            ) from error
        except OSError as error:
            raise DaqError(f"the daemon does not answer: {error}") from error
        return decode_reply(line)


async def ask(data: Path, command: Command, timeout_s: float = 15.0) -> Reply:
    """The same for asyncio programs.

    Raises:
        DaqError: no daemon answers.
    """
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(
                data / SOCKET_NAME, limit=_LONGEST_REPLY
            )
            try:
                writer.write(encode_command(command))
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise DaqError(f"the daemon does not answer: {error}") from error
    return decode_reply(line)
