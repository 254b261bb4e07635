r"""What comes in over the local socket: a command of the owner, or what the gateway brings.

The gateway forwards a command as the bytes that were published and the verb of their topic; it
says nothing about who sent it, because nobody would believe it. It also reports what it has
refused itself, so that this gets into the audit log.

    -> {"verb": "start", "payload": "{\"client\": …, \"signed\": …, \"signature\": …}"}
    -> {"refused": {"client": "", "verb": "start", "reason": "not JSON", "count": 9000}}
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, cast

from daq.access.refusals import Refusal
from daq.control.client import LONGEST_COMMAND, command_from, encode_command, text_in
from daq.errors import InputError
from daq.jsontext import read_object
from daq.model import Command


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A command as it was published on `cmd/<verb>`; its sender is not known yet."""

    verb: str
    payload: bytes


Request = Command | Forwarded | Refusal


def encode_request(request: Request) -> bytes:
    """One line for the socket."""
    if isinstance(request, Command):
        return encode_command(request)
    if isinstance(request, Refusal):
        document: dict[str, Any] = {"refused": asdict(request)}
    else:
        document = {"verb": request.verb, "payload": request.payload.decode()}
    return json.dumps(document).encode() + b"\n"


def decode_request(line: bytes) -> Request:
    """The request in a line.

    Raises:
        DaqError: it is none.
    """
    document = read_object(line, LONGEST_COMMAND)
    if "payload" in document:
        return Forwarded(text_in(document, "verb"), text_in(document, "payload").encode())
    if "refused" in document:
        return _refusal(document["refused"])
    return command_from(document, len(line))


def _refusal(value: Any) -> Refusal:
    if not isinstance(value, dict):
        raise InputError("not a report: 'refused' is not an object")
    document = cast("dict[str, Any]", value)
    count = document.get("count")
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InputError("not a report: 'count' is not a count")
    client, verb, reason = (text_in(document, key) for key in ("client", "verb", "reason"))
    return Refusal(client, verb, reason, count)
