"""After a crash or a restart: the run goes on by itself if everything verifies, else it waits."""

from __future__ import annotations

import signal

import h5py
import pytest

from daq.journal import JournalReader
from daq.model import EventKind
from tests.system.daemon import CHARGE, on, running_daemon, wait_until

REST_THEN_CHARGE = """
protocol: rest-then-charge
version: 1.0.0
record: {every: 1 s}
safety: {voltage: [2.6 V, 4.25 V], temperature: [5 degC, 50 degC], charge: 115 %}
steps:
  - rest: 1 s
  - repeat: 2
    steps:
      - charge: 1C
        until: charge >= 0.25 %
        at_most: 20 min
      - rest: 1 s
"""


def last_record(daemon, run):
    with JournalReader(daemon.data / "journal.sqlite") as reader:
        return [row for batch in reader.record_rows(run) for row in batch][-1]


@pytest.mark.fault("F41", family="keysight_aps")
def test_a_run_goes_on_by_itself_in_the_same_step_with_the_same_counters(tmp_path):
    with running_daemon(tmp_path) as (bench, daemon):
        run = daemon.run(REST_THEN_CHARGE)
        daemon.energised()
        daemon.signal(signal.SIGKILL)
        daemon.process.wait(10.0)
        before = daemon.events(EventKind.STEP_STARTED)[-1].data
        charge_Ah = last_record(daemon, run)[13]
        wait_until(lambda: not on(bench), "the sentinel switched off")
        daemon.start()
        seen = daemon.energised()
        assert (seen["run"], seen["step"], seen["cycle"]) == (run, before["step"], before["cycle"])
        assert seen["step_count"] == before["step_count"]
        assert seen["charge_Ah"] >= charge_Ah
        resumed = daemon.events(EventKind.RESUMED)[-1]
        assert resumed.data["by"] == "policy"
        gap = daemon.events(EventKind.GAP)[-1]
        assert gap.run == run
        assert 0.0 < gap.data["away_s"] < 60.0
        assert gap.data["from_utc_s"] < gap.data["to_utc_s"] < resumed.utc_s
        daemon.wait_for(mode="idle", run=None)
        path = daemon.data / "runs" / f"{run}.h5"
        wait_until(path.exists, "the recorder closed the file")
        with h5py.File(path) as file:
            kinds = [kind.decode() for kind in file["events"]["kind"]]
        assert "gap" in kinds
        truth = bench.ledger("cell-1")
        ended = daemon.events(EventKind.RUN_ENDED)[-1]
        assert ended.data["outcome"] == "completed"
        assert ended.data["charge_Ah"] == pytest.approx(truth["charged_Ah"], rel=0.05)


def test_only_what_was_going_on_and_is_as_expected_goes_on(tmp_path):
    """Four stations, one crash: one goes on, one was paused, one wants its operator, one has
    another cell now."""
    with running_daemon(tmp_path, stations=4) as (bench, daemon):
        wants_operator = CHARGE.replace("version: 1.0.0", "version: 1.0.0\nresume: operator")
        for number, text in enumerate((CHARGE, CHARGE, wants_operator, CHARGE), start=1):
            daemon.run(text, f"A{number}", f"c{number}")
        for number in range(1, 5):
            daemon.energised(f"A{number}")
        assert daemon.call("pause", "A2", reason="somebody looks at it").state == "done"
        daemon.signal(signal.SIGKILL)
        daemon.process.wait(10.0)
        cells = [f"cell-{number}" for number in range(1, 5)]
        wait_until(lambda: not any(on(bench, cell) for cell in cells), "the sentinel switched off")
        bench.ask("set", position="cell-4", soc=0.95)
        daemon.start()
        daemon.energised("A1")
        assert "somebody looks at it" in daemon.station("A2")["why"]
        assert "protocol wants" in daemon.station("A3")["why"]
        assert not any(on(bench, cell) for cell in cells[1:])
        wait_until(
            lambda: "the voltage is" in daemon.station("A4")["why"],
            lambda: str(daemon.station("A4")),
            90.0,
        )
        assert not on(bench, "cell-4")
        for name in ("A2", "A3", "A4"):
            wait_until(lambda n=name: calls_an_operator(daemon, n), f"an alarm about {name}")
        assert daemon.call("resume", "A2").state == "done"
        daemon.energised("A2")


def calls_an_operator(daemon, station):
    told = [e.data for e in daemon.events(EventKind.ALARM) if station in e.data["stations"]]
    return any("operator" in alarm["message"] for alarm in told)


def test_an_ordinary_restart_is_no_end_either_and_too_long_a_one_is(tmp_path):
    with running_daemon(tmp_path, resume={"within": "1 s"}) as (bench, daemon):
        daemon.run(CHARGE)
        daemon.energised()
        assert daemon.stop() == 0
        assert not on(bench)
        daemon.start()  # takes longer than a second
        wait_until(lambda: "waits for its operator" in daemon.station()["why"], "it waits")
        assert "away" in daemon.station()["why"]
    (tmp_path / "second").mkdir()
    with running_daemon(tmp_path / "second") as (bench, daemon):
        run = daemon.run(CHARGE)
        daemon.energised()
        assert daemon.stop() == 0
        daemon.start()
        assert daemon.energised()["run"] == run
