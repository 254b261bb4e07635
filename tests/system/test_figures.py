"""Capacity and efficiency of a run of the whole daemon, held against the cell's own ledger.

Accelerated time makes nothing worse here: what a switching leaves open is some milliseconds of
real time, and a step lasts as many real seconds as it takes for that to be less than 0.05 %.
"""

from __future__ import annotations

import numpy as np
import pytest

from daq.figures import scopes
from daq.figures.moved import COUNTERS
from daq.figures.scopes import Rows
from daq.model import EventKind
from daq.report.data import load
from tests.system.daemon import running_daemon, wait_until

FACTOR = 60.0
SECONDS = 15 * FACTOR
CAPACITY = 5e-4
EFFICIENCY_PCT = 0.02

PROTOCOL = f"""
protocol: there-and-back
version: 1.0.0
record: {{every: 20 s, voltage: 5 mV}}
safety: {{voltage: [2.4 V, 4.25 V], temperature: [5 degC, 50 degC], charge: 115 %}}
steps:
  - rest: 1 min
  - discharge: 1C
    until: time >= {SECONDS:g} s
    at_most: 1 h
  - rest: 1 min
  - charge: 1C
    until: time >= {SECONDS:g} s
    at_most: 1 h
  - rest: 2 min
"""
NAMES = dict(
    zip(COUNTERS, ("charged_Ah", "discharged_Ah", "charged_Wh", "discharged_Wh"), strict=True)
)


def edges_s(rows: Rows) -> float:
    """Time in which the current was switched, as the records tell it: from the last one before
    a switching to the first one after; half of it is open each time."""
    step_A = np.abs(np.diff(rows["current"]))
    switched = step_A > 0.5 * step_A.max()
    return float(np.diff(rows["test_time"])[switched].sum() / 2)


@pytest.mark.timeout(200)
def test_a_run_of_the_daemon_has_moved_what_the_cell_says(tmp_path) -> None:
    with running_daemon(tmp_path, factor=FACTOR, soc=0.6) as (bench, daemon):
        before = bench.ledger("cell-1")
        run = daemon.run(PROTOCOL)
        wait_until(lambda: daemon.events(EventKind.RUN_ENDED), daemon.log, 120)
        after = bench.ledger("cell-1")
        path = daemon.data / "runs" / f"{run}.h5"
        wait_until(path.exists, daemon.log)
        data = load(path)
    whole = scopes.run_scope(data.rows, data.unseen)
    true = {name: after[theirs] - before[theirs] for name, theirs in NAMES.items()}
    open_part = edges_s(data.rows) / (2 * SECONDS)  # of each direction's charge
    for name in COUNTERS:
        found = getattr(whole.moved, name)
        assert found == pytest.approx(true[name], rel=CAPACITY + open_part), (name, open_part)
    (cycle,) = scopes.cycle_figures(data.rows, data.unseen)
    efficiency = 100 * true["discharge_Ah"] / true["charge_Ah"]
    allowed = EFFICIENCY_PCT + 200 * open_part
    assert cycle.coulombic_efficiency_pct == pytest.approx(efficiency, abs=allowed)
    assert whole.deviation_pct < 0.05, "the kept records say something else than every sample"
