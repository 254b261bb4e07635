"""`charge` and `discharge`, at a current, a C-rate or a power."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

from pydantic import Field

from daq import units
from daq.model import Limits, Setpoint
from daq.protocol.build import Ends, Site
from daq.protocol.program import Condition, Quantity, Step
from daq.protocol.steps import setpoints
from daq.protocol.steps.base import CHARGES, DISCHARGES, MovingStep
from daq.quantities import Quantity as WithUnit
from daq.units import Amount

Drive = Annotated[Amount, WithUnit((units.RATE, units.CURRENT, units.POWER), above=0.0)]

_EITHER_WAY: Ends = frozenset(
    {
        (Quantity.CURRENT, False),
        (Quantity.TEMPERATURE, True),
        (Quantity.TEMPERATURE, False),
        (Quantity.TIME, True),
        (Quantity.CHARGE, True),
        (Quantity.ENERGY, True),
    }
)


class _Driven(MovingStep):
    """What charge and discharge share."""

    sign: ClassVar[float]

    def drive(self) -> Amount:
        """What the key of this kind says."""
        return getattr(self, self.kind)

    def plan(self, site: Site) -> tuple[Step, float]:
        """Constant current or constant power."""
        site.check_direction(self.until, self.ends)
        until = site.conditions(self.until, self.at_most)
        by_power = self.drive().kind is units.POWER
        if by_power:  # the engine bounds the renewed current by the step's limits alone
            site = replace(site, limits=site.limits.tighten(Limits(current_A=site.range.current_A)))
        current_A = self._power(site, until) if by_power else self._current(site)
        self._check_charge_in_time(site, until, current_A)
        step = self.step(
            site,
            self.at_most,
            setpoint=self.setpoint(site, current_A, until),
            power_W=self.sign * self.drive().value if by_power else None,
            until=until,
        )
        return step, expected_s(site, until, current_A, self.at_most)

    def setpoint(self, site: Site, current_A: float, until: tuple[Condition, ...]) -> Setpoint:
        """What the cycler is told."""
        make = setpoints.charge if self.sign > 0 else setpoints.discharge
        return make(site, current_A, until)

    def _current(self, site: Site) -> float:
        current_A = self.drive().current_A(site.nominal_Ah)
        what = f"{self.kind} at {site.raw[self.kind]} ({current_A:.4g} A)"
        site.check_current(self.sign * current_A, what, (self.kind,))
        return current_A

    def _power(self, site: Site, until: tuple[Condition, ...]) -> float:
        """The current at the voltage where the step ends; on the way the engine renews it."""
        power_W = self.drive().value
        voltage_V = self.setpoint(site, 0.0, until).voltage_V
        current_A = setpoints.power_current_A(power_W, voltage_V)
        what = f"{self.kind} at {power_W:g} W ({current_A:.4g} A at {voltage_V:.4g} V)"
        site.check_current(self.sign * current_A, what, (self.kind,))
        return current_A

    def _check_charge_in_time(
        self, site: Site, until: tuple[Condition, ...], current_A: float
    ) -> None:
        ends = [end for end in until if end.quantity in (Quantity.CHARGE, Quantity.TIME)]
        if len(ends) != len(until):
            return
        needed_s = expected_s(site, until, current_A, float("inf"))
        if needed_s > self.at_most:
            message = f"{ends[0].text!r} takes {needed_s / 3600:.3g} h at this rate"
            site.refuse(message, ("at_most",), "make at_most longer")


class Charge(_Driven):
    """Charge until an end condition."""

    kind: ClassVar[str] = "charge"
    sign: ClassVar[float] = 1.0
    ends: ClassVar[Ends] = _EITHER_WAY | {(Quantity.VOLTAGE, True)}

    charge: Drive = Field(examples=["C/20"])
    """Current, C-rate or power."""

    def moves(self) -> frozenset[str]:
        """Charge flows in."""
        return frozenset({CHARGES})


class Discharge(_Driven):
    """Discharge until an end condition."""

    kind: ClassVar[str] = "discharge"
    sign: ClassVar[float] = -1.0
    ends: ClassVar[Ends] = _EITHER_WAY | {(Quantity.VOLTAGE, False)}

    discharge: Drive = Field(examples=["C/20"])
    """Current, C-rate or power, as a magnitude."""

    def moves(self) -> frozenset[str]:
        """Charge flows out."""
        return frozenset({DISCHARGES})


def expected_s(
    site: Site, until: tuple[Condition, ...], current_A: float, at_most_s: float
) -> float:
    """How long a current takes to its first end, a voltage counting as the whole cell."""
    seconds_per_Ah = 3600.0 / current_A
    known: list[float] = []
    for end in until:
        if end.quantity is Quantity.VOLTAGE:
            known.append(site.nominal_Ah * seconds_per_Ah)
        elif end.quantity is Quantity.CHARGE:
            known.append(end.value * seconds_per_Ah)
        elif end.quantity is Quantity.TIME:
            known.append(end.value)
    return min(known, default=at_most_s)
