"""`chamber`: a temperature, a ramp to it, a humidity, and when they count as reached."""

from __future__ import annotations

from math import inf, nan
from typing import Annotated, ClassVar

from pydantic import Field

from daq import units
from daq.filemodel import FileModel
from daq.protocol.program import Soak, Step
from daq.protocol.site import Site
from daq.protocol.steps.base import StepModel
from daq.quantities import Duration, Temperature
from daq.quantities import Quantity as WithUnit

Nearness = Annotated[float, WithUnit((units.TEMPERATURE_CHANGE,), above=0.0, most=100.0)]
RampRate = Annotated[float, WithUnit((units.TEMPERATURE_RATE,), above=0.0, most=100.0)]
Humidity = Annotated[float, WithUnit((units.FRACTION,), least=0.0, most=1.0)]

CHAMBER_ANSWER_S = 3600.0
"""A chamber step without soak ends with the first answer; this only bounds the wait for it."""
LONGEST_WAY_K = 300.0
"""Where a ramp begins is not known before; no chamber goes further."""


class SoakModel(FileModel):
    """When a chamber's temperature counts as reached."""

    within: Nearness = Field(examples=["0.5 K"])
    """Largest distance from the target."""
    duration: Duration = Field(alias="for", examples=["30 min"])
    """How long it must stay that near."""
    at_most: Duration = Field(examples=["4 h"])
    """Longest wait; reaching it fails the run."""


class ChamberStep(StepModel):
    """Ask the chamber for a temperature, and wait until it is there."""

    kind: ClassVar[str] = "chamber"

    chamber: Temperature = Field(examples=["25 degC"])
    """Temperature to go to."""
    rate: RampRate | None = None
    """How fast; default: as fast as the chamber can."""
    humidity: Humidity | None = None
    """Relative humidity to ask for, where the chamber has it."""
    soak: SoakModel | None = None
    """When it counts as reached; without it the program goes on when the last was asked for."""

    def plan(self, site: Site) -> tuple[Step, float]:
        """OFF while the chamber settles."""
        target = self.chamber
        site.check_temperature(target, f"chamber at {target:g} degC", ("chamber",))
        within_K, for_s, at_most_s = inf, 0.0, CHAMBER_ANSWER_S + self._longest_ramp_s()
        if self.soak is not None:
            within_K, for_s, at_most_s = self.soak.within, self.soak.duration, self.soak.at_most
            if for_s > at_most_s:
                site.refuse("the soak outlasts its at_most", ("soak", "at_most"), "make it longer")
        ramp_K_s = (self.rate or 0.0) / 60.0
        humidity_pct = nan if self.humidity is None else 100.0 * self.humidity
        soak = Soak(target, within_K, for_s, ramp_K_s, humidity_pct)
        return self.step(site, at_most_s, soak=soak), for_s

    def _longest_ramp_s(self) -> float:
        return 60.0 * LONGEST_WAY_K / self.rate if self.rate else 0.0
