"""What a barcode scanner types: an id and Enter, as plain keyboard text.

Nothing is repaired: what is not exactly an id is refused, because a repaired id is another cell's.
"""

from __future__ import annotations

import re
from typing import TextIO

from daq.errors import InputError
from daq.filemodel import NAME_PATTERN

LONGEST = 64
_READ = 4096  # characters of one line that are looked at
_SYMBOLOGY = re.compile(r"\][A-Za-z][0-9A-Za-z]")
_NAMES = {"\x1d": "group separator (GS)", "\x1b": "escape", "\t": "tab", "\0": "null"}


def scanned(text: str) -> str:
    """The id in what was scanned, without its Enter.

    Raises:
        InputError: it is no id; says what is wrong with it, and what to set at the scanner.
    """
    if not text:
        raise InputError("nothing was scanned", remedy="scan the barcode again")
    if len(text) > LONGEST:
        raise InputError(
            f"what was scanned has {_count(text)} characters; an id has at most {LONGEST}",
            remedy="scan one barcode, and let the scanner type Enter after it",
        )
    if control := next((one for one in text if not one.isprintable()), None):
        name = _NAMES.get(control, f"control character U+{ord(control):04X}")
        remedy = "switch off prefix, suffix and GS1 separators in the scanner"
        raise InputError(f"what was scanned holds a {name}: {text!r}", remedy=remedy)
    if _SYMBOLOGY.match(text):
        raise InputError(
            f"{text!r} begins with the symbology identifier {text[:3]!r}",
            remedy="switch the AIM identifier off in the scanner",
        )
    if text != text.strip():
        raise InputError(
            f"{text!r} has blanks around it", remedy="switch off prefix and suffix in the scanner"
        )
    if not re.fullmatch(NAME_PATTERN, text):
        wrong = next((one for one in text if not re.fullmatch(r"[A-Za-z0-9._-]", one)), text[0])
        raise InputError(
            f"{text!r} is not an id: {wrong!r} cannot be in it, or cannot begin it",
            remedy="ids are letters, digits, '.', '_' and '-'; is the keyboard layout right?",
        )
    return text


def _count(text: str) -> str:
    return f"more than {_READ}" if len(text) >= _READ else str(len(text))


def read_scan(source: TextIO) -> str | None:
    """The next id that is scanned; None when an empty line, or the end, says that it was the last.

    Raises:
        InputError: as for `scanned`; the rest of a line that is too long is thrown away.
    """
    line = source.readline(_READ)
    while line and not line.endswith("\n") and (more := source.readline(_READ)):
        line = line[:_READ] + ("\n" if more.endswith("\n") else "")
    text = line.removesuffix("\n").removesuffix("\r")
    return scanned(text) if text else None
