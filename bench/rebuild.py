"""How long a lost HDF5 file takes to be made again from the journal: goal 60 s for 1 GB (G7).

    python -m bench.rebuild [MEGABYTES]

A journal of one long run, as control would have written it, is read by the recorder's own code into
a closed file: written, read back, compared, hashed, renamed. Time is the process's own CPU time and
the clock's; the journal has just been written, so it is read from memory and not from the disk.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.window import Figures
from daq.journal import Journal, JournalReader
from daq.journal.tables import INSERT_RECORD
from daq.model import RunInfo
from daq.recorder.closed import write_closed

GOAL_S = 60.0  # for GOAL_MB
GOAL_MB = 1000.0
MEGABYTES = 100.0
_RUN = "20260921-141320-A1"
_SLICE = 100_000  # records
_STEP = 3_000  # records
_STEPS_A_CYCLE = 5


def run(megabytes: float = MEGABYTES) -> Figures:
    """Seconds for a journal of about that size, and what 1 GB would take at that rate."""
    with tempfile.TemporaryDirectory(prefix="rebuild-") as name:
        path = Path(name) / "journal.sqlite"
        records = _write(path, megabytes * 1e6)
        size_MB = path.stat().st_size / 1e6
        with JournalReader(path) as reader:
            began, cpu = time.monotonic(), time.process_time()
            for _ in write_closed(reader, _RUN, Path(name)):
                pass
            took_s, cpu_s = time.monotonic() - began, time.process_time() - cpu
        closed_MB = (Path(name) / f"{_RUN}.h5").stat().st_size / 1e6
    return {
        "journal_MB": size_MB,
        "records": records,
        "closed_file_MB": closed_MB,
        "took_s": took_s,
        "cpu_s": cpu_s,
        "us_per_record": 1e6 * took_s / records,
        "s_per_GB": took_s * GOAL_MB / size_MB,
        "cpu_s_per_GB": cpu_s * GOAL_MB / size_MB,
    }


def _write(path: Path, size: float) -> int:
    """A journal of at least this many bytes; the number of its records."""
    journal = Journal(path)
    journal.save_run(RunInfo(_RUN, "A1", "c1", "bench", 1.79e9, {}))
    journal.close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA synchronous = OFF")
    records = 0
    while path.stat().st_size < size:
        with database:
            database.executemany(INSERT_RECORD, _rows(records, _SLICE))
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        records += _SLICE
    database.close()
    return records


def _rows(first: int, count: int) -> Iterator[tuple[Any, ...]]:
    """Records of a cell that is cycled: noisy, as real ones are, so that they pack as real ones."""
    rng = np.random.default_rng(first)
    n = np.arange(first, first + count)
    step = n // _STEP
    time_s, step_s = n * 0.1, (n % _STEP) * 0.1
    volts = 3.6 + 0.5 * np.sin(n / _STEP) + rng.normal(0.0, 1e-4, count)
    amps = 1.25 + rng.normal(0.0, 1e-4, count)
    degC = 25.0 + rng.normal(0.0, 0.01, count)
    charge = n * 1.25 / 36_000 + rng.random(count) * 1e-7
    columns = (
        time_s, step_s, 1.79e9 + time_s, volts, amps, degC, np.round(degC, 1),
        step // _STEPS_A_CYCLE + 1, step % _STEPS_A_CYCLE + 1, step + 1, n % _STEP + 1,
        charge, charge * 0.99, charge * 3.7, charge * 3.6,
    )  # fmt: skip
    for seq, *row in zip((n + 1).tolist(), *(column.tolist() for column in columns), strict=True):
        yield (seq, "A1", _RUN, *row)


def main() -> None:
    """Print the figures."""
    figures = run(float(sys.argv[1]) if len(sys.argv) > 1 else MEGABYTES)
    for name, value in figures.items():
        print(f"{name:>16}  {value:,.1f}")
    verdict = "reached" if figures["s_per_GB"] <= GOAL_S else "missed"
    print(f"goal: {GOAL_S:g} s for {GOAL_MB / 1000:g} GB: {verdict}")


if __name__ == "__main__":
    main()
