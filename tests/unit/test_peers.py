"""The environments of other projects' packages: how they are made, without any package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.environments import Peer, peer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    (tmp_path / "nothing.txt").write_text("# no pins\n")
    return tmp_path


def made(pins: Path, name: str = "nothing") -> Peer:
    return peer(name, pins, pins / "made")


def test_code_runs_in_an_environment_that_sees_none_of_ours(pins: Path) -> None:
    code = "import importlib.util as u, sys; print(sys.prefix, u.find_spec('daq'), sys.argv[1:])"
    prefix, ours, arguments = made(pins).run(code, 3).split()
    assert (prefix, ours, arguments) == (str(pins / "made" / "nothing"), "None", "['3']")


def test_an_environment_is_kept_until_its_pins_change(pins: Path) -> None:
    kept = made(pins).folder / "kept"
    kept.touch()
    assert made(pins).json("print('chatter'); print([1])") == [1]
    assert kept.exists()
    (pins / "nothing.txt").write_text("# other pins\n")
    made(pins)
    assert not kept.exists()


def test_an_environment_whose_installation_failed_is_made_again(pins: Path) -> None:
    file = pins / "nothing.txt"
    file.write_text("./there-is-no-such-folder\n")
    with pytest.raises(subprocess.CalledProcessError):
        made(pins)
    with pytest.raises(subprocess.CalledProcessError):  # and is not taken for a good one
        made(pins)
    file.write_text("# mended\n")
    assert made(pins).run("print(7)") == "7\n"


def test_code_that_fails_fails_the_test_with_what_it_said(pins: Path) -> None:
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        made(pins).run("1 / 0")


def test_a_package_without_pins_is_named_with_those_that_have_some(pins: Path) -> None:
    with pytest.raises(LookupError, match="no pins for 'pybam'.*there are nothing"):
        made(pins, "pybam")


def test_peers_are_collected_only_when_they_are_named() -> None:
    others = [path for path in (ROOT / "tests").iterdir() if path.name != "peers"]
    assert "no tests collected" in collected("tests", *[f"--ignore={path}" for path in others])
    assert "tests/peers/test_" in collected("tests/peers")


def collected(*words: str) -> str:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout


def test_every_file_of_pins_pins_everything_and_names_no_index() -> None:
    for path in (ROOT / "tests" / "peers" / "requirements").glob("*.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert line.startswith("#") or "==" in line, f"{path.name}: {line}"
            assert "://" not in line and not line.startswith("-"), f"{path.name}: {line}"
