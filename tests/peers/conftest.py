"""The fixture `peer`, and a run to show to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from daq.journal import JournalReader
from daq.recorder.closed import write_closed
from tests import runs
from tests.peers import environments


@pytest.fixture(scope="session")
def peer() -> Callable[[str], environments.Peer]:
    """`peer("batterydf")` is the environment with that package in it."""
    return environments.peer


@pytest.fixture(scope="session")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The closed file of a formation with three cycles and a spectrum; see tests/runs.py."""
    folder = tmp_path_factory.mktemp("data")
    info = runs.run_info()
    entries = runs.formation(info, cycles=3, per_step=60, points=61)
    runs.write(folder / "journal.sqlite", (info, entries))
    with JournalReader(folder / "journal.sqlite") as reader:
        for _ in write_closed(reader, info.id, folder):
            pass
    return folder / f"{info.id}.h5"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of a package waits for its installation."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.timeout(600))
