"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A new file beside `path` to write to; at the end it takes its place, or is gone.

    Raises:
        OSError: the disk is full, or failed; what stood at `path` stands there still.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.touch(exist_ok=False)  # never through a link that lies in wait in a shared folder
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, fill: Callable[[Path], None]) -> Path:
    """Write a file as `fill` does, under another name until it is whole; its path."""
    with replacing(path) as temporary:
        fill(temporary)
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a text as UTF-8; its path."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
