"""Exports runs as they finish: looks for closed files, and remembers what it has written.

The memory is a file of lines, each synced to the disk before the next run is looked at, so that a
restart goes on where it was: a run whose line is missing is written once more, to the same names.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from daq.errors import InputError

MEMORY = ".daq-exported.jsonl"
PAUSE_S = 2.0  # between two looks
RETRY_S = 60.0  # after a disk or a share has failed

Write = Callable[[Path], list[Path]]
"""Writes a closed file in some way; the files that were written."""


@dataclass(frozen=True, slots=True)
class Done:
    """One run written in one way: `files`, or what kept it from being written.

    Attributes:
        final: it is not tried again, before the next start.
    """

    run: str
    to: str
    files: list[str]
    error: str = ""
    final: bool = True


class Watch:
    """What is there, what was written, and what is to be written.

    Args:
        runs: the folder with the closed files.
        out: the folder where the memory is kept.
        ways: what to write of each run; by name, which the memory keeps.
        clock: seconds; only differences count.

    Raises:
        OSError: the memory cannot be read or written.
    """

    def __init__(
        self,
        runs: Path,
        out: Path,
        ways: dict[str, Write],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runs = runs
        self._ways = ways
        self._clock = clock
        out.mkdir(parents=True, exist_ok=True)
        self._memory = out / MEMORY
        self._known = _remembered(self._memory)
        self._not_before: dict[tuple[str, str], float] = {}

    def look(self) -> Iterator[Done]:
        """Write what is new, one after the other."""
        for file in sorted(self._runs.glob("*.h5")):
            for to, write in self._ways.items():
                if self._is_due((file.stem, to)):
                    yield self._write(file, to, write)

    def _is_due(self, what: tuple[str, str]) -> bool:
        return what not in self._known and self._clock() >= self._not_before.get(what, 0.0)

    def _write(self, file: Path, to: str, write: Write) -> Done:
        try:
            done = Done(file.stem, to, [str(path) for path in write(file)])
        except InputError as error:
            # Not remembered on disk: a package may be installed, a damaged file made anew.
            self._known.add((file.stem, to))
            return Done(file.stem, to, [], str(error))
        except OSError as error:
            self._not_before[file.stem, to] = self._clock() + RETRY_S
            return Done(file.stem, to, [], str(error), final=False)
        self._remember(done)
        return done

    def _remember(self, done: Done) -> None:
        self._known.add((done.run, done.to))
        line = {"run": done.run, "to": done.to, "files": done.files}
        with self._memory.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _remembered(memory: Path) -> set[tuple[str, str]]:
    """(run, way) of every line; a line that a crash has torn is passed over, and ended."""
    if not memory.exists():
        return set()
    text = memory.read_text(encoding="utf-8", errors="replace")
    if text and not text.endswith("\n"):
        with memory.open("a", encoding="utf-8") as file:
            file.write("\n")
    return {what for line in text.splitlines() if (what := _said(line))}


def _said(line: str) -> tuple[str, str] | None:
    try:
        found = json.loads(line)
        return str(found["run"]), str(found["to"])
    except (ValueError, KeyError, TypeError):
        return None
