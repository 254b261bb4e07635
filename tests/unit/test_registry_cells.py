"""The registry of cells and batches: what is known, who said it, and what a power cut leaves."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from daq.cellfile import described
from daq.errors import DaqError, InputError
from daq.model import Cell
from daq.registry import cells as book
from daq.registry import durable
from daq.registry.cells import Cells
from daq.registry.shelf import Who
from daq.registry.words import as_yaml
from daq.yamlfile import parse

ANA = Who("ana", "as on the label")
BATCH = {
    "batch": "B7",
    "chemistry": "NMC622/graphite",
    "nominal_capacity": "2.5 Ah",
    "supplier_lot": "L2291",
    "assembled": "2025-02-10",
    "positive": {
        "material": "NMC622",
        "coat_weight": "17.2 mg/cm^2",
        "drying": {"temperature": "120 degC", "time": "12 h", "atmosphere": "vacuum"},
    },
    "limits": {"voltage": ["2.5 V", "4.2 V"]},
    "metadata": {"line": "2"},
}


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    known = Cells(tmp_path, {"L-1": Cell("L-1", 1.0, origin={"source": "lab file"})})
    book.store(known.batches, [known.batches.checked(BATCH)], ANA)
    return known


def add(cells: Cells, ident: str, change: bool = False, **facts: Any) -> str:
    (outcome,) = book.store(cells, [cells.draft({"cell": ident, **facts})], ANA, change=change)
    return outcome.what


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


# What a cell comes to.


def test_a_cell_has_what_its_batch_says_and_its_own_word_goes_before(cells):
    add(cells, "C-1", batch="B7", positive={"active_mass": "14.1 g", "material": "NMC811"})
    cell = cells.cell("C-1")
    assert (cell.nominal_capacity_Ah, cell.chemistry, cell.batch) == (2.5, "NMC622/graphite", "B7")
    assert cell.limits.voltage_V == (2.5, 4.2)
    assert cell.metadata == {
        "supplier_lot": "L2291",
        "assembled": "2025-02-10",
        "line": "2",
        "positive": {
            "material": "NMC811",
            "coat_weight_mg_cm2": 17.2,
            "active_mass_g": 14.1,
            "drying": {"temperature_degC": 120.0, "time_s": 43200.0, "atmosphere": "vacuum"},
        },
    }


def test_of_the_limits_of_a_cell_and_its_batch_both_hold(cells):
    limits = {"voltage": ["2.0 V", "4.1 V"], "current": ["-5 A", "2 A"]}
    add(cells, "C-1", batch="B7", limits=limits)
    assert cells.cell("C-1").limits.voltage_V == (2.5, 4.1)
    assert cells.cell("C-1").limits.current_A == (-5.0, 2.0)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (
            {"batch": "B7", "limits": {"voltage": ["1 V", "2 V"]}},
            "voltage limits .* nothing in common",
        ),
        ({"batch": "b7", "nominal_capacity": "1 Ah"}, "no batch 'b7'.*did you mean 'B7'"),
        ({}, "cell C-1 lacks a nominal capacity"),
        ({"nominal_capacity": "2.5 V"}, "'2.5 V' is a voltage"),
        ({"nominal_capacity": "2.5"}, "has no unit"),
        ({"nominal_capacity": "2.5 Ah", "suplier": "x"}, "unknown key 'suplier'.*'supplier'"),
        ({"nominal_capacity": "2.5 Ah", "assembled": "10.2.2025"}, "is not a date"),
        ({"nominal_capacity": "2.5 Ah", "positive": {"coat_weight": "17 g"}}, "coat|areal|'17 g'"),
    ],
)
def test_what_is_no_cell_is_refused_and_nothing_is_written(facts, says, cells, tmp_path):
    before = files(tmp_path)
    with pytest.raises(InputError, match=says):
        add(cells, "C-1", **facts)
    assert files(tmp_path) == before


def test_a_cell_of_a_batch_that_says_no_capacity_needs_its_own(cells):
    draft = cells.batches.checked({"batch": "B9"})
    book.store(cells.batches, [draft], ANA)
    with pytest.raises(InputError, match="neither cell C-1 nor its batch says a nominal capacity"):
        add(cells, "C-1", batch="B9")
    assert add(cells, "C-1", batch="B9", nominal_capacity="1 Ah") == "added"


def test_an_unknown_cell_is_answered_with_the_nearest_and_is_never_taken_for_it(cells):
    add(cells, "C2025-0117", batch="B7")
    with pytest.raises(InputError, match=r"knows no cell 'C2025-0171' \(did you mean 'C2025-0117'"):
        cells.cell("C2025-0171")
    with pytest.raises(InputError, match="knows no cell 'L-2'.*did you mean 'L-1'"):
        cells.cell("L-2")


def test_the_answer_about_an_unknown_cell_does_not_list_thousands(cells):
    for number in range(20):
        add(cells, f"C-{number}", batch="B7")
    with pytest.raises(InputError) as caught:
        cells.cell("something-else")
    assert len(str(caught.value)) < 120


def test_a_cell_of_the_lab_file_stays_as_it_is_and_cannot_be_registered_too(cells):
    assert cells.cell("L-1").origin == {"source": "lab file"}
    with pytest.raises(InputError, match="cell L-1 is described in the lab file and in the reg"):
        add(cells, "L-1", batch="B7")


def test_a_cell_that_came_into_the_lab_file_later_is_refused_not_guessed(cells, tmp_path):
    add(cells, "C-1", batch="B7")
    both = Cells(tmp_path, {"C-1": Cell("C-1", 9.0)})
    with pytest.raises(InputError, match="in the lab file and in the registry"):
        both.cell("C-1")


def test_the_record_says_which_texts_it_was_made_of(cells):
    add(cells, "C-1", batch="B7")
    origin = cells.cell("C-1").origin
    assert origin["source"] == "registry"
    assert origin["sha256"] == cells.history("C-1")[-1]["sha256"]
    assert origin["batch_sha256"] == cells.batches.history("B7")[-1]["sha256"]


# Ids.


@pytest.mark.parametrize(
    "ident",
    ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", ".x", "x" * 65, "a b", "ä", "a\n"],
)
def test_no_id_leads_out_of_the_folder(ident, cells, tmp_path):
    before = files(tmp_path)
    with pytest.raises(InputError):
        cells.draft({"cell": ident, "nominal_capacity": "1 Ah"})
    with pytest.raises(InputError):
        cells.find(ident)
    assert files(tmp_path) == before


def test_a_file_that_was_renamed_by_hand_is_refused(cells):
    add(cells, "C-1", batch="B7")
    (cells.folder / "C-1.yaml").rename(cells.folder / "C-2.yaml")
    with pytest.raises(InputError, match=r"C-2\.yaml:2:7: the file of cell C-2 is about cell C-1"):
        cells.cell("C-2")


def test_a_mistake_that_was_typed_into_a_file_is_shown_with_its_place(cells):
    add(cells, "C-1", batch="B7")
    path = cells.folder / "C-1.yaml"
    path.write_text(path.read_text() + "suplier: x\n")
    with pytest.raises(InputError, match=r"C-1\.yaml:4:1: unknown key 'suplier'"):
        cells.cell("C-1")


# Changes.


def test_the_same_again_is_no_change_and_something_else_is_refused(cells, tmp_path):
    assert add(cells, "C-1", batch="B7") == "added"
    before = files(tmp_path)
    assert add(cells, "C-1", batch="B7") == "same"
    with pytest.raises(InputError, match="C-1 is registered already, with other facts"):
        add(cells, "C-1", batch="B7", supplier="x")
    assert files(tmp_path) == before
    assert add(cells, "C-1", change=True, batch="B7", supplier="x") == "changed"


def test_the_history_has_every_text_who_wrote_it_and_why(cells):
    add(cells, "C-1", batch="B7")
    first = (cells.folder / "C-1.yaml").read_text()
    book.change(
        cells, "C-1", lambda data: {**data, "operator": "bo"}, cells.resolved, Who("bo", "typo")
    )
    book.remove(cells, "C-1", Who("ana", "never existed"))
    history = cells.history("C-1")
    assert [(one["who"], one["what"], one["reason"]) for one in history] == [
        ("ana", "added", "as on the label"),
        ("bo", "changed", "typo"),
        ("ana", "removed", "never existed"),
    ]
    assert history[0]["text"] == first
    assert "operator: bo" in history[1]["text"]
    assert history[2]["text"] is None
    assert cells.ids() == []


def test_a_change_by_hand_is_in_the_history_before_the_next_one(cells):
    add(cells, "C-1", batch="B7")
    path = cells.folder / "C-1.yaml"
    by_hand = path.read_text() + "supplier: by hand\n"
    path.write_text(by_hand)
    book.change(cells, "C-1", lambda data: {**data, "operator": "bo"}, cells.resolved, ANA)
    found = cells.history("C-1")[1]
    assert (found["what"], found["text"], found["who"]) == ("found", by_hand, "")
    assert cells.cell("C-1").metadata["supplier"] == "by hand"


def test_an_id_cannot_be_changed(cells):
    add(cells, "C-1", batch="B7")
    with pytest.raises(InputError, match="an id cannot be changed"):
        book.change(cells, "C-1", lambda data: {**data, "cell": "C-2"}, cells.resolved, ANA)
    with pytest.raises(InputError, match="no cell 'C-9' in the registry"):
        book.change(cells, "C-9", lambda data: data, cells.resolved, ANA)


def test_a_change_of_a_batch_that_would_leave_a_cell_without_capacity_is_refused(cells):
    add(cells, "C-1", batch="B7")
    with pytest.raises(InputError, match="neither cell C-1 nor its batch"):
        book.change(
            cells.batches,
            "B7",
            lambda data: {key: data[key] for key in data if key != "nominal_capacity"},
            cells.check_batch,
            ANA,
        )
    assert cells.cell("C-1").nominal_capacity_Ah == 2.5


def test_of_many_records_all_are_written_or_none(cells):
    add(cells, "C-2", batch="B7")
    drafts = [cells.draft({"cell": f"C-{n}", "batch": "B7", "supplier": "x"}) for n in (1, 2, 3)]
    with pytest.raises(InputError, match="C-2 is registered already"):
        book.store(cells, drafts, ANA)
    assert cells.ids() == ["C-2"]


# Disks.


class Crash(Exception):
    """The power is gone."""


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("at", range(1, 9))
def test_wherever_the_power_fails_the_file_is_the_old_or_the_new_and_its_history_knows_it(
    call, at, cells, monkeypatch
):
    add(cells, "C-1", batch="B7")
    old = (cells.folder / "C-1.yaml").read_text()
    count = 0
    real = getattr(os, call)

    def fails(*arguments, **named):
        nonlocal count
        count += 1
        if count == at:
            raise Crash
        return real(*arguments, **named)

    monkeypatch.setattr(f"os.{call}", fails)
    try:
        add(cells, "C-1", change=True, batch="B7", supplier="x")
    except Crash:
        pass
    monkeypatch.undo()
    text = (cells.folder / "C-1.yaml").read_text()
    assert text == old or "supplier: x" in text
    assert text in [entry["text"] for entry in cells.history("C-1")]
    assert cells.cell("C-1").nominal_capacity_Ah == 2.5
    assert add(cells, "C-1", change=True, batch="B7", supplier="y") == "changed"
    assert cells.cell("C-1").metadata["supplier"] == "y"
    known = None
    for entry in cells.history("C-1"):  # whatever happened, no text is in the file unnoted
        known = entry["text"]
    assert known == (cells.folder / "C-1.yaml").read_text()


def test_a_torn_line_of_a_history_is_skipped_and_closed(tmp_path):
    path = tmp_path / "h.jsonl"
    durable.append(path, {"n": 1})
    with path.open("ab") as file:
        file.write(b'{"n": 2, "te')
    assert [entry["n"] for entry in durable.lines(path)] == [1]
    durable.append(path, {"n": 3})
    assert [entry["n"] for entry in durable.lines(path)] == [1, 3]


def test_a_full_disk_is_an_error_that_names_the_file(cells, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DaqError, match="cannot be written: No space left on device"):
        add(cells, "C-1", batch="B7")


def test_a_folder_that_belongs_to_somebody_else_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "os.open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
    )
    with (
        pytest.raises(DaqError, match="cannot be written: Permission denied"),
        durable.alone(tmp_path),
    ):
        pass


# Texts.

TRICKY = [
    "0012", "1e3", "true", "null", "~", "2025-03-31", "0x1f", "- x", "a: b", "a #b", "#", "&a",
    "*a", "!t", "", " x", "x ", '"', "'", "\\", "{", "[", "%", "@", "`", "|", ">", "?", "a,b",
    "1 M LiPF6", "2 % VC", "17.2 mg/cm^2", "Äther µm 日本", ".inf", ".5", "=", "<<", "yes", "-",
    "--- x", "...",
]  # fmt: skip


@pytest.mark.parametrize("text", TRICKY)
def test_every_text_is_written_so_that_it_is_read_back_as_it_is(text):
    data = {"a": text, "list": [text, text], "deep": {"b": {text.replace("<<", "k") or "k": text}}}
    assert parse(as_yaml(data)).data == data


def test_numbers_truth_and_empty_mappings_too():
    data = {"n": 1, "x": 2.5, "yes": True, "none": {}, "list": [], "nested": [{"a": [1, "1"]}]}
    assert parse(as_yaml(data, "a heading\nof two lines")).data == data


def test_what_cannot_be_written_is_refused():
    with pytest.raises(InputError):
        as_yaml({"a": "b\x00c"})
    with pytest.raises(InputError):
        as_yaml({"<<": "x"})


def test_a_document_of_a_cell_is_plain_json(cells):
    add(cells, "C-1", batch="B7", received="2025-03-31")
    json.dumps(dict(cells.cell("C-1").metadata), allow_nan=False)


def test_described_needs_no_batch(cells):
    entry = cells.draft({"cell": "C-1", "nominal_capacity": "1 Ah"})
    assert described("C-1", entry.model).origin == {}
