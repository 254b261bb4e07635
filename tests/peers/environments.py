"""Environments of other projects' packages: made from pins, kept until the pins change."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "peers"
REQUIREMENTS = Path(__file__).parent / "requirements"


@dataclass(frozen=True, slots=True)
class Peer:
    """An environment with another project's package in it."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def run(self, code: str, *arguments: object, cwd: Path | None = None, stdin: str = "") -> str:
        """What some code prints in there; `arguments` are its `sys.argv[1:]`.

        Raises:
            AssertionError: it failed; with all that it printed.
        """
        words = [str(self.python), "-I", "-W", "ignore", "-c", code, *map(str, arguments)]
        done = subprocess.run(
            words, cwd=cwd, env=self._surroundings(), capture_output=True, text=True, input=stdin
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, code: str, *arguments: object, cwd: Path | None = None, stdin: str = "") -> Any:
        """The last line that some code prints, as JSON. Packages may be chatty before that."""
        printed = self.run(code, *arguments, cwd=cwd, stdin=stdin)
        return json.loads(printed.strip().splitlines()[-1])

    def _surroundings(self) -> dict[str, str]:
        """This process's, with a home of its own: some packages keep settings there."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return os.environ | {"HOME": str(home), "MPLBACKEND": "Agg", "PYTHONUTF8": "1"}


def peer(name: str, requirements: Path = REQUIREMENTS, folder: Path = FOLDER) -> Peer:
    """The environment of a package; made now unless it stands there with the same pins.

    Raises:
        LookupError: there are no pins of that name.
        subprocess.CalledProcessError: pip could not install them.
    """
    pins = requirements / f"{name}.txt"
    if not pins.is_file():
        known = ", ".join(sorted(path.stem for path in requirements.glob("*.txt")))
        raise LookupError(f"no pins for {name!r} in {requirements}; there are {known}")
    place = folder / name
    with _alone(folder, name):
        mark = place / "made-from"
        wanted = _fingerprint(pins)
        if not mark.is_file() or mark.read_text() != wanted:
            _make(place, pins)
            mark.write_text(wanted)
    return Peer(place)


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Two test processes must not make the same environment at once."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fingerprint(pins: Path) -> str:
    return hashlib.sha256(f"{sys.version}\n{pins.read_text()}".encode()).hexdigest()


def _make(place: Path, pins: Path) -> None:
    print(f"making {place} from {pins.name}", file=sys.stderr, flush=True)
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, symlinks=True)
    words = ["--python", str(place / "bin" / "python"), "install", "-qq", "--no-deps"]
    words += ["--disable-pip-version-check", "--requirement", str(pins)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
