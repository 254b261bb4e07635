"""The door to control: who comes in over the local socket, and what becomes of those who may not.

The owner of the daemon may do everything. Our own children may only bring what others have
signed, and report: a gateway that a broker has talked into something has no rights of its own.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from daq.access.envelope import EnvelopeRefused
from daq.access.gate import Gate, Policy
from daq.access.keys import KeyRing
from daq.access.peer import Peer
from daq.access.refusals import Refusal, Refusals
from daq.clock import monotonic
from daq.config import Lab
from daq.control.requests import Forwarded, Request
from daq.journal import Journal, Kept
from daq.logs import get_logger
from daq.model import Command, Event, EventKind, Reply, Role

OF_CHILDREN = frozenset({"report"})
HEAD_S = 24 * 3600.0
_log = get_logger()


class Door:
    """Lets commands in.

    Args:
        carry_out: what a command that may come in comes to.
        children: process ids of those who may only forward.
    """

    def __init__(
        self,
        lab: Lab,
        journal: Journal,
        carry_out: Callable[[Command], Awaitable[Reply]],
        children: Callable[[], frozenset[int]],
    ) -> None:
        self._journal = journal
        self._carry_out = carry_out
        self._children = children
        self._refusals = Refusals()
        self._head_due_s = monotonic() + HEAD_S
        anonymous = lab.access.anonymous if lab.mqtt.is_loopback else Role.NOBODY
        self._gate = Gate(Policy(lab.name, anonymous), KeyRing(lab.access.keys, self._keys_changed))

    async def serve(self, request: Request, peer: Peer) -> Reply:
        """The answer to one line of the socket."""
        if isinstance(request, Refusal):
            self._refusals.note(request, monotonic())
            return Reply("", "done")
        try:
            command = self._admit(request, peer)
        except EnvelopeRefused as refusal:
            noted = Refusal(refusal.client, request.verb, str(refusal))
            self._refusals.note(noted, monotonic())
            return Reply(refusal.id, "refused", str(refusal))
        return await self._carry_out(command)

    def _admit(self, request: Command | Forwarded, peer: Peer) -> Command:
        if isinstance(request, Forwarded):
            return self._gate.admit(request.verb, request.payload, time.time())
        if peer.pid in self._children() and request.verb not in OF_CHILDREN:
            asker = {"client": request.client, "id": request.id}
            raise EnvelopeRefused("the gateway has no commands of its own", **asker)
        return replace(request, role=peer.role)

    def open(self, lab: Lab, before: Mapping[str, Mapping[str, Any]]) -> None:
        """Note at the start what is other than it was; `before` is what was kept of the lab."""
        self.tell_head()
        was = before.get(lab.name, {}).get("sha256", lab.sha256)
        if was != lab.sha256:
            data = {"what": "lab", "sha256": lab.sha256, "before": was}
            self._journal.append(Event(EventKind.CHANGED, time.time(), data=data), at_once=True)
        self._journal.keep(Kept.LAB, lab.name, {"sha256": lab.sha256})

    def tell_head(self) -> None:
        """Publish the head of the audit log: whoever keeps it can tell later what was cut off."""
        head = self._journal.audited
        data = {"number": head.number, "sha256": head.sha256}
        self._journal.append(Event(EventKind.AUDIT_HEAD, time.time(), data=data))
        self._head_due_s = monotonic() + HEAD_S

    def tell(self, *, everything: bool = False) -> None:
        """Put what was refused into the journal; to be called often, and at the end."""
        if everything or monotonic() >= self._head_due_s:
            self.tell_head()
        found = self._refusals.rest() if everything else self._refusals.due(monotonic())
        for refusal in found:
            data = {
                "client": refusal.client,
                "verb": refusal.verb,
                "reason": refusal.reason,
                "count": refusal.count,
            }
            _log.warning("command refused", **data)
            self._journal.append(Event(EventKind.REFUSED, time.time(), data=data))

    def _keys_changed(self, roles: Mapping[str, str], fault: str) -> None:
        if fault:
            _log.error("the keys cannot be read; no signed command is taken", fault=fault)
        data = {"what": "keys", "clients": dict(roles), "fault": fault}
        self._journal.append(Event(EventKind.CHANGED, time.time(), data=data), at_once=True)
