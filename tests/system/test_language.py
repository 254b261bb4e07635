"""What the protocol language can say, said to whole daemons on both families of cyclers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from daq.model import EventKind
from tests.system.daemon import FAMILIES, running_daemon, wait_until

FACTOR = 200.0
TITRATION = """
protocol: titration
version: 1.0.0
parameters: {rate: C/2}
record: {every: 60 s, voltage: 5 mV}
safety: {voltage: [2.4 V, 4.3 V], temperature: [5 degC, 50 degC], charge: 170 %}
steps:
  - cccv: {charge: C/2, voltage: 4.2 V}
    until: current <= C/4
    at_most: 4 h
    soc: 100 %
  - rest: 2 min
  - repeat: 40
    steps:
      - pulse: {discharge: $rate, for: 12 min}
        until: [{when: soc <= 75 %, end: repeat}, {when: voltage <= 3 V, end: repeat}]
      - rest: 20 min
        until: dV/dt <= 20 mV/h over 2 min after 2 min
  - ramp: {discharge: C/2, from: C/20, over: 20 min}
    at_most: 1 h
  - discharge: 4 ohm
    until: charge >= 2 %
    at_most: 1 h
    save: reference
  - ramp: {voltage: 3.9 V, rate: 1 mV/s, current: C/2}
    at_most: 3 h
  - label: again
    discharge: 2 W
    until:
      - charge >= 50 % of reference
      - {when: voltage <= 3 V, end: run}
    at_most: 1 h
  - if: run.discharge <= 5 Ah
    then:
      - goto: again
        times: 1
  - rest: 1 min
"""


@pytest.mark.parametrize("family", FAMILIES)
def test_pulses_ramps_and_gotos_on_a_bench(family: str, tmp_path: Path) -> None:
    with running_daemon(tmp_path, factor=FACTOR, soc=0.9, dialect=family) as (_, daemon):
        run = daemon.run(TITRATION)
        wait_until(lambda: daemon.events(EventKind.RUN_ENDED), daemon.log, timeout_s=110.0)
        daemon.wait_for(mode="idle", run=None)
        assert daemon.events(EventKind.TRIP) == []
        ended = daemon.events(EventKind.RUN_ENDED)[-1]
        # A goto that goes back once, and once more, fails the run: by its author's will.
        assert ended.data["outcome"] == "failed"
        assert "went back to 'again' 1 times, and once more" in ended.data["reason"]
        steps = [(event.data["step"], event.data["reason"]) for event in daemon.events(
            EventKind.STEP_ENDED)]  # fmt: skip
        file = daemon.data / "runs" / f"{run}.h5"
        wait_until(file.exists, "the closed file")
    numbers = [number for number, _ in steps]
    assert numbers[:2] == [1, 2]
    pulses = [reason for number, reason in steps if number == 3]
    # A tenth of nominal a pulse: two reach 80 %, the third ends at 75 % and leaves the loop.
    assert pulses == ["time >= 12 min", "time >= 12 min", "soc <= 75 %"]
    assert all(reason.startswith(("dV/dt", "time")) for number, reason in steps if number == 4)
    assert numbers[-6:] == [3, 5, 6, 7, 8, 8]
    assert dict(steps)[5] == dict(steps)[7] == "ramp over"
    with h5py.File(file) as closed:
        raw = closed["raw_data"][:]
    ramp = raw[raw["step_index"] == 5][1:]  # the first shows what was before the step began
    at_s = ramp["step_time_s"]
    # A tick is half a minute of lab time or more: what is read was asked for at the one before.
    assert len(ramp) > 5, "what is renewed at every sample is recorded like anything else"
    assert (-ramp["current"] <= 0.125 + 1.125 * at_s / 1200.0 + 0.02).all()
    assert -ramp["current"][-1] == pytest.approx(1.25, rel=0.1)
    drained = raw[raw["step_index"] == 6]
    assert -drained["voltage"][-1] / drained["current"][-1] == pytest.approx(4.0, rel=0.02)
    power = raw[(raw["step_index"] == 8)][-2]
    assert -power["voltage"] * power["current"] == pytest.approx(2.0, rel=0.02)
    assert list(raw["step_record"][raw["step_count"] == 1][:3]) == [1, 2, 3]


def test_a_protocol_brings_what_it_includes_and_plays(tmp_path: Path) -> None:
    folder = tmp_path / "protocols"
    folder.mkdir()
    (folder / "drive.csv").write_text("time_s,rate_C\n0,-0.5\n200,0.25\n300,0\n400,0\n")
    (folder / "inner.yaml").write_text(
        "protocol: inner\nversion: 1.0.0\nparameters: {rest: 1 min}\nsteps:\n"
        "  - profile: {file: drive.csv, scale: 1C}\n    until: voltage <= 2.6 V\n  - rest: $rest\n"
    )
    (folder / "main.yaml").write_text(
        "protocol: main\nversion: 2.0.0\nsteps:\n"
        "  - rest: 1 min\n  - include: inner.yaml\n    with: {rest: 2 min}\n"
    )
    with running_daemon(tmp_path, factor=20.0, soc=0.6) as (_, daemon):
        words = ["start", "A1", str(folder / "main.yaml"), "--cell", "c1", "--lab", str(daemon.lab)]
        done = subprocess.run(
            [sys.executable, "-m", "daq.cli", *words], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        for path in folder.iterdir():  # what was started is what runs, whatever becomes of them
            path.unlink()
        wait_until(lambda: daemon.events(EventKind.RUN_ENDED), daemon.log, timeout_s=90.0)
        (started,) = daemon.events(EventKind.RUN_STARTED)
        ended = daemon.events(EventKind.RUN_ENDED)[-1]
        assert ended.data["outcome"] == "completed", ended.data
        file = daemon.data / "runs" / f"{started.run}.h5"
        wait_until(file.exists, "the closed file")
    with h5py.File(file) as closed:
        files = json.loads(closed["protocol"].attrs["files"])
        assert closed["protocol"].attrs["sha256"] == started.data["sha256"]
        raw = closed["raw_data"][:]
    assert set(files) == {"inner.yaml", "drive.csv"}
    # 1C at most: 0.5C is half of it. 200 s out at 2.5 A, 100 s in at 1.25 A.
    last = raw[-1]
    assert last["discharge_Ah"] == pytest.approx(2.5 * 200 / 3600, rel=0.03)
    assert last["charge_Ah"] == pytest.approx(1.25 * 100 / 3600, rel=0.05)
