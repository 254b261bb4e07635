"""The kinds of step. A new kind: one class in this folder, one line here."""

from daq.protocol.steps.currents import Charge, Discharge
from daq.protocol.steps.idle import ChamberStep, Eis, Rest
from daq.protocol.steps.registry import KINDS, Steps, register
from daq.protocol.steps.repeat import RepeatModel
from daq.protocol.steps.voltages import Cccv, Hold

register(Rest, Charge, Discharge, Hold, Cccv, ChamberStep, Eis, RepeatModel)
RepeatModel.model_rebuild()

__all__ = ["KINDS", "Steps"]
