"""One of the two versions that are compared: its file, and what it compiles to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from daq.model import Limits
from daq.protocol.compile import Compiled
from daq.protocol.program import Leave, RecordRule, Step
from daq.protocol.source import ProtocolSource
from daq.review.aspects import Aspects, aspects, kind_of


@dataclass(frozen=True, slots=True)
class Version:
    """One of the two: the file, and what it compiles to for some cell."""

    source: ProtocolSource
    compiled: Compiled

    @property
    def rule(self) -> RecordRule:
        """How the protocol records where a step does not say otherwise."""
        nominal_Ah = self.compiled.program.nominal_capacity_Ah
        return self.source.model.record.rule(RecordRule(), nominal_Ah)

    @property
    def safety(self) -> Limits:
        """The protocol's own limits."""
        model = self.source.model.safety
        return model.limits_for(self.compiled.program.nominal_capacity_Ah)

    def aspects(self, index: int) -> Aspects:
        """Of an instruction."""
        item = self.compiled.program.instructions[index]
        return aspects(item, self.compiled.origins[index], self.rule)

    def fingerprint(self, index: int) -> Any:
        """Equal for instructions that mean the same."""
        item = self.compiled.program.instructions[index]
        sides = self.aspects(index)
        return kind_of(item), tuple((name, side.key) for name, side in sides.items())

    def line(self, index: int) -> int:
        """Of an instruction in its file."""
        item = self.compiled.program.instructions[index]
        return item.line if isinstance(item, Step) else self.compiled.origins[index].place().line

    def text(self, index: int) -> str:
        """An instruction for people."""
        item = self.compiled.program.instructions[index]
        if isinstance(item, Step):
            return item.text
        sides = self.aspects(index)
        said = " ".join(f"{name} {side.shown}" for name, side in sides.items() if side.shown)
        return item.text if isinstance(item, Leave) else said
