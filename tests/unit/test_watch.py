"""`daq export --watch`: each run is written once, over restarts, crashes and full disks."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from daq.errors import InputError
from daq.journal import JournalReader
from daq.recorder.closed import write_closed
from daq.recorder.lake import verify
from daq.recorder.watch import MEMORY, RETRY_S, Done, Watch
from tests import runs


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Writer:
    """Writes a run as a note; fails as it is told to."""

    def __init__(self, out: Path) -> None:
        self.out, self.written, self.failure = out, [], None

    def __call__(self, file: Path) -> list[Path]:
        if self.failure:
            raise self.failure
        self.written.append(file.stem)
        path = self.out / f"{file.stem}.txt"
        path.touch()
        return [path]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    return Writer(tmp_path)


def test_each_run_is_written_once_in_each_way_also_after_a_restart(
    data: Path, tmp_path: Path, writer: Writer
) -> None:
    other = Writer(tmp_path)
    watch = Watch(data, tmp_path, {"csv": writer, "bdf": other})
    assert list(watch.look()) == []
    (data / "A1-1.h5").touch()
    (data / "A1-2.h5.part").touch()  # goes on
    assert [(done.run, done.to) for done in watch.look()] == [("A1-1", "csv"), ("A1-1", "bdf")]
    assert list(watch.look()) == []
    (data / "A1-2.h5").touch()
    again = Watch(data, tmp_path, {"csv": writer, "bdf": other})
    assert [done.run for done in again.look()] == ["A1-2", "A1-2"]
    assert writer.written == other.written == ["A1-1", "A1-2"]


def test_a_way_that_is_added_later_catches_up(data: Path, tmp_path: Path, writer: Writer) -> None:
    (data / "A1-1.h5").touch()
    list(Watch(data, tmp_path, {"csv": writer}).look())
    other = Writer(tmp_path)
    list(Watch(data, tmp_path, {"csv": writer, "bdf": other}).look())
    assert (writer.written, other.written) == (["A1-1"], ["A1-1"])


def test_a_disk_that_is_full_is_tried_again_later_and_nothing_is_forgotten(
    data: Path, tmp_path: Path, writer: Writer
) -> None:
    clock = Clock()
    watch = Watch(data, tmp_path, {"csv": writer}, clock)
    (data / "A1-1.h5").touch()
    writer.failure = OSError(errno.ENOSPC, "No space left on device")
    (done,) = watch.look()
    assert "No space left" in done.error
    assert not done.final
    writer.failure = None
    clock.now = RETRY_S - 1
    assert list(watch.look()) == []
    clock.now = RETRY_S
    assert [done.error for done in watch.look()] == [""]


def test_what_cannot_be_written_is_said_once_and_tried_again_at_the_next_start(
    data: Path, tmp_path: Path, writer: Writer
) -> None:
    (data / "A1-1.h5").touch()
    writer.failure = InputError("parquet needs pyarrow")
    watch = Watch(data, tmp_path, {"parquet": writer})
    assert [done.error for done in watch.look()] == ["parquet needs pyarrow"]
    assert list(watch.look()) == []
    writer.failure = None
    assert [done.error for done in Watch(data, tmp_path, {"parquet": writer}).look()] == [""]


def test_a_line_that_a_crash_has_torn_costs_one_more_export_and_no_other(
    data: Path, tmp_path: Path, writer: Writer
) -> None:
    for run in ("A1-1", "A1-2", "A1-3"):
        (data / f"{run}.h5").touch()
    list(Watch(data, tmp_path, {"csv": writer}).look())
    memory = tmp_path / MEMORY
    memory.write_bytes(memory.read_bytes()[:-9])
    list(Watch(data, tmp_path, {"csv": writer}).look())
    assert writer.written == ["A1-1", "A1-2", "A1-3", "A1-3"]
    list(Watch(data, tmp_path, {"csv": writer}).look())
    assert writer.written[4:] == []


# The command.

LAB = """
lab: bench-3
mqtt: {broker: none}
instruments: {aps1: {driver: keysight_aps, resource: "TCPIP::127.0.0.1::9::SOCKET"}}
stations:
  A1:
    cycler: aps1
    limits: {voltage: [2 V, 4.3 V], current: [-5 A, 5 A], temperature: [0 degC, 60 degC]}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A lab whose journal has three runs that no file was made of yet."""
    (tmp_path / "lab.yaml").write_text(LAB)
    (tmp_path / "data" / "runs").mkdir(parents=True)
    infos = [
        replace(runs.run_info(f"A1-{n}"), started_utc_s=runs.START_UTC_S + n) for n in (1, 2, 3)
    ]
    entries = [(info, runs.formation(info)) for info in infos]
    runs.write(tmp_path / "data" / "journal.sqlite", *entries)
    return tmp_path


def finish(bench: Path, run: str) -> None:
    with JournalReader(bench / "data" / "journal.sqlite") as reader:
        for _ in write_closed(reader, run, bench / "data" / "runs"):
            pass


class Command:
    """`daq export --watch` in a process of its own."""

    def __init__(self, bench: Path) -> None:
        words = ["export", "--watch", "--to", "csv", "--to", "bdf.parquet", "--out", "out"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "daq.cli", *words, "--lake", "lake", "--json"],
            cwd=bench, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def lines(self, count: int) -> list[Done]:
        assert self.process.stdout is not None
        return [Done(**json.loads(self.process.stdout.readline())) for _ in range(count)]

    def end(self, how: signal.Signals) -> tuple[int, str]:
        self.process.send_signal(how)
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said


@pytest.fixture
def command(bench: Path) -> Iterator[type[Command]]:
    started: list[Command] = []

    def start() -> Command:
        started.append(Command(bench))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


def states(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != MEMORY}


def test_the_command_writes_runs_as_they_finish_and_ends_clean_on_ctrl_c(bench, command) -> None:
    finish(bench, "A1-1")
    first = command()
    assert {done.run for done in first.lines(3)} == {"A1-1"}
    finish(bench, "A1-2")
    assert {done.run for done in first.lines(3)} == {"A1-2"}
    assert first.end(signal.SIGINT) == (130, "")
    before = states(bench / "out")
    assert len(before) == 8  # two runs, two formats, each with its spectra
    finish(bench, "A1-3")
    second = command()
    assert [(done.run, done.to) for done in second.lines(3)] == [
        ("A1-3", "csv"), ("A1-3", "bdf.parquet"), ("A1-3", "lake lake"),
    ]  # fmt: skip
    assert second.end(signal.SIGTERM) == (0, "")
    after = states(bench / "out")
    assert len(after) == 12
    assert before.items() <= after.items()
    assert set(verify(bench / "lake").values()) == {"good"}
    assert not list(bench.rglob("*.tmp"))


def test_a_killed_watch_goes_on_where_it_was(bench, command) -> None:
    for run in ("A1-1", "A1-2", "A1-3"):
        finish(bench, run)
    first = command()
    first.lines(4)
    first.end(signal.SIGKILL)
    second = command()
    deadline = time.monotonic() + 60
    while len(remembered(bench)) < 9 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert second.end(signal.SIGINT)[0] == 130
    expected = [(f"A1-{n}", to) for n in (1, 2, 3) for to in ("csv", "bdf.parquet", "lake lake")]
    assert sorted(remembered(bench)) == sorted(expected)
    assert len(states(bench / "out")) == 12
    assert set(verify(bench / "lake").values()) == {"good"}


def remembered(bench: Path) -> list[tuple[str, str]]:
    lines = (bench / "out" / MEMORY).read_text().splitlines()
    return [(one["run"], one["to"]) for one in map(json.loads, lines)]
