"""The door to control: the owner, the gateway that may only forward, and what is noted."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from daq.access.audit import Head
from daq.access.keys import new_key, save_keys
from daq.access.peer import Peer
from daq.access.refusals import Refusal
from daq.access.seal import seal
from daq.control.client import new_command
from daq.control.door import HEAD_S, Door
from daq.control.requests import Forwarded, decode_request, encode_request
from daq.errors import DaqError
from daq.model import EventKind, Reply, Role
from tests.unit.fakes import MemoryJournal

OWNER, GATEWAY = Peer(os.getpid(), os.geteuid()), Peer(77, os.geteuid())
ANA = new_key("ana", Role.OPERATOR)


class Stand:
    def __init__(self, tmp_path, *, loopback=True, anonymous=Role.OPERATOR):
        save_keys(tmp_path / "keys.yaml", {"ana": ANA})
        self.keys = tmp_path / "keys.yaml"
        self.journal = MemoryJournal()
        self.journal.audited = Head(7, "ab" * 32)
        self.carried_out = []
        self.lab = SimpleNamespace(
            name="lab",
            sha256="new",
            mqtt=SimpleNamespace(is_loopback=loopback),
            access=SimpleNamespace(keys=self.keys, anonymous=anonymous),
        )
        self.door = Door(self.lab, self.journal, self._carry_out, lambda: frozenset({77}))

    async def _carry_out(self, command):
        self.carried_out.append(command)
        return Reply(command.id, "done")

    async def forward(self, payload, verb="resume"):
        return await self.door.serve(Forwarded(verb, payload), GATEWAY)

    def noted(self, kind):
        self.door.tell()
        return [event.data for event in self.journal.events(kind)]


@pytest.fixture
def stand(tmp_path):
    return Stand(tmp_path)


def message(**changes):
    now = time.time()
    basic = {"id": "c1", "client": "ana", "station": "A1", "issued": now, "expires": now + 9}
    return basic | changes


def signed(verb="resume", **changes):
    return seal("ana", ANA.secret, f"daq/lab/cmd/{verb}", message(**changes))


async def test_the_owner_is_admin_and_says_so_nowhere(stand):
    command = new_command("forget", instrument="x")
    assert (await stand.door.serve(command, OWNER)).state == "done"
    assert stand.carried_out == [replace(command, role=Role.ADMIN)]


async def test_the_gateway_has_no_commands_of_its_own(stand):
    command = new_command("start", "A1")
    reply = await stand.door.serve(command, GATEWAY)
    assert (reply.id, reply.state) == (command.id, "refused")
    assert stand.carried_out == []
    assert "no commands of its own" in stand.noted(EventKind.REFUSED)[0]["reason"]
    assert (await stand.door.serve(new_command("report"), GATEWAY)).state == "done"


async def test_what_it_forwards_has_the_role_of_the_key(stand):
    assert (await stand.forward(signed())).state == "done"
    assert (stand.carried_out[0].client, stand.carried_out[0].role) == ("ana", Role.OPERATOR)


async def test_what_is_not_signed_has_the_role_of_nobody_known(stand):
    unsigned = json.dumps(message(client="ben")).encode()
    assert (await stand.forward(unsigned)).state == "done"  # the lab file says: operator
    assert stand.carried_out[0].role is Role.OPERATOR


async def test_on_the_network_nothing_unsigned_is_taken_whatever_the_lab_file_says(tmp_path):
    stand = Stand(tmp_path, loopback=False)
    for verb in ("status", "stop", "resume"):
        reply = await stand.forward(json.dumps(message(client="ben")).encode(), verb)
        assert "must be signed" in reply.reason
    assert stand.carried_out == []
    assert (await stand.forward(signed("stop"), "stop")).state == "done"


@pytest.mark.fault("F76")
async def test_what_is_refused_is_noted_with_its_count(stand):
    for _ in range(50):
        await stand.forward(signed("start"))
    await stand.door.serve(Refusal("eve", "start", "not JSON", 9000), GATEWAY)
    stand.door.tell()
    for _ in range(50):
        await stand.forward(signed("start"))
    stand.door.tell(everything=True)
    noted = stand.noted(EventKind.REFUSED)
    assert [(data["client"], data["count"]) for data in noted] == [
        ("", 50),
        ("eve", 9000),
        ("", 50),
    ]


async def test_a_change_of_the_keys_is_noted(stand):
    await stand.forward(signed())
    stand.keys.chmod(0o644)
    assert (await stand.forward(signed(id="c2"))).state == "refused"
    first, second = stand.noted(EventKind.CHANGED)
    assert first == {"what": "keys", "clients": {"ana": "operator"}, "fault": ""}
    assert "chmod 600" in second["fault"]
    assert ANA.secret.hex() not in json.dumps([first, second])


def test_a_lab_file_that_is_another_is_noted_once(stand):
    stand.door.open(stand.lab, {})
    assert stand.noted(EventKind.CHANGED) == []
    stand.door.open(stand.lab, {"lab": {"sha256": "new"}})
    stand.door.open(stand.lab, {"lab": {"sha256": "old"}})
    assert stand.noted(EventKind.CHANGED) == [{"what": "lab", "sha256": "new", "before": "old"}]


def test_the_head_of_the_audit_log_goes_out_every_day(stand, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("daq.control.door.monotonic", lambda: now[0])
    stand.door.open(stand.lab, {})
    stand.door.tell()
    now[0] += HEAD_S
    stand.door.tell()
    stand.door.tell()
    stand.door.tell(everything=True)
    assert stand.noted(EventKind.AUDIT_HEAD) == [{"number": 7, "sha256": "ab" * 32}] * 3


@pytest.mark.parametrize(
    "request_",
    [
        new_command("stop", "A1", reason="x"),
        Forwarded("start", '{"text": "ä\\n"}'.encode()),
        Refusal("eve", "start", "why", 7),
    ],
)
def test_a_request_survives_the_wire(request_):
    assert decode_request(encode_request(request_)) == request_


@pytest.mark.parametrize(
    "line",
    [
        b'{"payload": 5, "verb": "stop"}',
        b'{"payload": "x"}',
        b'{"refused": 5}',
        b'{"refused": {"client": "", "verb": "", "reason": "", "count": 0}}',
        b'{"refused": {"client": "", "verb": "", "reason": "", "count": true}}',
        b'{"refused": {"client": "", "verb": "", "reason": ["x"], "count": 1}}',
    ],
)
def test_what_is_no_request_is_refused(line):
    with pytest.raises(DaqError):
        decode_request(line)
