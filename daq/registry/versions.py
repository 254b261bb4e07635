"""Semantic versions (semver.org, 2.0.0): how they are written, and which one is newer."""

from __future__ import annotations

import re

from daq.errors import InputError

_NUMBER = r"(0|[1-9][0-9]*)"
_VERSION = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
LONGEST = 64
Order = tuple[tuple[int, int, int], bool, tuple[tuple[bool, int, str], ...]]


def order(version: str) -> Order:
    """A key that sorts versions by their precedence (clause 11: build metadata does not count).

    Raises:
        InputError: it is no semantic version.
    """
    found = _VERSION.fullmatch(version) if len(version) <= LONGEST else None
    if found is None:
        raise InputError(
            f"{version[:LONGEST]!r} is not a semantic version", remedy="write it like 1.2.0"
        )
    numbers = (int(found[1]), int(found[2]), int(found[3]))
    before = found[4] or ""
    return numbers, not before, tuple(_identifier(part) for part in before.split(".") if part)


def _identifier(part: str) -> tuple[bool, int, str]:
    """Numbers before words, numbers by value."""
    return (False, int(part), "") if part.isdigit() else (True, 0, part)


def next_patch(version: str) -> str:
    """The version that a small change would have.

    Raises:
        InputError: it is no semantic version.
    """
    (major, minor, patch), released, _ = order(version)
    return f"{major}.{minor}.{patch + released}"
