"""What a start is about: a cell that is known and free, and the protocol that is meant."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daq.control.choice import chosen_cell, chosen_protocol, refuse_if_mounted
from daq.errors import CommandRefused, InputError
from daq.model import Cell
from daq.protocol.source import parse_protocol
from daq.registry import cells as book
from daq.registry.cells import Cells
from daq.registry.protocols import Protocols
from daq.registry.shelf import Who

ANA = Who("ana")
IN_FILE = Cell("L-0001", 1.0, origin={"source": "lab file"})


def text(version="1.0.0", name="rest-only", rest="10 min"):
    return f"protocol: {name}\nversion: {version}\nsteps:\n  - rest: {rest}\n"


@pytest.fixture
def lab(tmp_path: Path) -> Any:
    folder = tmp_path / "protocols"
    folder.mkdir()
    (folder / "mine.yaml").write_text(text(name="mine"))
    made = SimpleNamespace(data=tmp_path / "data", protocols=folder, cells={"L-0001": IN_FILE})
    cells = Cells(made.data, made.cells)
    facts = {"cell": "C-0042", "nominal_capacity": "2.5 Ah", "supplier": "Acme"}
    book.store(cells, [cells.draft(facts)], ANA)
    return made


@pytest.fixture
def released(lab) -> Protocols:
    protocols = Protocols(lab.data)
    for version in ("1.0.0", "1.1.0"):
        protocols.release(parse_protocol(text(version)), ANA)
    protocols.roll_out("rest-only", "1.0.0", [], ANA)
    return protocols


# Cells.


def test_a_cell_is_that_of_the_registry_or_of_the_lab_file(lab):
    assert chosen_cell(lab, {"cell": "C-0042"}).metadata["supplier"] == "Acme"
    assert chosen_cell(lab, {"cell": "L-0001"}) is IN_FILE


def test_a_correction_holds_from_the_next_start_on_without_a_restart(lab):
    before = chosen_cell(lab, {"cell": "C-0042"})
    cells = Cells(lab.data, lab.cells)
    book.change(cells, "C-0042", lambda d: {**d, "supplier": "Bolt"}, cells.resolved, ANA)
    after = chosen_cell(lab, {"cell": "C-0042"})
    assert (before.metadata["supplier"], after.metadata["supplier"]) == ("Acme", "Bolt")
    assert before.origin["sha256"] != after.origin["sha256"]


def test_an_unknown_cell_is_refused_with_the_nearest_id_and_how_to_register_it(lab):
    with pytest.raises(InputError) as caught:
        chosen_cell(lab, {"cell": "C-0024"})
    said = str(caught.value)
    assert "knows no cell 'C-0024'" in said
    assert "did you mean 'C-0042'?" in said
    assert "daq cell add C-0024" in said


@pytest.mark.parametrize("ident", ["", "../x", "a b", "x" * 65])
def test_what_is_no_id_is_refused(ident, lab):
    with pytest.raises(InputError):
        chosen_cell(lab, {"cell": ident})
    with pytest.raises(InputError):
        chosen_cell(lab, {"cell": ident, "unregistered": True, "capacity": "1 Ah"})


def test_a_cell_that_is_wrongly_described_is_not_called_unknown(lab):
    (lab.data / "cells" / "C-0042.yaml").write_text("cell: C-0042\nsuplier: x\n")
    with pytest.raises(InputError, match=r"C-0042\.yaml:2:1: unknown key 'suplier'"):
        chosen_cell(lab, {"cell": "C-0042"})


def test_an_unregistered_cell_needs_to_be_called_so_and_to_have_a_capacity(lab):
    arguments = {"cell": "X-1", "unregistered": True, "capacity": "80 mAh"}
    cell = chosen_cell(lab, arguments)
    assert (cell.id, cell.nominal_capacity_Ah) == ("X-1", 0.08)
    assert cell.origin == {"source": "unregistered"}
    assert cell.metadata == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"cell": "X-1", "unregistered": True}, "there is no value"),
        ({"cell": "X-1", "unregistered": True, "capacity": "2.5"}, "has no unit"),
        ({"cell": "X-1", "unregistered": True, "capacity": "0 Ah"}, "is no capacity"),
        ({"cell": "X-1", "unregistered": True, "capacity": "-1 Ah"}, "is no capacity"),
        ({"cell": "X-1", "unregistered": True, "capacity": "1e9 Ah"}, "is no capacity"),
        ({"cell": "X-1", "capacity": "2.5 Ah"}, "only for an unregistered cell"),
        ({"cell": "C-0042", "capacity": "9 Ah"}, "only for an unregistered cell"),
        ({"cell": "C-0042", "unregistered": True, "capacity": "9 Ah"}, "cell C-0042 is known"),
        ({"cell": "L-0001", "unregistered": True, "capacity": "9 Ah"}, "cell L-0001 is known"),
    ],
)
def test_nobody_gets_another_capacity_by_saying_that_a_cell_is_unknown(arguments, says, lab):
    with pytest.raises(InputError, match=says):
        chosen_cell(lab, arguments)


def stations(**cells: str) -> dict[str, Any]:
    def one(name: str, cell: str) -> Any:
        run = SimpleNamespace(info=SimpleNamespace(cell=cell, id=f"run-{name}")) if cell else None
        return SimpleNamespace(name=name, conductor=SimpleNamespace(run=run))

    return {name: one(name, cell) for name, cell in cells.items()}


def test_a_cell_that_is_under_a_run_elsewhere_is_refused_with_the_place():
    bench = stations(A1="", A2="C-1", A3="C-2")
    with pytest.raises(CommandRefused, match="cell C-1 is being tested at A2, in run run-A2"):
        refuse_if_mounted("C-1", bench["A1"], bench.values())
    refuse_if_mounted("C-9", bench["A1"], bench.values())
    refuse_if_mounted("C-1", bench["A2"], bench.values())  # being busy is refused elsewhere


# Protocols.


def test_a_bare_name_is_the_version_that_was_rolled_out_to_the_station(lab, released):
    released.roll_out("rest-only", "1.1.0", ["A2"], ANA)
    for station, version in (("A1", "1.0.0"), ("A2", "1.1.0"), ("A3", "1.0.0")):
        source, release = chosen_protocol(lab, station, {"protocol": "rest-only"})
        assert source.model.version == version
        assert release is not None
        assert release["who"] == "ana"


def test_a_name_that_was_never_rolled_out_here_is_refused_and_no_file_stands_in_for_it(lab):
    (lab.protocols / "rest-only").write_text(text("9.9.9"))
    protocols = Protocols(lab.data)
    assert chosen_protocol(lab, "A1", {"protocol": "rest-only"})[0].model.version == "9.9.9"
    protocols.release(parse_protocol(text("1.0.0")), ANA)
    with pytest.raises(CommandRefused, match="no version of rest-only was rolled out to A1"):
        chosen_protocol(lab, "A1", {"protocol": "rest-only"})


def test_a_file_of_the_folder_and_a_text_go_as_they_did_and_nobody_has_released_them(lab):
    source, release = chosen_protocol(lab, "A1", {"protocol": "mine.yaml"})
    assert (source.model.protocol, release) == ("mine", None)
    source, release = chosen_protocol(lab, "A1", {"text": text(name="other"), "name": "o.yaml"})
    assert (source.model.protocol, release) == ("other", None)


def test_a_text_that_calls_itself_a_released_version_must_be_it(lab, released):
    assert chosen_protocol(lab, "A1", {"text": text("1.1.0")})[1] is not None
    with pytest.raises(InputError, match="rest-only 1.1.0 was released with another text"):
        chosen_protocol(lab, "A1", {"text": text("1.1.0", rest="11 min")})
    assert chosen_protocol(lab, "A1", {"text": text("1.1.1", rest="11 min")})[1] is None


def test_the_files_that_a_protocol_brings_come_with_it_as_a_mapping(lab):
    outer = "protocol: outer\nversion: 1.0.0\nsteps:\n  - include: inner.yaml\n"
    arguments = {"text": outer, "files": {"inner.yaml": text(name="inner")}}
    assert chosen_protocol(lab, "A1", arguments)[0].files == arguments["files"]
    with pytest.raises(CommandRefused, match="files must be a mapping"):
        chosen_protocol(lab, "A1", {"text": outer, "files": ["inner.yaml"]})


PLAYS = (
    "protocol: plays\nversion: 1.0.0\nparameters: {course: a.csv}\n"
    "safety: {voltage: [2.5 V, 4.2 V]}\nsteps:\n  - profile: {file: $course}\n"
)
COURSES = {f"{name}.csv": f"time_s,rate_C\n0,0.{n}\n9,0\n" for n, name in enumerate("abc", 1)}


def test_a_start_may_choose_another_file_and_only_what_it_plays_comes_with_it(lab):
    for name, table in COURSES.items():
        (lab.protocols / name).write_text(table)
    (lab.protocols / "plays.yaml").write_text(PLAYS)
    plain = {"text": PLAYS, "files": COURSES}
    for given in ({"protocol": "plays.yaml"}, plain):
        as_written, _ = chosen_protocol(lab, "A1", given)
        assert set(as_written.files) == {"a.csv"}
        source, _ = chosen_protocol(lab, "A1", given | {"parameters": {"course": "b.csv"}})
        assert set(source.files) == {"a.csv", "b.csv"}
        assert source.sha256 != as_written.sha256
        for wrong, says in (
            ({"curse": "b.csv"}, "no parameter 'curse'"),
            ({"course": "d.csv"}, "d.csv"),
            ({"course": "../b.csv"}, "not the name"),
        ):
            with pytest.raises(InputError, match=says):
                chosen_protocol(lab, "A1", given | {"parameters": wrong})


def test_an_unknown_name_is_refused_with_those_there_are(lab, released):
    with pytest.raises(CommandRefused, match="no protocol 'nope'.*rest-only, mine.yaml"):
        chosen_protocol(lab, "A1", {"protocol": "nope"})
