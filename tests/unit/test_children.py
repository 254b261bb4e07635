"""The other processes: started, watched, started again, and ended with control."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from daq.control.children import FIRST_PAUSE_S, GOOD_AFTER_S, LONGEST_PAUSE_S, Child
from daq.control.supervisor import EXIT_S
from daq.gateway.session import FAREWELL_S
from daq.recorder.__main__ import STOP_BUDGET_S

PATIENCE_S = 20.0
UNTIL_EOF = ["-c", "import sys; sys.stdin.read()"]
STUBBORN = ["-c", "import time, signal; signal.signal(15, signal.SIG_IGN); time.sleep(600)"]


@pytest.fixture
def now(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("daq.control.children.monotonic", lambda: clock[0])
    return clock


@pytest.fixture
def child():
    made = Child("recorder", UNTIL_EOF)
    yield made
    made.end(PATIENCE_S)


def kill(child):
    assert child.process is not None
    os.kill(child.process.pid, signal.SIGKILL)
    child.process.wait()


def test_a_child_is_started_once(child):
    assert child.tend() is False
    process = child.process
    child.tend()
    assert child.process is process
    assert child.alive
    assert child.restarts == 0


def test_a_child_that_has_died_is_told_once_and_started_again_after_a_pause(child, now):
    child.tend()
    kill(child)
    assert child.tend() is True
    assert child.tend() is False
    assert not child.alive
    now[0] += FIRST_PAUSE_S
    child.tend()
    assert child.alive
    assert child.restarts == 1


def pauses(child, now, deaths):
    """How long each restart is put off when it dies at once, every time."""
    found = []
    child.tend()
    for _ in range(deaths):
        kill(child)
        child.tend()
        found.append(round(child._retry_at - now[0], 3))
        now[0] = child._retry_at
        child.tend()
        assert child.alive
    return found


def test_one_that_dies_again_and_again_is_started_more_and_more_rarely(child, now):
    found = pauses(child, now, 8)
    assert found == [min(FIRST_PAUSE_S * 2**n, LONGEST_PAUSE_S) for n in range(8)]


def test_one_that_has_lived_long_is_started_soon_again(child, now):
    pauses(child, now, 5)
    now[0] += GOOD_AFTER_S + 1.0
    kill(child)
    child.tend()
    assert child._retry_at - now[0] == pytest.approx(FIRST_PAUSE_S)


def test_at_the_end_its_pipe_closes_and_it_goes_by_itself(child):
    child.tend()
    process = child.process
    assert process is not None
    child.end(PATIENCE_S)
    assert process.returncode == 0


def test_one_that_does_not_go_is_killed():
    child = Child("gateway", STUBBORN)
    child.tend()
    child.end(0.1)
    assert child.process is not None
    assert child.process.returncode == -signal.SIGKILL


def test_ending_what_was_never_started_does_nothing():
    Child("gateway", UNTIL_EOF).end(0.1)
    Child("gateway", UNTIL_EOF).close_pipe()


def test_a_child_goes_when_control_is_killed():
    code = (
        "from daq.control.children import Child; import time\n"
        f"c = Child('x', {UNTIL_EOF!r}); c.tend(); print(c.process.pid, flush=True)\n"
        "time.sleep(600)"
    )
    control = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert control.stdout
    pid = int(control.stdout.readline())
    control.kill()
    control.wait()
    control.stdout.close()
    deadline = time.monotonic() + PATIENCE_S
    while os.path.exists(f"/proc/{pid}") and not _zombie(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_the_terminals_ctrl_c_does_not_reach_it(child):
    child.tend()
    assert child.process is not None
    assert os.getsid(child.process.pid) != os.getsid(0)


def test_a_child_that_yields_leaves_the_processor_to_control():
    child = Child("recorder", UNTIL_EOF, yields=True)
    child.tend()
    assert child.process is not None
    ours, its = (os.getpriority(os.PRIO_PROCESS, pid) for pid in (0, child.process.pid))
    child.end(20.0)
    assert its == min(ours + 10, 19)


def test_a_child_is_waited_for_longer_than_it_allows_itself_to_finish() -> None:
    assert EXIT_S >= STOP_BUDGET_S + 1.0, "the recorder closes its live files when its time is over"
    assert EXIT_S >= 2 * FAREWELL_S + 1.0, "the gateway has two things to say"
