"""`profile`: plays a current, a power or a C-rate over time."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from daq import units
from daq.errors import InputError
from daq.filemodel import FileModel, mistake
from daq.model import Setpoint
from daq.protocol.condition import Condition
from daq.protocol.context import reading
from daq.protocol.course import Course, Follows
from daq.protocol.program import Step
from daq.protocol.site import Ends, Site
from daq.protocol.steps import setpoints
from daq.protocol.steps.base import CHARGES, DISCHARGES, StepModel
from daq.protocol.steps.currents import within_range
from daq.protocol.steps.ends import ANYTHING
from daq.protocol.tables import Table
from daq.protocol.until import Until
from daq.quantities import Duration
from daq.quantities import Quantity as WithUnit
from daq.units import Amount

_SPARE, _SPARE_S = 1.01, 10.0


class _Scale(WithUnit):
    """Annotation: a factor, or what the largest magnitude shall be."""

    def validate(self, value: object) -> float | Amount:
        if isinstance(value, int | float) and not isinstance(value, bool):
            if not 0.0 < value < 1e6:
                raise mistake(f"{value} is out of range", "a positive factor")
            return float(value)
        return super().validate(value)


Scale = Annotated[float | Amount, _Scale((units.RATE, units.CURRENT, units.POWER), above=0.0)]


class ProfileModel(FileModel):
    """Which table, and how it is played."""

    file: str = Field(examples=["us06.csv"])
    """The table, in the folder of the protocol or in one below."""
    scale: Scale = 1.0
    """A factor for all values, or what their largest magnitude shall be."""
    interpolate: bool = False
    """Straight lines between the points instead of steps."""

    _table: Table | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _load(self, info: ValidationInfo) -> ProfileModel:
        self._table = reading(info).table(self.file, "file")
        return self

    @property
    def table(self) -> Table:
        """What is played."""
        if self._table is None:
            raise InputError(f"the profile {self.file} has not come with the protocol")
        return self._table


class Profile(StepModel):
    """Play a table of values over time; ends when it is over."""

    kind: ClassVar[str] = "profile"
    ends: ClassVar[Ends] = ANYTHING

    profile: ProfileModel = Field(examples=[{"file": "us06.csv", "scale": "2C"}])
    """The table and how it is played."""
    until: Until = ()
    """What ends it before it is over."""
    at_most: Duration | None = None
    """Longest duration; default: its own."""

    def moves(self) -> frozenset[str]:
        """What it moves in all."""
        return frozenset({CHARGES if _net(self.profile.table) > 0.0 else DISCHARGES})

    def plan(self, site: Site) -> tuple[Step, float]:
        """A setpoint that follows the table."""
        site.check_direction(self.until, self.ends)
        table = self.profile.table
        length_s = table.times_s[-1]
        at_most_s = self.at_most or _SPARE * length_s + _SPARE_S
        if at_most_s < length_s:
            site.refuse(f"the profile takes {length_s:g} s", ("at_most",), "make it longer")
        until = site.conditions(self.until, at_most_s)
        course = self._course(site, until)
        most = self._most(site, course)
        site = within_range(site)
        step = self.step(site, at_most_s, setpoint=most, course=course, until=until)
        return step, length_s

    def _course(self, site: Site, until: tuple[Condition, ...]) -> Course:
        table, scale = self.profile.table, self._scale(site)
        return Course(
            follows=Follows.POWER if table.column == "power_W" else Follows.CURRENT,
            times_s=table.times_s,
            values=tuple(scale * value for value in table.values),
            linear=self.profile.interpolate,
            top_V=setpoints.charge(site, 0.0, until).voltage_V,
            bottom_V=setpoints.discharge(site, 0.0, until).voltage_V,
        )

    def _scale(self, site: Site) -> float:
        """What the values of the table are multiplied with, to be A or W."""
        table, scale = self.profile.table, self.profile.scale
        by_power, by_rate = table.column == "power_W", table.column == "rate_C"
        if not isinstance(scale, Amount):
            return scale * (site.nominal_Ah if by_rate else 1.0)
        if (scale.kind is units.POWER) is not by_power:
            message = f"{scale} is no scale for a profile of {table.column}"
            site.refuse(message, ("profile", "scale"), "give it in the profile's own unit")
        largest = max(abs(value) for value in table.values)
        wanted = scale.value if by_power else scale.current_A(site.nominal_Ah)
        return wanted / largest if largest > 0.0 else 0.0

    def _most(self, site: Site, course: Course) -> Setpoint:
        """The largest currents both ways; for a power at the lowest voltage, where they are."""
        highest, lowest = max(*course.values, 0.0), max(*(-value for value in course.values), 0.0)
        if course.follows is Follows.POWER:
            highest = setpoints.power_current_A(highest, course.bottom_V) if highest else 0.0
            lowest = setpoints.power_current_A(lowest, course.bottom_V) if lowest else 0.0
        what = f"the profile {self.profile.file}"
        site.check_current(highest, f"{what} ({highest:.4g} A)", ("profile",))
        site.check_current(-lowest, f"{what} ({-lowest:.4g} A)", ("profile",))
        return Setpoint(course.top_V, highest, lowest)


def _net(table: Table) -> float:
    """What it moves, roughly; only the sign is of interest."""
    steps = zip(table.times_s, table.times_s[1:], table.values, strict=False)
    return sum((end_s - begin_s) * value for begin_s, end_s, value in steps)
