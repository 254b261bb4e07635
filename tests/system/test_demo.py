"""`daq demo`, the main job: to its end, and interrupted in every way that people know."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from daq.journal import MEASURED_COLUMNS, JournalReader
from tests.system.daemon import wait_until
from tests.system.terminal import CTRL_C, Terminal

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "daq.cli", "demo"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The demo's files, with free ports."""
    (tmp_path / "protocols").symlink_to(ROOT / "protocols")
    (tmp_path / "config").mkdir()
    texts = {path.name: path.read_text("utf-8") for path in (ROOT / "config").glob("demo*.yaml")}
    for port in sorted(set(re.findall(r"\b150\d\d\b", texts["demo-bench.yaml"]))):
        free = str(free_port())
        texts = {name: re.sub(rf"\b{port}\b", free, text) for name, text in texts.items()}
    for name, text in texts.items():
        (tmp_path / "config" / name).write_text(text, encoding="utf-8")
    return tmp_path


def free_port() -> int:
    with socket.socket() as peer:
        peer.bind(("127.0.0.1", 0))
        return int(peer.getsockname()[1])


@pytest.mark.timeout(300)
def test_four_cells_are_formed_and_the_first_cycle_is_the_least_efficient(folder: Path) -> None:
    done = subprocess.run([*DEMO, "--json"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    stations: dict[str, Any] = json.loads(done.stdout)["stations"]
    assert list(stations) == ["A1", "A2", "A3", "A4"]
    for station in stations.values():
        assert Path(station["file"]).stat().st_size > 10_000
        assert Path(station["picture"]).read_bytes().startswith(b"\x89PNG")
        first, second = (cycle["coulombic_efficiency"] for cycle in station["cycles"])
        assert first < 0.93 < 0.95 < second < 1.03  # a busy machine scatters accelerated time
        assert all(2.2 < cycle["discharge_Ah"] < 2.7 for cycle in station["cycles"])
    assert all_off(folder)


def ctrl_c(terminal: Terminal) -> None:
    terminal.types(CTRL_C)


def twice(terminal: Terminal) -> None:
    terminal.types(CTRL_C)
    terminal.shows("^C")
    terminal.types(CTRL_C)


def hang_up(terminal: Terminal) -> None:
    terminal.hang_up()


def kill(terminal: Terminal) -> None:
    os.kill(terminal.pid, signal.SIGTERM)


@pytest.mark.parametrize("end", [ctrl_c, twice, hang_up, kill])
def test_however_it_is_interrupted_every_output_is_off_and_nothing_goes_on(
    end: Callable[[Terminal], None], folder: Path
) -> None:
    with Terminal(DEMO, folder) as terminal:
        terminal.shows("charge C/10")  # one of them
        wait_until(lambda: flowing(folder) == 4, "all four are charged")
        end(terminal)
        code = terminal.ends()
        assert code == 130 or end is hang_up, terminal.shown  # nobody is left to read the latter
    assert all_off(folder)
    wait_until(lambda: not processes(folder), "every process has ended")
    if end is not hang_up:
        assert "every output is OFF" in terminal.shown
        assert "Traceback" not in terminal.shown


def flowing(folder: Path) -> int:
    """Runs that have seen current."""
    amps = MEASURED_COLUMNS.index("current_A")
    with JournalReader(folder / "demo-out" / "journal.sqlite") as journal:
        return sum(
            any(row[amps] > 0.05 for rows in journal.measured_rows(run.id) for row in rows)
            for run in journal.runs()
        )


def all_off(folder: Path) -> bool:
    """Whether the cells themselves know that no current can flow, and that some did."""
    ledgers = json.loads((folder / "demo-out" / "ledger.json").read_text("utf-8")).values()
    assert all(ledger["edges"] for ledger in ledgers)
    return not any(ledger["edges"][-1]["on"] for ledger in ledgers)


def processes(folder: Path) -> list[str]:
    """What still runs there."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline"]):
        if process.info["cwd"] == str(folder):
            found.append(" ".join(process.info["cmdline"] or ()))
    return found
