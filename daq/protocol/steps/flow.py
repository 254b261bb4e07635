"""`if`, `goto` and `end`: where a program goes on other than with the next line."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from daq.filemodel import Word
from daq.protocol.build import Builder
from daq.protocol.clause import Way
from daq.protocol.condition import Exit
from daq.protocol.steps.base import Instruction, add_list
from daq.protocol.steps.moments import moments
from daq.protocol.steps.registry import Steps
from daq.protocol.until import MOST_JUMPS, Decides
from daq.yamlfile import Where


class If(Instruction):
    """Run one list of steps or another."""

    model_config = ConfigDict(defer_build=True)  # its steps are of kinds not yet registered

    kind: ClassVar[str] = "if"

    condition: Decides = Field(alias="if", examples=["cycle >= 100"])
    """Looked at in the moment when the step before has ended."""
    then: Steps = Field(examples=[[{"rest": "30 min"}]])
    """What is done if it holds."""
    otherwise: Steps | None = Field(default=None, alias="else")
    """What is done if it does not."""

    def compile(self, builder: Builder, where: Where) -> None:
        """The steps behind a branch."""
        (condition,) = moments(builder, [self.condition], (*where, "if"))
        otherwise = self.otherwise
        builder.choose(
            condition,
            lambda: add_list(builder, self.then, (*where, "then")),
            (lambda: add_list(builder, otherwise, (*where, "else"))) if otherwise else None,
        )

    def moves(self) -> frozenset[str]:
        """Whatever its steps may move."""
        steps = (*self.then, *(self.otherwise or ()))
        return frozenset[str]().union(*(step.moves() for step in steps))

    def counts_cycles(self) -> bool:
        """Whether a loop in it counts cycles."""
        return any(step.counts_cycles() for step in (*self.then, *(self.otherwise or ())))


class Goto(Instruction):
    """Go on at a label."""

    kind: ClassVar[str] = "goto"

    goto: Word = Field(examples=["again"])
    """The label."""
    times: int = Field(default=0, ge=1, le=MOST_JUMPS)
    """How often in the run, where it goes back; once more fails the run."""

    def compile(self, builder: Builder, where: Where) -> None:
        """A jump."""
        way = Way(Exit.GOTO, self.goto, self.times)
        builder.leave(builder.goes(way, (*where, "goto")), f"goto {self.goto}")


class EndOf(Instruction):
    """Leave a loop, end a cycle, or complete the run."""

    kind: ClassVar[str] = "end"

    end: Literal["repeat", "cycle", "run"] = Field(examples=["run"])
    """What ends."""

    def compile(self, builder: Builder, where: Where) -> None:
        """A jump whose target the loops around it give."""
        goes = builder.goes(Way(Exit(self.end)), (*where, "end"))
        builder.leave(goes, f"end of the {self.end}")
