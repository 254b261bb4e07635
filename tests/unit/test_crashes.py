"""How crashes are counted across starts: by the last beat of a session that did not retire."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from daq.bus.heartbeat import LOOP_SLOT, Heartbeat, last_beat_s
from daq.control import crashes
from daq.control.crashes import recent_crashes, stays_down

WITHIN_S = 60.0


class Bench:
    """Sessions in one data folder, one after the other, on a clock of the test's own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.now_s = 1000.0
        monkeypatch.setattr("daq.bus.heartbeat.monotonic", lambda: self.now_s)

    def session(self, lasts_s: float, *, retires: bool) -> None:
        heartbeat = Heartbeat(self.folder / "heartbeat")
        self.now_s += lasts_s
        heartbeat.beat(LOOP_SLOT)
        if retires:
            heartbeat.retire(LOOP_SLOT)

    def start(self) -> int:
        return len(recent_crashes(self.folder, WITHIN_S, self.now_s))


@pytest.fixture
def bench(tmp_path, monkeypatch):
    return Bench(tmp_path, monkeypatch)


def test_a_first_start_and_one_after_a_good_end_know_of_no_crash(bench):
    assert bench.start() == 0
    bench.session(5.0, retires=True)
    assert bench.start() == 0


def test_each_crash_counts_once_however_often_it_is_looked_at(bench):
    bench.session(5.0, retires=False)
    assert [bench.start(), bench.start(), bench.start()] == [1, 1, 1]
    bench.session(5.0, retires=False)
    assert bench.start() == 2


@pytest.mark.parametrize(("age_s", "count"), [(59.9, 1), (60.0, 0), (61.0, 0)])
def test_a_crash_is_forgotten_after_a_while(age_s, count, bench):
    bench.session(5.0, retires=False)
    bench.now_s += age_s
    assert bench.start() == count


def test_a_good_session_between_two_crashes_does_not_make_them_undone(bench):
    bench.session(5.0, retires=False)
    bench.start()
    bench.session(5.0, retires=True)
    bench.start()
    bench.session(5.0, retires=False)
    assert bench.start() == 2


def test_after_a_reboot_the_clock_begins_anew_and_nothing_counts(bench):
    bench.session(5.0, retires=False)
    bench.now_s = 20.0
    assert bench.start() == 0


def test_a_session_that_never_beat_energised_nothing_and_is_no_crash(bench):
    Heartbeat(bench.folder / "heartbeat")
    assert bench.start() == 0


@pytest.mark.parametrize("text", ["", "{", "[1, null]", '{"a": 1}', "7"])
def test_a_note_that_is_none_does_no_harm(text, bench):
    (bench.folder / "crashes.json").write_text(text)
    (bench.folder / "heartbeat").write_bytes(b"short")
    assert last_beat_s(bench.folder / "heartbeat") is None
    assert bench.start() == 0


def lab(folder, **changes):
    known = {
        "data": folder,
        "file": folder / "lab.yaml",
        "restarts_crashes": 2,
        "restarts_within_s": WITHIN_S,
    }
    return SimpleNamespace(**known | changes)


@pytest.mark.parametrize("done", [0, 1, "hangs"])
def test_after_too_many_it_stays_down_whatever_the_switching_off_comes_to(done, bench, monkeypatch):
    ran = []

    def run(command, **options):
        ran.append(command[-3:])
        if done == "hangs":
            raise subprocess.TimeoutExpired(command, 60.0)
        return subprocess.CompletedProcess(command, done, "aps1: OFF, verified\n", "")

    monkeypatch.setattr(crashes, "monotonic", lambda: bench.now_s)
    monkeypatch.setattr(subprocess, "run", run)
    bench.session(5.0, retires=False)
    assert not stays_down(lab(bench.folder))
    assert ran == []
    bench.session(5.0, retires=False)
    assert stays_down(lab(bench.folder))
    assert ran == [["-m", "daq.control.off", str(bench.folder / "lab.yaml")]]
    assert not stays_down(lab(bench.folder, restarts_crashes=3))
