"""Trials on a broken disk, each in a fork of one process that runs on the shim.

    python -m tests.disk.trial kill FOLDER FIRST STEP     at every STEP-th operation, from FIRST
    python -m tests.disk.trial kill-random FOLDER SEED COUNT
    python -m tests.disk.trial fail FOLDER ERRNO KINDS FOR_EVER FIRST STEP

Prints one JSON line: how many trials, at how many operations. Ends with a traceback when something
is not as it must be.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from daq.journal import Journal
from tests.disk import workload
from tests.disk.disk import Deed, Disk, Kind

OBSERVATIONS = 60
KILLS_A_JOURNAL = 20
"""All of it is looked at after each kill, so it must not grow for ever."""


def _fork(deed: Callable[[], None]) -> int:
    """Run it in a process of its own; how that ended."""
    child = os.fork()
    if not child:
        try:
            deed()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _fresh(folder: Path) -> tuple[Path, Path]:
    for leftover in folder.glob("journal.sqlite*"):
        leftover.unlink()
    return folder / "journal.sqlite", folder / "journal.sqlite-acks"


def _operations(disk: Disk, folder: Path) -> int:
    """How many there are when nothing happens."""
    path, acks = _fresh(folder)
    disk.will(Deed.NOTHING)
    assert _fork(lambda: workload.work(path, OBSERVATIONS, acks)) == 0
    total = disk.operations
    workload.check(path, OBSERVATIONS)
    return total


def kill_at_every(disk: Disk, folder: Path, first: int, step: int) -> dict[str, int]:
    """SIGKILL just before and just after an operation."""
    total, trials, killed = _operations(disk, folder), 0, 0
    for number in range(first, total + 1, step):
        for deed in (Deed.KILL_BEFORE, Deed.KILL_AFTER):
            path, acks = _fresh(folder)
            disk.will(deed, at=number)
            ended = _fork(lambda: workload.work(path, OBSERVATIONS, acks))  # noqa: B023
            assert ended in (-9, 0), ended
            killed += ended == -9
            disk.will(Deed.NOTHING)
            last = workload.check(path, workload.acknowledged(acks))
            workload.check_readable(path, last)
            trials += 1
    return {"trials": trials, "killed": killed, "operations": total}


def kill_at_random(disk: Disk, folder: Path, seed: int, count: int) -> dict[str, int]:
    """SIGKILL from outside, at any moment, into the same journal again and again."""
    rng = random.Random(seed)
    disk.will(Deed.NOTHING)
    path, acks, last, seen = Path(), Path(), 0, 0
    for number in range(count):
        if number % KILLS_A_JOURNAL == 0:
            path, acks = _fresh(folder)
            last = 0
        child = os.fork()
        if not child:
            _go_on(path, acks, last)
        time.sleep(rng.uniform(0.0, 0.15))
        os.kill(child, 9)
        os.waitpid(child, 0)
        before, last = last, workload.check(path, workload.acknowledged(acks))
        seen += last - before
    return {"trials": count, "observations": seen}


def _go_on(path: Path, acks: Path, last: int) -> None:
    journal = workload.open_journal(path)
    handle = os.open(acks, os.O_RDWR | os.O_CREAT)
    while True:
        last += 1
        workload.observe(journal, last)
        if last % 3 == 0 and journal.sync().wait(10.0):
            workload.acknowledge(handle, last)


def fail_at_every(
    disk: Disk, folder: Path, error: int, kinds: Kind, for_ever: bool, first: int, step: int
) -> dict[str, int]:
    """An operation fails, once or until the disk is mended; nothing is lost and all is said."""
    total, trials, hits = _operations(disk, folder), 0, 0
    for number in range(first, total + 1, step):
        path, _ = _fresh(folder)
        deed = _Failing(disk, path, error, kinds, for_ever, number)
        assert _fork(deed.run) == 0
        hits += disk.hits
        disk.will(Deed.NOTHING)
        workload.check_readable(path, OBSERVATIONS)
        trials += 1
    return {"trials": trials, "operations": total, "hits": hits}


class _Failing:
    def __init__(
        self, disk: Disk, path: Path, error: int, kinds: Kind, for_ever: bool, at: int
    ) -> None:
        self._disk, self._path = disk, path
        self._how = {"at": at, "for_ever": for_ever, "kinds": kinds, "error": error}
        self._told: list[str] = []

    def run(self) -> None:
        """Write while the disk fails; what is told to be there is there at that moment."""
        journal = workload.open_journal(self._path)
        journal._on_failure = self._told.append
        journal._group_s = 0.001
        self._disk.will(Deed.FAIL, **self._how)
        for n in range(1, OBSERVATIONS + 1):
            workload.observe(journal, n)
            if n % 3 == 0 and not self._synced(journal):
                assert self._told, "a commit failed and nobody was told"
                assert journal.failed
                self._disk.mended()
        self._disk.mended()
        assert journal.sync().wait(workload.PATIENCE_S)
        assert journal.failed == ""
        assert len(self._told) <= self._disk.hits
        journal.close(workload.PATIENCE_S)

    def _synced(self, journal: Journal) -> bool:
        ticket = journal.sync()
        while not ticket.wait(0.02):
            if journal.failed:
                return False
        return True


def main(words: list[str]) -> None:
    """One kind of trial."""
    disk, what, folder = Disk.inherited(), words[0], Path(words[1])
    numbers = [int(word) for word in words[2:]]
    if what == "kill":
        told = kill_at_every(disk, folder, *numbers)
    elif what == "kill-random":
        told = kill_at_random(disk, folder, *numbers)
    else:
        error, kinds, for_ever, first, step = numbers
        told = fail_at_every(disk, folder, error, Kind(kinds), bool(for_ever), first, step)
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
