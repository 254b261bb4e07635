"""One kind of records: a YAML file for each, and the history of every one of them.

The history is written before the file, so that whatever the disk does, no text is in a file that
its history lacks. A file that somebody has changed by hand is valid like every other; its text gets
into the history, as `found`, before the next change is made.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from daq.errors import InputError
from daq.filemodel import NAME_PATTERN, FileModel, validate
from daq.registry import durable
from daq.registry.words import as_yaml
from daq.yamlfile import Document, parse, read

ModelT = TypeVar("ModelT", bound=FileModel)
_SUFFIX = ".yaml"


@dataclass(frozen=True, slots=True)
class Who:
    """Whoever changes a record, and why."""

    name: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Entry(Generic[ModelT]):
    """A record as it stands now.

    Attributes:
        sha256: of its text; the history has the text under the same.
    """

    id: str
    model: ModelT
    document: Document

    @property
    def sha256(self) -> str:
        """Of the bytes of its file."""
        return self.document.sha256


class Shelf(Generic[ModelT]):
    """The records of one kind.

    Args:
        folder: where they are.
        model: what a record is.
        key: the key of its id, and what a record is called: "cell", "batch".
    """

    def __init__(self, folder: Path, model: type[ModelT], key: str) -> None:
        self.folder = folder
        self.model = model
        self.key = key

    def ids(self) -> list[str]:
        """All ids, in order."""
        return sorted(path.stem for path in self.folder.glob(f"*{_SUFFIX}") if _is_id(path.stem))

    def find(self, ident: str) -> Entry[ModelT] | None:
        """The record with this id; None when there is none.

        Raises:
            InputError: its file is not a record, with the place.
        """
        path = self._path(ident)
        return self._entry(ident, read(path)) if path.is_file() else None

    def checked(self, data: Mapping[str, Any]) -> Entry[ModelT]:
        """What a record of these data would be; nothing is written.

        Raises:
            InputError: it is none.
        """
        text = as_yaml(data, f"A {self.key}, written by `daq {self.key}`; see docs/cells.md.")
        ident = str(data.get(self.key, ""))
        document = parse(text, f"{self.key} {ident}")
        try:
            return self._entry(ident, document)
        except InputError as error:
            raise _without_line(error, document) from error

    def put(self, entry: Entry[ModelT], who: Who) -> str:
        """Write a record; "added", "changed", or "same" when it stood there already.

        Call it within `durable.alone(shelf.folder)`.

        Raises:
            OSError: it cannot be written.
        """
        path, before = self._path(entry.id), self._note_found(entry.id)
        if before == entry.document.text:
            return "same"
        what = "added" if before is None else "changed"
        self._note(entry.id, what, entry.document.text, who)
        durable.write(path, entry.document.text)
        return what

    def remove(self, ident: str, who: Who) -> None:
        """Take a record away; its history stays.

        Call it within `durable.alone(shelf.folder)`.

        Raises:
            OSError: it cannot be removed.
        """
        self._note_found(ident)
        self._note(ident, "removed", None, who)
        durable.remove(self._path(ident))

    def history(self, ident: str) -> list[dict[str, Any]]:
        """Every text that a record has had: `utc`, `who`, `what`, `reason`, `sha256`, `text`."""
        return durable.lines(self._history(ident))

    def _note_found(self, ident: str) -> str | None:
        """The text of the file as it stands; noted when the history does not know it."""
        path = self._path(ident)
        text = path.read_bytes().decode("utf-8", "replace") if path.is_file() else None
        earlier = self.history(ident)
        known = earlier[-1].get("text") if earlier else None
        if text != known:
            nobody = Who("", "the file was changed by hand, or its change was cut short")
            self._note(ident, "found" if text is not None else "gone", text, nobody)
        return text

    def _note(self, ident: str, what: str, text: str | None, who: Who) -> None:
        entry = {
            "utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "who": who.name,
            "what": what,
            "reason": who.reason,
            "sha256": None if text is None else hashlib.sha256(text.encode()).hexdigest(),
            "text": text,
        }
        durable.append(self._history(ident), entry)

    def _entry(self, ident: str, document: Document) -> Entry[ModelT]:
        model = validate(self.model, document)
        if (named := getattr(model, self.key)) != ident:
            raise InputError(
                f"the file of {self.key} {ident} is about {self.key} {named}",
                place=document.place((self.key,), value=True),
                remedy=f"rename the file, or correct `{self.key}`",
            )
        return Entry(ident, model, document)

    def _path(self, ident: str) -> Path:
        return self.folder / f"{self._safe(ident)}{_SUFFIX}"

    def _history(self, ident: str) -> Path:
        return self.folder / "history" / f"{self._safe(ident)}.jsonl"

    def _safe(self, ident: str) -> str:
        """The id, which cannot lead out of the folder.

        Raises:
            InputError: it is no id.
        """
        if not _is_id(ident):
            raise InputError(
                f"{ident[:70]!r} is not the id of a {self.key}",
                remedy="use up to 64 letters, digits, '.', '_' and '-'",
            )
        return ident


def _is_id(text: str) -> bool:
    return re.fullmatch(NAME_PATTERN, text) is not None


def _without_line(error: InputError, document: Document) -> InputError:
    """Nobody has seen the text of a draft: its mistakes are told with the key, not with a line."""
    place = error.place
    marks = document.values.items()
    found = [way for way, mark in marks if place and mark == (place.line, place.column)]
    key = ".".join(map(str, max(found, key=len, default=())))
    said = error.message if not key or repr(key) in error.message else f"{key}: {error.message}"
    return InputError(f"{document.file}: {said}", remedy=error.remedy)
