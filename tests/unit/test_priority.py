"""Niceness counts between sessions only where the session is told: see daq/control/priority.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from daq.control import priority

OWN = Path("/proc/self/autogroup")
pytestmark = pytest.mark.skipif(not OWN.exists(), reason="this kernel has no groups of sessions")
CLAIM = (
    "import os; from daq.control import priority; os.nice({nice}); priority.claim();"
    "print(open('/proc/self/autogroup').read())"
)


def niceness(text: str) -> int:
    return int(text.split()[-1])


@pytest.fixture
def child():
    words = [sys.executable, "-c", "input()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True) as process:
        yield process
        process.kill()


def said_by(nice: int, *, own_session: bool) -> int:
    words = [sys.executable, "-c", CLAIM.format(nice=nice)]
    return niceness(
        subprocess.run(
            words, capture_output=True, text=True, check=True, start_new_session=own_session
        ).stdout
    )


def test_a_child_that_steps_back_does_so_among_sessions_too(child):
    priority.give(child.pid, 5)
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == min(ours + 5, 19)
    assert niceness(Path(f"/proc/{child.pid}/autogroup").read_text()) == min(ours + 5, 19)


def test_what_the_daemon_was_started_with_holds_for_its_session():
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert said_by(3, own_session=True) == min(ours + 3, 19)


def test_a_daemon_in_somebodys_terminal_leaves_the_other_programs_there_alone():
    before = niceness(OWN.read_text())
    assert said_by(3, own_session=False) == before
    assert niceness(OWN.read_text()) == before


def test_a_child_that_has_ended_already_is_no_error(child):
    child.kill()
    child.wait()
    priority.give(child.pid, 5)
