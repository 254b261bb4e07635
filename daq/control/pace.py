"""How often a cell must be read for what a program may do to it.

Two things ask: the current that it may drive, and the profiles that it plays.

An overcharge of 1 % of nominal takes 36 s at 1C and 3.6 s at 10C. At the rates below, two sample
periods and the reaction leave a tenth of that.
"""

from __future__ import annotations

from math import nan

from daq.control.haste import finest_s
from daq.model import Setpoint
from daq.protocol.condition import Quantity
from daq.protocol.program import Program, Step, StepKind

LEAST: tuple[tuple[float, float], ...] = ((1.0, 1.0), (5.0, 5.0), (10.0, 20.0))
"""C-rate -> Hz, straight lines between, the last one going on."""
TOLERANCE = 1.0 + 1e-9


def least_Hz(c_rate: float) -> float:
    """The slowest sampling for a C-rate."""
    (low_C, low_Hz), *rest = LEAST
    if c_rate <= low_C:
        return low_Hz
    slope = 0.0
    for high_C, high_Hz in rest:
        slope = (high_Hz - low_Hz) / (high_C - low_C)
        if c_rate <= high_C:
            break
        low_C, low_Hz = high_C, high_Hz
    return low_Hz + slope * (c_rate - low_C)


def highest_C(program: Program) -> float:
    """The highest C-rate that any step lets the cycler drive."""
    steps = program.steps
    currents = [
        _current_A(step, before) for step, before in zip(steps, (None, *steps), strict=False)
    ]
    return max(currents, default=0.0) / program.nominal_capacity_Ah


def _current_A(step: Step, before: Step | None) -> float:
    """Of its setpoint; a hold where a charge has just arrived begins with that one's current."""
    if step.setpoint is None:
        return 0.0
    arrives = step.follows and before and before.setpoint and _arrives(before, step)
    if step.kind is StepKind.HOLD and arrives and before and before.setpoint:
        return _largest_A(before.setpoint)
    return _largest_A(step.setpoint)


def _arrives(before: Step, hold: Step) -> bool:
    target_V = hold.setpoint.voltage_V if hold.setpoint else nan
    ends = (end.value for end in before.until if end.quantity is Quantity.VOLTAGE)
    return target_V in ends


def _largest_A(setpoint: Setpoint) -> float:
    return max(setpoint.charge_A, setpoint.discharge_A)


def too_slow(program: Program, period_s: float) -> str:
    """Why a cycler read so rarely cannot run a program; empty when it can. Real time."""
    c_rate = highest_C(program)
    needed_Hz = least_Hz(c_rate)
    if 1.0 / period_s * TOLERANCE >= needed_Hz:
        return ""
    return (
        f"the program may drive {c_rate:.3g}C, which must be read every {1000.0 / needed_Hz:.0f} ms"
        f" or faster; the cycler is read every {1000.0 * period_s:.0f} ms"
    )


def too_fine(program: Program, fastest_s: float) -> str:
    """Why a cycler that is read so often at best cannot play a program's profiles; else empty.

    Each value of a profile is written right after a reading: one that is shorter than the time
    between two would be played too late, or left out.
    """
    step = min(program.steps, key=finest_s)
    if finest_s(step) * TOLERANCE >= fastest_s:
        return ""
    return (
        f"step {step.number}, {step.place}: the profile has a step of "
        f"{1000.0 * finest_s(step):.3g} ms; the cycler can be read every "
        f"{1000.0 * fastest_s:.3g} ms"
    )
