"""`capacity`: a capacity check, as four steps: cccv charge, rest, discharge, rest."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from daq.filemodel import FileModel, Word
from daq.protocol.build import Builder
from daq.protocol.clause import Clause
from daq.protocol.grammar import parse_clause
from daq.protocol.program import Charged
from daq.protocol.steps.base import CHARGES, DISCHARGES, Instruction, RecordModel, StepModel
from daq.protocol.steps.currents import Discharge
from daq.protocol.steps.idle import Rest
from daq.protocol.steps.soc import StateOfCharge
from daq.protocol.steps.voltages import Cccv, CccvModel, CurrentOrRate
from daq.quantities import Duration, LimitsModel, VoltageSpan
from daq.units import RATE, Amount
from daq.yamlfile import Where

_SPARE = 1.5
"""Times what a cell of nominal capacity takes: a cell that needs more is no such cell."""
_TAPER_S, _LEAST_S = 4 * 3600.0, 600.0


class CapacityModel(FileModel):
    """A full charge, and the discharge that is measured."""

    charge: CurrentOrRate = Field(examples=["C/2"])
    """Current of the charge."""
    voltage: VoltageSpan = Field(examples=[["2.5 V", "4.2 V"]])
    """Where the discharge ends, and where the charge goes over into constant voltage."""
    discharge: CurrentOrRate = Field(examples=["C/5"])
    """Current of the discharge."""
    cutoff: CurrentOrRate = Amount(0.05, RATE)
    """Current at which the charge ends; C/20 if it is not given."""
    rest: Duration = 1800.0
    """After the charge and after the discharge; 30 min if it is not given."""


class Capacity(Instruction):
    """Measure the capacity: what `save` keeps is what the discharge has moved."""

    kind: ClassVar[str] = "capacity"

    capacity: CapacityModel = Field(
        examples=[{"charge": "C/2", "voltage": ["2.5 V", "4.2 V"], "discharge": "C/5"}]
    )
    """Currents and voltages of the check."""
    record: RecordModel | None = None
    """Recording rule of its steps."""
    limits: LimitsModel | None = None
    """Limits of its steps; they may only tighten."""
    save: Word | None = None
    """Keeps what the discharge has moved under a name."""
    soc: StateOfCharge | None = None
    """What the state of charge is when the discharge ends."""

    def moves(self) -> frozenset[str]:
        """Both ways."""
        return frozenset({CHARGES, DISCHARGES})

    def compile(self, builder: Builder, where: Where) -> None:
        """The four steps."""
        written: dict[str, Any] = builder.raw(where)["capacity"]
        low, high = written["voltage"]
        cutoff = written.get("cutoff", "C/20")
        rest = {"rest": written.get("rest", "30 min")}
        up, down = f"current <= {cutoff}", f"voltage <= {low}"
        cccv = {"cccv": {"charge": written["charge"], "voltage": high}, "until": up}
        discharge = {"discharge": written["discharge"], "until": down}
        self._charge(parse_clause(up), builder).compile(builder, where, cccv)
        self._rest().compile(builder, where, rest)
        self._discharge(parse_clause(down), builder).compile(builder, where, discharge)
        self._rest().compile(builder, where, rest)

    def _charge(self, until: Clause, builder: Builder) -> StepModel:
        check = self.capacity
        at_most_s = self._longest_s(check.charge, builder) + _TAPER_S
        cccv = CccvModel.model_construct(charge=check.charge, voltage=check.voltage[1])
        return Cccv.model_construct(cccv=cccv, until=(until,), at_most=at_most_s, **self._more())

    def _discharge(self, until: Clause, builder: Builder) -> StepModel:
        check = self.capacity
        saved: dict[str, str | Charged | None] = {"save": self.save, "soc": self.soc}
        return Discharge.model_construct(
            discharge=check.discharge,
            until=(until,),
            at_most=self._longest_s(check.discharge, builder) + _LEAST_S,
            **saved,
            **self._more(),
        )

    def _rest(self) -> StepModel:
        return Rest.model_construct(rest=self.capacity.rest, **self._more())

    def _more(self) -> dict[str, Any]:
        return {"record": self.record, "limits": self.limits}

    @staticmethod
    def _longest_s(current: Amount, builder: Builder) -> float:
        nominal_Ah = builder.cell.nominal_capacity_Ah
        return _SPARE * 3600.0 * nominal_Ah / current.current_A(nominal_Ah)
