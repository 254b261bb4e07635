"""What is reviewed: a compiled protocol, the file that it came from, and where it is to run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from daq.errors import Place
from daq.protocol.build import Origin
from daq.protocol.compile import Compiled
from daq.protocol.program import Instruction, Program, Step
from daq.protocol.source import ProtocolSource
from daq.review.finding import Finding, Level
from daq.review.flow import Flow


@dataclass(frozen=True, slots=True)
class Station:
    """A station, as far as a review wants to know.

    Attributes:
        period_s: how often its cycler is read, lab clock; 0 in accelerated time, where hours lie
            between two readings.
        window: check Q2, as a part of the nominal capacity.
        currents_known: what its cycler can do is known without asking it.
        fastest_s: what the pauses of one reading take: a step that asks for it has its cycler read
            faster than `period_s`, and never faster than this; 0 where nothing is known.
    """

    name: str
    period_s: float
    chamber: bool
    eis: bool
    window: float
    currents_known: bool = True
    fastest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Subject:
    """A protocol under review."""

    source: ProtocolSource
    compiled: Compiled
    flow: Flow
    station: Station | None = None

    @property
    def program(self) -> Program:
        """What it compiles to."""
        return self.compiled.program

    def steps(self) -> Iterator[tuple[int, Step, Origin]]:
        """Index, step, and where it stands."""
        for index, (item, origin) in enumerate(self.instructions()):
            if isinstance(item, Step):
                yield index, item, origin

    def instructions(self) -> Iterator[tuple[Instruction, Origin]]:
        """With where each stands."""
        return zip(self.program.instructions, self.compiled.origins, strict=True)

    def place(self, *key: str | int) -> Place:
        """Of a value in the protocol file itself."""
        return self.source.document.place(key, value=True)


def until_place(origin: Origin, number: int, count: int, key: str = "until") -> Place:
    """Of one of `count` conditions that an instruction looks at."""
    written: Any = origin.document.data
    for segment in (*origin.where, key):
        try:
            written = written[segment]
        except (KeyError, IndexError, TypeError):
            return origin.place()
    # `a or b` makes two of one entry; then the list as a whole is the best place.
    entries = cast(list[Any], written) if isinstance(written, list) else []
    if number < len(entries) <= count and "or" not in str(entries[: number + 1]).split():
        return origin.place(key, number)
    return origin.place(key)


def error(place: Place, message: str, remedy: str = "") -> Finding:
    """It cannot work."""
    return Finding(Level.ERROR, place, message, remedy)


def warning(place: Place, message: str, remedy: str = "") -> Finding:
    """It may not do what its author thinks."""
    return Finding(Level.WARNING, place, message, remedy)


def note(place: Place, message: str, remedy: str = "") -> Finding:
    """For whoever wonders."""
    return Finding(Level.NOTE, place, message, remedy)
