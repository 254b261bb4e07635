"""`eis`: impedance spectra, potentiostatic and galvanostatic."""

from __future__ import annotations

from dataclasses import replace
from math import log10
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from daq import units
from daq.filemodel import FileModel, mistake
from daq.model import Setpoint, Spectrum
from daq.protocol.program import Step
from daq.protocol.site import Site
from daq.protocol.steps.base import StepModel, directed
from daq.protocol.steps.voltages import CurrentOrRate
from daq.quantities import Duration
from daq.quantities import Quantity as WithUnit
from daq.units import Amount

Frequency = Annotated[float, WithUnit((units.FREQUENCY,), above=0.0, most=100e6)]
Amplitude = Annotated[Amount, WithUnit((units.VOLTAGE, units.CURRENT, units.RATE), above=0.0)]
Bias = Annotated[float, WithUnit((units.VOLTAGE,), least=-10.0, most=10.0)]

_MOST_V = 1.0
_PEAK = 2.0**0.5
_GALVANOSTATIC = "give the amplitude as a current, like `amplitude: 10 mA`"


class EisModel(FileModel):
    """An impedance spectrum."""

    start: Frequency = Field(alias="from", examples=["10 kHz"])
    """First, highest frequency."""
    end: Frequency = Field(alias="to", examples=["10 mHz"])
    """Last, lowest frequency."""
    per_decade: int = Field(default=10, ge=1, le=100)
    """Points per decade."""
    amplitude: Amplitude = Field(examples=["5 mV"])
    """Excitation, rms: a voltage (potentiostatic) or a current (galvanostatic)."""
    bias: Bias | None = None
    """Potentiostatic: DC potential against the open-circuit voltage."""
    charge: CurrentOrRate | None = None
    """Galvanostatic: DC current into the cell."""
    discharge: CurrentOrRate | None = None
    """Galvanostatic: DC current out of the cell."""
    at_most: Duration | None = None
    """Longest duration; default: three times what the frequencies need, at least 1 h."""

    @model_validator(mode="after")
    def _one_mode(self) -> EisModel:
        by_voltage = self.amplitude.kind is units.VOLTAGE
        if self.charge and self.discharge:
            raise mistake("a current flows one way", "leave one of them out", ("discharge",))
        if by_voltage and (self.charge or self.discharge):
            key = "charge" if self.charge else "discharge"
            raise mistake(
                "a DC current belongs to a galvanostatic spectrum", _GALVANOSTATIC, (key,)
            )
        if not by_voltage and self.bias is not None:
            remedy = "give the amplitude as a voltage, or a DC current instead of `bias`"
            raise mistake("a DC potential belongs to a potentiostatic spectrum", remedy, ("bias",))
        if by_voltage and self.amplitude.value > _MOST_V:
            raise mistake(
                f"{self.amplitude} is out of range", f"at most {_MOST_V:g} V", ("amplitude",)
            )
        return self

    def expected_s(self) -> float:
        """What its frequencies need."""
        return sweep_s(self.start, self.end, self.per_decade)


def sweep_s(from_Hz: float, to_Hz: float, per_decade: int) -> float:
    """Five periods a point and half a second to settle, as instruments usually take."""
    points = int(per_decade * log10(from_Hz / to_Hz)) + 1
    return sum(0.5 + 5.0 / (to_Hz * 10 ** (n / per_decade)) for n in range(points))


class Eis(StepModel):
    """Measure an impedance spectrum; the potentiostat drives the cell, the cycler is OFF."""

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
        galvanostatic = eis.amplitude.kind is not units.VOLTAGE
        spectrum = (
            self._galvanostatic(site, at_most_s) if galvanostatic else self._by_voltage(at_most_s)
        )
        return self.step(site, at_most_s, spectrum=spectrum), expected_s

    def _by_voltage(self, at_most_s: float) -> Spectrum:
        eis = self.eis
        return Spectrum(
            *(eis.start, eis.end, eis.per_decade),
            amplitude_V=eis.amplitude.value,
            bias_V=eis.bias or 0.0,
            at_most_s=at_most_s,
        )

    def _galvanostatic(self, site: Site, at_most_s: float) -> Spectrum:
        """Currents are checked against the tiers at their peaks."""
        eis = self.eis
        amplitude_A = eis.amplitude.current_A(site.nominal_Ah)
        flows, sign = (eis.charge, 1.0) if eis.charge else (eis.discharge, -1.0)
        bias_A = sign * flows.current_A(site.nominal_Ah) if flows else 0.0
        for peak_A in (bias_A + _PEAK * amplitude_A, bias_A - _PEAK * amplitude_A):
            site.check_tiers_current(peak_A, f"a spectrum with a peak of {peak_A:.4g} A", ("eis",))
        return Spectrum(
            *(eis.start, eis.end, eis.per_decade),
            amplitude_V=0.0,
            at_most_s=at_most_s,
            amplitude_A=amplitude_A,
            bias_A=bias_A,
        )

    def step(self, site: Site, at_most_s: float, **more: Any) -> Step:
        """A DC current into the cell needs a temperature at which it may be charged."""
        spectrum: Spectrum = more["spectrum"]
        if not spectrum.bias_A:
            return super().step(site, at_most_s, **more)
        flow = Setpoint(0.0, max(spectrum.bias_A, 0.0), max(-spectrum.bias_A, 0.0))
        return super().step(replace(site, limits=directed(site, flow)), at_most_s, **more)
