"""What the true recorder process holds: as much after two hundred runs as after eighty."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests import runs
from tests.system.test_recorder import Bench, wait_for

STATIONS = 40
"""That end at the same moment: as many closed files are to be made at once."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def names(wave: int) -> list[str]:
    return [f"run-{wave}-{station}" for station in range(STATIONS)]


def put(bench: Bench, wave: int, *, ended: bool) -> None:
    """The runs of a wave, in step as those of a bench are; without their ends, or those alone."""
    for run in names(wave):
        info = runs.run_info(run)
        entries = list(runs.formation(info, cycles=1, per_step=40))
        runs.put(bench.journal, info, entries[-1:] if ended else runs.without_end(entries))


def closed(bench: Bench, wave: int) -> bool:
    return all(bench.path(run).exists() for run in names(wave)) and not [*bench.out.glob("*.part")]


def held_MB(process: psutil.Process) -> float:
    return process.memory_info().rss / 1e6


def live_and_closed(bench: Bench, wave: int) -> None:
    put(bench, wave, ended=False)
    live = [bench.path(run, ".part") for run in names(wave)]
    wait_for(lambda: all(path.exists() for path in live), f"live files of wave {wave}")
    put(bench, wave, ended=True)
    wait_for(lambda: closed(bench, wave), f"closed files of wave {wave}")


@pytest.mark.timeout(300)
def test_a_recorder_holds_no_more_after_two_hundred_runs_than_after_eighty(bench: Bench) -> None:
    process = psutil.Process(bench.start().pid)
    wait_for(bench.cursor.exists, "the recorder follows")
    idle_MB = held_MB(process)
    for wave in range(2):
        live_and_closed(bench, wave)
    before_MB, files = held_MB(process), process.num_fds()
    for wave in range(2, 5):
        live_and_closed(bench, wave)
    after_MB = held_MB(process)
    print(f"{idle_MB:.0f} MB idle, {before_MB:.0f} after 80 runs, {after_MB:.0f} after 200")
    assert process.num_fds() <= files
    assert after_MB - before_MB < 6.0, f"{after_MB - before_MB:.1f} MB in {3 * STATIONS} runs"
    assert after_MB - idle_MB < 30.0, f"{after_MB:.1f} MB are held, {idle_MB:.1f} MB at the start"


@pytest.mark.timeout(300)
def test_a_recorder_that_finds_many_runs_to_close_makes_their_files_one_by_one(
    bench: Bench,
) -> None:
    for wave in range(3):
        put(bench, wave, ended=False)
        put(bench, wave, ended=True)
    process = psutil.Process(bench.start().pid)
    wait_for(bench.cursor.exists, "the recorder follows")
    idle_MB, most = held_MB(process), 0
    while not all(closed(bench, wave) for wave in range(3)):
        most = max(most, len([*bench.out.glob("*.h5.tmp")]))
        time.sleep(0.002)
    print(f"{idle_MB:.0f} MB idle, {held_MB(process):.0f} after {3 * STATIONS} files")
    assert most == 1
    assert held_MB(process) - idle_MB < 30.0
