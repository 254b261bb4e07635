"""What validating a protocol needs beside its text: the other files that it names."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationInfo

from daq.errors import InputError
from daq.filemodel import mistake
from daq.protocol.files import Files, beside
from daq.protocol.tables import Table, read_table
from daq.yamlfile import Document

Value = str | int | float
DEEPEST = 8
"""Files within files."""


@dataclass(frozen=True, slots=True)
class Included:
    """Another protocol, read for being put into this one.

    Attributes:
        data: the file with its parameters put in.
        model: its `ProtocolModel`.
    """

    name: str
    document: Document
    data: Mapping[str, Any]
    model: Any


@dataclass(frozen=True, slots=True)
class Reading:
    """The file that is being read.

    Attributes:
        within: names of the files that led here, the outermost first; empty: the protocol itself.
        load: reads and validates another protocol.
    """

    files: Files
    load: Callable[[str, Mapping[str, Value], Reading], Included]
    within: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """Name of the present file; empty: the protocol itself."""
        return self.within[-1] if self.within else ""

    def table(self, name: str, key: str) -> Table:
        """A profile beside the present file; its name is the value of `key`.

        Raises:
            InputError: a mistake in it, with its place there.
            PydanticCustomError: there is none.
        """
        with _at(key):
            path = beside(self.file, name)
            text = self.files.text(path)
        return read_table(text, path)

    def include(self, name: str, values: Mapping[str, Value], key: str) -> Included:
        """A protocol beside the present file, with its parameters; `key` as for `table`.

        Raises:
            InputError: a mistake in it, with its place there.
            PydanticCustomError: there is none, or it includes itself.
        """
        with _at(key):
            path = beside(self.file, name)
            self.files.text(path)
        if path in self.within:
            raise mistake(f"{path} includes itself", where=(key,))
        if len(self.within) >= DEEPEST:
            raise mistake(f"files in files deeper than {DEEPEST}", where=(key,))
        with _at(key):
            return self.load(path, values, Reading(self.files, self.load, (*self.within, path)))


@contextmanager
def _at(key: str) -> Generator[None]:
    """A mistake about a name belongs to where the name stands."""
    try:
        yield
    except InputError as error:
        if error.place is not None:
            raise
        raise mistake(error.message, error.remedy, (key,)) from error


def reading(info: ValidationInfo) -> Reading:
    """What the validation was given."""
    context = info.context
    if not isinstance(context, Reading):
        raise mistake("other files cannot be read here")
    return context
