"""`daq figures`, `daq report` and `daq compare`: what they print, write and draw."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daq import cli
from daq.errors import InputError
from daq.figures.counted import Amount, StepCounted
from daq.journal import JournalReader
from daq.report import comparison, document, tables
from daq.report.batch_picture import comparison_picture
from daq.report.data import RunData, load
from daq.report.drawing import resistance_picture, time_picture
from daq.report.identity import identity
from daq.report.page import page
from daq.report.pdf import write_pdf
from daq.report.pictures import pictures
from daq.report.summary import Choices, Summary, summarise
from tests import runs
from tests.unit.figures.conftest import Made
from tests.virtual import closed_file

NASTY = '<script>alert("x")</script> & $\\frac{1}{0}$ Zelle №7'


@pytest.fixture(scope="module")
def summary(made: Made) -> Summary:
    return summarise(made.data)


@pytest.fixture
def speak(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command line in this process: exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        code = cli.run([str(word) for word in words])
        return (code, *capsys.readouterr())

    return run


def crude(folder: Path, number: int = 1, **changes: Any) -> RunData:
    """A run of the crude cell, closed and read."""
    info = runs.run_info(f"A{number}-20260921-001", f"A{number}", **changes)
    journal = folder / f"{number}.sqlite"
    runs.write(journal, (info, runs.formation(info)))
    return load(closed_file(journal, info.id, folder))


FACTS = {
    "filling_line": 2,
    "mass_g": 46.1,
    "supplier_lot": "S1",
    "positive": {
        "thickness_m": 6.8e-05,
        "coat_weight_mg_cm2": 17.2,
        "drying": {"temperature_degC": 120.0, "time_s": 43200.0, "atmosphere": "vacuum"},
    },
}


def test_what_is_known_of_a_cell_is_told_in_words_and_units(tmp_path: Path) -> None:
    data = crude(tmp_path)
    data.facts["cell"]["metadata"] = FACTS
    told = dict(identity(summarise(data)))
    assert (told["Filling line"], told["Mass"], told["Supplier lot"]) == ("2", "46.1 g", "S1")
    assert told["Positive"] == (
        "thickness 68 µm, coat weight 17.2 mg/cm², "
        "drying temperature 120 °C, time 12 h, atmosphere vacuum"
    )


def test_a_cell_that_gave_more_than_it_had_got_is_told_to_have_been_charged(
    summary: Summary,
) -> None:
    said = "CE above 100 %: the cell was not empty"
    assert said not in tables.cycles_table(summary).note
    assert tables.more_than_all([99.0, nan, 100.4]) == ""
    assert said in tables.more_than_all([nan, 118.0])
    charged = [replace(one, coulombic_efficiency_pct=118.0) for one in summary.cycles]
    assert said in tables.cycles_table(replace(summary, cycles=tuple(charged))).note


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "data")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_figures_of_a_run_are_one_json_document(made: Made, speak: Any) -> None:
    code, out, _ = speak("figures", made.file, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["cell"] == "NMC-0042"
    assert [cycle["cycle"] for cycle in found["cycles"]] == [1, 2]
    assert found["retention_reference_cycle"] == 1
    assert found["cycles"][0]["deviation_pct"] < 0.05
    assert found["steps"][1]["kind"] == "cccv"
    assert found["steps"][1]["end_reason"] == "current <= C/20"
    assert "NaN" not in out
    (spectrum,) = found["spectra"]
    assert spectrum["kramers_kronig"]["sound"] is True
    assert {p["name"] for p in spectrum["fit"]["parameters"]} >= {"R0", "R1", "R2"}
    assert len(spectrum["fit"]["residual_real_pct"]) == len(spectrum["fit"]["frequency_Hz"])
    pulse = next(one for one in found["pulses"] if one["step_lasts_s"] < 40)
    assert [at["after_s"] for at in pulse["resistances"]] == [0.1, 1, 10, 18, 30]
    assert "Gaussian" in found["method"]["dqdv"]


def test_the_figures_are_tables_for_people(made: Made, speak: Any) -> None:
    code, out, _ = speak("figures", made.file, "--reference", "2", "--circuit", "R0-p(R1,C1)-CPE2")
    assert code == 0
    for title in ("The run", "Cycles", "Steps", "DC resistance", "Spectrum of cycle 2"):
        assert f"\n{title}" in out
    assert "over that of cycle 2" in out
    assert re.search(r"^R1 +0\.0\d+ ", out, re.M)
    assert "CE / %" in out and "nan" not in out


def test_on_a_narrow_terminal_no_number_is_cut_nor_left_out(
    made: Made, speak: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, whole, _ = speak("figures", made.file)
    monkeypatch.setenv("COLUMNS", "60")
    _, narrow, _ = speak("figures", made.file)
    assert "…" not in narrow
    numbers = re.compile(r"[\d.]+")
    assert set(numbers.findall(whole)) == set(numbers.findall(narrow))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--reference", "7"], "has no cycle 7"),
        (["--circuit", "R0-p(R1"], "no part of a circuit"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(made: Made, speak: Any, words: Any, said: str) -> None:
    code, out, err = speak("figures", made.file, *words)
    assert (code, out) == (2, "")
    assert said in err


def test_the_report_is_one_page_that_needs_nothing_from_elsewhere(
    made: Made, speak: Any, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "report.html"
    code, said, _ = speak("report", made.file, "--out", out, "--pdf", "--json")
    assert code == 0
    assert json.loads(said) == {"page": str(out), "pdf": str(out.with_suffix(".pdf"))}
    text = out.read_text("utf-8")
    seen = Page(text)
    assert "script" not in seen.tags and "link" not in seen.tags
    assert len(seen.links) == 7
    assert all(link.startswith("data:image/png;base64,") for link in seen.links)
    assert not re.search(r"url\(|@import|https?://", text)
    for words in ("NMC-0042", "CE / %", "PalmSens EmStat Pico S1", "L-991", "Cycles"):
        assert words in seen.words, words
    pdf = out.with_suffix(".pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", pdf)) >= 9  # identity, seven pictures, tables


def test_a_report_for_paper_alone_is_no_page_with_a_wrong_name(
    made: Made, speak: Any, tmp_path: Path
) -> None:
    code, said, _ = speak("report", made.file, "--out", tmp_path / "r.pdf", "--json")
    assert (code, json.loads(said)) == (0, {"pdf": str(tmp_path / "r.pdf")})
    assert (tmp_path / "r.pdf").read_bytes().startswith(b"%PDF-")


def test_names_that_people_give_cannot_break_the_page(tmp_path: Path) -> None:
    cell = runs.document()["cell"] | {"id": NASTY, "batch": NASTY, "metadata": {NASTY: NASTY}}
    summary = summarise(crude(tmp_path, cell=cell, operator=NASTY), Choices(circuit=""))
    text = page(summary)
    seen = Page(text)
    assert "script" not in seen.tags
    assert seen.words.count(NASTY) >= 5  # title, heading, cell, batch, operator, metadata
    write_pdf(summary, tmp_path / "nasty.pdf")
    found = comparison.compare([summary, summarise(crude(tmp_path, 2), Choices(circuit=""))])
    comparison_picture(found).savefig(tmp_path / "nasty.png")


def test_a_picture_is_drawn_of_all_that_there_is_and_of_nothing_else(
    summary: Summary, tmp_path: Path
) -> None:
    assert len(pictures(summary)) == 7
    bare = runs.run_info(instruments=[], protocol={})
    entries = runs.formation(bare, cycles=0, points=0)
    runs.write(tmp_path / "j.sqlite", (bare, entries))
    with JournalReader(tmp_path / "j.sqlite") as reader:
        little = summarise(load(reader, bare.id))
    assert [title for title, _, _ in pictures(little)] == [
        "Voltage, current and temperature over time"
    ]
    assert [table.title for table in tables.tables(little)] == ["The run", "Steps"]
    assert "A1" in page(little)


def test_the_tables_of_a_page_are_those_of_the_terminal(summary: Summary) -> None:
    words = Page(page(summary)).words
    for table in tables.tables(summary):
        assert table.title in words
        assert all(cell in words for row in table.rows for cell in row if cell)


def test_a_long_table_goes_on_over_pages(summary: Summary, tmp_path: Path) -> None:
    from daq.report.paper import table_pages
    from daq.report.tables import Table

    table = Table("Steps", ("Pass", "Why"), tuple((str(n), "time") for n in range(100)), "End.")
    shown = [text.get_text() for one in table_pages([table]) for text in one.texts]
    assert [text for text in shown if text.isdigit()] == [str(n) for n in range(100)]
    titles = [text for text in shown if text.startswith("Steps")]
    assert titles[0] == "Steps"
    assert titles[1].startswith("Steps (continued, from row ")
    assert shown.count("End.") == 1


def test_a_report_says_that_its_time_was_not_real(tmp_path: Path) -> None:
    lab = runs.document()["lab"]
    for number, factor in enumerate((1.0, 300.0), 1):
        data = crude(tmp_path, number, lab=lab | {"clock_factor": factor})
        told = dict(identity(summarise(data, Choices(circuit=""))))
        assert ("Clock" in told) == (factor == 300.0)
    assert told["Clock"].startswith("300 x real time: simulated")


def test_no_name_of_a_frequency_stands_on_another() -> None:
    from itertools import combinations

    from matplotlib.figure import Figure

    from daq.recorder.plot import mark_decades

    axis = Figure(figsize=(5, 5)).subplots()
    hertz = np.logspace(-2, 4, 37)
    z_ohm = 20 + 10 / (1 + 1j * hertz / 30) + 20 / (1 + 1j * hertz / 0.6)
    mark_decades(axis, hertz, z_ohm.real, -z_ohm.imag)
    rooms = {note.get_text(): note.get_window_extent() for note in axis.texts}
    assert {"10 mHz", "10 kHz", "10 Hz"} <= set(rooms)
    assert not any(a.overlaps(b) for a, b in combinations(rooms.values(), 2))


def test_short_tables_share_a_page_and_none_is_cut_for_it() -> None:
    from daq.report.paper import table_pages
    from daq.report.tables import Table

    sizes = {"one": 3, "two": 8, "three": 20, "four": 30}
    made = [
        Table(name, ("Pass",), tuple(("x",) for _ in range(n)), "") for name, n in sizes.items()
    ]
    titles = [
        [text.get_text() for text in page.texts if text.get_text() in sizes]
        for page in table_pages(made)
    ]
    assert titles == [["one", "two"], ["three"], ["four"]]


def test_alarms_and_gaps_of_a_run_are_told(tmp_path: Path) -> None:
    from daq.model import Event, EventKind

    info = runs.run_info()
    entries = list(runs.formation(info, cycles=1))
    at = runs.START_UTC_S + 600
    what = {"check": "V1", "message": "4.31 V is above 4.30 V of station A1"}
    gap = {"from_utc_s": at, "to_utc_s": at + 60, "reason": "the daemon was not running"}
    entries[5:5] = [
        Event(EventKind.TRIP, at, "A1", info.id, 600.0, what),
        Event(EventKind.GAP, at + 60, "A1", info.id, 660.0, gap),
    ]
    runs.write(tmp_path / "j.sqlite", (info, entries))
    with JournalReader(tmp_path / "j.sqlite") as reader:
        summary = summarise(load(reader, info.id), Choices(circuit=""))
    table = next(one for one in tables.tables(summary) if one.title.startswith("Alarms"))
    assert [row[1:] for row in table.rows] == [
        ("trip", "V1: 4.31 V is above 4.30 V of station A1"),
        ("gap", "the daemon was not running"),
    ]
    assert "the daemon was not running" in page(summary)


def drawn_over(summary: Summary, socs_pct: list[float]) -> str:
    """What the resistances are drawn over if each cycle has its pulse at this state of charge."""
    pulse = next(one for one in summary.pulses if one.edge == "on" and one.lasts_s < 60.0)
    found = [replace(pulse, cycle=n, soc_pct=soc) for n, soc in enumerate(socs_pct, start=1)]
    figure = resistance_picture(replace(summary, pulses=tuple(found)))
    return str(figure.axes[0].get_xlabel())


def test_pulses_of_every_cycle_at_one_state_of_charge_are_drawn_over_the_cycles(
    summary: Summary,
) -> None:
    assert drawn_over(summary, [50.2, 50.9, 51.4]) == "Cycle"
    assert drawn_over(summary, [90.0, 70.0, 50.0]) == "State of charge / %"
    assert drawn_over(summary, [50.2]) == "State of charge / %"
    assert drawn_over(summary, [50.2, nan, 50.3]) == "Net charge / Ah"


def test_kinds_of_one_tint_share_an_entry_of_the_legend(summary: Summary) -> None:
    legend = time_picture(summary).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["cccv, charge", "discharge", "eis"]


def counted(count: int, **changes: Any) -> StepCounted:
    charge = Amount(1.001, 1.001, 1.0, 1e-6, energised=True)
    energy = Amount(3.7037, 3.7037, 3.7, 1e-6, energised=True)
    return replace(StepCounted(count, count, 1, charge, energy, ""), **changes)


def test_a_cycler_s_own_counters_are_a_table_and_a_line_below_the_totals(summary: Summary) -> None:
    held = replace(summary, counted={2: counted(2), 3: counted(3)})
    (table,) = (one for one in tables.tables(held) if "own counters" in one.title)
    assert table.rows[0] == ("2", "2", "1.0010", "1.0000", "0.100", "3.7037", "3.7000", "0.100")
    assert len(table.headings) == len(table.rows[0])
    totals = tables.totals_table(held)
    assert "own counters differ by 0.100 % in charge, 0.100 % in energy" in totals.note
    assert "own counters" not in tables.totals_table(summary).note


def test_a_step_that_the_cycler_did_not_count_says_why(summary: Summary) -> None:
    none = Amount(nan, nan, nan, nan, energised=True)
    lost = counted(3, charge_Ah=none, energy_Wh=none, missing="the link was lost in between")
    held = replace(summary, counted={2: counted(2), 3: lost})
    (table,) = (one for one in tables.tables(held) if "own counters" in one.title)
    assert [row[-1] for row in table.rows] == ["", "the link was lost in between"]
    assert len(table.headings) == len(table.rows[0])


# A batch.


@pytest.fixture
def batch(tmp_path: Path) -> list[Path]:
    """Six cells; the last has lost a quarter of its capacity."""
    files = []
    for number in range(1, 7):
        cell = runs.document()["cell"] | {"id": f"NMC-{number:04d}"}
        cell["nominal_capacity_Ah"] = 2.0 if number < 6 else 2.7
        crude(tmp_path, number, cell=cell)
        files.append(tmp_path / f"A{number}-20260921-001.h5")
    return files


def test_cells_of_a_batch_that_are_not_alike_are_named(tmp_path: Path) -> None:
    plain = runs.document()["cell"]
    others = ({}, {"nominal_capacity_Ah": 2.7}, {"chemistry": "LFP"}, {"chemistry": ""})
    made = [
        summarise(
            crude(tmp_path, number, cell=plain | {"id": f"c{number}"} | change),
            Choices(circuit=""),
        )
        for number, change in enumerate(others)
    ]
    found = comparison.compare(made)
    assert comparison.document(found)["differences"] == {
        "chemistry": {"nmc-graphite": ["c0", "c1"], "LFP": ["c2"], "not known": ["c3"]},
        "nominal capacity": {"2 Ah": ["c0", "c2", "c3"], "2.7 Ah": ["c1"]},
    }
    note = comparison.cells_table(found).note
    assert "NOT ALIKE in nominal capacity: 2 Ah (c0, c2, c3); 2.7 Ah (c1)." in note
    alike = comparison.compare([made[0], replace(made[0], data=crude(tmp_path, 5, cell=plain))])
    assert comparison.differences(alike) == {}
    assert "NOT ALIKE" not in comparison.cells_table(alike).note


@pytest.mark.parametrize("name", ["nix.yaml", ".", "folder/run", "run.csv", "run.h5.part"])
def test_what_is_neither_a_run_nor_its_file_is_said_to_be_neither(name: str, speak: Any) -> None:
    code, out, err = speak("figures", name)
    assert (code, out) == (2, "")
    assert f"{name} is neither the id of a run nor a .h5 file" in err
    assert "daq runs" in err


def test_a_batch_has_its_spread_and_its_yield(batch: list[Path], speak: Any) -> None:
    code, out, _ = speak("compare", *batch, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["formation_yield_pct"] == pytest.approx(100 * 5 / 6)
    bad = [cell for cell in found["cells"] if not cell["good"]]
    assert [cell["cell"] for cell in bad] == ["NMC-0006"]
    assert bad[0]["fault"] == "capacity 72.6 % of nominal"
    spread = found["spread"]["first_coulombic_efficiency_pct"]
    assert (spread["count"], spread["median"]) == (6, pytest.approx(86.0))
    assert "0.6745" in found["outlier_rule"]
    stricter = speak("compare", *batch, "--json", "--circuit", "none", "--least-efficiency", "99")
    assert json.loads(stricter[1])["formation_yield_pct"] == 0.0


def test_a_batch_is_drawn_and_printed(batch: list[Path], speak: Any, tmp_path: Path) -> None:
    picture = tmp_path / "batch.png"
    code, out, _ = speak("compare", *batch, "--circuit", "none", "--out", picture)
    assert code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "Yield: 5 of 6 cells, 83.3 %" in out
    assert str(picture) in out.replace("\n", "")
    code, _, err = speak("compare", *batch, "--circuit", "none", "--out", tmp_path / "batch.docx")
    assert code == 2 and ".png" in err


def test_a_cell_that_is_not_good_is_named_so_beside_its_line(batch: list[Path]) -> None:
    found = comparison.compare([summarise(load(path), Choices(circuit="")) for path in batch])
    labels = {line.get_label() for line in comparison_picture(found).axes[0].lines}
    assert {"NMC-0005", "NMC-0006, not good"} <= labels


def test_many_cells_are_drawn_too(batch: list[Path]) -> None:
    several = [summarise(load(path), Choices(circuit="")) for path in batch]
    cell = dict(several[0].data.facts["cell"])
    for number in range(7, 40):
        facts = several[0].data.facts | {"cell": cell | {"id": f"NMC-{number:04d}"}}
        data = RunData(
            facts, several[0].data.rows, several[0].data.spectra, (), several[0].data.unseen
        )
        several.append(summarise(data, Choices(circuit="")))
    found = comparison.compare(several)
    labels = {line.get_label() for line in comparison_picture(found).axes[0].lines}
    assert {"38 good ones", "NMC-0006"} <= labels


@pytest.mark.parametrize("count", [1, 2])
def test_a_comparison_needs_two_different_runs(batch: list[Path], speak: Any, count: int) -> None:
    code, out, err = speak("compare", *[batch[0]] * count, "--circuit", "none")
    assert (code, out) == (2, "")
    assert "two runs" in err or "named twice" in err
    with pytest.raises(InputError):
        comparison.compare([])


def test_a_document_has_no_number_that_json_has_not() -> None:
    assert document.plain({"a": float("nan"), "b": (1.0, float("inf"))}) == {
        "a": None,
        "b": [1.0, None],
    }
