"""The sentinel as a process of its own, on real sockets and ptys, with a control that dies."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from daq import sentinel
from daq.bus.heartbeat import FIRST_BUS_SLOT, LOOP_SLOT, SENTINEL_SLOT, Heartbeat
from daq.clock import monotonic

PATIENCE_S = 20.0
TAKEOVER_S = 3.0


class Peer:
    """An instrument that understands OFF and `OFF?`; remembers when it was switched off."""

    def __init__(self, *, deaf_times: int = 0) -> None:
        self.off_at: list[float] = []
        self.heard: list[bytes] = []
        self._deaf = deaf_times
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def recipe(self) -> dict[str, object]:
        return {
            "kind": "tcp",
            "address": "127.0.0.1",
            "port": self.port,
            "frame": "",
            "exchanges": [[[b"OFF\n".hex(), ""], [b"OFF?\n".hex(), rb"1\s*".hex()]]],
            "command": [],
        }

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._server.accept()
                with peer:
                    self._talk(peer)

    def _talk(self, peer: socket.socket) -> None:
        if self._deaf:
            self._deaf -= 1
            return
        for line in peer.makefile("rb"):
            self.heard.append(line)
            if line == b"OFF\n":
                self.off_at.append(monotonic())
            if line == b"OFF?\n":
                peer.sendall(b"1\n")


class Control:
    """A control process of the test's own: it only exists, and beats when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.heartbeat = Heartbeat(folder / "heartbeat")
        self.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self.recipes = folder / "recipes.json"
        self.sentinel: subprocess.Popen[bytes] | None = None
        self._beating = threading.Event()

    def knows(self, **instruments: dict[str, object]) -> None:
        document = {"buses": {str(FIRST_BUS_SLOT): "aps1"}, "instruments": instruments}
        temporary = self.recipes.with_suffix(".tmp")
        temporary.write_text(json.dumps(document))
        os.replace(temporary, self.recipes)

    def watched(self) -> None:
        self.heartbeat.beat(LOOP_SLOT)
        arguments = [self.heartbeat.path, self.recipes, str(self.process.pid), self.folder]
        self.sentinel = subprocess.Popen(
            [sys.executable, "-m", "daq.sentinel", *map(str, arguments)], stderr=subprocess.DEVNULL
        )
        threading.Thread(target=self._beat, daemon=True).start()
        until(lambda: self.heartbeat.age_s(SENTINEL_SLOT) < 1.0)
        until(lambda: self.heartbeat.age_s(FIRST_BUS_SLOT) < 1.0)

    def _beat(self) -> None:
        while not self._beating.wait(0.05):
            self.heartbeat.beat(LOOP_SLOT)
            self.heartbeat.beat(FIRST_BUS_SLOT)

    def fall_silent(self, *, but: int) -> None:
        """One slot goes on, the other stops."""
        self._beating.set()
        threading.Thread(target=self._beat_one, args=(but,), daemon=True).start()

    def _beat_one(self, slot: int) -> None:
        while self.process.poll() is None:
            self.heartbeat.beat(slot)
            time.sleep(0.05)

    def report(self) -> list[dict[str, object]]:
        files = list(self.folder.glob("sentinel-*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]

    def end(self) -> None:
        self._beating.set()
        for process in (self.process, self.sentinel):
            if process and process.poll() is None:
                process.kill()
            if process:
                process.wait()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def control(tmp_path) -> Iterator[Control]:
    made = Control(tmp_path)
    yield made
    made.end()


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


def test_while_control_beats_the_sentinel_only_beats_back(control, peer):
    control.knows(aps1=peer.recipe())
    control.watched()
    time.sleep(2.0)
    assert control.sentinel.poll() is None
    assert peer.off_at == []


def test_a_control_that_was_killed_is_replaced_at_once(control, peer):
    control.knows(aps1=peer.recipe())
    control.watched()
    killed = monotonic()
    control.process.kill()
    until(lambda: peer.off_at)
    assert peer.off_at[0] - killed < TAKEOVER_S
    assert control.sentinel.wait(PATIENCE_S) == 0
    assert control.report()[-1]["off"] == ["aps1"]


@pytest.mark.parametrize("but", [LOOP_SLOT, FIRST_BUS_SLOT], ids=["a bus hangs", "the loop hangs"])
def test_one_silent_heart_is_enough_and_control_is_killed_first(but, control, peer):
    control.knows(aps1=peer.recipe())
    control.watched()
    silent = monotonic()
    control.fall_silent(but=but)
    until(lambda: peer.off_at)
    assert peer.off_at[0] - silent < TAKEOVER_S
    assert control.process.wait(PATIENCE_S) == -signal.SIGKILL


def test_a_stopped_control_is_killed_too(control, peer):
    control.knows(aps1=peer.recipe())
    control.watched()
    control._beating.set()
    control.process.send_signal(signal.SIGSTOP)
    assert control.process.wait(PATIENCE_S) == -signal.SIGKILL
    until(lambda: peer.off_at)


def test_a_control_that_retired_is_left_alone(control, peer):
    control.knows(aps1=peer.recipe())
    control.watched()
    control._beating.set()
    time.sleep(0.1)
    control.heartbeat.retire(LOOP_SLOT)
    assert control.sentinel.wait(PATIENCE_S) == 0
    assert peer.off_at == []
    assert control.process.poll() is None


def test_recipes_that_arrive_later_are_used_and_broken_ones_do_no_harm(control, peer):
    control.knows()
    control.watched()
    control.knows(aps1=peer.recipe())
    time.sleep(0.5)
    control.recipes.write_text("{ this is not JSON")
    time.sleep(0.5)
    control.process.kill()
    until(lambda: peer.off_at)


def test_an_instrument_that_does_not_confirm_is_asked_again_and_others_do_not_wait(control, peer):
    deaf = Peer(deaf_times=3)
    control.knows(aps1=peer.recipe(), aps2=deaf.recipe())
    control.watched()
    killed = monotonic()
    control.process.kill()
    until(lambda: peer.off_at and deaf.off_at)
    assert peer.off_at[0] - killed < TAKEOVER_S
    assert control.sentinel.wait(PATIENCE_S) == 0
    tries = [line for line in control.report() if line.get("instrument") == "aps2"]
    assert [line["verified"] for line in tries] == [False, False, False, True]
    deaf.close()


def test_where_bytes_cannot_reach_a_program_of_the_driver_s_own_is_run(tmp_path):
    mark = tmp_path / "switched"
    command = [sys.executable, "-c", f"open({str(mark)!r}, 'w')"]
    assert sentinel.switch_off({"command": command}) == ""
    assert mark.exists()
    failing = {"command": [sys.executable, "-c", "raise SystemExit(1)"]}
    assert "CalledProcessError" in sentinel.switch_off(failing)


def test_an_answer_that_does_not_match_is_no_verification():
    peer = Peer()
    recipe = peer.recipe() | {"exchanges": [[[b"OFF?\n".hex(), rb"0\s*".hex()]]]}
    assert "was answered b'1\\n'" in sentinel.switch_off(recipe)
    peer.close()
    nobody = recipe | {"port": unused_port()}
    assert "ConnectionRefused" in sentinel.switch_off(nobody)


def test_the_pause_that_an_instrument_wants_is_kept_before_each_message():
    peer = Peer()
    recipe = peer.recipe() | {"gap_s": 0.15}
    recipe["exchanges"] = [[[b"OFF\n".hex(), ""]] * 3 + [[b"OFF?\n".hex(), rb"1\s*".hex()]]]
    asked = monotonic()
    assert sentinel.switch_off(recipe) == ""
    peer.close()
    first, _, third = peer.off_at
    assert first - asked > 0.12
    assert third - first > 0.2  # a busy machine may hand over one of them late


def test_a_serial_port_is_opened_raw_and_its_answer_awaited():
    master, slave = pty.openpty()
    tty.setraw(slave)
    heard: list[bytes] = []

    def answer() -> None:
        data = b""
        while b"?" not in data:
            data += os.read(master, 100)
        heard.append(data)
        os.write(master, b"O")
        time.sleep(0.05)
        os.write(master, b"FF\r\n")

    threading.Thread(target=answer, daemon=True).start()
    recipe = {
        "kind": "serial",
        "address": os.ttyname(slave),
        "port": 115200,
        "frame": "8N1",
        "exchanges": [[[b"\x01OFF\r".hex(), ""], [b"?\n".hex(), rb"OFF\r\n".hex()]]],
        "command": [],
    }
    assert sentinel.switch_off(recipe) == ""
    assert heard == [b"\x01OFF\r?\n"]
    os.close(master)
    os.close(slave)


def test_it_imports_nothing_beyond_the_standard_library():
    code = (
        "import sys, daq.sentinel; "
        "print([n for n in sys.modules if n.split('.')[0] not in sys.stdlib_module_names "
        "and n.split('.')[0] not in ('daq', '__main__')])"
    )
    found = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    modules = set(eval(found.stdout)) if found.returncode == 0 else {found.stderr}
    assert not {name for name in modules if not name.startswith(("_", "sitecustomize"))}
