"""Steps with everything OFF: `rest`, `operator` and `set`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from daq.filemodel import Name
from daq.protocol.condition import Condition, Quantity
from daq.protocol.program import Step
from daq.protocol.site import Ends, Site
from daq.protocol.steps.base import StepModel
from daq.protocol.steps.ends import RESTING
from daq.protocol.until import Until
from daq.quantities import Duration

SWITCHED_S = 60.0
"""A `set` ends with the next sample; this only bounds the wait for it."""


class Rest(StepModel):
    """Leave the cell at open circuit."""

    kind: ClassVar[str] = "rest"
    ends: ClassVar[Ends] = RESTING

    rest: Duration = Field(examples=["30 min"])
    """How long."""
    until: Until = ()
    """What ends it before that."""

    def plan(self, site: Site) -> tuple[Step, float]:
        """OFF for a time."""
        site.check_direction(self.until, self.ends)
        until = site.conditions(self.until, self.rest)
        if until:  # reaching the time is a normal end here too
            until += (Condition(Quantity.TIME, True, self.rest, f"time >= {site.raw['rest']}"),)
        return self.step(site, self.rest, until=until), self.rest


class Operator(StepModel):
    """Wait, OFF, until somebody has done something."""

    kind: ClassVar[str] = "operator"

    operator: Annotated[str, StringConstraints(min_length=1, max_length=500)] = Field(
        examples=["swap the cell's holder"]
    )
    """What is to be done; `daq resume STATION` says that it was."""
    at_most: Duration = Field(examples=["7 d"])
    """Longest wait; reaching it fails the run."""

    def plan(self, site: Site) -> tuple[Step, float]:
        """OFF."""
        return self.step(site, self.at_most), 0.0


class SetOutputs(StepModel):
    """Switch digital outputs of the station; the cell is OFF meanwhile."""

    kind: ClassVar[str] = "set"

    set: dict[Name, Literal["on", "off"]] = Field(examples=[{"stirrer": "on"}], min_length=1)
    """Output -> on or off."""

    def plan(self, site: Site) -> tuple[Step, float]:
        """Switched as the step begins."""
        outputs = tuple((name, state == "on") for name, state in self.set.items())
        return self.step(site, SWITCHED_S, outputs=outputs), 0.0
