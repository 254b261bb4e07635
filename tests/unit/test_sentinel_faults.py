"""The sentinel when things go wrong around it as well: nothing may keep it from trying again."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from math import inf, nan

import pytest

from daq import sentinel
from daq.bus.heartbeat import FIRST_BUS_SLOT, LOOP_SLOT, SENTINEL_SLOT
from daq.clock import monotonic
from tests.unit.test_sentinel import PATIENCE_S, TAKEOVER_S, Control, Peer, until


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


def full_pipe() -> tuple[int, int]:
    """A pipe that takes no more: like a terminal on which somebody has pressed Ctrl-S."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, 1031, 4096)  # F_SETPIPE_SZ
    os.set_blocking(writing, False)
    while True:
        try:
            os.write(writing, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(writing, True)
    return reading, writing


def test_a_terminal_that_is_held_does_not_hold_the_off(control, peer):
    control.knows(aps1=peer.recipe())
    reading, writing = full_pipe()
    control.heartbeat.beat(LOOP_SLOT)
    arguments = [control.heartbeat.path, control.recipes, str(control.process.pid), control.folder]
    control.sentinel = subprocess.Popen(
        [sys.executable, "-m", "daq.sentinel", *map(str, arguments)], stderr=writing
    )
    until(lambda: control.heartbeat.age_s(SENTINEL_SLOT) < 1.0)
    killed = monotonic()
    control.process.kill()
    until(lambda: peer.off_at)
    assert peer.off_at[0] - killed < TAKEOVER_S
    assert control.sentinel.wait(PATIENCE_S) == 0
    assert control.report()[-1]["off"] == ["aps1"]
    os.close(reading)
    os.close(writing)


def test_a_folder_that_is_gone_does_not_hold_the_off(control, peer, tmp_path):
    report = sentinel.Report(tmp_path / "gone")
    results = sentinel.switch_all_off({"aps1": peer.recipe()}, report.say)
    report.close()
    assert results == {"aps1": ""}


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"command": [], "kind": "serial"},
        {"command": [], "kind": "serial", "address": "/dev/null", "port": 9600, "frame": "8N1",
         "exchanges": []},
        {"command": ["/nothing/there"]},
        {"command": [], "kind": "tcp", "address": "127.0.0.1", "port": 99999, "exchanges": []},
    ],
    ids=["empty", "half", "no terminal", "no program", "no port"],
)  # fmt: skip
def test_whatever_is_wrong_with_a_recipe_is_said_and_raises_nothing(recipe):
    assert sentinel.switch_off(recipe)


def test_an_expression_that_is_none_is_said_too(peer):
    recipe = peer.recipe() | {"exchanges": [[[b"OFF?\n".hex(), b"(".hex()]]]}
    assert "error" in sentinel.switch_off(recipe)


def test_a_broken_recipe_does_not_end_the_trying_nor_hold_up_the_others(peer, monkeypatch):
    monkeypatch.setattr(sentinel, "GIVE_UP_S", 0.5)
    said = []
    results = sentinel.switch_all_off(
        {"bad": {"command": []}, "aps1": peer.recipe()},
        lambda event, **data: said.append(data["instrument"]),
    )
    assert results["aps1"] == ""
    assert "KeyError" in results["bad"]
    assert said.count("bad") > 1
    assert said.count("aps1") == 1


def test_a_channel_that_does_not_confirm_does_not_keep_the_next_one_on(peer):
    recipe = peer.recipe()
    unconfirmed = [[[b"OFF?\n".hex(), b"never".hex()], [b"WATCHDOG OFF\n".hex(), ""]]]
    recipe["exchanges"] = unconfirmed + recipe["exchanges"]
    assert "was answered" in sentinel.switch_off(recipe)
    assert peer.off_at
    assert b"WATCHDOG OFF\n" not in peer.heard


@pytest.mark.parametrize(
    "text",
    [
        "[]", "null", '{"buses": [], "instruments": {}}', '{"a": 1}', "",
        '{"buses": {"99999": "aps1"}, "instruments": {}}',
        '{"buses": {"-1": "aps1"}, "instruments": {}}',
        '{"buses": {}, "instruments": {"aps1": "OFF"}}', pytest.param("[" * 3000, id="deep"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_recipes_leaves_the_old_ones(text, control, peer):
    control.knows(aps1=peer.recipe())
    watch = sentinel.Watch(control.heartbeat.path, control.recipes, os.getpid())
    watch.reload()
    control.recipes.write_text(text)
    watch.reload()
    assert watch.instruments == {"aps1": peer.recipe()}


@pytest.mark.parametrize("stamp", [nan, inf, -inf, -2.0, 1e300])
def test_a_stamp_that_no_clock_of_ours_wrote_is_no_sign_of_life(stamp, control):
    control.knows()
    watch = sentinel.Watch(control.heartbeat.path, control.recipes, os.getpid())
    control.heartbeat.beat(LOOP_SLOT)
    assert watch.why_act() == ""
    with control.heartbeat.path.open("r+b") as file:
        file.seek(8 * LOOP_SLOT)
        file.write(struct.pack("<d", stamp))
    assert "its event loop" in watch.why_act()


def test_a_bus_that_has_ended_in_good_order_is_not_silent(control):
    control.knows()
    watch = sentinel.Watch(control.heartbeat.path, control.recipes, os.getpid())
    watch.reload()
    control.heartbeat.beat(LOOP_SLOT)
    control.heartbeat.retire(FIRST_BUS_SLOT)
    assert watch.why_act() == ""
    assert not watch.retired()


def test_a_control_that_had_gone_before_the_sentinel_came_is_seen(control, peer):
    control.knows(aps1=peer.recipe())
    control.process.kill()
    control.process.wait()
    watch = sentinel.Watch(control.heartbeat.path, control.recipes, control.process.pid)
    assert watch.why_act() == "control has ended without retiring"


def test_without_a_handle_on_the_process_its_number_does(control, monkeypatch):
    def refused(pid):
        raise OSError("not on this system")

    monkeypatch.setattr(os, "pidfd_open", refused)
    watch = sentinel.Watch(control.heartbeat.path, control.recipes, control.process.pid)
    control.heartbeat.beat(LOOP_SLOT)
    assert watch.why_act() == ""
    watch.wait()
    threading.Thread(target=control.process.wait).start()
    watch.kill_control()
    until(lambda: watch.why_act() == "control has ended without retiring")


def test_the_report_is_whole_and_in_order(tmp_path):
    report = sentinel.Report(tmp_path)
    for number in range(200):
        report.say("off", number=number)
    report.close()
    (path,) = tmp_path.glob("sentinel-*.jsonl")
    assert [json.loads(line)["number"] for line in path.read_text().splitlines()] == list(
        range(200)
    )
