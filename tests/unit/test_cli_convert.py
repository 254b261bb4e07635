"""`daq convert` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from daq import cli
from daq.protocol.exchange.formats import EXPORTERS, IMPORTERS

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "unit" / "data" / "exchange"


@pytest.fixture
def daq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command line in this process; its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        code = cli.run([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_a_vendors_file_becomes_a_protocol_that_daq_check_takes(daq, tmp_path):
    code, _, err = daq("convert", DATA / "formation.mps", "-o", "formation.yaml")
    assert code == 0
    assert "13 steps" in err
    assert "left behind" in err
    assert daq("check", "formation.yaml")[0] == 0
    code, out, _ = daq("convert", "formation.yaml", "--to", "pybamm")
    assert code == 0
    assert "Charge at 0.1 A until 3.7 V" in out


def test_nothing_is_written_where_something_is_refused_and_each_refusal_has_its_line(daq):
    Path("e.txt").write_text("Rest for 1 hour\nCharge at 1 A until C/3\n", encoding="utf-8")
    code, out, err = daq("convert", "e.txt", "-o", "x.yaml")
    assert code == 2
    assert out == ""
    assert "error: e.txt:2:1: a current cannot end" in err
    assert "1 refused" in err
    assert not Path("x.yaml").exists()


def test_json_says_the_same(daq):
    Path("e.txt").write_text("Rest for 1 hour\nCharge at 1 A until C/3\n", encoding="utf-8")
    code, out, _ = daq("convert", "e.txt", "--json")
    document = json.loads(out)
    assert code == 2
    assert document["from"] == "pybamm"
    assert document["steps"] == 1
    assert document["refused"][0]["line"] == 2
    assert document["text"] is None


OURS = "protocol: a\nversion: 1.0.0\n{safety}steps:\n  - rest: 1 h\n"
SAFETY = "safety: {voltage: [2 V, 4.3 V]}\n"


@pytest.mark.parametrize("target", ["pybamm", "pybamm-config"])
def test_a_safety_is_left_behind_only_where_there_is_one(target, daq):
    for safety in ("", SAFETY):
        Path("ours.yaml").write_text(OURS.replace("{safety}", safety), encoding="utf-8")
        code, _, err = daq("convert", "ours.yaml", "--to", target)
        assert (code, "left behind: ours.yaml:3:1: safety" in err) == (0, bool(safety))
        assert ("safety" in err) is bool(safety)


def test_an_end_that_does_not_map_is_told_as_it_was_written(daq):
    step = "  - charge: 1 A\n    until: [{when: voltage >= 4 V, end: run}]\n    at_most: 1 h\n"
    text = OURS.replace("{safety}", "") + step
    Path("ours.yaml").write_text(text, encoding="utf-8")
    code, _, err = daq("convert", "ours.yaml", "--to", "pybamm")
    assert code == 2
    assert "the end {when: voltage >= 4 V, end: run} has no counterpart" in err


def test_a_file_that_is_there_is_not_overwritten(daq):
    Path("e.txt").write_text("Rest for 1 hour\n", encoding="utf-8")
    Path("x.yaml").write_text("mine", encoding="utf-8")
    code, _, err = daq("convert", "e.txt", "-o", "x.yaml")
    assert code == 2
    assert "there already" in err
    assert Path("x.yaml").read_text(encoding="utf-8") == "mine"


SCRIPT = """\
import pybamm

model = pybamm.lithium_ion.DFN()
experiment = pybamm.Experiment(
    [("Charge at C/3 until 4.2 V", "Rest for 10 minutes")] * 3,
    period="30 seconds",
)
pybamm.Simulation(model, experiment=experiment).solve()
"""


def test_the_experiment_of_a_whole_script_is_taken_and_the_script_is_not_run(daq):
    Path("sim.py").write_text(SCRIPT, encoding="utf-8")
    code, out, _ = daq("convert", "sim.py")
    assert code == 0
    assert "repeat: 3" in out
    assert "every: 30 s" in out
    Path("sim.py").write_text(SCRIPT.replace("until 4.2 V", "until C/3"), encoding="utf-8")
    assert "error: sim.py:5:" in daq("convert", "sim.py")[2]
    Path("sim.py").write_text(SCRIPT + "other = pybamm.Experiment([])\n", encoding="utf-8")
    assert "error: sim.py:9:1: there are 2 experiments" in daq("convert", "sim.py")[2]


@pytest.mark.parametrize(
    ("content", "says"),
    [("", "nothing.txt is empty"), ("hello", "looks like no protocol"), ("\x89P", "looks like no")],
)
def test_what_is_no_protocol_is_told_so(content, says, daq):
    Path("nothing.txt").write_text(content, encoding="utf-8")
    code, _, err = daq("convert", "nothing.txt")
    assert (code, says in err) == (2, True)


def test_a_source_that_contradicts_itself_is_converted_and_told(daq):
    """The safety of the file forbids its own current."""
    document = {
        "record": {"time_s": 1}, "sample": {"capacity_mAh": 100}, "safety": {"max_current_mA": 1},
        "method": [{"step": "constant_current", "rate_C": 1, "until_voltage_V": 4}],
    }  # fmt: skip
    Path("u.json").write_text(json.dumps(document), encoding="utf-8")
    code, out, err = daq("convert", "u.json")
    assert code == 0
    assert "charge: 1C" in out
    assert "to be mended before it can start" in err


@pytest.mark.parametrize(
    "words",
    [
        ("missing.json",),
        ("e.txt", "--from", "nonsense"),
        ("e.txt", "--to", "nonsense"),
        ("e.txt", "--from", "maccor"),
        ("e.txt", "--capacity", "much"),
        ("nothing.txt",),
        ("own.yaml",),
        ("two.py",),
        ("e.txt", "-o", "no/such/folder/x.yaml"),
    ],
)
def test_wrong_words_and_wrong_files_exit_with_2(words, daq):
    Path("e.txt").write_text("Rest for 1 hour\n", encoding="utf-8")
    Path("nothing.txt").write_text("hello\n", encoding="utf-8")
    Path("two.py").write_text("a = Experiment(['Rest for 1 s'])\nb = Experiment([])\n")
    Path("own.yaml").write_text("protocol: x\nversion: 1.0.0\nsteps: [{rest: 1 h}]\n")
    code, _, err = daq("convert", *words)
    assert code == 2
    assert err.startswith("error: ")


def test_every_format_is_on_its_page():
    page = (ROOT / "docs" / "protocol-exchange.md").read_text(encoding="utf-8")
    for name in {*IMPORTERS, *EXPORTERS}:
        assert f"`{name}`" in page


def test_the_processes_that_run_a_bench_load_nothing_of_it():
    import subprocess
    import sys

    code = (
        "import sys, daq.control.supervisor, daq.protocol.compile\n"
        "assert not [m for m in sys.modules if 'protocol.exchange' in m or 'defusedxml' in m]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
