"""Steps with the output OFF: `rest`, `chamber` and `eis`."""

from __future__ import annotations

from math import inf, log10
from typing import Annotated, ClassVar

from pydantic import Field

from daq import units
from daq.filemodel import FileModel
from daq.model import Spectrum
from daq.protocol.build import Ends, Site
from daq.protocol.program import Condition, Quantity, Soak, Step
from daq.protocol.steps.base import StepModel
from daq.protocol.until import Until
from daq.quantities import Duration, Temperature
from daq.quantities import Quantity as WithUnit

Frequency = Annotated[float, WithUnit((units.FREQUENCY,), above=0.0, most=100e6)]
Amplitude = Annotated[float, WithUnit((units.VOLTAGE,), above=0.0, most=1.0)]
Bias = Annotated[float, WithUnit((units.VOLTAGE,), least=-10.0, most=10.0)]
Nearness = Annotated[float, WithUnit((units.TEMPERATURE_CHANGE,), above=0.0, most=100.0)]

CHAMBER_ANSWER_S = 3600.0
"""A chamber step without soak ends with the first answer; this only bounds the wait for it."""


class Rest(StepModel):
    """Leave the cell at open circuit."""

    kind: ClassVar[str] = "rest"
    ends: ClassVar[Ends] = frozenset(
        {
            (Quantity.VOLTAGE, True),
            (Quantity.VOLTAGE, False),
            (Quantity.TEMPERATURE, True),
            (Quantity.TEMPERATURE, False),
        }
    )

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
    soak: SoakModel | None = None
    """When it counts as reached; without it the program goes on at once."""

    def plan(self, site: Site) -> tuple[Step, float]:
        """OFF while the chamber settles."""
        target = self.chamber
        site.check_temperature(target, f"chamber at {target:g} degC", ("chamber",))
        if self.soak is None:
            return self.step(site, CHAMBER_ANSWER_S, soak=Soak(target, inf, 0.0)), 0.0
        if self.soak.duration > self.soak.at_most:
            site.refuse("the soak outlasts its at_most", ("soak", "at_most"), "make it longer")
        soak = Soak(target, self.soak.within, self.soak.duration)
        return self.step(site, self.soak.at_most, soak=soak), self.soak.duration


class EisModel(FileModel):
    """An impedance spectrum."""

    start: Frequency = Field(alias="from", examples=["10 kHz"])
    """First, highest frequency."""
    end: Frequency = Field(alias="to", examples=["10 mHz"])
    """Last, lowest frequency."""
    per_decade: int = Field(default=10, ge=1, le=100)
    """Points per decade."""
    amplitude: Amplitude = Field(examples=["5 mV"])
    """Excitation, rms."""
    bias: Bias = 0.0
    """DC potential against the open-circuit voltage."""
    at_most: Duration | None = None
    """Longest duration; default: three times what the frequencies need, at least 1 h."""

    def expected_s(self) -> float:
        """Five periods a point and half a second to settle, as instruments usually take."""
        points = int(self.per_decade * log10(self.start / self.end)) + 1
        return sum(0.5 + 5.0 / (self.end * 10 ** (n / self.per_decade)) for n in range(points))


class Eis(StepModel):
    """Measure an impedance spectrum at the present state of charge; the cycler is OFF."""

    kind: ClassVar[str] = "eis"

    eis: EisModel = Field(examples=[{"from": "10 kHz", "to": "10 mHz", "amplitude": "5 mV"}])
    """Frequencies and excitation."""

    def plan(self, site: Site) -> tuple[Step, float]:
        """A sweep, started and polled."""
        eis = self.eis
        if eis.start <= eis.end:
            site.refuse("the sweep goes upwards", ("eis", "to"), "from the higher to the lower")
        for key, frequency in (("from", eis.start), ("to", eis.end)):
            low, high = site.range.frequency_Hz
            if not low <= frequency <= high:
                message = f"{site.raw['eis'][key]} is beyond the potentiostat"
                site.refuse(message, ("eis", key), f"it measures {low:g} Hz to {high:g} Hz")
        expected_s = eis.expected_s()
        at_most_s = eis.at_most or max(3600.0, 3.0 * expected_s)
        spectrum = Spectrum(eis.start, eis.end, eis.per_decade, eis.amplitude, eis.bias, at_most_s)
        return self.step(site, at_most_s, spectrum=spectrum), expected_s
