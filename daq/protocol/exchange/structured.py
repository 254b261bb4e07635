"""JSON and YAML of others as items that know their place, and take nothing for granted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, cast

from daq.errors import InputError, Place
from daq.filemodel import nearest, show
from daq.jsontext import read_object
from daq.yamlfile import LARGEST_FILE, Document, Where, parse


@dataclass(frozen=True)
class Tree:
    """A whole file."""

    file: str
    data: Mapping[str, Any]
    text: bytes
    document: Document | None = None

    @cached_property
    def _places(self) -> Document | None:
        """JSON is YAML, but for its tabs: the YAML reader knows where everything stands."""
        if self.document is not None:
            return self.document
        try:
            return parse(self.text.replace(b"\t", b" "), self.file)
        except InputError:
            return None  # what YAML refuses and JSON allows, such as very long lines

    def place(self, where: Where, *, value: bool = False) -> Place:
        """Where something stands; the top of the file if that cannot be found out."""
        places = self._places
        return places.place(where, value=value) if places else Place(self.file, 1, 1)


def read_json(content: bytes, file: str) -> Tree:
    """A JSON object.

    Raises:
        InputError: it is none that battery-daq takes.
    """
    try:
        return Tree(file, read_object(content, LARGEST_FILE), content)
    except InputError as error:
        raise InputError(error.message, place=Place(file, 1, 1)) from error


def read_yaml(content: bytes, file: str) -> Tree:
    """A YAML mapping.

    Raises:
        InputError: it is none that battery-daq takes.
    """
    document = parse(content, file)
    return Tree(file, document.data, content, document)


@dataclass(frozen=True, slots=True)
class Item:
    """A mapping in a tree."""

    tree: Tree
    where: Where
    values: Mapping[str, Any]

    @classmethod
    def top(cls, tree: Tree) -> Item:
        """The whole file."""
        return cls(tree, (), tree.data)

    def place(self, key: str | None = None) -> Place:
        """Of the item, or of one of its keys."""
        return self.tree.place(self.where if key is None else (*self.where, key))

    def refuse(self, message: str, key: str | None = None, remedy: str = "") -> InputError:
        """The error for something here."""
        return InputError(message, place=self.place(key), remedy=remedy)

    def only(self, known: Iterable[str]) -> None:
        """Refuse a key that nobody reads.

        Raises:
            InputError: there is one.
        """
        names = list(known)
        for key in self.values:
            if key not in names:
                raise self.refuse(f"unknown key {show(key)}", key, nearest(key, names))

    def given(self, key: str) -> bool:
        """Whether there is a value: neither missing, nor null, nor empty text."""
        return self.values.get(key) not in (None, "")

    def number(self, key: str) -> float | None:
        """A finite number, which may be written as text; None where nothing is given.

        Raises:
            InputError: something else is given.
        """
        value = self.values.get(key)
        if not self.given(key):
            return None
        if not isinstance(value, bool) and isinstance(value, (int, float, str)):
            try:
                made = float(value)
            except ValueError:
                made = float("nan")
            if isfinite(made):
                return made
        raise self.refuse(f"{key}: {show(value)} is not a number", key)

    def whole(self, key: str, least: int) -> int:
        """A whole number.

        Raises:
            InputError: something else is given, or nothing, or less than the least.
        """
        value = self.number(key)
        if value is None or value != int(value) or value < least:
            given = show(self.values.get(key))
            raise self.refuse(f"{key}: {given} is not a whole number from {least} on", key)
        return int(value)

    def text(self, key: str, default: str = "") -> str:
        """A text.

        Raises:
            InputError: something else is given.
        """
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.refuse(f"{key}: {show(value)} is not text", key)
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false.

        Raises:
            InputError: something else is given.
        """
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.refuse(f"{key}: {show(value)} is neither true nor false", key)
        return value

    def item(self, key: str) -> Item:
        """A mapping in this one; empty where nothing is given.

        Raises:
            InputError: something else is given.
        """
        value = self.values.get(key)
        return self._item((key,), {} if value is None else value)

    def items(self, key: str) -> list[Item]:
        """The mappings of a list.

        Raises:
            InputError: it is no list of mappings.
        """
        value = self.values.get(key)
        if not isinstance(value, list):
            raise self.refuse(f"{key}: {show(value)} is not a list", key)
        entries = cast("list[Any]", value)
        return [self._item((key, number), entry) for number, entry in enumerate(entries)]

    def _item(self, way: Where, value: Any) -> Item:
        where = (*self.where, *way)
        if not isinstance(value, dict):
            place = self.tree.place(where, value=True)
            raise InputError(f"{show(value)} is not a mapping", place=place)
        return Item(self.tree, where, cast("dict[str, Any]", value))
