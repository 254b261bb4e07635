"""Niceness counts between sessions only where the session is told: see daq/control/priority.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from daq.control import priority

ENABLED = Path("/proc/sys/kernel/sched_autogroup_enabled")
pytestmark = pytest.mark.skipif(
    not ENABLED.exists() or ENABLED.read_text().strip() != "1",
    reason="this kernel does not group processes by session",
)
CLAIM = "import os; from daq.control import priority; os.nice(3); priority.claim()"
TELL = "print(open('/proc/self/autogroup').read())"
# A session of its own, in which another program is started: what the terminal is at home.
TERMINAL = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CLAIM!r}]); {TELL}"

BROKER = """
import asyncio, os, sys
from pathlib import Path
import psutil
from daq.gateway.broker import OwnBroker

async def main():
    os.nice(3)
    broker = OwnBroker(Path(sys.argv[1]), 0, "")
    running = asyncio.ensure_future(broker.run())
    await broker.address()
    child, = psutil.Process().children()
    print(Path(f"/proc/{child.pid}/autogroup").read_text())
    running.cancel()
    await asyncio.wait([running])

asyncio.run(main())
"""


def niceness(text: str) -> int:
    return int(text.split()[-1])


@pytest.fixture
def child():
    words = [sys.executable, "-c", "input()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True) as process:
        yield process
        process.kill()


def said_by(program: str, *arguments: str) -> int:
    """The niceness of a session, which is what this program prints last."""
    words = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=True, start_new_session=True)
    return niceness(done.stdout)


def test_a_child_that_steps_back_does_so_among_sessions_too(child):
    priority.give(child.pid, 5)
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == min(ours + 5, 19)
    assert niceness(Path(f"/proc/{child.pid}/autogroup").read_text()) == min(ours + 5, 19)


def test_what_the_daemon_was_started_with_holds_for_its_session():
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert said_by(f"{CLAIM}; {TELL}") == min(ours + 3, 19)


def test_a_daemon_in_somebodys_terminal_leaves_the_other_programs_there_alone():
    assert said_by(TERMINAL) == said_by(TELL) == 0


def test_the_broker_stands_where_the_gateway_does(tmp_path):
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert said_by(BROKER, str(tmp_path)) == min(ours + 3, 19)


def test_a_child_that_has_ended_already_is_no_error(child):
    child.kill()
    child.wait()
    priority.give(child.pid, 5)
