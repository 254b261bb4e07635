"""(i) From the start of the daemon's process until 64 channels are supervised.

    python -m bench.startup

Supervised: connected, identified, found or made OFF, and read. Python's own start counts, too.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench import files
from bench.daemon import serving
from bench.processes import end_in_order
from bench.window import Figures
from simulators.client import running_bench

CHANNELS = 64
LOOK_S = 0.05


def run(channels: int = CHANNELS) -> Figures:
    """Seconds until the command socket answers, and until every channel has been read."""
    with (
        tempfile.TemporaryDirectory(prefix="daq-startup-") as name,
        running_bench(files.bench(channels)) as bench,
    ):
        folder, cyclers = Path(name), files.names(channels)
        files.write(folder, {cycler: bench.endpoint(cycler) for cycler in cyclers}, "none")
        began = time.monotonic()
        with serving(folder, bench, cyclers) as daemon:
            answers_s = time.monotonic() - began
            while not _supervised(daemon.call("status")["stations"], channels):
                time.sleep(LOOK_S)
            supervised_s = time.monotonic() - began
    return {"channels": channels, "answers_s": answers_s, "supervised_s": supervised_s}


def _supervised(stations: Figures, channels: int) -> bool:
    read = [one for one in stations.values() if one["mode"] == "idle" and one["voltage_V"]]
    return len(read) == channels


def main() -> None:
    """Print the figures."""
    end_in_order()
    for name, value in run().items():
        print(f"{name:>14}  {value:.2f}")


if __name__ == "__main__":
    main()
