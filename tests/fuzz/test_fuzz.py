"""Every target for a while under coverage-guided mutation: `make fuzz SECONDS=600` each.

A finding is left in the message, as bytes: put them into `corpus/TARGET/` under a name that says
what was wrong, mend it, and test_corpus.py keeps it mended.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

pytest.importorskip("atheris", reason="there is no wheel of atheris for this Python and machine")
SHORT_S = 1.0
SAYS = 3000  # characters of the log that a failure shows


class Engine:
    """The process that fuzzes; importing everything instrumented takes seconds, once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def fuzz(self, target: str, seconds: int) -> int:
        """Its exit code: 0 when nothing was found."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{target} {seconds} {self.folder}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def log(self, target: str) -> str:
        return (self.folder / f"{target}.log").read_text(errors="replace")

    def findings(self, target: str) -> dict[str, bytes]:
        files = [*(self.folder / target).glob("*-*")]
        return {file.name: file.read_bytes() for file in files}

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60.0)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = Engine(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.close()


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_that_anybody_sends_is_more_than_refused(engine, target, seconds, figure):
    code = engine.fuzz(target, round(seconds(SHORT_S)))
    log = engine.log(target)
    assert code == 0, f"{log[:SAYS]}\n{engine.findings(target)}"
    inputs = _statistic(log, "number_of_executed_units")
    figure(f"inputs to {target}", inputs, "inputs")
    figure(f"rate of {target}", _statistic(log, "average_exec_per_sec"), "1/s")
    assert inputs > 1


def _statistic(log: str, name: str) -> int:
    found = re.search(rf"stat::{name}: *(\d+)", log)
    assert found, log[-SAYS:]
    return int(found[1])
