"""A text with a `§` where the error is to point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from daq.errors import InputError


def unmark(marked: str) -> tuple[str, int, int]:
    """The text without its mark, and the mark's 1-based line and column."""
    before, mark, after = marked.partition("§")
    assert mark, "the text has no mark"
    assert "§" not in after, "the text has two marks"
    return before + after, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def refusal(read: Callable[[str], Any], marked: str) -> InputError:
    """What `read` says about the text, after checking that it points at the mark."""
    text, line, column = unmark(marked)
    with pytest.raises(InputError) as caught:
        read(text)
    place = caught.value.place
    assert place is not None, f"no place: {caught.value}"
    assert (place.line, place.column) == (line, column), str(caught.value)
    return caught.value
