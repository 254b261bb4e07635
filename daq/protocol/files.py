"""The files that a protocol brings with it: protocols that it includes, profiles that it plays.

They are read once, where the protocol is read, and travel with it from then on: over the socket,
into the journal and into every file of the run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from daq.errors import InputError
from daq.filemodel import NAME_PATTERN

LARGEST = 4 << 20
"""Bytes of one file: a day of a profile at 10 Hz."""
MOST_FILES = 50

Convert = Callable[[Path], str]
"""Makes the CSV text of a table in another format."""


class Files:
    """Finds files by name, in a folder or in what has come with a protocol.

    Args:
        folder: where they are; None: only what `known` has.
        known: name -> text.
        convert: for tables that are no text, by suffix.

    Attributes:
        texts: every file that was asked for.
    """

    def __init__(
        self,
        folder: Path | None = None,
        known: Mapping[str, str] | None = None,
        convert: Mapping[str, Convert] | None = None,
    ) -> None:
        self.texts: dict[str, str] = {}
        self._folder = folder
        self._known = known or {}
        self._convert = convert or {}

    def text(self, name: str) -> str:
        """The text of a file.

        Raises:
            InputError: no such file, one that leads elsewhere, or one that is no text.
        """
        if name not in self.texts:
            if len(self.texts) >= MOST_FILES:
                raise InputError(f"more than {MOST_FILES} files belong to the protocol")
            self.texts[name] = self._known[name] if name in self._known else self._read(name)
        return self.texts[name]

    def _read(self, name: str) -> str:
        if self._folder is None:
            raise InputError(f"{name} has not come with the protocol")
        path = (self._folder / name).resolve()
        if not path.is_relative_to(self._folder.resolve()):
            raise InputError(f"{name} is not in the folder of the protocol")
        if convert := self._convert.get(path.suffix):
            return convert(path)
        try:
            with path.open("rb") as file:
                content = file.read(LARGEST + 1)
            if len(content) > LARGEST:
                raise InputError(f"{name} is larger than {LARGEST >> 20} MiB")
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{name} is no text", remedy="save it as CSV, in UTF-8") from error
        except OSError as error:
            raise InputError(f"cannot read {name}: {error.strerror or error}") from error


def beside(file: str, name: str) -> str:
    """The name of a file that another one names, from the folder of the protocol.

    Raises:
        InputError: it is no plain name, or leads out of the folder.
    """
    parts = name.split("/")
    if not all(re.fullmatch(NAME_PATTERN, part) for part in parts):
        remedy = "a file in the same folder or one below, like `profiles/us06.csv`"
        raise InputError(f"{name!r} is not the name of a file here", remedy=remedy)
    return str(PurePosixPath(file).parent / name)
