"""A run of ten million records: exported to BDF Parquet, and drawn; ours, and the plain pandas way.

    python -m bench.columnar [RECORDS]

Each job runs in a process of its own, one after the other; a process's time is
the clock's from its start to its end, imports among it, and its memory the most it ever held. The
plain way is what one would write in a notebook: the whole table into a frame, the derived columns,
`to_parquet`; and `plot` of all points.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.window import Figures

RECORDS = 10_000_000
GOAL_EXPORT_S, GOAL_PLOT_S, GOAL_MB = 20.0, 5.0, 1000.0  # for RECORDS
_RUN = "20260921-141320-A1"
_SLICE = 1 << 18  # records
_STEP = 3_000  # records
_STEPS_A_CYCLE = 5
_COUNTERS = ("charge_Ah", "discharge_Ah", "charge_Wh", "discharge_Wh")


def run(records: int = RECORDS) -> Figures:
    """What each job took, and how many times as long the plain way."""
    with tempfile.TemporaryDirectory(prefix="columnar-") as name:
        file = Path(name) / f"{_RUN}.h5"
        _make(file, records)
        jobs = {job: _apart(job, file) for job in _JOBS}
        size_MB = file.stat().st_size / 1e6
    return {
        "records": records,
        "closed_file_MB": size_MB,
        **jobs,
        "export_ratio": jobs["pandas_export"]["took_s"] / jobs["export"]["took_s"],
        "plot_ratio": jobs["pandas_plot"]["took_s"] / jobs["plot"]["took_s"],
    }


def _apart(job: str, file: Path) -> Figures:
    began = time.monotonic()
    words = [sys.executable, "-m", "bench.columnar", job, str(file)]
    done = subprocess.run(words, capture_output=True, text=True)
    took_s = time.monotonic() - began
    if done.returncode != 0:
        raise RuntimeError(f"{job}: {done.stderr}")
    return {"took_s": took_s, **json.loads(done.stdout)}


def _job(job: str, file: Path) -> None:
    out = file.with_name(job)
    out.mkdir(exist_ok=True)
    _JOBS[job](file, out)
    used = resource.getrusage(resource.RUSAGE_SELF)
    written = sum(path.stat().st_size for path in out.iterdir())
    print(
        json.dumps(
            {
                "cpu_s": used.ru_utime + used.ru_stime,
                "peak_MB": used.ru_maxrss / 1024,
                "written_MB": written / 1e6,
            }
        )
    )


# The jobs.


def _export(file: Path, out: Path) -> None:
    from daq.recorder.export import export

    export(file, "", "bdf.parquet", out)


def _plot(file: Path, out: Path) -> None:
    from daq.recorder.plot import plot

    plot(file, out / "run.png")


def _pandas_export(file: Path, out: Path) -> None:
    from daq.recorder import columns

    frame = _frame(file)
    for scope in ("", "step_", "cycle_"):
        for unit in ("Ah", "Wh"):
            into, off = frame[f"{scope}charge_{unit}"], frame[f"{scope}discharge_{unit}"]
            frame[f"{scope}net_{unit}"] = into - off
            frame[f"{scope}cumulative_{unit}"] = into + off
    frame["power"] = frame["voltage"] * frame["current"]
    frame["record"] = np.arange(1, len(frame) + 1)
    kinds = np.array(["", "REST", "CC_CHG", "CV_CHG", "REST", "CC_DCH"])
    frame["kind"] = kinds[frame["step_index"]]
    labels = {column.h5: column.bdf for column in columns.RAW if column.bdf}
    frame.drop(columns="seq").rename(columns=labels).to_parquet(out / "run.parquet")


def _pandas_plot(file: Path, out: Path) -> None:
    frame = _frame(file)
    axes = frame.plot(
        x="test_time", y=["voltage", "current", "temperature"], subplots=True, figsize=(10.5, 7.2)
    )
    axes[0].figure.savefig(out / "run.png", dpi=130)


def _frame(file: Path) -> Any:
    import h5py
    import matplotlib
    import pandas as pd

    matplotlib.use("Agg")
    with h5py.File(file) as opened:
        return pd.DataFrame(opened["raw_data"][:])


_JOBS: dict[str, Callable[[Path, Path], None]] = {
    "export": _export,
    "pandas_export": _pandas_export,
    "plot": _plot,
    "pandas_plot": _pandas_plot,
}


# The run.


def _make(path: Path, records: int) -> None:
    """A closed file as the recorder writes it, of a cell that is cycled at 10 Hz."""
    from daq.model import RunInfo
    from daq.recorder import columns, derive
    from daq.recorder.closed import CHUNK, PACKED
    from daq.recorder.layout import RunFile

    info = RunInfo(_RUN, "A1", "c1", "bench", 1.79e9, _document())
    fold = derive.CycleFold()
    with RunFile(path, "closed") as file:
        file.describe(info, [])
        table = file.table("raw_data", columns.RAW, chunks=(CHUNK,), **PACKED)
        for first in range(0, records, _SLICE):
            rows = _rows(first, min(_SLICE, records - first))
            table.append(rows)
            fold.add(rows)
        file.table("cycle_stats", columns.CYCLES, chunks=(64,), **PACKED).append(fold.rows())
        file.table("eis_data", columns.EIS, chunks=(1,), **PACKED)
    os.sync()


def _document() -> dict[str, Any]:
    kinds = ("rest", "charge", "hold", "rest", "discharge")
    steps = [{"number": number, "kind": kind} for number, kind in enumerate(kinds, 1)]
    return {"lab": {"name": "bench"}, "cell": {"id": "c1"}, "protocol": {"steps": steps}}


def _rows(first: int, count: int) -> Any:
    """Records with the noise of real ones, so that they pack as real ones do."""
    from daq.recorder import columns

    rng = np.random.default_rng(first)
    n = np.arange(first, first + count)
    step = n // _STEP
    cycle = step // _STEPS_A_CYCLE
    out = np.zeros(count, columns.RAW_DTYPE)
    out["test_time"], out["step_time_s"] = n * 0.1, (n % _STEP) * 0.1
    out["time"] = 1.79e9 + n * 0.1
    out["voltage"] = 3.6 + 0.5 * np.sin(n / _STEP) + rng.normal(0.0, 1e-4, count)
    out["current"] = 1.25 + rng.normal(0.0, 1e-4, count)
    out["temperature"] = 25.0 + rng.normal(0.0, 0.01, count)
    out["chamber_degC"] = np.round(out["temperature"], 1)
    out["cycle_number"], out["step_index"] = cycle + 1, step % _STEPS_A_CYCLE + 1
    out["step_count"], out["step_record"] = step + 1, n % _STEP + 1
    out["seq"] = n + 1
    for number, name in enumerate(_COUNTERS, 1):
        per_record = 1.25 / 36_000 * number
        out[name] = n * per_record + rng.random(count) * 1e-7
        out[f"step_{name}"] = out[name] - step * _STEP * per_record
        out[f"cycle_{name}"] = out[name] - cycle * _STEPS_A_CYCLE * _STEP * per_record
    return out


def main() -> None:
    """Print the figures; or, for the bench itself, do one job."""
    words = sys.argv[1:]
    if len(words) == 2:
        _job(words[0], Path(words[1]))
        return
    print(json.dumps(run(int(words[0]) if words else RECORDS), indent=1))


if __name__ == "__main__":
    main()
