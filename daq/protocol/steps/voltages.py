"""`hold` (constant voltage) and `cccv` (constant current, then constant voltage, as one step)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, model_validator

from daq import units
from daq.filemodel import FileModel, mistake
from daq.model import Setpoint
from daq.protocol.condition import Condition, Quantity
from daq.protocol.program import Step
from daq.protocol.site import Ends, Site
from daq.protocol.steps import setpoints
from daq.protocol.steps.base import CHARGES, DISCHARGES, MovingStep
from daq.protocol.steps.currents import expected_s
from daq.protocol.steps.ends import SETTLING
from daq.quantities import Quantity as WithUnit
from daq.quantities import Voltage
from daq.units import Amount

CurrentOrRate = Annotated[Amount, WithUnit((units.RATE, units.CURRENT), above=0.0)]

_TAPER_S = 1800.0
"""How long a constant-voltage phase usually takes; for the expected duration only."""


class Hold(MovingStep):
    """Hold a voltage until an end condition."""

    kind: ClassVar[str] = "hold"
    ends: ClassVar[Ends] = SETTLING | {(Quantity.CURRENT, True)}

    hold: Voltage = Field(examples=["4.2 V"])
    """Voltage to hold."""
    current: CurrentOrRate | None = None
    """Most current; default: what the limits allow. After a charge it only charges, after a
    discharge it only discharges, otherwise both."""

    def plan(self, site: Site) -> tuple[Step, float]:
        """Constant voltage."""
        site.check_direction(self.until, self.ends)
        site.check_voltage(self.hold, f"hold at {self.hold:g} V", ("hold",))
        until = site.conditions(self.until, self.at_most)
        setpoint = setpoints.hold(site, self.hold, self._cap(site))
        times = (end.value for end in until if end.quantity is Quantity.TIME and end.value > 0.0)
        expected = min([_TAPER_S, *times])
        return self.step(site, self.at_most, setpoint=setpoint, until=until), expected

    def _cap(self, site: Site) -> float | None:
        if self.current is None:
            return None
        cap_A = self.current.current_A(site.nominal_Ah)
        what = f"a current of {site.raw['current']} ({cap_A:.4g} A)"
        site.check_current(cap_A, what, ("current",))
        site.check_current(-cap_A, what, ("current",))
        return cap_A


class CccvModel(FileModel):
    """The two halves of a CC-CV step."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["charge"]}, {"required": ["discharge"]}]}
    )

    charge: CurrentOrRate | None = Field(default=None, examples=["C/2"])
    """Current into the cell until the voltage is reached; this or `discharge`."""
    discharge: CurrentOrRate | None = Field(default=None, examples=["C/2"])
    """Current out of the cell until the voltage is reached."""
    voltage: Voltage = Field(examples=["4.2 V"])
    """Voltage that is held from there."""

    @model_validator(mode="before")
    @classmethod
    def _one_direction(cls, value: Any) -> Any:
        if isinstance(value, dict) and ("charge" in value) == ("discharge" in value):
            example = "write it like {charge: C/2, voltage: 4.2 V}"
            raise mistake("cccv needs a charge or a discharge current, one of them", example)
        return value  # pyright: ignore[reportUnknownVariableType]


class Cccv(MovingStep):
    """Constant current to a voltage, then constant voltage, as one step."""

    kind: ClassVar[str] = "cccv"
    ends: ClassVar[Ends] = SETTLING

    cccv: CccvModel = Field(examples=[{"charge": "C/2", "voltage": "4.2 V"}])
    """The current, and the voltage at which it gives way."""

    def moves(self) -> frozenset[str]:
        """As its current."""
        return frozenset({CHARGES if self.cccv.charge else DISCHARGES})

    def plan(self, site: Site) -> tuple[Step, float]:
        """Current-limited constant voltage: the instrument itself changes over."""
        site.check_direction(self.until, self.ends)
        voltage_V = self.cccv.voltage
        site.check_voltage(voltage_V, f"cccv to {voltage_V:g} V", ("cccv", "voltage"))
        current_A = self._current(site)
        until = site.conditions(self.until, self.at_most)
        charging = self.cccv.charge is not None
        setpoint = Setpoint(
            voltage_V, current_A if charging else 0.0, 0.0 if charging else current_A
        )
        step = self.step(site, self.at_most, setpoint=setpoint, until=until)
        return step, self._expected(site, until, current_A)

    def _current(self, site: Site) -> float:
        way, sign = ("charge", 1.0) if self.cccv.charge else ("discharge", -1.0)
        amount: Amount = getattr(self.cccv, way)
        current_A = amount.current_A(site.nominal_Ah)
        what = f"cccv {way} at {site.raw['cccv'][way]} ({current_A:.4g} A)"
        site.check_current(sign * current_A, what, ("cccv", way))
        return current_A

    def _expected(self, site: Site, until: tuple[Condition, ...], current_A: float) -> float:
        whole_s = 3600.0 * site.nominal_Ah / current_A + _TAPER_S
        return min(whole_s, expected_s(site, until, current_A, whole_s))
