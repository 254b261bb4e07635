"""`repeat`: a loop; its count is the total number of passes."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field

from daq.protocol.build import Builder
from daq.protocol.steps.base import CHARGES, DISCHARGES, Instruction, add_list
from daq.protocol.steps.moments import moments
from daq.protocol.steps.registry import Steps
from daq.protocol.until import Conditions
from daq.yamlfile import Where


class RepeatModel(Instruction):
    """Run steps several times."""

    model_config = ConfigDict(defer_build=True)  # its steps are of kinds not yet registered

    kind: ClassVar[str] = "repeat"

    repeat: int = Field(ge=1, le=100_000, examples=[2])
    """How many times in all."""
    until: Conditions = ()
    """Looked at after each pass; any of them ends the loop."""
    cycle: bool | None = None
    """Whether each pass is a cycle; default: the innermost loop that charges and discharges."""
    steps: Steps = Field(examples=[[{"rest": "30 min"}]])
    """What to repeat."""

    def compile(self, builder: Builder, where: Where) -> None:
        """The steps between loop brackets."""
        until = moments(builder, self.until, (*where, "until"))
        counts = self._is_cycle()
        with builder.loop(self.repeat, counts_cycles=counts, where=where, until=until):
            add_list(builder, self.steps, (*where, "steps"))

    def moves(self) -> frozenset[str]:
        """Whatever its steps move."""
        return frozenset[str]().union(*(step.moves() for step in self.steps))

    def counts_cycles(self) -> bool:
        """Whether it or a loop in it counts cycles."""
        return self._is_cycle() or any(step.counts_cycles() for step in self.steps)

    def _is_cycle(self) -> bool:
        """The innermost loop that both charges and discharges, if nothing else is said."""
        if self.cycle is not None:
            return self.cycle
        if any(step.counts_cycles() for step in self.steps):
            return False
        return self.moves() >= {CHARGES, DISCHARGES}
