"""Writing small files so that a power cut leaves the old text or the new one, and one at a time."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from daq.errors import DaqError

READ_ONLY = 0o444
_NEW = ".new"


@contextmanager
def alone(folder: Path) -> Generator[None]:
    """The only one, of all processes, who writes to this folder; makes it if it is not there.

    Raises:
        DaqError: it cannot be written to, here or anywhere in the block.
    """
    try:
        _make(folder)
        lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(path: Path, error: OSError) -> DaqError:
    """What to say when a disk does not take it."""
    return DaqError(f"{error.filename or path} cannot be written: {error.strerror or error}")


def _make(folder: Path) -> None:
    """Also its parents; each new name is on the disk before anything relies on it."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _sync(path.parent)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Put a text in a file, all of it or nothing, on the disk when this returns.

    Raises:
        OSError: it cannot be written; what was there is there still.
    """
    _make(path.parent)
    draft = path.with_name(f".{path.name}{_NEW}")
    draft.unlink(missing_ok=True)
    number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(number, "w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(number)
    draft.replace(path)
    _sync(path.parent)


def remove(path: Path) -> None:
    """Take a file away, for good when this returns.

    Raises:
        OSError: it cannot be removed.
    """
    path.unlink(missing_ok=True)
    _sync(path.parent)


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a line of JSON to a history, on the disk when this returns.

    Raises:
        OSError: it cannot be written.
    """
    _make(path.parent)
    line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(number).st_size
        torn = size > 0 and os.pread(number, 1, size - 1) != b"\n"
        # a line that a power cut has torn is closed, so that it is one line, and skipped
        _write_all(number, b"\n" + line if torn else line)
        os.fsync(number)
    finally:
        os.close(number)
    if size == 0:
        _sync(path.parent)


def _write_all(number: int, data: bytes) -> None:
    while data:
        data = data[os.write(number, data) :]


def lines(path: Path) -> list[dict[str, Any]]:
    """The entries of a history, oldest first; what a power cut has torn is left out.

    Raises:
        DaqError: it cannot be read.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DaqError(f"{path} cannot be read: {error.strerror or error}") from error
    return [entry for line in raw.splitlines() if (entry := _entry(line)) is not None]


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
