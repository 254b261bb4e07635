"""docs/cells.md: typed from top to bottom beside a running daemon, it does what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from daq.cellfile import BatchFileModel, CellFileModel
from daq.registry.fields import known_keys
from tests.system.daemon import running_daemon
from tests.system.test_readme import FENCE, Block, Newcomer

PAGE = (Path(__file__).parents[2] / "docs" / "cells.md").read_text(encoding="utf-8")


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    with running_daemon(tmp_path, stations=2):
        yield Newcomer(tmp_path)


@pytest.mark.timeout(240)
def test_the_page_does_what_it_says_from_top_to_bottom(newcomer: Newcomer) -> None:
    page = [Block(*found) for found in FENCE.findall(PAGE)]
    for block, after in zip(page, [*page[1:], None], strict=True):
        if block.language in ("yaml", "csv"):
            (newcomer.folder / block.mark).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            newcomer.meet(block, after if after and after.language == "text" else None)


def test_every_key_is_on_the_page() -> None:
    for model in (CellFileModel, BatchFileModel):
        for key in known_keys(model):
            for part in key.split("."):
                assert re.search(rf"`\.?{part}`", PAGE) or part == "cell", key
