"""The one exception tree.

Every error that a person may see says what happened, where, and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass


class DaqError(Exception):
    """Base of everything that battery-daq raises on purpose.

    Args:
        message: what happened, in one sentence.
        remedy: what the reader can do about it; empty where nothing helps.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file: 1-based line and column, as editors count them."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class InputError(DaqError):
    """A file or an argument that a person wrote is wrong. Exit code 2; nothing was started."""

    def __init__(self, message: str, *, place: Place | None = None, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.place = place

    def __str__(self) -> str:
        text = super().__str__()
        return f"{self.place}: {text}" if self.place else text


class UnitError(InputError):
    """A quantity without a unit, with the wrong one, or out of range."""


class CommandRefused(DaqError):
    """A command was understood and not carried out."""


class NotEnergised(DaqError):
    """A layer of protection is missing, so the output stays OFF. The run waits."""


class JournalError(DaqError):
    """The journal could not be written or read."""


class InstrumentError(DaqError):
    """Anything that went wrong between the daemon and one instrument."""


class LinkDown(InstrumentError):
    """The line cannot be opened, or the peer closed it."""


class NoReply(InstrumentError):
    """No (whole) reply within the transport timeout. The session must be dropped."""


class BadReply(InstrumentError):
    """A reply that the dialect does not allow: garbage, truncated, wrong echo, wrong CRC."""


class InstrumentRefused(InstrumentError):
    """The instrument answered with an error of its own."""


class ReadbackMismatch(InstrumentError):
    """What was read back differs from what was written."""


class WrongIdentity(InstrumentError):
    """Another instrument answers at this address than the one that is expected."""
