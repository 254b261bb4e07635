"""Findings: what a check has to say, how loudly, and where."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from daq.errors import InputError, Place


class Level(StrEnum):
    """How loudly a finding speaks."""

    ERROR = "error"  # it cannot work
    WARNING = "warning"  # it may not do what its author thinks
    NOTE = "note"  # for whoever wonders


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check has found."""

    level: Level
    place: Place
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        return str(self.mistake())

    def mistake(self) -> InputError:
        """The same as an error."""
        return InputError(self.message, place=self.place, remedy=self.remedy)

    def document(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "level": self.level.value,
            "file": self.place.file,
            "line": self.place.line,
            "column": self.place.column,
            "message": self.message,
            "remedy": self.remedy,
        }
