"""Names that are safe wherever they go."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a lab, a station, a client or a command id may be called; always matched in full."""


def is_name(text: str) -> bool:
    """Whether a text is safe as a topic level, a file name and a log field."""
    return NAME.fullmatch(text) is not None
