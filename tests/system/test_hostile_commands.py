"""What a sloppy or a hostile client sends while a cell is charged: nobody's safety notices."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time

import pytest

from daq.control.client import SOCKET_NAME, ask, new_command
from daq.model import EventKind
from tests.system.daemon import CHARGE, on, running_daemon, wait_until

STEP = "  - rest: 1 min\n"


@pytest.fixture(scope="module")
def charging(tmp_path_factory):
    """A station that charges, and another for mischief."""
    with running_daemon(tmp_path_factory.mktemp("lab"), stations=2) as (bench, daemon):
        daemon.run(CHARGE, "A1", "c1")
        daemon.energised("A1")
        yield bench, daemon
        assert not list(daemon.data.glob("sentinel-*.jsonl"))


def unharmed(bench, daemon):
    """The cell is still being charged, and the journal still written."""
    before = daemon.station("A1")["charge_Ah"]
    wait_until(lambda: daemon.station("A1")["charge_Ah"] > before, "the charge goes on")
    assert on(bench, "cell-1")
    health = daemon.client.call("status").data
    assert health["journal"]["failed"] == ""
    assert len(bench.ledger("cell-1")["edges"]) == 1


def send(daemon, data):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(30.0)
        peer.connect(str(daemon.data / SOCKET_NAME))
        peer.sendall(data)
        return json.loads(peer.makefile("rb").readline())


def test_a_protocol_that_takes_long_to_read_stops_neither_heart_nor_stop(charging):
    bench, daemon = charging
    text = CHARGE.partition("steps:")[0] + "steps:\n" + STEP * 12_000
    replies = []

    def start():
        arguments = {"text": text, "name": "t.yaml", "cell": "c2"}
        command = new_command("start", "A2", **arguments)
        replies.append(asyncio.run(ask(daemon.data, command, timeout_s=60.0)))

    starting = threading.Thread(target=start)
    starting.start()
    slowest_s = 0.0
    while starting.is_alive():
        began = time.monotonic()
        assert daemon.call("stop", "A2").state == "done"
        slowest_s = max(slowest_s, time.monotonic() - began)
    starting.join()
    assert replies[0].state in ("done", "refused")
    assert slowest_s < 3.0
    unharmed(bench, daemon)


@pytest.mark.parametrize("place", ["id", "station", "client", "verb"])
def test_text_that_no_file_can_hold_does_not_end_the_journal(place, charging):
    bench, daemon = charging
    document = {"verb": "pause", "id": "x", "client": "x", "station": "A2", "issued_utc_s": 1.0}
    document[place] = "\ud800"
    assert send(daemon, json.dumps(document).encode() + b"\n")["state"] == "refused"
    unharmed(bench, daemon)


@pytest.mark.fault("F75")
@pytest.mark.parametrize(
    "line", [b"[" * 100_000 + b"\n", b"\x00\xff\n", b"{}\n", b'{"verb": 1e999}\n']
)
def test_what_is_no_command_is_refused(line, charging):
    bench, daemon = charging
    assert send(daemon, line)["state"] == "refused"
    unharmed(bench, daemon)


def test_a_flood_of_commands_does_not_hold_up_a_stop(charging):
    bench, daemon = charging
    flood = b"".join(
        json.dumps(
            {"verb": "resume", "id": f"f{n}", "client": "f", "station": "A2", "issued_utc_s": 1.0}
        ).encode() + b"\n"
        for n in range(2000)
    )  # fmt: skip
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(daemon.data / SOCKET_NAME))
        sender = threading.Thread(target=peer.sendall, args=(flood,))
        sender.start()
        began = time.monotonic()
        assert daemon.call("stop", "A2").state == "done"
        took_s = time.monotonic() - began
        replies = peer.makefile("rb")
        assert all(replies.readline() for _ in range(2000))
        sender.join()
    assert took_s < 5.0
    unharmed(bench, daemon)


def test_the_last_word_is_a_stop_that_is_off(charging):
    bench, daemon = charging
    assert daemon.call("stop", "A1").state == "done"
    assert not on(bench, "cell-1")
    assert daemon.events(EventKind.RUN_ENDED)[-1].data["outcome"] == "stopped"
