"""What came of a conversion beside its result: what was refused, changed, or left behind."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from daq.errors import InputError, Place

APPROXIMATE = "--approximate"


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a reader of the result must know."""

    place: Place
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(slots=True)
class Findings:
    """Collects; nothing of a source is dropped without an entry here.

    Attributes:
        approximate: whether a change of meaning is allowed; each is listed.
        refused: what the other side cannot say.
        changed: what means something else now, because it was allowed.
        left: what changes nothing of the test and has no counterpart, such as a current range.
    """

    approximate: bool = False
    refused: list[InputError] = field(default_factory=list[InputError])
    changed: list[Note] = field(default_factory=list[Note])
    left: list[Note] = field(default_factory=list[Note])

    @contextmanager
    def collecting(self) -> Generator[None]:
        """What is refused inside ends that part, and not the conversion."""
        try:
            yield
        except InputError as error:
            self.refused.append(error)

    def change(self, place: Place, what: str, instead: str) -> None:
        """Note an approximation.

        Raises:
            InputError: approximations are not allowed; says which one this would be.
        """
        if not self.approximate:
            raise InputError(what, place=place, remedy=f"{APPROXIMATE} {instead}")
        self.changed.append(Note(place, f"{what}: {instead}"))

    def leave(self, place: Place, text: str) -> None:
        """Note what stays behind without changing the test; each text once."""
        if all(note.text != text for note in self.left):
            self.left.append(Note(place, text))
