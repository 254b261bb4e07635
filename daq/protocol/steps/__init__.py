"""The kinds of step. A new kind: one class in this folder, one line here."""

from daq.protocol.steps.capacity import Capacity
from daq.protocol.steps.chamber import ChamberStep
from daq.protocol.steps.currents import Charge, Discharge
from daq.protocol.steps.eis import Eis
from daq.protocol.steps.flow import EndOf, Goto, If
from daq.protocol.steps.idle import Operator, Rest, SetOutputs
from daq.protocol.steps.include import Include
from daq.protocol.steps.profiles import Profile
from daq.protocol.steps.pulses import Pulse
from daq.protocol.steps.ramps import Ramp
from daq.protocol.steps.registry import KINDS, Steps, register
from daq.protocol.steps.repeat import RepeatModel
from daq.protocol.steps.voltages import Cccv, Hold

register(Rest, Charge, Discharge, Hold, Cccv, Pulse, Ramp, Profile, Capacity, ChamberStep, Eis)
register(Operator, SetOutputs, Include, RepeatModel, If, Goto, EndOf)
RepeatModel.model_rebuild()
If.model_rebuild()

__all__ = ["KINDS", "Steps"]
