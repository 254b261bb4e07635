"""`ramp`: a voltage or a current that moves."""

from __future__ import annotations

from dataclasses import replace
from math import nan
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, model_validator

from daq import units
from daq.filemodel import FileModel, mistake
from daq.protocol.course import Course, Follows
from daq.protocol.program import Step
from daq.protocol.site import Ends, Site
from daq.protocol.steps import setpoints
from daq.protocol.steps.base import CHARGES, DISCHARGES, StepModel
from daq.protocol.steps.currents import within_range
from daq.protocol.steps.ends import ANYTHING
from daq.protocol.steps.voltages import CurrentOrRate
from daq.protocol.until import Until
from daq.quantities import Duration
from daq.quantities import Quantity as WithUnit
from daq.units import Amount

_KEYS = ("voltage", "charge", "discharge")
_EXAMPLE = "write it like {voltage: 4.2 V, rate: 1 mV/s} or {charge: 2C, from: C/10, over: 10 min}"

Rate = Annotated[float, WithUnit((units.VOLTAGE_RATE,), above=0.0)]
VoltageOrCurrent = Annotated[Amount, WithUnit((units.VOLTAGE, units.CURRENT, units.RATE))]


class RampModel(FileModel):
    """What moves where, and how fast."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [key]} for key in _KEYS]},
    )

    voltage: Annotated[float, WithUnit((units.VOLTAGE,))] | None = None
    """Voltage to go to."""
    charge: CurrentOrRate | None = None
    """Current into the cell to go to."""
    discharge: CurrentOrRate | None = None
    """Current out of the cell to go to."""
    start: VoltageOrCurrent | None = Field(default=None, alias="from")
    """Where it begins; default: the cell's voltage, or no current."""
    rate: Rate | None = None
    """How fast a voltage moves."""
    over: Duration | None = None
    """How long a current takes."""
    current: CurrentOrRate | None = None
    """Most current while a voltage moves, both ways; default: what the limits allow."""

    @model_validator(mode="before")
    @classmethod
    def _one_kind(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        kinds = [key for key in _KEYS if key in value]
        if len(kinds) != 1:
            raise mistake("a ramp moves one thing", _EXAMPLE)
        needed = "rate" if kinds == ["voltage"] else "over"
        if needed not in value:
            raise mistake(f"the key {needed!r} is missing", _EXAMPLE)
        wrong = (
            {"rate", "over", "current"} - {needed} - ({"current"} if needed == "rate" else set())
        )
        for key in wrong & value.keys():  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            raise mistake(f"{key!r} does not belong to a ramp of {kinds[0]}", _EXAMPLE, (str(key),))
        return value  # pyright: ignore[reportUnknownVariableType]


class Ramp(StepModel):
    """A voltage or a current that moves; ends when it has arrived."""

    kind: ClassVar[str] = "ramp"
    ends: ClassVar[Ends] = ANYTHING

    ramp: RampModel = Field(examples=[{"voltage": "4.2 V", "rate": "1 mV/s"}])
    """The voltage or the current that moves."""
    until: Until = ()
    """What ends it before it has arrived."""
    at_most: Duration = Field(examples=["2 h"])
    """Longest duration; reaching it fails the run."""

    def moves(self) -> frozenset[str]:
        """As its current; a ramp of voltage may go either way."""
        if self.ramp.voltage is not None:
            return frozenset()
        return frozenset({CHARGES if self.ramp.charge else DISCHARGES})

    def plan(self, site: Site) -> tuple[Step, float]:
        """A setpoint that moves."""
        site.check_direction(self.until, self.ends)
        return self._voltage(site) if self.ramp.voltage is not None else self._current(site)

    def _voltage(self, site: Site) -> tuple[Step, float]:
        ramp, target_V, rate = self.ramp, self.ramp.voltage or 0.0, self.ramp.rate or 1.0
        site.check_voltage(target_V, f"ramp to {target_V:g} V", ("ramp", "voltage"))
        start_V = nan
        if ramp.start is not None:
            start_V = self._start(site, units.VOLTAGE)
            site.check_voltage(start_V, f"ramp from {start_V:g} V", ("ramp", "from"))
        cap_A = ramp.current.current_A(site.nominal_Ah) if ramp.current else None
        for sign in (1.0, -1.0) if cap_A is not None else ():
            what = f"a current of {site.raw['ramp'].get('current')}"
            site.check_current(sign * (cap_A or 0.0), what, ("ramp", "current"))
        base = setpoints.hold(replace(site, after=""), target_V, cap_A)
        low_V, high_V = setpoints.voltages(site)
        # Without a beginning the length is not known before the step begins: the widest there is.
        farthest_V = max(abs(target_V - low_V), abs(high_V - target_V))
        way_V = abs(target_V - start_V) if ramp.start is not None else farthest_V
        course = Course(Follows.VOLTAGE, (0.0,), (start_V,), True, rate=rate, target=target_V)
        until = site.conditions(self.until, self.at_most)
        step = self.step(site, self.at_most, setpoint=base, course=course, until=until)
        return step, way_V / rate

    def _current(self, site: Site) -> tuple[Step, float]:
        ramp, over_s = self.ramp, self.ramp.over or 0.0
        way, sign = ("charge", 1.0) if ramp.charge else ("discharge", -1.0)
        amount: Amount = getattr(ramp, way)
        target_A = amount.current_A(site.nominal_Ah)
        start_A = self._start(site, units.CURRENT, units.RATE) if ramp.start is not None else 0.0
        for value_A, key in ((target_A, way), (start_A, "from")):
            what = f"ramp of {way} at {value_A:.4g} A"
            site.check_current(sign * value_A, what, ("ramp", key))
        if over_s > self.at_most:
            site.refuse("the ramp outlasts its at_most", ("at_most",), "make it longer")
        until = site.conditions(self.until, self.at_most)
        make = setpoints.charge if sign > 0 else setpoints.discharge
        base = make(site, max(target_A, start_A), until)
        course = Course(
            *(Follows.CURRENT, (0.0, over_s), (sign * start_A, sign * target_A)),
            linear=True,
            top_V=base.voltage_V,
            bottom_V=base.voltage_V,
        )
        step = self.step(
            within_range(site), self.at_most, setpoint=base, course=course, until=until
        )
        return step, over_s

    def _start(self, site: Site, *kinds: units.Kind) -> float:
        start = self.ramp.start
        if start is None or start.kind not in kinds:
            expected = " or ".join(str(kind) for kind in kinds)
            site.refuse(f"{start} is no beginning here", ("ramp", "from"), f"give {expected}")
        return start.value if start.kind is units.VOLTAGE else start.current_A(site.nominal_Ah)
