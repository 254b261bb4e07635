"""`charge` and `discharge`, at a current, a C-rate, a power, or through a resistance."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isfinite
from typing import Annotated, ClassVar

from pydantic import Field

from daq import units
from daq.model import Limits, Setpoint
from daq.protocol.condition import Condition, Quantity
from daq.protocol.course import Course, Follows
from daq.protocol.program import Step
from daq.protocol.site import Ends, Site
from daq.protocol.steps import setpoints
from daq.protocol.steps.base import CHARGES, DISCHARGES, MovingStep
from daq.protocol.steps.ends import EITHER_WAY
from daq.quantities import Quantity as WithUnit
from daq.units import Amount

Drive = Annotated[Amount, WithUnit((units.RATE, units.CURRENT, units.POWER), above=0.0)]
Drain = Annotated[
    Amount, WithUnit((units.RATE, units.CURRENT, units.POWER, units.RESISTANCE), above=0.0)
]

_FOLLOWED = {units.POWER: Follows.POWER, units.RESISTANCE: Follows.RESISTANCE}


class _Driven(MovingStep):
    """What charge and discharge share."""

    sign: ClassVar[float]

    def drive(self) -> Amount:
        """What the key of this kind says."""
        return getattr(self, self.kind)

    def plan(self, site: Site) -> tuple[Step, float]:
        """Constant current, power or resistance."""
        site.check_direction(self.until, self.ends)
        until = site.conditions(self.until, self.at_most)
        step, current_A = self.driven(site, until)
        self._check_charge_in_time(site, until, current_A)
        return step, expected_s(site, until, current_A, self.at_most)

    def driven(self, site: Site, until: tuple[Condition, ...]) -> tuple[Step, float]:
        """The step with its resolved ends, and its largest current."""
        follows = _FOLLOWED.get(self.drive().kind)
        if follows:  # the engine bounds the renewed current by the step's limits alone
            site = within_range(site)
        current_A = self._followed(site, until, follows) if follows else self._current(site)
        setpoint = self.setpoint(site, current_A, until)
        course = self._course(follows, setpoint.voltage_V) if follows else None
        step = self.step(site, self.at_most, setpoint=setpoint, course=course, until=until)
        return step, current_A

    def _course(self, follows: Follows, voltage_V: float) -> Course:
        value = self.drive().value * (self.sign if follows is Follows.POWER else 1.0)
        return Course(follows, (0.0,), (value,), top_V=voltage_V, bottom_V=voltage_V)

    def setpoint(self, site: Site, current_A: float, until: tuple[Condition, ...]) -> Setpoint:
        """What the cycler is told."""
        make = setpoints.charge if self.sign > 0 else setpoints.discharge
        return make(site, current_A, until)

    def _current(self, site: Site) -> float:
        current_A = self.drive().current_A(site.nominal_Ah)
        what = f"{self.kind} at {site.raw[self.kind]} ({current_A:.4g} A)"
        site.check_current(self.sign * current_A, what, (self.kind,))
        return current_A

    def _followed(self, site: Site, until: tuple[Condition, ...], follows: Follows) -> float:
        """The largest current that comes; on the way the engine renews it.

        A power asks for most at the voltage where its step ends, a resistance where it begins.
        """
        amount = self.drive()
        voltage_V = self.setpoint(site, 0.0, until).voltage_V
        if follows is Follows.RESISTANCE:
            voltage_V = setpoints.voltages(site)[1]
            current_A = voltage_V / amount.value if isfinite(voltage_V) else 0.0
        else:
            current_A = setpoints.power_current_A(amount.value, voltage_V)
        what = f"{self.kind} at {amount} ({current_A:.4g} A at {voltage_V:.4g} V)"
        site.check_current(self.sign * current_A, what, (self.kind,))
        return current_A or site.nominal_Ah  # of a file alone nothing says how high it begins

    def _check_charge_in_time(
        self, site: Site, until: tuple[Condition, ...], current_A: float
    ) -> None:
        ends = [end for end in until if _is_known(end, Quantity.CHARGE, Quantity.TIME)]
        if len(ends) != len(until):
            return
        needed_s = expected_s(site, until, current_A, inf)
        if needed_s > self.at_most:
            message = f"{ends[0].text!r} takes {needed_s / 3600:.3g} h at this rate"
            site.refuse(message, ("at_most",), "make at_most longer")


class Charge(_Driven):
    """Charge until an end condition."""

    kind: ClassVar[str] = "charge"
    sign: ClassVar[float] = 1.0
    ends: ClassVar[Ends] = EITHER_WAY | {(Quantity.VOLTAGE, True), (Quantity.SOC, True)}

    charge: Drive = Field(examples=["C/20"])
    """Current, C-rate or power."""

    def moves(self) -> frozenset[str]:
        """Charge flows in."""
        return frozenset({CHARGES})


class Discharge(_Driven):
    """Discharge until an end condition."""

    kind: ClassVar[str] = "discharge"
    sign: ClassVar[float] = -1.0
    ends: ClassVar[Ends] = EITHER_WAY | {(Quantity.VOLTAGE, False), (Quantity.SOC, False)}

    discharge: Drain = Field(examples=["C/20"])
    """Current, C-rate, power or resistance, as a magnitude."""

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
        elif _is_known(end, Quantity.CHARGE):
            known.append(end.value * seconds_per_Ah)
        elif _is_known(end, Quantity.TIME):
            known.append(end.value)
    return min(known, default=at_most_s)


def _is_known(end: Condition, *quantities: Quantity) -> bool:
    """Whether it compares one of these with a value, not with something earlier."""
    return end.quantity in quantities and isfinite(end.value)


def within_range(site: Site) -> Site:
    """The same with limits that the instrument's range has tightened."""
    return replace(site, limits=site.limits.tighten(Limits(current_A=site.range.current_A)))
