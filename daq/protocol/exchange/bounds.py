"""`at_most` of steps that come from elsewhere.

A step of ours that moves charge has a longest duration, and reaching it fails the run. Where the
source has a duration, that is a normal end: it becomes `time >= …`, and `at_most` is a little more.
Where it has none, the charge bounds the time: a step at C/10 cannot last longer than the capacity
allows, nor can a hold that ends when the current has fallen to C/20.
"""

from __future__ import annotations

from math import ceil

from daq.errors import InputError
from daq.protocol.exchange import saying
from daq.protocol.exchange.draft import Drive, Step, Task, When

MARGIN = 1.5
"""How much more than its nominal capacity a step may move: new cells, slipped labels."""

_LEAST_S = 1800.0
_HIGHEST_V = 5.0
"""No lithium cell is above it, so a power of 5 W is at least 1 A."""

_TEN_YEARS_S = 10 * 365.25 * 86400.0


def rounded(seconds: float) -> float:
    """Up to whole minutes, ten minutes from 2 h on, hours from 10 h on."""
    grid = 60.0 if seconds <= 7200.0 else 600.0 if seconds <= 36000.0 else 3600.0
    return grid * ceil(seconds / grid - 1e-9)


def beyond(seconds: float) -> str:
    """`at_most` of a step that ends after a time: 5 % and a minute more."""
    return saying.duration(rounded(min(1.05 * seconds + 60.0, _TEN_YEARS_S)))


def bound(step: Step, time_s: float | None, least: Drive | None, task: Task) -> Step:
    """Give a step its `time` end and its `at_most`.

    Args:
        step: what it is about; it is changed.
        time_s: the duration in the source, a normal end.
        least: the smallest current, power or rate that flows before the step ends.
        task: knows the capacity.

    Raises:
        InputError: nothing ends it, or the source bounds it by nothing and nobody said how long it
            may take.
    """
    if time_s is not None:
        step.until.append(When(f"time >= {saying.duration(time_s)}"))
        step.at_most = beyond(time_s)
        return step
    if not step.until:
        raise InputError("nothing ends this step", place=step.place)
    return bound_by_charge(step, least, task)


def bound_by_charge(step: Step, least: Drive | None, task: Task) -> Step:
    """Give a step an `at_most` from the charge that it can move, or the one that was given.

    Raises:
        InputError: neither is known.
    """
    known_s = longest_s(least, task)
    if known_s is not None:
        step.at_most = saying.duration(known_s)
        step.remark = f"computed: {MARGIN:g} times the capacity at {least}"
    elif task.longest_s is not None:
        step.at_most = saying.duration(task.longest_s)
        step.remark = "as given to the conversion"
    else:
        raise InputError(
            "nothing says how long this may take",
            place=step.place,
            remedy="give the nominal capacity (--capacity '2.5 Ah') or a bound (--at-most '24 h')",
        )
    return step


def longest_s(least: Drive | None, task: Task) -> float | None:
    """How long until more than the capacity has moved; None where that is not known."""
    if least is None or least.value <= 0.0:
        return None
    if least.unit == "C":
        hours = 1.0 / least.value
    elif task.capacity_Ah is None:
        return None
    elif least.unit == "A":
        hours = task.capacity_Ah / least.value
    elif least.unit == "W":
        hours = task.capacity_Ah * _HIGHEST_V / least.value
    else:
        return None
    return rounded(min(max(MARGIN * 3600.0 * hours, _LEAST_S), _TEN_YEARS_S))
