"""A week without the broker, and what stays in the memory of the embedded one (F67).

A trial is a thousandth of a week of 64 stations at 1 Hz: `--trials 1000` is the week, 39 million
entries in 6 GB of disk, most of an hour. `python -m bench.backfill` prints the same figures.
"""

import shutil
import time

import psutil
import pytest

from bench import backfill
from tests.system.gateway_bench import Bench, require, wait_until

BYTES_PER_ENTRY = 160
MOST_GROWTH_MB = 20.0
LIVE_AGAIN_S = 10.0
STATIONS = [f"A{number}" for number in range(1, 65)]


@pytest.mark.fault("F67")
@pytest.mark.parametrize("kind", ["mosquitto", "embedded"])
def test_after_a_week_without_the_broker_nothing_is_lost(kind, tmp_path, trials, figure):
    require(kind)
    rows = trials(1) * backfill.WEEK // 1000
    room = shutil.disk_usage(tmp_path).free
    assert room > 2 * rows * BYTES_PER_ENTRY, f"{rows} entries need more disk than {room} bytes"
    found = backfill.run(rows, kind, tmp_path)
    figure(f"missed while {kind} was away", rows, "entries")
    figure("back-fill", found.rows_per_s, "entries/s")
    figure("live again after the broker's return", found.live_again_s, "s")
    figure("age of live data during the back-fill, p99", found.live_age_p99_s, "s")
    figure("growth of the gateway", found.rss_growth_mb, "MB")
    figure(f"growth of {kind}", found.broker_rss_growth_mb, "MB")
    assert (found.missing, found.disordered, found.unlinked) == (0, 0, 0)
    assert found.live_again_s < LIVE_AGAIN_S
    assert found.rss_growth_mb < MOST_GROWTH_MB


@pytest.mark.parametrize("kind", ["embedded"])
def test_the_embedded_broker_keeps_nothing_of_what_it_has_passed_on(
    kind, tmp_path, seconds, figure
):
    bench = Bench(tmp_path, kind)
    try:
        bench.online()
        broker = psutil.Process(bench.broker.pid)
        whole_s = seconds(9.0)
        memory_mb = []
        for _ in range(3):
            deadline = time.monotonic() + whole_s / 3
            while time.monotonic() < deadline:
                for station in STATIONS:
                    bench.record(station=station, run=f"run-{station}")
                    bench.keep_state(station)
            memory_mb.append(broker.memory_info().rss / 2**20)
            bench.ear.heard.clear()
        bench.record(station="A1")
        wait_until(lambda: bench.ear.on("A1/samples"), "it still passes on")
    finally:
        bench.close()
    figure(
        f"growth of the embedded broker in {2 * whole_s / 3:.0f} s",
        memory_mb[2] - memory_mb[0],
        "MB",
    )
    assert memory_mb[2] - memory_mb[0] < MOST_GROWTH_MB
