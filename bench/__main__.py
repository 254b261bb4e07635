"""`python -m bench`: all benches, a table, and results/<date>.json. See README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench import (
    backfill,
    columnar,
    commit,
    death,
    engine,
    everything,
    loaded,
    path,
    rebuild,
    scaling,
    startup,
)
from bench.processes import end_in_order
from bench.table import lines
from bench.window import Figures

RESULTS = Path(__file__).parent / "results"
PARTS = "abcdefghijk"


def main() -> None:
    """Run what is asked for."""
    end_in_order()
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help="which parts")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each window of (a)")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything: a look only")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    options = parser.parse_args()
    scale = 0.1 if options.quick else 1.0
    parts: dict[str, Callable[[], Figures]] = {
        "a": lambda: everything.run(scale * options.seconds),
        "b": lambda: path.run(max(3, int(20 * scale)), 1.0),
        "c": lambda: scaling.run(scale * 30.0),
        "d": lambda: dict(engine.run()),
        "e": lambda: loaded.run(scale * options.seconds),
        "f": lambda: commit.run(max(100, int(scale * commit.COMMITS))),
        "g": lambda: _back_fill(scale),
        "h": lambda: rebuild.run(scale * rebuild.MEGABYTES),
        "i": startup.run,
        "j": lambda: death.run(max(2, int(scale * 20))),
        "k": lambda: columnar.run(int(scale * columnar.RECORDS)),
    }
    report: Figures = {"machine": _machine()}
    for part in options.only.split(","):
        print(f"({part}) ...", flush=True)
        load = os.getloadavg()[0]
        report[part] = parts[part]() | {"load_average_before": round(load, 2)}
    for line in lines(report):
        print(line)
    print(f"\nwritten to {_write(report, options.results)}")


def _back_fill(scale: float) -> Figures:
    with tempfile.TemporaryDirectory(prefix="daq-backfill-") as folder:
        return asdict(backfill.run(int(scale * backfill.WEEK / 100), "mosquitto", Path(folder)))


def _machine() -> Figures:
    return {
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "system": platform.system(),
    }


def _write(report: Figures, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / f"{datetime.now(UTC):%Y-%m-%d}.json"
    earlier = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}  # other parts
    file.write_text(json.dumps(earlier | report, indent=1) + "\n", encoding="utf-8")
    return file


if __name__ == "__main__":
    main()
