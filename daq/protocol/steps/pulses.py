"""`pulse`: current or power for a time, recorded fast at its beginning."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, model_validator

from daq.filemodel import FileModel, mistake
from daq.protocol.build import Builder
from daq.protocol.condition import Condition, Quantity
from daq.protocol.program import RecordRule, Step, StepKind
from daq.protocol.site import Site
from daq.protocol.steps.base import StepModel, describe
from daq.protocol.steps.currents import Charge, Discharge, Drive
from daq.protocol.until import Until
from daq.quantities import Duration

FIRST_EVERY_S, FIRST_FOR_S = 0.1, 10.0
"""How the beginning of a pulse is recorded where nothing else is said."""
_EXAMPLE = "write it like {discharge: 1C, for: 30 s}"


class PulseModel(FileModel):
    """Which way, how much, how long."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["charge"]}, {"required": ["discharge"]}]}
    )

    charge: Drive | None = Field(default=None, examples=["1C"])
    """Current, C-rate or power into the cell; this or `discharge`."""
    discharge: Drive | None = Field(default=None, examples=["1C"])
    """Current, C-rate or power out of the cell."""
    duration: Duration = Field(alias="for", examples=["30 s"])
    """How long."""

    @model_validator(mode="before")
    @classmethod
    def _one_direction(cls, value: Any) -> Any:
        if isinstance(value, dict) and ("charge" in value) == ("discharge" in value):
            raise mistake("a pulse charges or discharges", _EXAMPLE)
        return value  # pyright: ignore[reportUnknownVariableType]


class Pulse(StepModel):
    """Current or power for a time, which is its normal end."""

    kind: ClassVar[str] = "pulse"
    pulse: PulseModel = Field(examples=[{"discharge": "1C", "for": "30 s"}])
    """Direction, current or power, and time."""
    until: Until = ()
    """What ends it before that."""

    def recorded(self, builder: Builder) -> RecordRule:
        """Faster at the beginning, if nothing else is said anywhere."""
        rule = super().recorded(builder)
        if isfinite(rule.first_every_s):
            return rule
        return replace(rule, first_every_s=FIRST_EVERY_S, first_for_s=FIRST_FOR_S)

    def plan(self, site: Site) -> tuple[Step, float]:
        """A charge or a discharge that ends by time."""
        pulse = self.pulse
        way, kind = ("charge", Charge) if pulse.charge else ("discharge", Discharge)
        site.check_direction(self.until, kind.ends)
        until = site.conditions(self.until, pulse.duration)
        drive = pulse.charge or pulse.discharge
        keys: dict[str, Any] = {way: drive, "until": self.until, "at_most": pulse.duration}
        like = kind.model_construct(**keys)
        written = site.raw["pulse"]
        step, _ = like.driven(replace(site, raw={**site.raw, way: written[way]}, key=way), until)
        by_time = Condition(Quantity.TIME, True, pulse.duration, f"time >= {written['for']}")
        text = describe(site.raw, self.kind)
        step = replace(step, kind=StepKind.PULSE, text=text, until=(*until, by_time))
        return step, pulse.duration
