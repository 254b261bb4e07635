"""The hash beside a closed file: written once, asked for years later. Standard library only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 8 << 20

GOOD = "good"


def hash_file(path: Path) -> Path:
    """Where the hash of a closed file is."""
    return path.with_name(f"{path.name}.sha256")


def hash_line(digest: str, path: Path) -> str:
    """As `sha256sum` writes and checks it."""
    return f"{digest}  {path.name}\n"


def digested(path: Path, digest: hashlib._Hash) -> Iterator[None]:  # type: ignore[reportPrivateUsage]
    """Feed a file to a digest, a block at each turn."""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            yield


def judged(path: Path) -> str:
    """`GOOD`, or in words what is wrong with a closed file."""
    digest = hashlib.sha256()
    try:
        said = hash_file(path).read_text(encoding="ascii").split(maxsplit=1)[0]
        for _ in digested(path, digest):
            pass
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, UnicodeDecodeError, IndexError) as error:
        return f"it cannot be read: {error}"
    if digest.hexdigest() == said:
        return GOOD
    return "it is not what was written: its hash differs"
