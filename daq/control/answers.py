"""What was answered to which command: the same id is carried out once.

The same id with the same content gets the stored answer, also after a restart; with another
content, or from another client, it is refused, because it is a forgery or a mistake. Times and
signatures may differ: whoever asks again asks later. Ids are kept for a day, which outlasts the
window of every command, and so catch each copy of one.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daq.errors import CommandRefused
from daq.journal import Journal, Kept
from daq.model import Command, Reply

KEPT_S = 24 * 3600.0
FEWEST = 1000
"""Answers that are kept however old they are."""
MOST = 50_000
"""Memory is bounded; at the rate of a client this is far longer than a command's window."""


@dataclass(frozen=True, slots=True)
class _Answer:
    content: str
    utc_s: float
    reply: Reply


class Answers:
    """The stored answers.

    Args:
        kept: documents of an earlier session.
    """

    def __init__(self, journal: Journal, kept: Mapping[str, Mapping[str, Any]]) -> None:
        self._journal = journal
        found = {key: _answer_from(key, document) for key, document in kept.items()}
        self._answers = dict(sorted(found.items(), key=lambda item: item[1].utc_s))

    def find(self, command: Command) -> Reply | None:
        """The answer that a command has got already; None when it is a new one.

        Raises:
            CommandRefused: its id was used for another command.
        """
        known = self._answers.get(command.id)
        if known is None:
            return None
        if known.content and known.content != content_of(command):
            raise _another()
        return known.reply

    def remember(self, command: Command, reply: Reply) -> None:
        """Store an answer."""
        content, now = content_of(command), time.time()
        stored = {
            "state": reply.state,
            "reason": reply.reason,
            "data": dict(reply.data),
            "content": content,
            "utc_s": now,
        }
        self._journal.keep(Kept.REPLY, command.id, stored)
        self._answers[command.id] = _Answer(content, now, reply)
        self._forget_old(now)

    def _forget_old(self, now_utc_s: float) -> None:
        while len(self._answers) > FEWEST:
            oldest = next(iter(self._answers))
            young = now_utc_s - self._answers[oldest].utc_s < KEPT_S
            if young and len(self._answers) <= MOST:
                return
            del self._answers[oldest]
            self._journal.forget(Kept.REPLY, oldest)


def check_same(command: Command, first: Command) -> None:
    """Refuse a command that has the id of another one, which is still being carried out.

    Raises:
        CommandRefused: it is another one.
    """
    if content_of(command) != content_of(first):
        raise _another()


def _another() -> CommandRefused:
    return CommandRefused("this id was used for another command", remedy="make up a new one")


def content_of(command: Command) -> str:
    """What a command asks, whenever: a digest of everything but its times."""
    content = [command.verb, command.client, command.station, dict(command.arguments)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _answer_from(key: str, stored: Mapping[str, Any]) -> _Answer:
    reply = Reply(key, stored["state"], stored["reason"], stored["data"])
    return _Answer(str(stored.get("content", "")), float(stored.get("utc_s", 0.0)), reply)
