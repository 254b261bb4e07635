"""docs/: the lists on the pages are those of the code, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from daq import cli
from daq.checks import OFF
from daq.control import guard
from daq.model import EventKind
from daq.sentinel import SILENCE_S

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"])


def rows(page: str, mark: str) -> list[list[str]]:
    """The cells of the table that follows a mark."""
    text = (DOCS / page).read_text(encoding="utf-8").partition(f"<!-- {mark} -->")[2].strip()
    table = text.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_every_kind_of_event_is_described_and_no_other() -> None:
    assert {row[0].strip("`") for row in rows("events.md", "kinds")} == set(EventKind)


def test_every_check_that_can_trip_is_described_and_no_other() -> None:
    code = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "daq/control").rglob("*.py")
    )
    said = r'(?:Trip|Caution|__init__)\(\s*"([A-Z]\d)"(?:, "([A-Z]\d)")?'
    ids = {name for names in re.findall(said, code) for name in names if name}
    ids |= {"P3", "S2", "S3", "C1"}  # what neither trips nor warns: it counts, holds, stops, tries
    assert {row[0] for row in rows("safety.md", "checks")} == ids
    assert {row.partition(" ")[0] for row in guard_list()} == ids


def guard_list() -> list[str]:
    """The ids in the table of the guard's own docstring."""
    cells = re.findall(r"^\| ([A-Z]\d(?:, [A-Z]\d)*) \|", guard.__doc__ or "", re.M)
    return [name for cell in cells for name in cell.split(", ")]


def test_every_threshold_that_a_lab_may_set_is_described_and_no_other() -> None:
    assert [row[0] for row in rows("safety.md", "thresholds")] == list(OFF)


def test_the_numbers_on_the_safety_page_are_those_of_the_guard() -> None:
    text = " ".join((DOCS / "safety.md").read_text(encoding="utf-8").split())
    assert f"for {guard.STALE_PERIODS} periods (at least {guard.STALE_MIN_S:g} s)" in text
    assert f"more than {100 * guard.FAR_FRACTION:g} % beyond it" in text
    assert f"(temperatures: {guard.FAR_KELVIN:g} K)" in text
    beyond = f"more than {100 * (guard.SETPOINT_FRACTION - 1):.0f} % (and "
    assert f"{beyond}{100 * guard.OFF_CURRENT_FRACTION:g} % of the range)" in text
    assert f"silent for {SILENCE_S:g} s" in text


def test_the_exit_codes_on_the_page_are_those_of_the_command_line() -> None:
    table = re.search(r"\| .*code.*\n(?:\|.*\n)+", cli.__doc__ or "")
    assert table is not None
    codes = re.findall(r"^\| (\d+) \| (.*) \|$", table.group(), re.M)
    page = (DOCS / "README.md").read_text(encoding="utf-8")
    assert codes == re.findall(r"^\| (\d+) \| (.*) \|$", page, re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_the_page_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        found = (page.parent / name) if name else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as web sites make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def test_every_page_can_be_reached_from_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for page in DOCS.glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name
