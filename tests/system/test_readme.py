"""README.md: a newcomer types it from top to bottom, and sees what it says.

Ports are replaced by free ones. In a block marked "roughly", numbers may differ; run ids and
moments always may.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+) ?(.*?)\n(.*?)^```", re.S | re.M)
PATIENCE_S = 60.0
MARK = "-- the next snippet --"


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the rest of its first line, its text."""

    language: str
    mark: str
    text: str


def blocks(port_1: int = 25025, port_2: int = 25030) -> list[Block]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = text.replace("25025", str(port_1)).replace("25030", str(port_2))
    return [Block(*found) for found in FENCE.findall(text)]


def free_port() -> int:
    with socket.socket() as peer:
        peer.bind(("127.0.0.1", 0))
        return int(peer.getsockname()[1])


def alike(text: str, *, roughly: bool) -> list[str]:
    """Lines without what differs from run to run."""
    text = re.sub(r"\d{8}[-_]\d{6}", "MOMENT", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?", "MOMENT", text)
    if roughly:
        text = re.sub(r"-?\d+\.\d+|\d+(?= records| min)|\d+(?=%)", "N", text)
        text = re.sub(r"for \S+/data$", "for data", text, flags=re.M)
        text = re.sub(r"\b(min|h)$", "TIME", text, flags=re.M)
    return [" ".join(line.split()) for line in text.strip().splitlines()]


class Terminal:
    """A command that goes on while others are typed."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self.command = command.strip()
        self.process = subprocess.Popen(
            self.command.split(),
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self._lines.extend(self.process.stdout)

    def says(self, count: int) -> str:
        """Its first lines, once they are there."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self._lines) < count:
            assert time.monotonic() < deadline, self._lines
            assert self.process.poll() is None, self._lines
            time.sleep(0.02)
        return "".join(self._lines[:count])

    def interrupt(self) -> str:
        """Ctrl-C; everything it said."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(PATIENCE_S)
        self._reader.join()
        said = "".join(self._lines)
        assert code == 0, said
        return said

    def kill(self) -> None:
        """At the end of a test that failed."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Newcomer:
    """Types what the page says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.terminals: list[Terminal] = []
        self.snippets = ""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = os.environ | {"PATH": path, "COLUMNS": "80", "PYTHONUNBUFFERED": "1"}

    def meet(self, block: Block, expected: Block | None) -> None:
        """Save a file, or type a command or a snippet and compare what comes."""
        if block.language == "yaml":
            (self.folder / block.mark).write_text(block.text, encoding="utf-8")
            return
        said = self._type(block, expected)
        if expected is not None:
            roughly = expected.mark == "roughly"
            seen = alike(said, roughly=roughly)
            assert seen == alike(expected.text, roughly=roughly), f"{block.text}\n{said}"

    def _type(self, block: Block, expected: Block | None) -> str:
        if block.mark == "background":
            terminal = Terminal(block.text, self.folder, self.environment)
            self.terminals.append(terminal)
            if expected is None:
                self._wait_for_the_daemon()
                return ""
            return terminal.says(len(expected.text.splitlines()))
        code = int(block.mark.removeprefix("fails ") or 0)
        if block.language == "sh":
            return self._run(["bash", "-euo", "pipefail", "-c", block.text], code)
        self.snippets += f"print({MARK!r})\n{block.text}"  # they are one notebook
        return self._run([sys.executable, "-c", self.snippets], code).rpartition(MARK)[2]

    def _run(self, command: list[str], code: int) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == code, f"{command[-1]}\n{done.stdout}"
        return done.stdout

    def _wait_for_the_daemon(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not (self.folder / "data" / "control.sock").exists():
            assert time.monotonic() < deadline
            assert self.terminals[-1].process.poll() is None
            time.sleep(0.02)


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    person = Newcomer(tmp_path)
    yield person
    for terminal in person.terminals:
        terminal.kill()


@pytest.mark.timeout(240)
def test_the_tutorial_does_what_it_says_from_top_to_bottom(newcomer: Newcomer) -> None:
    page = [one for one in blocks(free_port(), free_port()) if one.mark != "install"]
    for block, after in zip(page, [*page[1:], None], strict=True):
        if block.language != "text":
            newcomer.meet(block, after if after and after.language == "text" else None)
    bench, daemon = newcomer.terminals
    assert "outputs_off=True" in daemon.interrupt()
    bench.interrupt()


def test_the_ways_to_install_name_files_and_programs_that_exist() -> None:
    install = [block.text for block in blocks() if block.mark == "install"]
    assert len(install) == 2
    for text in install:
        assert "install -c constraints.txt -e '.[dev]'" in text
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test"):
        assert re.search(rf"^{target}:", makefile, re.M)
    assert (ROOT / "constraints.txt").is_file()
