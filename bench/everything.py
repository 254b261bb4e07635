"""(a) 64 simulated cyclers at 10 Hz through everything: wire, guard, engine, journal, HDF5, MQTT.

While all of them run, trips are provoked all the time. At the end it is counted whether every
row of the journal has arrived at a subscriber and in the files.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import h5py

from bench.daemon import Daemon, running_daemon
from bench.listener import listening
from bench.trips import NO_OFF, Provoker, Trips
from bench.window import Figures, spread, watch
from daq.journal import JournalReader

CHANNELS = 64
TRIPS_A_SECOND = 10.0
SETTLE_S = 5.0
CATCH_UP_S = 3.0


def run(seconds: float, channels: int = CHANNELS) -> Figures:
    """Run for so long, in two windows: one in which nothing happens, one full of trips."""
    with running_daemon(channels) as daemon:
        url = daemon.broker()
        with listening(url) as listener:
            daemon.start_all()
            time.sleep(SETTLE_S)
            calm = watch(daemon, lambda: time.sleep(seconds))
            provoker = Provoker(daemon, TRIPS_A_SECOND)
            busy = watch(daemon, lambda: provoker.run(seconds))
            daemon.call("stop", "*")
            time.sleep(CATCH_UP_S)
        arrived = _arrived(daemon, listener.rows)
    return {
        "channels": channels,
        **calm.figures(),
        "with_trips": {**reactions(provoker.trips), **busy.figures()},
        "rows": arrived,
    }


def reactions(trips: Trips) -> Figures:
    """Of provoked trips: how many, how long from sample to OFF, and what went otherwise."""
    reactions_ms = [1000 * reaction_s for reaction_s in trips.reactions_s]
    return {
        "trips": len(reactions_ms),
        "sample_to_off_ms": spread(reactions_ms, 50, 99, 99.9),
        "unseen": trips.unseen,
        "unanswered": sum(NO_OFF in failure for failure in trips.failed),
        "failed": trips.failed,
    }


def _arrived(daemon: Daemon, by_mqtt: int) -> Figures:
    """Rows of all runs in the journal and the files; of idle stations too, by MQTT."""
    with JournalReader(daemon.data / "journal.sqlite") as reader:
        runs = [run.id for run in reader.runs()]
        in_journal = sum(len(rows) for run in runs for rows in reader.record_rows(run))
    folder = daemon.data / "runs"
    deadline = time.monotonic() + 60.0
    while len(list(folder.glob("*.h5"))) < len(runs) and time.monotonic() < deadline:
        time.sleep(0.2)
    in_files = sum(_rows(path) for path in folder.glob("*.h5"))
    return {"journal": in_journal, "hdf5": in_files, "mqtt": by_mqtt}


def _rows(path: Path) -> int:
    with h5py.File(path) as file:
        table: Any = file["raw_data"]
        return len(table)
