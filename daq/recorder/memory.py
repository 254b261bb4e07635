"""Memory that is free, given back to the system.

What a file needed while it was made is free once it is closed, but the C library keeps what lies
between pieces that are still in use: after some waves of runs that end together, 41 of 58 MB. It
would not grow for ever; it would grow for days. See docs/decisions/155-*.md.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable


def _found() -> Callable[[int], object]:
    """`malloc_trim` of glibc; elsewhere nothing is done."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # no such library, no such function
        return lambda _: None


_trim = _found()


def give_back() -> None:
    """Let go of every page that holds nothing; takes a few milliseconds."""
    _trim(0)
