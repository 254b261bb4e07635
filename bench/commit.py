"""(f) What a commit of the journal costs: one second of 64 channels, as control writes it.

    python -m bench.commit

Each commit holds 64 records, each with the snapshot of its run, and is waited for until it is on
the disk (WAL, synchronous=FULL), as for a step edge, a trip or a command.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.window import Figures, spread
from daq.journal import Journal, Kept
from daq.model import Record

CHANNELS = 64
COMMITS = 1000
SNAPSHOT = {"engine": dict.fromkeys("abcdefghijklmnopqrstuvwxyz", 0.123456789), "utc_s": 1.79e9}


def run(commits: int = COMMITS) -> Figures:
    """Milliseconds from the last append to the commit."""
    took_ms: list[float] = []
    with tempfile.TemporaryDirectory(prefix="daq-commit-") as name:
        path = Path(name) / "journal.sqlite"
        journal = Journal(path)
        began, cpu_s = time.monotonic(), time.process_time()
        for number in range(commits):
            _second(journal, number)
            before = time.monotonic()
            journal.sync().wait(60.0)
            took_ms.append(1000 * (time.monotonic() - before))
        seconds, cpu_s = time.monotonic() - began, time.process_time() - cpu_s
        journal.close()
        size = path.stat().st_size
    records = commits * CHANNELS
    return {
        "commits": commits,
        "commit_ms": spread(took_ms, 50, 99, 99.9),
        "us_per_record": 1e6 * cpu_s / records,
        "records_per_s": records / seconds,
        "bytes_per_record": size / records,
    }


def _second(journal: Journal, number: int) -> None:
    for channel in range(CHANNELS):
        run = f"20260101-000000-S{channel}"
        with journal.together():
            journal.append(_record(run, number, channel))
            journal.keep(Kept.CHECKPOINT, run, SNAPSHOT)


def _record(run: str, number: int, channel: int) -> Record:
    return Record(
        f"S{channel}", run, float(number), float(number), 1.79e9 + number, 3.7 + number * 1e-6,
        1.25, 25.0, 25.1, 1, 1, 1, number + 1, number * 1e-4, 0.0, number * 3.7e-4, 0.0,
    )  # fmt: skip


def main() -> None:
    """Print the figures."""
    for name, value in run().items():
        print(f"{name:>18}  {value}")


if __name__ == "__main__":
    main()
