"""The command line, without a daemon: wrong files, wrong words, exit codes, JSON, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from daq import cli
from daq.cli.output import duration
from daq.cli.tables import Column, console, fitted, show
from daq.cli.watch import table
from daq.journal import Journal, JournalReader
from daq.recorder.closed import write_closed
from tests import runs

ROOT = Path(__file__).parents[2]
VERBS = [
    "broker-acl", "check", "clear", "compare", "convert", "demo", "diff", "doctor", "drivers",
    "dry-run", "export", "figures", "forget", "gameday", "maintenance", "off", "pause", "plot",
    "report", "resume", "runs", "serve", "simulate", "start", "status", "stop", "verify",
]  # fmt: skip

LAB = """
lab: bench-3
clock: {factor: 1}
mqtt: {broker: none}
instruments:
  aps1: {driver: keysight_aps, resource: "TCPIP::127.0.0.1::9::SOCKET", calibration_due: 2020-01-01}
stations:
  A1:
    cycler: aps1
    limits: {voltage: [2.0 V, 4.3 V], current: [-5 A, 5 A], temperature: [0 degC, 60 degC]}
cells:
  C-0001: {nominal_capacity: 2.5 Ah, chemistry: NMC622/graphite}
"""

PROTOCOL = """
protocol: capacity
version: 1.0.0
parameters: {v_max: 4.2 V}
safety: {voltage: [2.5 V, 4.25 V], temperature: [10 degC, 45 degC], charge: 115 %}
steps:
  - rest: 10 min
  - charge: C/2
    until: voltage >= $v_max
    at_most: 3 h
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own folder with a good lab file and a good protocol."""
    (tmp_path / "lab.yaml").write_text(LAB, encoding="utf-8")
    (tmp_path / "capacity.yaml").write_text(PROTOCOL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    return tmp_path


class Spoken:
    """What one command line came to."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


@pytest.fixture
def daq(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command line in this process."""

    def run(*words: str) -> Spoken:
        code = cli.run(list(words))
        out, err = capsys.readouterr()
        return Spoken(code, out, err)

    return run


# Words.


def test_daq_alone_shows_what_there_is(daq):
    spoken = daq()
    assert spoken.code == 2
    assert all(verb in spoken.out + spoken.err for verb in VERBS)


def test_the_verbs_are_those_that_the_tests_know(daq):
    names = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    assert names == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_speaks_json(verb, daq):
    spoken = daq(verb, "--help")
    assert spoken.code == 0
    assert f"daq {verb}" in spoken.out
    assert "--json" in spoken.out


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("status", "--nope"),
        ("start", "A1"),
        ("start", "A1", "capacity.yaml"),
        ("clear", "A1"),
        ("pause",),
        ("dry-run", "capacity.yaml", "--capacity", "many"),
        ("stop",),
        ("stop", "A1", "--all"),
        ("dry-run", "capacity.yaml", "-p", "v_max"),
        ("dry-run", "capacity.yaml", "-p", "=4.2 V"),
        ("dry-run", "capacity.yaml", "-p", "v_min=3 V"),
        ("export", "x.h5", "--to", "excel"),
        ("figures", "x.h5"),
        ("report", "x.h5", "--circuit", "R0-p(R1,C1"),
        ("compare",),
        ("compare", "x.h5"),
        ("off", "lab.yaml", "aps9"),
        ("dry-run", "capacity.yaml", "--lab", "lab.yaml", "--station", "A9"),
        ("dry-run", "capacity.yaml", "--lab", "lab.yaml", "--cell", "C-9"),
        ("status", "--broker", "http://example"),
    ],
    ids=" ".join,
)
def test_a_wrong_word_is_exit_code_2_and_no_traceback(words, folder, daq):
    spoken = daq(*words)
    assert spoken.code == 2
    assert spoken.out == ""
    assert "rror" in spoken.err
    assert "Traceback" not in spoken.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_can_complete(shell):
    program = Path(sys.executable).with_name("daq")
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [program, "--show-completion", shell], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "_DAQ_COMPLETE" in done.stdout
    words = {
        "bash": {"COMP_WORDS": "daq sta", "COMP_CWORD": "1"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "daq sta"},
        "fish": {"_TYPER_COMPLETE_ARGS": "daq sta", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    done = subprocess.run(
        [program],
        capture_output=True,
        text=True,
        env=environment | words | {"_DAQ_COMPLETE": f"complete_{shell}"},
    )
    assert "start" in done.stdout
    assert "status" in done.stdout
    assert "plot" not in done.stdout


# Files.


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.yaml", b"", "empty.yaml is empty"),
        ("binary.yaml", b"lab: \xff\xfe\x00", "binary.yaml:1:6: byte 0xff is not UTF-8"),
        ("tab.yaml", b"lab: x\n\tdata: y\n", "tab.yaml:2:1: there is a tab"),
        ("key.yaml", LAB.replace("clock", "clok").encode(), "key.yaml:3:1: unknown key 'clok'"),
        ("twice.yaml", b"lab: x\nlab: y\n", "twice.yaml:2:1"),
        ("list.yaml", b"- lab\n", "list.yaml:1:1"),
        ("other.yaml", b"hello: world\n", "other.yaml is neither a lab file nor a protocol"),
        (
            "limit.yaml",
            PROTOCOL.replace("4.2 V", "4.6 V").encode(),
            "limit.yaml:9:12: the end 'voltage >= 4.6 V' is above the 4.25 V",
        ),
        ("unit.yaml", PROTOCOL.replace("10 min", "10 mA").encode(), "unit.yaml:7:11: '10 mA'"),
        ("cells.yaml", b"cells: {C1: {nominal_capacity: 2 V}}", "cells.yaml:1:32: '2 V'"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith(".yaml") else "",
)
def test_a_wrong_file_is_one_line_with_its_place(name, content, says, folder, daq):
    (folder / name).write_bytes(content)
    spoken = daq("check", name)
    assert spoken.code == 2
    assert spoken.out == ""
    assert spoken.err.startswith(f"error: {says}")
    assert spoken.err.count("\n") == 1


@pytest.mark.parametrize("verb", ["check", "doctor", "serve", "dry-run", "off", "simulate"])
@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_is_not_there_or_a_folder_is_exit_code_2(verb, name, folder, daq):
    spoken = daq(verb, name)
    assert spoken.code == 2
    assert name in spoken.err
    assert spoken.err.count("\n") == 1


def test_check_looks_at_every_file_and_says_which_are_good(folder, daq):
    (folder / "bad.yaml").write_text("lab: x\nlab: y\n", encoding="utf-8")
    spoken = daq("check", "bad.yaml", "lab.yaml", "capacity.yaml")
    assert spoken.code == 2
    assert spoken.out == "lab.yaml: ok\ncapacity.yaml: ok\n"
    assert spoken.err.startswith("error: bad.yaml:2:1:")


def test_check_gives_an_editor_line_and_column(folder, daq):
    (folder / "bad.yaml").write_text(PROTOCOL.replace("10 min", "10"), encoding="utf-8")
    spoken = daq("check", "bad.yaml", "lab.yaml", "--json")
    assert spoken.code == 2
    bad, good = spoken.json
    assert (bad["file"], bad["ok"], bad["line"], bad["column"]) == ("bad.yaml", False, 7, 11)
    assert "unit" in bad["message"]
    assert good["ok"]


def test_check_with_a_lab_knows_its_limits(folder, daq):
    text = PROTOCOL.replace("4.2 V", "4.4 V").replace("4.25 V", "4.5 V")
    (folder / "high.yaml").write_text(text, encoding="utf-8")
    assert daq("check", "high.yaml").code == 0
    spoken = daq("check", "high.yaml", "--lab", "lab.yaml")
    assert spoken.code == 2
    assert "above the 4.3 V of station A1" in spoken.err


def with_nameplate(folder, nameplate):
    text = LAB.replace("calibration_due: 2020-01-01", f"nameplate: {nameplate}")
    (folder / "lab.yaml").write_text(text, encoding="utf-8")


def test_check_finds_a_c_rate_beyond_what_the_cycler_can_do(folder, daq):
    with_nameplate(folder, "{voltage: [0 V, 9 V], current: [-2 A, 1.2 A]}")
    spoken = daq("check", "capacity.yaml", "--lab", "lab.yaml")
    assert spoken.code == 2
    assert "capacity.yaml:8:13: " in spoken.err
    assert "the instrument's range" in spoken.err


def test_check_says_where_it_does_not_know_what_the_cycler_can_do(folder, daq):
    spoken = daq("check", "capacity.yaml", "--lab", "lab.yaml")
    assert (spoken.code, spoken.out) == (0, "capacity.yaml: ok\n")
    assert "note: capacity.yaml:8:5: what the cycler of station A1 can do" in spoken.err
    with_nameplate(folder, "{current: [-5 A, 5 A]}")
    spoken = daq("check", "capacity.yaml", "--lab", "lab.yaml")
    assert (spoken.code, spoken.out, spoken.err) == (0, "capacity.yaml: ok\n", "")


@pytest.mark.parametrize(
    ("nameplate", "message"),
    [
        ("{current: [-5 A, -6 A]}", "is an empty span"),
        ("{current: 5 A}", "is not a span"),
        ("{voltage: [0 V, 9]}", "9 has no unit"),
        ("{frequency: [0 Hz, 1 kHz]}", "0 Hz is out of range"),
        ("{power: [0 W, 9 W]}", "unknown key 'power'"),
    ],
)
def test_a_nameplate_is_read_like_every_other_part(nameplate, message, folder, daq):
    with_nameplate(folder, nameplate)
    spoken = daq("check", "lab.yaml")
    assert spoken.code == 2
    assert message in spoken.err


@pytest.mark.parametrize("path", sorted(ROOT.glob("protocols/*.yaml")), ids=lambda path: path.stem)
def test_every_protocol_of_the_library_is_good(path, daq):
    assert daq("check", str(path)).code == 0


@pytest.mark.parametrize("name", ["demo.yaml", "demo-cells.yaml", "full-example.yaml"])
def test_every_lab_file_of_the_project_is_good(name, daq):
    assert daq("check", str(ROOT / "config" / name)).code == 0


def test_the_demo_outside_the_projects_folder_says_where_to_run_it(folder, daq):
    spoken = daq("demo")
    assert spoken.code == 2
    assert "run it in the project's folder" in spoken.err


def test_the_demo_never_deletes_a_folder_that_is_not_a_demos(folder, daq):
    (folder / "data").mkdir()
    (folder / "data" / "thesis.txt").write_text("three years", encoding="utf-8")
    spoken = daq("demo", "--lab", "lab.yaml", "--bench", "lab.yaml")
    assert spoken.code == 1
    assert (folder / "data" / "thesis.txt").exists()


# What they show.


def test_a_dry_run_resolves_rates_and_bounds_the_time(folder, daq):
    spoken = daq("dry-run", "capacity.yaml", "--lab", "lab.yaml", "--cell", "C-0001")
    assert spoken.code == 0
    assert "4.21 V, 0 to 1.25 A" in spoken.out
    assert "at most 3.2 h" in spoken.out
    document = daq("dry-run", "capacity.yaml", "--capacity", "2", "--json").json
    assert [step["kind"] for step in document["steps"]] == ["rest", "charge"]
    assert document["steps"][1]["setpoint"] == "4.21 V, 0 to 1 A"
    assert document["at_most_s"] == 11400.0


def test_a_parameter_of_the_command_line_replaces_the_files(folder, daq):
    spoken = daq("dry-run", "capacity.yaml", "-p", "v_max=4.1 V", "--json")
    assert spoken.json["steps"][1]["until"] == ["voltage >= 4.1 V"]


def test_the_drivers_are_listed_with_their_kind(daq):
    kinds = {name: row["kind"] for name, row in daq("drivers", "--json").json.items()}
    assert kinds["keysight_aps"] == "cycler"
    assert kinds["palmsens"] == "potentiostat"
    assert kinds["binder"] == kinds["espec"] == "chamber"


@pytest.mark.parametrize(
    ("driver", "instruments"),
    [
        ("binder", "BINDER chambers (MK, MKF, KBF"),
        ("ea_psb", "EA Elektro-Automatik PSB 10000"),
        ("espec", "P-300, SCP-220 or ES-102"),
        ("keysight_aps", "N6900, N7900 APS and RP7900"),
        ("keysight_daq970a", "DAQ970A, 34970A, 34972A and 34980A"),
        ("modbus_inputs", "Digital inputs of any Modbus module"),
        ("modbus_outputs", "Digital outputs of any Modbus module"),
        ("modbus_relays", "Relays of any Modbus module"),
        ("palmsens", "EmStat Pico, EmStat4, Sensit and Nexus"),
    ],
)
def test_the_list_of_drivers_names_the_instruments(driver, instruments, daq):
    assert instruments in daq("drivers", "--json").json[driver]["what"]


def test_doctor_says_what_is_wrong_with_a_bench_that_is_not_there(folder, daq):
    spoken = daq("doctor", "lab.yaml", "--json")
    assert spoken.code == 1
    found = {one["what"]: (one["state"], one["message"]) for one in spoken.json}
    assert found["aps1"][0] == "problem"
    assert found["calibration of aps1"] == ("problem", "was due on 2020-01-01")
    assert found["disk"][0] == "ok"
    assert found["sentinel, aps1"][0] == "ok"
    assert "by itself" in found["sentinel, aps1"][1]
    assert "a hard-wired relay" in found["station A1"][1]
    assert "(nothing measures it)" in found["station A1"][1]


# Without a daemon.


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("start", "A1", "capacity.yaml", "--cell", "C-0001"),
        ("pause", "A1"),
        ("resume", "A1"),
        ("stop", "A1"),
        ("stop", "--all"),
        ("clear", "A1", "--reason", "because"),
        ("forget", "aps1"),
    ],
    ids=" ".join,
)
def test_without_a_daemon_a_command_is_exit_code_3_and_says_how_to_start_one(words, folder, daq):
    spoken = daq(*words, "--json")
    assert spoken.code == 3
    assert spoken.out == ""
    assert spoken.err == "error: no daemon runs for lab.yaml (start it: daq serve lab.yaml)\n"


def test_without_a_broker_a_command_is_exit_code_3(folder, daq):
    spoken = daq("status", "--broker", "mqtt://127.0.0.1:9")
    assert spoken.code == 3
    assert "no broker answers at 127.0.0.1:9" in spoken.err


def test_runs_of_a_lab_that_never_ran(folder, daq):
    spoken = daq("runs")
    assert spoken.code == 2
    assert "there is no journal" in spoken.err
    Journal(folder / "data" / "journal.sqlite").close()
    assert daq("runs", "--json").json == []
    spoken = daq("plot")
    assert spoken.code == 2
    assert "there are no runs yet" in spoken.err


def test_runs_are_listed_exported_and_drawn_from_the_journal(folder, daq):
    first, second = runs.run_info("first"), runs.run_info("second")
    (folder / "data").mkdir()
    path = folder / "data" / "journal.sqlite"
    runs.write(path, (first, runs.formation(first)), (second, runs.formation(second)))
    assert [row["run"] for row in daq("runs", "--json").json] == ["first", "second"]
    assert daq("runs").out.splitlines()[2].split()[0] == "second"
    assert daq("plot").out == "second.png\n"
    assert (folder / "second.png").stat().st_size > 10_000
    spoken = daq("export", "first", "--to", "csv", "--json")
    assert spoken.code == 0
    assert (folder / spoken.json["file"]).stat().st_size > 1000
    spoken = daq("export", "first", "--to", "csv", "--to", "cellpy", "--out", "both", "--json")
    assert [Path(name).name for name in spoken.json["files"]] == [
        "first.csv", "first.eis.csv", "first.cellpy.csv", "first.cellpy.yml",
    ]  # fmt: skip
    spoken = daq("export", "first", "--lake", "lake")
    assert spoken.code == 2
    assert "first has no closed file yet" in spoken.err
    spoken = daq("export", "first", "--watch")
    assert spoken.code == 2
    assert "--watch is for every run" in spoken.err
    spoken = daq("export", "frist")
    assert spoken.code == 2
    assert "did you mean first" in spoken.err


def test_closed_runs_go_into_a_data_lake_and_are_verified_there(folder, daq):
    (folder / "data" / "runs").mkdir(parents=True)
    path = folder / "data" / "journal.sqlite"
    infos = [runs.run_info("first"), runs.run_info("second")]
    runs.write(path, *[(info, runs.formation(info)) for info in infos])
    with JournalReader(path) as reader:
        for info in infos:
            list(write_closed(reader, info.id, folder / "data" / "runs"))
    assert len(daq("export", "all", "--lake", "lake", "--json").json["files"]) == 10
    assert daq("export", "all", "--lake", "lake").out == "nothing to write: it is all there\n"
    assert set(daq("verify", "--lake", "lake", "--json").json.values()) == {"good"}
    (damaged,) = (folder / "lake" / "events").rglob("first.parquet")
    damaged.write_bytes(b"PAR1")
    spoken = daq("verify", "--lake", "lake")
    assert spoken.code == 1
    assert "not good: first.parquet" in spoken.err
    assert daq("verify", "--lake", "data").code == 2


# Tables.


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.4, "0 s"), (60, "60 s"), (300, "5 min"), (5400, "90 min"), (10500, "2.9 h"),
     (200_000, "2.3 d")],
)  # fmt: skip
def test_durations_are_said_as_people_say_them(seconds, text):
    assert duration(seconds) == text


STATION = {
    "station": "A1", "mode": "running", "why": "", "cell": "NMC-0001", "cycle": 1, "cycles": 2,
    "step_text": "charge C/10 until voltage >= 4.2 V", "voltage_V": 3.7, "current_A": 0.25,
    "temperature_degC": 25.0, "charge_Ah": 1.0, "discharge_Ah": 0.2, "progress": 0.4,
    "remaining_s": 7300.0, "trip": None,
}  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 100, 140, 1000])
def test_the_status_table_fits_the_terminal_and_keeps_what_matters(width, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    console().print(table({"lab": "x", "stations": {"A1": STATION}}))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(len(line) <= width for line in lines)
    for shown in ("A1", "running", "3.7000", "0.250", "charge C/10", "2 h"):
        assert shown in lines[2]
    assert ("NMC-0001" in lines[2]) == (width >= 100)
    assert ("4.2 V" in lines[2]) == (width >= 140)


def test_a_trip_is_never_hidden_by_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    trip = {"check": "V1", "message": "voltage 4.4 V is above the limit of 4.25 V"}
    console().print(
        table({"lab": "x", "stations": {"A1": {**STATION, "mode": "tripped", "trip": trip}}})
    )
    line = capsys.readouterr().out.splitlines()[2]
    assert "tripped" in line
    assert "V1:" in line


@pytest.mark.parametrize("width", [60, 100, 160])
def test_the_alarms_are_shown_at_every_width(width, monkeypatch, capsys):
    from daq.cli.alarms import _columns

    alarm = {
        "id": 7, "severity": "page", "cause": "sentinel-acted", "subject": "A1", "cells": [],
        "batches": [], "stations": ["A1"], "runs": [], "began_utc_s": 1.79e9, "count": 3,
        "acknowledged_by": "", "message": "it had to switch off", "suppressed": False,
        "active": True, "runbook": "sentinel-acted.md", "beneath": [],
    }  # fmt: skip
    monkeypatch.setenv("COLUMNS", str(width))
    show(fitted(_columns([alarm]), console().width))
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.split()[:3] == ["7", "page", "sentinel-acted"]
    assert ("  3  " in line) == (width >= 100)


@pytest.mark.parametrize("words", [("check", "capacity.yaml", "--station", "A1"),
                                   ("dry-run", "capacity.yaml", "--cell", "C-0001")])  # fmt: skip
def test_a_name_of_a_lab_without_the_lab_is_not_passed_over(words, folder, daq):
    spoken = daq(*words)
    assert spoken.code == 2
    assert "say which with --lab" in spoken.err


def test_a_file_of_the_other_kind_is_called_so(folder, daq):
    assert "is a protocol, not a lab file" in daq("check", "lab.yaml", "--lab", "capacity.yaml").err
    assert "is a lab file, not a protocol" in daq("dry-run", "lab.yaml").err


def test_the_column_that_matters_least_goes_first():
    columns = [
        Column("a", ["12345"]),
        Column("b", ["12345"], rank=1),
        Column("c", ["12345"], rank=2),
    ]
    kept = [[column.header for column in fitted(columns, width).columns] for width in (19, 18, 11)]
    assert kept == [["a", "b", "c"], ["a", "b"], ["a"]]
