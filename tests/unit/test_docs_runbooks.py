"""docs/runbooks: a page for every cause and no other, with commands that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from daq import cli
from daq.control.alarms.causes import RULES, Cause
from daq.control.alarms.index import FOLDER, text

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
PARTS = (
    "## What the daemon has done",
    "## What you do now",
    "## When to call whom",
    "## How it ends",
)
DOCS = (*PAGES, ROOT / "docs" / "alarms.md")
COMMANDS = sorted(
    {
        " ".join(command.split())
        for path in DOCS
        for command in re.findall(r"`(daq [^`]+)`", path.read_text(encoding="utf-8"))
    }
)


def test_every_cause_has_a_page_and_every_page_a_cause():
    assert {path.stem for path in PAGES} == set(Cause)


def test_every_cause_is_raised_by_something():
    """A cause that nothing raises promises an alarm that nobody will get."""
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "daq").rglob("*.py")
        if path.name != "causes.py"
    )
    causes = (FOLDER.parents[1] / "daq/control/alarms/causes.py").read_text(encoding="utf-8")
    code += causes.partition("CAUTIONS")[2]
    silent = [
        cause.name
        for cause in Cause
        if not cause.value.startswith("trip-") and f"Cause.{cause.name}" not in code
    ]
    assert silent == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_to_do_in_the_order_in_which_it_is_needed(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"# {page.stem}"
    assert [line for line in lines if line.startswith("## ")] == list(PARTS)
    assert sum(re.match(r"\d\. ", line) is not None for line in lines) >= 2
    if RULES[Cause(page.stem)].momentary:
        assert "acknowledged" in " ".join(lines)


def test_the_index_is_what_the_rules_say():
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == text()


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_a_page_exists_with_its_options(line):
    words = shlex.split(line)[1:]
    command: Any = typer.main.get_command(cli.app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert command.name != "daq", f"there is no command {words[0]!r}"
    known = {option for param in command.params for option in param.opts}
    assert {word for word in words if word.startswith("--")} <= known
    if words:
        command.make_context("daq", list(words))
