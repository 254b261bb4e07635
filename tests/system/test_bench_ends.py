"""A bench that is told to end leaves no daemon and no instrument behind."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from tests.system.daemon import wait_until

ROOT = Path(__file__).parents[2]
END_S = 40.0


def started(bench: psutil.Process) -> dict[str, psutil.Process]:
    """The module that each descendant runs -> the process."""
    found: dict[str, psutil.Process] = {}
    for child in bench.children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            words = child.cmdline()
            found |= {words[words.index("-m") + 1]: child} if "-m" in words else {}
    return found


def test_a_bench_that_is_ended_takes_its_daemon_and_its_instruments_along():
    words = [sys.executable, "-m", "bench.soak", "--hours", "1", "--stations", "1"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        bench = psutil.Process(process.pid)
        try:
            wait_until(lambda: "daq.recorder" in started(bench), "its daemon runs")
            found = started(bench)
            process.terminate()
            assert process.wait(END_S) == 128 + 15
        finally:
            process.kill()
    assert {"daq.cli", "daq.recorder", "daq.gateway", "daq.sentinel"} <= set(found)
    _, left = psutil.wait_procs(found.values(), timeout=END_S)
    assert left == []
