"""docs/data-files.md: every snippet is run, and its tables are those of the code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from daq.journal import JournalReader
from daq.recorder import columns
from daq.recorder.closed import write_closed
from daq.recorder.columns import Column
from daq.recorder.export import FORMATS
from daq.recorder.live import LiveFile
from tests import runs

PAGE = Path(__file__).parents[2] / "docs" / "data-files.md"
CLOSED, LIVE = "A1-20260921-001", "A2-20260921-004"


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)


def markdown(table: tuple[Column, ...]) -> str:
    lines = ["| column | unit | what |", "|---|---|---|"]
    lines += [f"| `{c.h5}` | {c.unit or '–'} | {c.description} |" for c in table]
    return "\n".join(lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a closed run and one that goes on."""
    closed, live = runs.run_info(CLOSED), runs.run_info(LIVE, "A2")
    entries = runs.without_end(runs.formation(live))
    runs.write(tmp_path / "journal.sqlite", (closed, runs.formation(closed)), (live, entries))
    (tmp_path / "data").mkdir()
    with JournalReader(tmp_path / "journal.sqlite") as reader:
        for _ in write_closed(reader, CLOSED, tmp_path / "data"):
            pass
    return tmp_path


def test_every_snippet_of_the_page_runs(folder: Path) -> None:
    info = runs.run_info(LIVE, "A2")
    live = LiveFile(folder / "data" / f"{LIVE}.h5.part", info)
    with JournalReader(folder / "journal.sqlite") as reader:
        for _ in live.fill(reader, LIVE):
            pass
    script = "\n".join(snippets("python"))
    # A process of its own, as a notebook would be: this one holds the live file open.
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True
    )
    live.finish()
    assert done.returncode == 0, done.stderr
    assert "41.70 h: 3.300 V, 0.000 A" in done.stdout
    assert "N6974A S1 calibrated 2026-03-01" in done.stdout
    assert "bench-3__NMC-0042__20260921_141320.bdf.csv" in done.stdout
    assert (folder / "run.png").exists()


def test_every_format_is_on_the_page_and_no_other() -> None:
    page = PAGE.read_text("utf-8").partition("<!-- formats -->")[2].partition("\n\nWhat")[0]
    cells = [line.split("|")[1] for line in page.strip().splitlines()[2:]]
    named = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    assert named - {"RUN.h5"} == set(FORMATS)


def test_the_hash_is_checked_as_the_page_says(folder: Path) -> None:
    (command,) = snippets("sh")
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True)
    assert done.stdout == f"{CLOSED}.h5: OK\n"


@pytest.mark.parametrize("name", ["RAW", "EIS", "CYCLES"])
def test_the_pages_tables_are_those_of_the_code(name: str) -> None:
    expected = f"<!-- table: {name} -->\n\n{markdown(getattr(columns, name))}\n"
    assert expected in PAGE.read_text("utf-8"), expected
