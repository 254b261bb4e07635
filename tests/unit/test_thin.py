"""What a picture of a run is drawn from: thinned lines and edges, over any number of batches."""

from __future__ import annotations

import math

import numpy as np
import pytest

from daq.recorder import columns, thin
from daq.recorder.columns import Rows


def test_a_thinned_line_keeps_its_extremes_and_its_ends() -> None:
    x = np.arange(1_000_003.0)
    y = np.sin(x / 5e4)
    y[123_456], y[654_321], y[5] = 9.0, -9.0, math.nan
    thin_x, thin_y = thin.decimate(x, y)
    assert len(thin_x) <= 21_000
    assert (np.nanmax(thin_y), np.nanmin(thin_y)) == (9.0, -9.0)
    assert (thin_x[0], thin_x[-1]) == (x[0], x[-1])
    assert (np.diff(thin_x) > 0).all()


def rows(count: int) -> Rows:
    """Steps of 700 rows, three steps a cycle, and a voltage with one spike."""
    made = np.zeros(count, columns.RAW_DTYPE)
    number = np.arange(count)
    made["test_time"] = number * 0.1
    made["voltage"] = 3.6 + np.sin(number / 5e3)
    made["voltage"][count // 3] = 5.0
    made["step_count"] = number // 700 + 1
    made["step_index"] = number // 700 % 3 + 1
    made["cycle_number"] = number // 2100 + 1
    return made


@pytest.mark.parametrize("batch", [1, 699, 700, 701, 4096, 100_000])
def test_an_overview_is_the_same_however_the_rows_come(batch: int) -> None:
    data = rows(5000 if batch == 1 else 50_000)
    pieces = (data[start : start + batch] for start in range(0, len(data), batch))
    overview = thin.Overview(pieces, ("voltage",))
    first = np.flatnonzero(np.diff(data["step_count"], prepend=0))
    expected = [*first, len(data) - 1]
    for name in thin.EDGES:
        assert overview.edges(name).tolist() == data[name][expected].tolist()
    hours, voltage = overview.line("voltage")
    assert len(hours) <= 1.05 * thin.MOST_POINTS
    assert (voltage.max(), voltage.min()) == (5.0, data["voltage"].min())
    assert (hours[0], hours[-1]) == (0.0, data["test_time"][-1] / 3600)


def test_an_overview_of_nothing_is_empty() -> None:
    overview = thin.Overview(iter([]), ("voltage",))
    assert len(overview.line("voltage")[0]) == len(overview.edges("step_count")) == 0
