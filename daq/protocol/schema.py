"""The protocol file as it is written."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from daq import units
from daq.checks import CHARGE_DEFAULT
from daq.filemodel import FileModel, Name, Word, text_of
from daq.model import Limits
from daq.protocol.steps import Steps
from daq.protocol.steps.base import RecordModel
from daq.quantities import ChecksModel, Duration, LimitsModel, Quantity
from daq.units import Amount

_VERSION_PATTERN = r"^[0-9]+\.[0-9]+\.[0-9]+([-+][A-Za-z0-9.-]+)?$"

Version = Annotated[str, text_of(_VERSION_PATTERN, "a version", "write it like 1.0.0")]


class SafetyModel(LimitsModel):
    """The protocol's own limits; they may only tighten the station's and the cell's."""

    charge: Annotated[Amount, Quantity((units.FRACTION, units.CHARGE), above=0.0)] | None = None
    """Most charge since the cell was emptiest; a percentage is of the nominal capacity. Default:
    105 %."""
    time: Duration | None = None
    """Longest time of the whole program, without pauses; default: the sum of all at_most."""
    cycles: int | None = Field(default=None, ge=1)
    """Most cycles; default: as many as the program has."""
    checks: ChecksModel = ChecksModel()
    """Thresholds of the guard's checks; they may only tighten the station's."""

    def limits_for(self, nominal_capacity_Ah: float, *, included: bool = False) -> Limits:
        """The same for the guard.

        Args:
            nominal_capacity_Ah: what percentages refer to.
            included: the file is part of another, whose own charge, given or not, already holds.
        """
        if self.charge is None and included:
            return self.limits()
        charge = self.charge or Amount(CHARGE_DEFAULT, units.FRACTION)
        relative = charge.kind is units.FRACTION
        charge_Ah = charge.value * (nominal_capacity_Ah if relative else 1.0)
        return self.limits().tighten(Limits(charge_Ah=charge_Ah))


class ProtocolModel(FileModel):
    """A test program for any cell."""

    protocol: Name = Field(examples=["formation-nmc-graphite"])
    """Its name."""
    version: Version = Field(examples=["1.0.0"])
    """Raised with every change; recorded with every run, beside the file's hash."""
    description: str = ""
    """What it is for, in a sentence."""
    parameters: dict[Word, str | int | float] = Field(default_factory=dict[str, str | int | float])
    """Name -> value; used as `$name`, and may be given anew at the start of a run."""
    resume: Literal["automatic", "operator"] = "automatic"
    """After a crash or a restart: go on by itself where the lab file's `resume` allows it, or wait
    for the operator always."""
    record: RecordModel = RecordModel()
    """Recording rule."""
    safety: SafetyModel = SafetyModel()
    """Limits of this protocol."""
    steps: Steps = Field(examples=[[{"rest": "30 min"}]])
    """What is done, in order."""
