"""Files with secrets in them: read only when nobody else can read or change them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from daq.errors import InputError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_ROOT = 0
LARGEST = 1 << 20


def read_secret(path: Path) -> str:
    """The text of a file that belongs to us (or to root) and that nobody else may open.

    Raises:
        InputError: it is missing, a link, no file, of somebody else, open to others, or no text.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    try:
        _check(path, os.fstat(number))
        return os.read(number, LARGEST).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text") from error
    finally:
        os.close(number)


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{path} is not a file")
    if found.st_uid not in (os.geteuid(), _ROOT):
        raise InputError(f"{path} belongs to another user", remedy=f"chown $USER {path}")
    if found.st_mode & _OTHERS:
        raise InputError(
            f"{path} holds secrets and is open to others (mode {found.st_mode & 0o777:04o})",
            remedy=f"chmod 600 {path}",
        )


def write_secret(path: Path, text: str) -> None:
    """Put a text in a file that only we may open, all of it or nothing.

    Raises:
        InputError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.unlink(missing_ok=True)
        number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(number, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(number)
        draft.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
