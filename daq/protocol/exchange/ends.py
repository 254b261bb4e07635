"""Voltages that end a step of a source: an end condition, or a limit if it is on the wrong side.

Other programs let a charge end at a low voltage, too, as a safeguard. With us a step ends where it
goes to, and what must not happen at all is a limit, which trips and waits for a person.
"""

from __future__ import annotations

from itertools import pairwise

from daq import units
from daq.errors import InputError, Place
from daq.protocol.exchange import saying
from daq.protocol.exchange.bounds import bound
from daq.protocol.exchange.draft import Drive, Step, Task, When
from daq.protocol.exchange.safety import span


def end_at_voltage(step: Step, volts: float, at_least: bool, when: When, task: Task) -> None:
    """Add a voltage to what ends a step.

    Args:
        step: it is changed.
        volts: where it ends.
        at_least: from above (True) or from below.
        when: how it goes on there; its condition is not used.
        task: takes the findings.

    Raises:
        InputError: it is on the wrong side for the step, and no approximation is allowed.
    """
    sign = ">=" if at_least else "<="
    condition = f"voltage {sign} {saying.voltage(volts)}"
    if _goes_there(step, at_least):
        step.until.append(When(condition, when.to, when.goes))
        return
    what = f"{condition!r} ends a {next(iter(step.keys))}"
    task.findings.change(step.place, what, "makes it a limit of the step, which trips")
    limit(step, None if at_least else volts, volts if at_least else None, step.place)


def _goes_there(step: Step, at_least: bool) -> bool:
    """A charge rises, a discharge falls, a rest may do both; what holds a voltage goes nowhere."""
    if "rest" in step.keys:
        return True
    return ("charge" if at_least else "discharge") in step.keys


def limit(step: Step, low: float | None, high: float | None, place: Place) -> None:
    """Tighten a step's own limits of the voltage."""
    below, above = step.voltage_limits
    lows = [one for one in (low, below) if one is not None]
    highs = [one for one in (high, above) if one is not None]
    step.voltage_limits = (max(lows, default=None), min(highs, default=None))
    step.more["limits"] = span("voltage", *step.voltage_limits, place)


def finish(step: Step, time: tuple[float, When] | None, least: Drive | None, task: Task) -> None:
    """Give a step its time, which may be all that ends it, and its `at_most`.

    Args:
        step: it is changed; its other ends are there.
        time: seconds, and how it goes on then.
        least: the smallest current that flows before the step ends; None: what it drives.
        task: knows the capacity.

    Raises:
        InputError: nothing ends it, or a rest ends otherwise than by going on after a time.
    """
    if "rest" in step.keys:
        if time is None or time[1].to is not None or time[1].goes:
            raise InputError("a rest must end by a time, and go on then", place=step.place)
        step.keys["rest"] = saying.duration(time[0])
        return
    bound(step, time[0] if time else None, least or step.drive, task)
    if time is not None:
        step.until[-1] = When(step.until[-1].condition, time[1].to, time[1].goes)


def check_holds(steps: list[Step], task: Task) -> None:
    """Refuse a hold below the charge before it, or above the discharge: ours never turns back.

    Right after a charge a hold of ours only charges, and after a discharge it only discharges; in
    the source it may do both.
    """
    for step in steps:
        if step.steps is not None:
            check_holds(step.steps, task)
        if step.label and "hold" in step.keys:
            task.findings.leave(step.place, "a hold where a jump ends: it may go either way")
    for before, step in pairwise(steps):
        way = next((one for one in ("charge", "discharge") if one in before.keys), None)
        if way is not None and "hold" in step.keys:
            with task.findings.collecting():
                _check_hold(step, before, way, task)


def _check_hold(step: Step, before: Step, way: str, task: Task) -> None:
    held = units.parse(step.keys["hold"], units.VOLTAGE)
    sign = ">= " if way == "charge" else "<= "
    reached = [
        units.parse(when.condition.partition(sign)[2], units.VOLTAGE)
        for when in before.until
        if when.condition.startswith(f"voltage {sign}")
    ]
    if not reached:
        task.findings.leave(
            step.place, f"a hold after a {way} without a voltage goes on that way only"
        )
    elif held < min(reached) if way == "charge" else held > max(reached):
        raise InputError(
            f"a hold at {step.keys['hold']} after a {way} beyond it would go back",
            place=step.place,
            remedy="ours does not right after; put a short rest between: then it goes either way",
        )
