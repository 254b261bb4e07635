"""The lab's own paging program: called for what calls somebody, and never in the way."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import pytest

from daq.control.alarms import Alarm, Cause, State
from daq.control.alarms.paging import MOST_WAITING, Paging
from daq.model import Severity

WRITE = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + '\\n')"


def alarm(ident="1", **more):
    return Alarm(ident, Cause.TRIP_T1, Severity.PAGE, "hot", "c1", 0.0, 0.0, **more)


@pytest.fixture
def told(tmp_path):
    path = tmp_path / "told"
    return lambda: [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def command(tmp_path):
    return [sys.executable, "-c", WRITE, str(tmp_path / "told")]


async def test_the_program_reads_the_alarm_as_json(command, told):
    paging = Paging(command)
    paging.heard(State.BEGAN, alarm(stations=("A1",)))
    paging.heard(State.AGAIN, alarm("2"))
    await paging.finish(20.0)
    assert [(one["id"], one["state"]) for one in told()] == [("1", "began"), ("2", "again")]
    assert told()[0]["cause"] == "trip-T1"
    assert told()[0]["stations"] == ["A1"]


async def test_nobody_is_called_for_what_is_better_suppressed_or_over(command, told, tmp_path):
    paging = Paging(command)
    for state in (State.CHANGED, State.ACKNOWLEDGED, State.ENDED):
        paging.heard(state, alarm())
    paging.heard(State.BEGAN, alarm(suppressed=True))
    await paging.finish(20.0)
    assert not (tmp_path / "told").exists()


async def test_a_program_that_hangs_is_killed_and_the_next_one_is_called(tmp_path, told):
    hang = f"import sys, time; one = sys.stdin.read(); {WRITE.replace('sys.stdin.read()', 'one')}"
    hang += "; time.sleep(60)"
    paging = Paging([sys.executable, "-c", hang, str(tmp_path / "told")], longest_s=2.0)
    paging.heard(State.BEGAN, alarm("1"))
    paging.heard(State.BEGAN, alarm("2"))
    began = time.monotonic()
    await paging.finish(50.0)
    assert time.monotonic() - began < 45.0
    assert [one["id"] for one in told()] == ["1", "2"]


async def test_the_loop_goes_on_while_the_program_hangs():
    paging = Paging([sys.executable, "-c", "import time; time.sleep(60)"], longest_s=60.0)
    paging.heard(State.BEGAN, alarm())
    passes = 0
    for _ in range(50):
        paging.tend()
        await asyncio.sleep(0.001)
        passes += 1
    assert passes == 50
    await paging.finish(0.1)  # and the end of the daemon does not wait for it


async def test_a_program_that_is_not_there_or_fails_costs_nothing(tmp_path):
    for command in ([str(tmp_path / "nothing")], [sys.executable, "-c", "raise SystemExit(3)"]):
        paging = Paging(command)
        paging.heard(State.BEGAN, alarm())
        await paging.finish(20.0)


async def test_a_flood_of_alarms_is_bounded():
    paging = Paging(["/bin/true"])
    for number in range(10 * MOST_WAITING):
        paging.heard(State.BEGAN, alarm(str(number)))
    assert len(paging._waiting) == MOST_WAITING
    assert json.loads(paging._waiting[-1])["id"] == str(10 * MOST_WAITING - 1)
