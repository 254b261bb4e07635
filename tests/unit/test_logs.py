"""Logs: in order, readable by people and by programs, and never in the way."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time

from daq import logs

PATIENCE_S = 20.0


def run(code, *arguments):
    """A program of its own, because a process has one set-up of its logs."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


WRITE = """
import sys
from pathlib import Path
from daq import logs
logs.setup("control", Path(sys.argv[1]))
log = logs.get_logger(station="A1")
log.info("first", run="r1", value=1.5)
log.warning("second", path=Path("/x"))
log.debug("not kept")
try:
    1 / 0
except ZeroDivisionError as error:
    log.exception("third", exc_info=error)
import logging
logging.getLogger("somebody.else").warning("fourth %s", "x")
logging.getLogger("pyvisa").warning("too noisy")
"""


def test_lines_are_json_with_what_was_bound_and_none_is_lost_at_the_end(tmp_path):
    assert run(WRITE, tmp_path / "logs").returncode == 0
    text = (tmp_path / "logs" / "control.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["event"] for line in lines] == ["first", "second", "third", "fourth x"]
    assert lines[0] | {"time": ""} == {
        "event": "first", "level": "info", "process": "control", "station": "A1", "run": "r1",
        "value": 1.5, "time": "",
    }  # fmt: skip
    assert lines[1]["path"] == "/x"
    assert "ZeroDivisionError" in lines[2]["exception"]
    assert lines[3]["process"] == "control"


def test_people_get_readable_lines_on_the_terminal(tmp_path):
    said = run(WRITE, tmp_path).stderr
    assert "first" in said
    assert "station=A1" in said
    assert "{" not in said.splitlines()[0]


class SlowDisk(logging.Handler):
    """A handler that hangs until it is let go."""

    def __init__(self):
        super().__init__()
        self.go = threading.Event()
        self.written = []

    def emit(self, record):
        self.go.wait(PATIENCE_S)
        self.written.append(record.getMessage())


def test_a_disk_that_hangs_does_not_hold_up_the_thread_that_logs():
    disk = SlowDisk()
    log = logging.getLogger("a bus whose disk hangs")
    log.propagate = False
    log.addHandler(logs._queued([disk]))
    began = time.monotonic()
    for number in range(2000):
        log.warning("line %d", number)
    assert time.monotonic() - began < 2.0
    assert disk.written == []
    disk.go.set()
    deadline = time.monotonic() + PATIENCE_S
    while len(disk.written) < 2000:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert disk.written == [f"line {number}" for number in range(2000)]


def test_a_terminal_that_is_held_does_not_hold_up_the_thread_that_logs(tmp_path):
    code = """
import os, sys, time
from daq import logs
logs.setup("control")
log = logs.get_logger()
began = time.monotonic()
for number in range(3000):
    log.warning("a line of some length, again and again", number=number)
os.write(1, str(time.monotonic() - began).encode())
os._exit(0)
"""
    reading, writing = os.pipe()  # nobody reads: it is full after 64 KiB
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writing)
    assert program.stdout
    took_s = float(program.stdout.read())
    assert program.wait(PATIENCE_S) == 0
    assert took_s < 10.0
    for end in (reading, writing):
        os.close(end)
    program.stdout.close()
