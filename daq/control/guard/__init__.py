"""The guard: the safety rules of a station, as a list of rules.

Each rule looks at one sample and says nothing, or why to cut off. Rules are pure: no clock, no
lock, no I/O; time comes with the sample. A rule belongs to one source and is called on the one
thread that reads it, so that rules of several buses never share state.

| id | check | in |
|---|---|---|
| V1, V2 | over- and under-voltage | limits |
| V3 | sense against an independent measurement | sensors |
| I1 | over-current, current unlike its setpoint, or while OFF | limits, output |
| I2 | constant current that does not flow: contact loss | output |
| R1 | voltage that jumps | sensors |
| T1, T2 | over- and under-temperature, for each direction | limits |
| T3 | temperature that rises faster than the chamber explains | temperature |
| T4 | cell far warmer than its chamber | temperature |
| Q1 | charge since the cell was emptiest | charge |
| Q2 | net charge beyond what the cell holds | charge |
| E1 | energy efficiency of a cycle; warns | charge |
| S1 | step time | steps |
| S2 | step over implausibly soon; holds the run | steps |
| S3 | program time and cycles; stops the run | steps |
| P1 | no valid sample for 3 periods (at least 2 s) | silence |
| P2 | reading stuck | sensors |
| P3 | invalid reading: counts to P1, never compared as a number | rule |
| P4 | temperature sensor that fell off | temperature |
| C1 | the link failed, or 3 polls were missed, while energised | silence |
| C2 | read-back differs: setpoint, limits, output | output |
| K1 | interlock open, or not readable | silence |
| K2 | the instrument's own protection has latched | output |
| X1 | the program itself failed on the thread of this station | (the loop) |

`daq.checks` has the thresholds that a lab may set. docs/safety.md is the list for people.
"""

from daq.control.guard.charge import Charge, Efficiency
from daq.control.guard.guard import Guard
from daq.control.guard.limits import (
    FAR_FRACTION,
    FAR_KELVIN,
    Current,
    SpanRule,
    Temperature,
    Voltage,
)
from daq.control.guard.output import OFF_CURRENT_FRACTION, SETPOINT_FRACTION, Output, Tracking
from daq.control.guard.rule import Caution, Rule, valid, valid_cycler
from daq.control.guard.sensors import BackCheck, Jump, Stuck, Trail
from daq.control.guard.silence import STALE_MIN_S, STALE_PERIODS, Freshness, Interlocks, Polls
from daq.control.guard.steps import ProgramTime, StepMinimum, StepTime
from daq.control.guard.temperature import Attached, Excess, Rise

__all__ = [
    "FAR_FRACTION",
    "FAR_KELVIN",
    "OFF_CURRENT_FRACTION",
    "SETPOINT_FRACTION",
    "STALE_MIN_S",
    "STALE_PERIODS",
    "Attached",
    "BackCheck",
    "Caution",
    "Charge",
    "Current",
    "Efficiency",
    "Excess",
    "Freshness",
    "Guard",
    "Interlocks",
    "Jump",
    "Output",
    "Polls",
    "ProgramTime",
    "Rise",
    "Rule",
    "SpanRule",
    "StepMinimum",
    "StepTime",
    "Stuck",
    "Temperature",
    "Tracking",
    "Trail",
    "Voltage",
    "valid",
    "valid_cycler",
]
