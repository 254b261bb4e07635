"""`daq cell`, `daq batch`, `daq protocol` without a daemon: what is typed, and what comes back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from daq import cli
from daq.protocol.source import parse_protocol
from daq.registry.protocols import Protocols
from daq.registry.shelf import Who
from tests.unit.test_cli import LAB, PROTOCOL, Spoken

FACTS = ("--capacity", "2.5 Ah", "-s", "supplier=Acme")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lab.yaml").write_text(LAB, encoding="utf-8")
    (tmp_path / "capacity.yaml").write_text(PROTOCOL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def daq(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(*words: str, types: str = "") -> Spoken:
        monkeypatch.setattr("sys.stdin", io.StringIO(types))
        code = cli.run(list(words))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Spoken(code, out, err)

    return run


@pytest.mark.parametrize(
    "words",
    [
        *(("cell", verb) for verb in ("add", "import", "change", "remove", "show", "list")),
        *(("batch", verb) for verb in ("add", "change", "remove", "show", "list")),
        *(("protocol", verb) for verb in ("add", "list", "show", "rollout", "rollback")),
    ],
    ids=" ".join,
)
def test_every_command_explains_itself_and_speaks_json(words, daq):
    spoken = daq(*words, "--help")
    assert spoken.code == 0
    assert "--json" in spoken.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("cell", "add"), "name the cells, or say --scan"),
        (("cell", "add", "C-1", "--scan"), "name the cells, or say --scan"),
        (("cell", "add", "C-1"), "lacks a nominal capacity"),
        (("cell", "add", "C-1", "--capacity", "2.5"), "has no unit"),
        (("cell", "add", "C-1", "--batch", "B1"), "there is no batch 'B1'"),
        (("cell", "add", "C-0001", *FACTS), "in the lab file and in the registry"),
        (("cell", "add", "../C-1", *FACTS), "is not a name"),
        (("cell", "add", "C-1", "-s", "suplier=x"), "did you mean 'supplier'"),
        (("cell", "add", "C-1", "-s", "suplier=x"), "a fact of your own: metadata.suplier"),
        (("cell", "add", "C-1", *FACTS, "-s", "mass=3"), "error: cell C-1: mass: 3 has no unit"),
        (
            ("cell", "add", "C-1", *FACTS, "-s", "positive.mass=3 V"),
            "error: cell C-1: positive.mass: '3 V' is a voltage",
        ),
        (("cell", "add", "C-1", *FACTS, "-s", "limits.voltage=2.4"), "like '2.5 V to 4.2 V'"),
        (("cell", "add", "C-1", "-s", "supplier"), "is not key=value"),
        (("cell", "add", "C-1", "-s", "supplier="), "is not key=value"),
        (("cell", "add", "C-1", *FACTS, "-s", "format=a\x1bb"), "control character U+001B"),
        (("cell", "add", "C-1", *FACTS, "--reason", "x" * 501), "too many"),
        (("cell", "change", "C-9", "--reason", "x", "-s", "format=a"), "no cell 'C-9' in the reg"),
        (("cell", "change", "C-9", "--reason", "x"), "say what is to be changed"),
        (("cell", "change", "C-9", "-s", "format=a"), "--reason"),
        (("cell", "remove", "C-9", "--reason", "x"), "no cell 'C-9' in the registry"),
        (("cell", "show", "C-9"), "knows no cell 'C-9'"),
        (("cell", "show", "C-9", "--history"), "no history of cell 'C-9'"),
        (("cell", "import", "none.csv"), "cannot read none.csv"),
        (("batch", "show", "B9"), "no batch 'B9'"),
        (("batch", "remove", "B9", "--reason", "x"), "no batch 'B9' in the registry"),
        (("protocol", "show", "nope"), "no released protocol 'nope'"),
        (("protocol", "add", "none.yaml"), "cannot read none.yaml"),
        (("protocol", "rollout", "x", "1.0.0", "--stations", "A1,,A2"), "not a list of stations"),
        (("start", "A1", "capacity.yaml"), "name the cell with --cell"),
        (("start", "A1", "x", "--cell", "C-1", "--scan"), "name the cell with --cell"),
        (("start", "A1", "x", "--cell", "C-1", "--unregistered"), "go together"),
        (("start", "A1", "x", "--cell", "C-1", "--capacity", "1 Ah"), "go together"),
        (("start", "A1", "./x", "--cell", "C-1"), "cannot read x"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_what_is_wrong_is_exit_code_2_and_nothing_is_written(words, says, daq, folder):
    spoken = daq(*words)
    assert spoken.code == 2
    assert says in " ".join(spoken.err.replace("│", " ").split())
    assert not [path for path in folder.rglob("*.yaml") if "cells" in path.parts]


def test_a_cell_from_its_registration_to_its_removal(daq, folder):
    assert daq("cell", "add", "C-1", *FACTS, "--operator", "ana").out == "C-1: added\n"
    assert daq("cell", "add", "C-1", *FACTS).out == "C-1: there already, the same\n"
    assert daq("cell", "add", "C-1", "--capacity", "3 Ah").code == 2
    changed = daq("cell", "change", "C-1", "--set", "supplier=Bolt", "--reason", "typo", "--json")
    assert changed.json["changed"] == ["C-1"]
    shown = daq("cell", "show", "C-1", "--json").json
    assert (shown["nominal_capacity_Ah"], shown["metadata"]) == (2.5, {"supplier": "Bolt"})
    assert (shown["station"], shown["runs"]) == (None, [])
    history = daq("cell", "show", "C-1", "--history").out
    assert "ana" in history
    assert "supplier: Acme -> Bolt" in history
    assert daq("cell", "remove", "C-1", "--reason", "never existed").code == 0
    assert daq("cell", "show", "C-1").code == 2
    events = daq("cell", "show", "C-1", "--history", "--json").json
    assert [one["what"] for one in events] == ["added", "changed", "removed"]


def test_keys_are_taken_out_one_by_one(daq):
    daq("cell", "add", "C-1", *FACTS, "-s", "positive.material=NMC", "-s", "positive.mass=1 g")
    daq("cell", "change", "C-1", "--unset", "positive.mass", "--reason", "x")
    shown = daq("cell", "show", "C-1", "--json").json["metadata"]
    assert shown == {"supplier": "Acme", "positive": {"material": "NMC"}}
    daq("cell", "change", "C-1", "--unset", "positive", "--unset", "supplier", "--reason", "x")
    assert daq("cell", "show", "C-1", "--json").json["metadata"] == {}
    assert "capacity" in daq("cell", "change", "C-1", "--unset", "nominal_capacity",
                             "--reason", "x").err  # fmt: skip


def test_a_list_has_cells_of_the_lab_file_and_of_the_registry(daq):
    daq("batch", "add", "B1", "--capacity", "1 Ah")
    daq("cell", "add", "C-1", "C-2", "--batch", "B1")
    rows = daq("cell", "list", "--json").json
    assert [(row["cell"], row["known_from"]) for row in rows] == [
        ("C-0001", "lab file"), ("C-1", "registry"), ("C-2", "registry"),
    ]  # fmt: skip
    assert [row["cell"] for row in daq("cell", "list", "--batch", "B1", "--json").json] == [
        "C-1",
        "C-2",
    ]
    assert daq("batch", "list", "--json").json[0]["cells"] == 2
    assert daq("batch", "show", "B1", "--json").json["cells"] == ["C-1", "C-2"]
    refused = daq("batch", "remove", "B1", "--reason", "x")
    assert refused.code == 2
    assert "cell C-1 is of batch B1" in refused.err


def test_a_correction_of_a_batch_is_one_of_its_cells(daq):
    daq("batch", "add", "B1", "--capacity", "1 Ah")
    daq("cell", "add", "C-1", "--batch", "B1")
    daq("batch", "change", "B1", "--capacity", "1.1 Ah", "--reason", "label")
    assert daq("cell", "show", "C-1", "--json").json["nominal_capacity_Ah"] == 1.1
    refused = daq("batch", "change", "B1", "--unset", "nominal_capacity", "--reason", "x")
    assert refused.code == 2
    assert "neither cell C-1 nor its batch" in refused.err


# Scanners.


def test_what_is_scanned_is_registered_one_by_one_until_an_empty_line(daq):
    spoken = daq("cell", "add", "--scan", *FACTS, "--json", types="C-1\nC-2\r\n\nC-3\n")
    assert spoken.code == 0
    assert spoken.json["added"] == ["C-1", "C-2"]


@pytest.mark.parametrize("bad", ["]C1C-2", " C-2", "C-2\x1d", "x" * 500])
def test_a_bad_scan_ends_a_script_and_what_was_scanned_before_is_registered(bad, daq):
    spoken = daq("cell", "add", "--scan", *FACTS, types=f"C-1\n{bad}\nC-3\n")
    assert spoken.code == 2
    assert spoken.out == "C-1: added\n"
    assert "scan" in spoken.err
    assert [row["cell"] for row in daq("cell", "list", "--json").json] == ["C-0001", "C-1"]


class Keyboard(io.StringIO):
    """A terminal, with somebody at it."""

    def isatty(self) -> bool:
        return True


def test_a_person_at_a_terminal_may_scan_again(daq, monkeypatch):
    monkeypatch.setattr("tests.unit.test_cli_registry.io.StringIO", Keyboard)
    spoken = daq("cell", "add", "--scan", *FACTS, types="]C1C-1\nC-1\n\n")
    assert spoken.code == 0
    assert "C-1: added" in spoken.out


def test_nothing_scanned_is_no_cell(daq):
    spoken = daq("start", "A1", "capacity.yaml", "--scan", types="\n")
    assert spoken.code == 2
    assert "nothing was scanned" in spoken.err


# Tables.


def test_a_table_is_taken_as_a_whole_or_not_at_all(daq, folder):
    text = "cell,nominal_capacity [Ah]\nC-1,2.5\nC-2,many\nC-0001,2.5\n"
    (folder / "t.csv").write_text(text)
    spoken = daq("cell", "import", "t.csv")
    assert spoken.code == 2
    assert [line.partition(": ")[2][:9] for line in spoken.err.splitlines()] == [
        "t.csv:3:5",
        "t.csv:4:1",
    ]
    assert spoken.out == "0 added, 0 changed, 0 same\n"
    spoken = daq("cell", "import", "t.csv", "--skip-bad", "--json")
    assert spoken.code == 2  # something was wrong, and a script may want to know
    assert spoken.json["added"] == ["C-1"]
    assert len(spoken.json["mistakes"]) == 2


def test_the_same_table_again_changes_nothing_and_a_corrected_one_is_asked_for(daq, folder):
    path = folder / "t.csv"
    path.write_text("cell;nominal_capacity / Ah;supplier\nC-1;2.5;Acme\nC-2;2.5;\n")
    assert daq("cell", "import", "t.csv").out == "2 added, 0 changed, 0 same\n"
    assert daq("cell", "import", "t.csv").out == "0 added, 0 changed, 2 same\n"
    path.write_text(path.read_text().replace("Acme", "Bolt"))
    refused = daq("cell", "import", "t.csv")
    assert refused.code == 2
    assert "t.csv:2:1: cell C-1 is registered already, with other facts" in refused.err
    assert daq("cell", "import", "t.csv", "--change").out == "0 added, 1 changed, 1 same\n"
    why = daq("cell", "show", "C-1", "--history", "--json").json[-1]["reason"]
    assert why == "import of t.csv"


# Protocols.


def test_what_was_released_is_listed_and_shown_without_a_daemon(daq, folder):
    assert daq("protocol", "list").out == "nothing was released yet; daq protocol add FILE\n"
    protocols = Protocols(folder / "data")
    for version in ("1.0.0", "1.1.0"):
        text = PROTOCOL.replace("1.0.0", version)
        protocols.release(parse_protocol(text), Who("ana", "first"))
    protocols.roll_out("capacity", "1.0.0", [], Who("ana"))
    protocols.roll_out("capacity", "1.1.0", ["A1"], Who("bo", "trial"))
    lines = daq("protocol", "list").out.splitlines()
    assert lines[1].split()[:4] == ["capacity", "1.0.0", "all", "others"]
    assert lines[2].split()[:3] == ["capacity", "1.1.0", "A1"]
    assert daq("protocol", "list", "--json").json["capacity"]["stations"]["A1"] == "1.1.0"
    shown = daq("protocol", "show", "capacity").out
    assert "everywhere" in shown
    assert "trial" in shown
    assert daq("protocol", "show", "capacity", "--version", "1.0.0").out == PROTOCOL
    one = daq("protocol", "show", "capacity", "--version", "1.0.0", "--json").json
    assert one["text"] == PROTOCOL
    unknown = daq("protocol", "show", "capacity", "--version", "9.0.0")
    assert unknown.code == 2
    assert "there are 1.0.0, 1.1.0" in unknown.err


@pytest.mark.parametrize(
    "words",
    [
        ("add", "capacity.yaml"),
        ("rollout", "capacity", "1.0.0"),
        ("rollback", "capacity"),
    ],
    ids=" ".join,
)
def test_what_changes_where_a_version_runs_needs_the_daemon(words, daq):
    spoken = daq("protocol", *words, "--json")
    assert spoken.code == 3
    assert "no daemon runs" in spoken.err


# Files.


def test_a_registered_cell_is_known_to_check_and_dry_run(daq, folder):
    daq("cell", "add", "C-1", "--capacity", "5 Ah")
    lab = ("--lab", "lab.yaml", "--station", "A1", "--cell", "C-1")
    assert "5 Ah" in daq("dry-run", "capacity.yaml", *lab).out
    assert daq("check", "capacity.yaml", *lab).code == 0
    path = folder / "data" / "cells" / "C-1.yaml"
    assert daq("check", str(path)).code == 0
    path.write_text(path.read_text() + "suplier: x\n")
    assert "C-1.yaml:4:1: unknown key 'suplier'" in daq("check", str(path)).err
    batch = folder / "b.yaml"
    batch.write_text("batch: B1\nlimits: {voltage: [4 V, 3 V]}\n")
    assert "b.yaml:2:19" in daq("check", str(batch)).err


def test_a_file_of_the_registry_is_what_its_schema_says(daq, folder):
    daq("cell", "add", "C-1", *FACTS, "-s", "limits.voltage=2.5 V to 4.2 V")
    text = (folder / "data" / "cells" / "C-1.yaml").read_text()
    assert text == (
        "# A cell, written by `daq cell`; see docs/cells.md.\n"
        "cell: C-1\nnominal_capacity: 2.5 Ah\nsupplier: Acme\n"
        "limits:\n  voltage: [2.5 V, 4.2 V]\n"
    )
    json.dumps(daq("cell", "show", "C-1", "--json").json, allow_nan=False)
