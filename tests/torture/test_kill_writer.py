"""kill -9 of the journal's writer, and a disk that fails it: at every write and sync, at random."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.disk.disk import EIO, ENOSPC, EROFS, Disk, Kind, build

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def tried(library, tmp_path):
    """Run trials on a disk of their own; what they came to."""

    def run(*words):
        disk = Disk(library, tmp_path)
        environment = os.environ | disk.environment | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.disk.trial", words[0], str(tmp_path)]
        command += [str(int(word)) for word in words[1:]]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def every(trials, short):
    """All of the operations where much was asked for, else each so-many-th."""
    return 1 if trials(short) >= 1000 else short


@pytest.mark.fault("F41")
def test_killed_at_every_write_and_sync_the_journal_has_what_was_acknowledged(
    tried, trials, figure
):
    told = tried("kill", 1, every(trials, 9))
    assert told["operations"] > 100
    assert told["killed"] > 0.9 * told["trials"]  # their number differs by a few
    figure("kills at a write or sync of the journal", told["trials"], "kills")
    figure("writes and syncs of the journal in the trial", told["operations"], "operations")


@pytest.mark.fault("F41")
def test_killed_at_random_the_journal_has_what_was_acknowledged(tried, trials, figure):
    told = tried("kill-random", 41, trials(20))
    assert told["observations"] > 0
    figure("kills of the writer at random", told["trials"], "kills")


@pytest.mark.parametrize("for_ever", [False, True], ids=["once", "until it is mended"])
@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        pytest.param(ENOSPC, Kind.WRITE, marks=pytest.mark.fault("F54"), id="full"),
        pytest.param(EROFS, Kind.ANY, marks=pytest.mark.fault("F55"), id="read-only"),
        pytest.param(EIO, Kind.WRITE, marks=pytest.mark.fault("F56"), id="EIO at a write"),
        pytest.param(EIO, Kind.SYNC, marks=pytest.mark.fault("F56"), id="EIO at a sync"),
    ],
)
def test_an_operation_that_fails_is_told_and_nothing_is_lost_or_acknowledged_for_nothing(
    error, kinds, for_ever, tried, trials, figure
):
    told = tried("fail", error, kinds, for_ever, 1, every(trials, 41))
    # The last operations may be of another kind, or not come at all: how many there are is how the
    # commits fall together, and on a busy machine more of them do.
    assert told["hits"] >= 0.8 * told["trials"]
    figure("failing operations of the journal", told["trials"], "trials")
