"""The local command socket: lines in, lines out, whatever anybody sends."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import time
from math import inf

import pytest

from daq.access.peer import Peer
from daq.control.client import (
    LONGEST_COMMAND,
    SOCKET_NAME,
    ControlClient,
    ask,
    decode_command,
    decode_reply,
    encode_command,
    encode_reply,
    new_command,
)
from daq.control.server import CommandServer
from daq.errors import DaqError
from daq.model import Command, Reply, Role


class Desk:
    """Answers "done" with what it was asked; holds a verb until it is released."""

    def __init__(self):
        self.asked = []
        self.peers = []
        self.held = asyncio.Event()
        self.busy = asyncio.Event()

    async def handle(self, command, peer):
        self.asked.append(command)
        self.peers.append(peer)
        self.busy.set()
        if command.verb == "slow":
            await self.held.wait()
        if command.verb == "refuse":
            raise DaqError("no")
        return Reply(command.id, "done", data={"verb": command.verb})


@pytest.fixture
async def desk(tmp_path):
    desk = Desk()
    server = CommandServer(tmp_path, desk.handle)
    await server.start()
    yield desk
    desk.held.set()
    await server.stop()


def line(verb, **changes):
    document = {"verb": verb, "id": verb, "client": "ana", "issued_utc_s": 1.0} | changes
    return json.dumps(document).encode() + b"\n"


async def connect(tmp_path):
    return await asyncio.open_unix_connection(tmp_path / SOCKET_NAME)


async def test_a_command_is_answered(tmp_path, desk):
    command = new_command("pause", "A1", reason="lunch")
    reply = await ask(tmp_path, command)
    assert reply == Reply(command.id, "done", "", {"verb": "pause"})
    assert desk.asked == [command]
    assert (desk.peers[0].pid, desk.peers[0].uid) == (os.getpid(), os.geteuid())


async def test_the_blocking_client_gets_the_same(tmp_path, desk):
    client = ControlClient(tmp_path)
    reply = await asyncio.to_thread(client.call, "status", "A1")
    assert reply.data == {"verb": "status"}
    assert desk.asked[0].client.startswith("cli-")


async def test_a_command_that_takes_long_does_not_hold_up_the_next(tmp_path, desk):
    reader, writer = await connect(tmp_path)
    writer.write(line("slow") + line("stop"))
    assert json.loads(await reader.readline())["id"] == "stop"
    desk.held.set()
    assert json.loads(await reader.readline())["id"] == "slow"
    writer.close()


@pytest.mark.fault("F75")
@pytest.mark.parametrize(
    "garbage",
    [b"{\n", b"[]\n", b"1\n", b"null\n", b"\xff\xfe\n", b'{"verb": "stop"}\n', b"{}\n",
     line("stop", issued_utc_s="x"), line("stop", arguments=7), b"[" * 50_000 + b"\n"],
)  # fmt: skip
async def test_what_is_no_command_is_refused_and_the_next_one_is_served(garbage, tmp_path, desk):
    reader, writer = await connect(tmp_path)
    writer.write(garbage)
    assert json.loads(await reader.readline())["state"] == "refused"
    writer.write(line("stop"))
    assert json.loads(await reader.readline())["state"] == "done"
    writer.close()


async def test_a_line_without_an_end_costs_its_connection_and_nothing_else(tmp_path, desk):
    reader, writer = await connect(tmp_path)
    writer.write(b"x" * (LONGEST_COMMAND + 100_000))
    assert await reader.read() == b""
    writer.close()
    assert (await ask(tmp_path, new_command("stop"))).state == "done"


async def test_who_hangs_up_before_the_answer_has_its_command_carried_out(tmp_path, desk):
    _, writer = await connect(tmp_path)
    writer.write(line("slow"))
    await writer.drain()
    writer.close()
    await desk.busy.wait()
    desk.held.set()
    assert (await ask(tmp_path, new_command("stop"))).state == "done"


async def test_who_has_said_all_and_still_listens_gets_every_answer(tmp_path, desk):
    reader, writer = await connect(tmp_path)
    writer.write(line("slow"))
    writer.write_eof()
    await asyncio.sleep(0.05)
    desk.held.set()
    assert json.loads(await reader.readline())["id"] == "slow"
    assert await reader.read() == b""  # and then the daemon hangs up, too
    writer.close()


async def test_connections_leave_no_descriptors_behind(tmp_path, desk):
    await ask(tmp_path, new_command("status"))
    before = len(os.listdir("/proc/self/fd"))
    writers = []
    for _ in range(30):
        reader, writer = await connect(tmp_path)
        writer.write(line("status"))
        await reader.readline()
        writer.close()
        await writer.wait_closed()
        writers.append(writer)
    await asyncio.sleep(0.05)
    assert len(os.listdir("/proc/self/fd")) <= before + 2


async def test_only_the_owner_may_use_it(tmp_path, desk):
    assert stat.S_IMODE((tmp_path / SOCKET_NAME).stat().st_mode) == 0o600


async def test_a_socket_that_a_dead_daemon_left_behind_is_replaced(tmp_path):
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / SOCKET_NAME))
    dead.close()
    desk = Desk()
    server = CommandServer(tmp_path, desk.handle)
    await server.start()
    assert (await ask(tmp_path, new_command("status"))).state == "done"
    await server.stop()
    assert not (tmp_path / SOCKET_NAME).exists()


async def test_a_command_under_way_is_finished_before_the_socket_closes(tmp_path):
    desk = Desk()
    server = CommandServer(tmp_path, desk.handle)
    await server.start()
    asking = asyncio.create_task(ask(tmp_path, new_command("slow")))
    await desk.busy.wait()
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0.05)
    desk.held.set()
    assert (await asking).state == "done"
    await stopping


def test_without_a_daemon_the_client_says_how_to_start_one(tmp_path):
    with pytest.raises(DaqError, match="daq serve"):
        ControlClient(tmp_path).call("status")


def test_a_daemon_that_hangs_is_not_waited_for_without_end(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / SOCKET_NAME))
        server.listen()
        began = time.monotonic()
        with pytest.raises(DaqError, match="does not answer"):
            ControlClient(tmp_path, timeout_s=0.1).call("status")
        assert time.monotonic() - began < 5.0


async def test_neither_is_it_by_asyncio_programs(tmp_path):
    with pytest.raises(DaqError, match="does not answer"):
        await ask(tmp_path, new_command("status"), timeout_s=0.1)


@pytest.mark.parametrize("expires", [inf, 123.5])
def test_a_command_survives_the_wire(expires):
    command = Command("stop", "1", "ana", "A1", 1.5, expires, {"reason": "ä"})
    assert decode_command(encode_command(command)) == command


def test_a_reply_survives_the_wire():
    reply = Reply("1", "refused", "why", {"a": [1, 2]})
    assert decode_reply(encode_reply(reply)) == reply
    with pytest.raises(DaqError, match="as expected"):
        decode_reply(b"")


async def test_a_role_in_the_message_is_not_believed(tmp_path, desk):
    reader, writer = await connect(tmp_path)
    writer.write(line("start", role="admin"))
    await reader.readline()
    writer.close()
    assert desk.asked[0].role is Role.NOBODY


def test_the_owner_and_root_are_admins_and_nobody_else_is_anybody():
    own = os.geteuid()
    assert Peer(1, own).role is Peer(1, 0).role is Role.ADMIN
    assert Peer(1, own + 1).role is Role.NOBODY
