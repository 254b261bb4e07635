"""The command line against a bench and a daemon: what an operator types, and what comes back."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from daq import cli
from daq.model import EventKind
from simulators.client import RunningBench, running_bench
from tests.system.daemon import (
    CHARGE,
    SHORT,
    bench_file,
    lab_file,
    on,
    running_daemon,
    wait_until,
    write_lab,
)
from tests.system.terminal import CTRL_C, Terminal

ROOT = Path(__file__).parents[2]
DAQ = [sys.executable, "-m", "daq.cli"]


@dataclass(frozen=True)
class Spoken:
    """What one command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


class Operator:
    """Types commands beside a running daemon."""

    def __init__(self, folder: Path, bench: RunningBench) -> None:
        self.folder = folder
        self.bench = bench
        (folder / "charge.yaml").write_text(CHARGE, encoding="utf-8")
        (folder / "short.yaml").write_text(SHORT, encoding="utf-8")

    def types(self, *words: str, code: int = 0) -> Spoken:
        """One command line in the lab's folder; in this process, which saves its start."""
        alone = words[0] in ("serve", "simulate")
        spoken = self._start(*words) if alone else self._run(*words)
        assert spoken.code == code, spoken
        assert "Traceback" not in spoken.err
        return spoken

    def _start(self, *words: str) -> Spoken:
        done = subprocess.run(
            [*DAQ, *words], cwd=self.folder, capture_output=True, text=True, timeout=60
        )
        return Spoken(done.returncode, done.stdout, done.stderr)

    def _run(self, *words: str) -> Spoken:
        with chdir(self.folder), StringIO() as out, StringIO() as err:
            with redirect_stdout(out), redirect_stderr(err):
                code = cli.run(list(words))
            return Spoken(code, out.getvalue(), err.getvalue())

    def station(self) -> dict[str, Any]:
        """A1, as `daq status --json` has it."""
        return dict(self.types("status", "A1", "--json").json["stations"]["A1"])


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    with running_daemon(tmp_path) as (bench, _):
        yield Operator(tmp_path, bench)


def test_a_run_from_start_to_stop(operator: Operator) -> None:
    started = operator.types(
        "start", "A1", "charge.yaml", "--cell", "c1", "--operator", "ana", "--json"
    )
    run = started.json["run"]
    wait_until(lambda: operator.station()["current_A"] > 2.0, "it charges")
    assert (
        f"{run} runs at A1"
        in operator.types("start", "A1", "charge.yaml", "--cell", "c1", code=4).err
    )

    assert operator.types("pause", "A1", "--reason", "lunch").out == (
        "A1: paused, the output is OFF\n"
    )
    assert not on(operator.bench)
    assert operator.station()["why"] == "lunch"
    assert operator.types("resume", "A1", "--json").json == {}
    wait_until(lambda: operator.station()["current_A"] > 2.0, "it charges again")

    assert operator.types("stop", "A1", "--reason", "enough").out == "OFF, verified: A1\n"
    assert not on(operator.bench)
    (row,) = operator.types("runs", "--json").json
    assert (row["run"], row["outcome"], row["cell"]) == (run, "stopped", "c1")
    assert run in operator.types("runs").out

    path = operator.folder / "data" / "runs" / f"{run}.h5"
    wait_until(path.exists, "the closed file")
    drawn = operator.types("plot", "--json").json["file"]
    assert (operator.folder / drawn).read_bytes().startswith(b"\x89PNG")
    exported = operator.types("export", run, "--to", "bdf", "--json").json["file"]
    assert "Voltage / V" in (operator.folder / exported).read_text(encoding="utf-8")
    assert operator.types("stop", "--all").out == "OFF, verified: A1\n"


def test_a_sheet_starts_all_its_runs_or_none(operator: Operator) -> None:
    sheet = operator.folder / "cells.csv"
    sheet.write_text("station,cell\nA1,c1\nA9,c2\n", encoding="utf-8")
    bad = operator.types("start", "--sheet", "cells.csv", "charge.yaml", code=4)
    assert "error: cells.csv:3:1: A9: " in bad.err
    assert "no station 'A9'" in bad.err
    assert operator.station()["mode"] == "idle"
    assert operator.types("runs", "--json").json == []
    sheet.write_text("station,cell\nA1,c1\n", encoding="utf-8")
    (started,) = operator.types("start", "--sheet", "cells.csv", "charge.yaml", "--json").json
    assert (started["line"], started["cell"]) == (2, "c1")
    wait_until(lambda: operator.station()["current_A"] > 2.0, "it charges")
    assert operator.types("stop", "A1").code == 0


def test_what_the_daemon_refuses_is_exit_code_4_with_the_reason(operator: Operator) -> None:
    def refused(*words: str) -> str:
        spoken = operator.types(*words, code=4)
        assert spoken.out == ""
        return spoken.err

    assert "no station 'A9'" in refused("status", "A9")
    assert "no station 'A9'" in refused("start", "A9", "charge.yaml", "--cell", "c1")
    assert "no cell 'c9'" in refused("start", "A1", "charge.yaml", "--cell", "c9")
    assert "nothing runs here" in refused("pause", "A1")
    assert "nothing runs here" in refused("resume", "A1")
    assert "no trip" in refused("clear", "A1", "--reason", "because")
    assert "no instrument 'aps9'" in refused("forget", "aps9")
    (operator.folder / "wrong.yaml").write_text(CHARGE.replace("1C", "1 X"), encoding="utf-8")
    assert re.search(r"wrong.yaml:7:\d+:", refused("start", "A1", "wrong.yaml", "--cell", "c1"))
    assert operator.types("start", "A1", "missing.yaml", "--cell", "c1", code=2).out == ""
    assert not on(operator.bench)


def test_a_trip_is_shown_and_cleared_with_a_reason(operator: Operator) -> None:
    operator.types("start", "A1", "charge.yaml", "--cell", "c1")
    wait_until(lambda: on(operator.bench), "it charges")
    operator.bench.fault("aps1", "offset", quantity="voltage_V", by=1.0)
    wait_until(lambda: operator.station()["mode"] == "tripped", "it trips")
    assert "V1: voltage" in operator.types("status").out
    assert not on(operator.bench)
    assert "clear it first" in operator.types("resume", "A1", code=4).err
    assert operator.types("clear", "A1", "--reason", "  ", code=4).out == ""
    operator.bench.clear_faults()
    wait_until(lambda: operator.station()["voltage_V"] < 4.2, "its reading is good again")
    cleared = operator.types("clear", "A1", "--reason", "a sense wire was loose")
    assert cleared.out == "A1: cleared; a run waits for daq resume A1\n"
    assert operator.station()["mode"] == "paused"
    assert not on(operator.bench)


def test_doctor_asks_the_daemon_that_owns_the_lines(operator: Operator) -> None:
    spoken = operator.types("doctor", "lab.yaml", "--json")
    found = {one["what"]: one["message"] for one in spoken.json}
    assert "owns the lines" in found["daemon"]
    assert found["aps1"].startswith("Keysight Technologies,N6974A,MY1")
    assert operator.types("forget", "mk56", "--json").json == {"forgotten": "mk56"}


def test_a_second_daemon_is_exit_code_1_and_says_who_is_there(operator: Operator) -> None:
    spoken = operator.types("serve", "lab.yaml", code=1)
    assert re.search(r"a daemon \(process \d+\) runs on .* already", spoken.err)


def test_ctrl_c_ends_the_watched_display_with_130_and_no_traceback(operator: Operator) -> None:
    with Terminal([*DAQ, "status", "--watch"], operator.folder) as terminal:
        terminal.shows("idle")
        terminal.types(CTRL_C)
        assert terminal.ends() == 130
    assert "Traceback" not in terminal.shown


def test_a_watched_display_whose_daemon_ends_is_exit_code_3(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as (_, daemon):
        with Terminal([*DAQ, "status", "--watch"], tmp_path) as terminal:
            terminal.shows("idle")
            daemon.stop()
            assert terminal.ends() == 3
    assert "no daemon runs" in terminal.shown


# Without a daemon, with a bench.


def test_doctor_and_off_on_a_bench_without_a_daemon(tmp_path: Path) -> None:
    with running_bench(bench_file()) as bench:
        write_lab(tmp_path, lab_file(bench))
        operator = Operator(tmp_path, bench)
        spoken = operator.types("doctor", "lab.yaml")
        assert "Keysight Technologies,N6974A,MY1" in spoken.out
        assert "current limits -10 to 10 A, cycler -10.2 to 10.2" in spoken.out
        said = operator.types("doctor", "lab.yaml", "--json").json
        assert [one["message"] for one in said if one["what"] == "nameplate of aps1"] == [
            "not in the lab file, so `daq check` does not know what it can do; "
            "it tells {voltage: [0 V, 9.18 V], current: [-10.2 A, 10.2 A]}"
        ]
        lab = lab_file(bench)
        for most, told in (("10.2 A", 0), ("50 A", 1)):
            nameplate = {"voltage": ["0 V", "9 V"], "current": ["-10 A", most]}
            lab["instruments"]["aps1"]["nameplate"] = nameplate
            write_lab(tmp_path, lab)
            said = operator.types("doctor", "lab.yaml").out
            assert said.count("it says more than the instrument: {voltage:") == told
        assert operator.types("off", "lab.yaml", "--json").json == {"aps1": "", "mk56": ""}
        assert operator.types("off", "lab.yaml", "aps1").out == "aps1: OFF, verified\n"
    gone = operator.types("off", "lab.yaml", "aps1", code=1)
    assert "LinkDown" in gone.out
    assert operator.types("doctor", "lab.yaml", code=1).err == ""


def test_doctor_notices_that_an_instrument_was_exchanged(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as (_, daemon):
        daemon.stop()
    exchanged = bench_file()
    exchanged["instruments"]["aps1"]["options"]["serial"] = "MY999"
    with running_bench(exchanged) as bench:
        write_lab(tmp_path, lab_file(bench))
        spoken = Operator(tmp_path, bench).types("doctor", "lab.yaml", "--json", code=1)
    (found,) = [one for one in spoken.json if one["what"] == "aps1"]
    assert found["state"] == "problem"
    assert "MY999 answers, it was Keysight Technologies,N6974A,MY1" in found["message"]


def test_a_daemon_whose_bench_is_absent_serves_and_says_so(tmp_path: Path) -> None:
    with running_bench(bench_file()) as bench:
        write_lab(tmp_path, lab_file(bench))
    operator = Operator(tmp_path, bench)
    daemon = subprocess.Popen(
        [*DAQ, "serve", "lab.yaml", "--json"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until((tmp_path / "data" / "control.sock").exists, "it serves")
        assert operator.station()["mode"] == "offline"
        refused = operator.types("start", "A1", "charge.yaml", "--cell", "c1", code=4)
        assert "A1" in refused.err
        found = {
            one["what"]: one["state"]
            for one in operator.types("doctor", "lab.yaml", "--json", code=1).json
        }
        assert found["aps1"] == found["mk56"] == "problem"
    finally:
        daemon.send_signal(signal.SIGINT)
        _, log = daemon.communicate(timeout=30)
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    began = [line["instrument"] for line in lines if line["event"] == "fault began"]
    assert sorted(began) == ["aps1", "mk56"]  # once each, however long it lasts


def test_a_bench_on_a_taken_port_is_exit_code_2(tmp_path: Path) -> None:
    with running_bench(bench_file()) as bench:
        host, port = bench.endpoint("aps1")
        second = bench_file()
        second["instruments"]["aps1"]["listen"] = f"tcp://{host}:{port}"
        YAML(typ="safe", pure=True).dump(second, tmp_path / "bench.yaml")
        spoken = Operator(tmp_path, bench).types("simulate", "bench.yaml", code=2)
    assert f"127.0.0.1:{port}" in spoken.err
    assert spoken.err.count("\n") == 1


# What the pages say about a run.


def test_every_event_of_a_run_has_the_data_that_the_page_says(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    documented = {
        kind: set(re.findall(r"`(\w+)`", data))
        for kind, data in re.findall(r"^\| `(\w+)` \|.*?\| (.*) \|$", text, re.M)
    }
    with running_daemon(tmp_path, factor=300.0) as (bench, daemon):
        daemon.run(SHORT)
        daemon.wait_for(mode="running")
        daemon.call("pause", reason="lunch")
        daemon.call("resume")
        daemon.wait_for(mode="idle")
        daemon.run(SHORT)
        daemon.wait_for(mode="running")
        bench.fault("aps1", "offset", quantity="voltage_V", by=1.0)
        daemon.wait_for(mode="tripped")
        bench.clear_faults()
        wait_until(
            lambda: daemon.call("clear", reason="a sense wire was loose").state == "done",
            "its reading is good again",
        )
        daemon.call("stop")
        daemon.stop()
        events = daemon.events()
    seen = {event.kind for event in events}
    assert seen >= {
        EventKind.SESSION_STARTED, EventKind.RUN_STARTED, EventKind.STEP_STARTED,
        EventKind.STEP_ENDED, EventKind.PAUSED, EventKind.RESUMED, EventKind.TRIP,
        EventKind.CLEARED, EventKind.RUN_ENDED, EventKind.COMMAND, EventKind.SESSION_ENDED,
    }  # fmt: skip
    for event in events:
        assert set(event.data) <= documented[event.kind], event
