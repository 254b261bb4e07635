"""The Makefile and the pins: what a stranger's first command meets."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout in which nothing was made yet."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # `make test` may be what runs this: its own make must not be taken for a part of that one.
    environment = {key: value for key, value in os.environ.items() if "MAKE" not in key}
    return subprocess.run(
        ["make", *words], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_without_a_python_it_says_what_to_install(folder: Path) -> None:
    done = make(folder, "PYTHON=no-such-python python2.7", "demo")
    assert done.returncode == 2
    assert "no Python >= 3.11 with venv among: no-such-python python2.7" in done.stderr
    assert not (folder / ".venv").exists()


def test_what_is_installed_is_not_installed_again(folder: Path) -> None:
    environment = folder / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").touch()
    assert "pip install" in make(folder, "--dry-run", "demo").stdout
    (environment / "runtime.stamp").touch()
    assert make(folder, "--dry-run", "demo").stdout == ".venv/bin/daq demo\n"
    assert "[dev]" in make(folder, "--dry-run", "test").stdout
    (environment / "dev.stamp").touch()
    again = make(folder, "--dry-run", "test").stdout
    assert "-m pytest" in again
    assert "install" not in again


def test_every_dependency_has_one_pin_and_no_pin_names_an_index() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.+]*", pin) for pin in pins)
    names = [canonical(pin.partition("==")[0]) for pin in pins]
    assert len(names) == len(set(names))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for requirement in wanted:
        match = re.match(r"[A-Za-z0-9_.-]+", requirement)
        assert match is not None
        assert canonical(match.group()) in names, requirement


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
