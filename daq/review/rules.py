"""The rules of `daq check`: each yields what it finds in a protocol that compiles.

A protocol that does not compile has said what is wrong with it already. These are the mistakes
that only show in the whole: ways that nobody goes, ends that a limit comes before, conditions that
never hold, and what a station cannot do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import inf, isfinite

from daq.checks import Checks
from daq.control.pace import too_slow
from daq.protocol.build import Origin
from daq.protocol.condition import Condition, Quantity
from daq.protocol.program import MOVES_CHARGE, Branch, End, Program, Repeat, Step, StepKind
from daq.protocol.steps.setpoints import VOLTAGE_MARGIN_V
from daq.review.finding import Finding
from daq.review.flow import ENDS_BY_ITS_CONDITIONS
from daq.review.never import never_at
from daq.review.subject import Subject, error, note, until_place, warning

Rule = Callable[[Subject], Iterator[Finding]]

_TINY_V = 1e-6
_HELD = frozenset({StepKind.HOLD, StepKind.CCCV})
_YEARS_S = 5 * 365.25 * 86400.0


def unreachable(subject: Subject) -> Iterator[Finding]:
    """A step that no way leads to."""
    before = True
    for index, _, origin in subject.steps():
        reached = index in subject.flow.reached
        if before and not reached:
            remedy = "give it a `label` and go there, or take it out"
            yield warning(origin.place(), "no way leads to this step", remedy)
        before = reached


def empty_loops(subject: Subject) -> Iterator[Finding]:
    """A loop in which nothing is done."""
    items = subject.program.instructions
    for (item, origin), after in zip(subject.instructions(), items[1:], strict=False):
        if isinstance(item, Repeat) and isinstance(after, End):
            yield warning(origin.place(), "nothing is done in this repeat", "take it out")


def never_holds(subject: Subject) -> Iterator[Finding]:
    """A condition that never holds; an error where the step has no other end."""
    for index, (item, origin) in enumerate(subject.instructions()):
        if index not in subject.flow.reached:
            continue
        found = never_at(subject.flow, index, subject.station)
        key = "if" if isinstance(item, Branch) else "until"
        only = isinstance(item, Step) and len(found) == len(item.until) > 0
        only = only and isinstance(item, Step) and item.kind in ENDS_BY_ITS_CONDITIONS
        for number, condition, why in found:
            count = len(item.until) if isinstance(item, Step | Repeat) else 1
            place = until_place(origin, number, count, key)
            say = error if only else warning
            yield say(place, f"{condition.text!r} never holds: {why}")


def rising_current(subject: Subject) -> Iterator[Finding]:
    """A hold that ends when its current rises: while a voltage is held, the current falls.

    With another current below which it ends, or looked at only after a while, it is a watch for
    what should not happen.
    """
    for _, step, origin in subject.steps():
        if step.kind is not StepKind.HOLD or step.setpoint is None:
            continue
        most_A = max(step.setpoint.charge_A, step.setpoint.discharge_A)
        ends = list(_plain_ends(step, Quantity.CURRENT))
        if not all(end.at_least for _, end in ends):
            continue
        for number, end in ends:
            if not end.after_s and end.value <= most_A:
                place = until_place(origin, number, len(step.until))
                remedy = "did you mean <=? As a watch give it a time: `after 10 min`"
                yield warning(place, f"{end.text!r} may be true at once: {_FALLS}", remedy)


_FALLS = "the current falls while the voltage is held"


def near_voltages(subject: Subject) -> Iterator[Finding]:
    """An end, or a voltage that is held, so near to a limit that the guard may be first."""
    for _, step, origin in subject.steps():
        if step.kind not in MOVES_CHARGE:
            continue
        for number, end in _plain_ends(step, Quantity.VOLTAGE):
            if beyond := _near(end.value, step, up=end.at_least):
                place = until_place(origin, number, len(step.until))
                yield warning(place, f"the end {end.text!r} is {beyond}", _APART)
        setpoint = step.setpoint
        if step.kind in _HELD and setpoint:
            near = [_near(setpoint.voltage_V, step, up=up) for up in (True, False)]
            if beyond := next(filter(None, near), ""):
                what = f"{step.kind} at {setpoint.voltage_V:g} V is {beyond}"
                # Held at the limit itself, of two readings one is beyond it.
                say = error if beyond.startswith("at ") else warning
                yield say(origin.place(step.kind), what, _APART)


_APART = f"leave {1000 * VOLTAGE_MARGIN_V:g} mV between them"


def _near(value: float, step: Step, *, up: bool) -> str:
    low, high = step.limits.voltage_V
    limit, apart = (high, high - value) if up else (low, value - low)
    if not isfinite(limit) or apart >= VOLTAGE_MARGIN_V - _TINY_V:
        return ""
    where = f"{1000 * apart:.3g} mV from" if apart > _TINY_V else "at"
    return f"{where} the limit of {limit:g} V: the noise of a reading may trip"


def pre_empted(subject: Subject) -> Iterator[Finding]:
    """An end by temperature, charge or discharge that lies beyond a limit."""
    nominal_Ah = subject.program.nominal_capacity_Ah
    window_Ah = (subject.station.window if subject.station else _WINDOW) * nominal_Ah
    for _, step, origin in subject.steps():
        for number, end in enumerate(step.until):
            for part in end.comparisons():
                if why := _beyond(part, step, window_Ah):
                    place = until_place(origin, number, len(step.until))
                    yield error(place, f"the end {part.text!r} comes too late: {why}")


_WINDOW = Checks().Q2
"""Where no station says otherwise."""


def _beyond(end: Condition, step: Step, window_Ah: float) -> str:
    if end.reference is not None:
        return ""
    if end.quantity is Quantity.TEMPERATURE:
        return _too_hot(end, step)
    setpoint = step.setpoint
    if not end.at_least or setpoint is None:
        return ""
    out = setpoint.charge_A == 0.0 and end.quantity in (Quantity.CHARGE, Quantity.STEP_DISCHARGE)
    if out and end.value > window_Ah:
        return f"the guard's check Q2 trips when {window_Ah:.4g} Ah are drawn"
    if end.quantity is Quantity.STEP_CHARGE and end.value > step.limits.charge_Ah:
        return f"the guard's check Q1 trips at {step.limits.charge_Ah:.4g} Ah"
    return ""


def _too_hot(end: Condition, step: Step) -> str:
    low, high = step.limits.temperature_degC
    if end.at_least and end.value > high:
        return f"the guard's check T1 trips above {high:g} degC"
    if not end.at_least and end.value < low:
        return f"the guard's check T2 trips below {low:g} degC"
    return ""


def bounded(subject: Subject) -> Iterator[Finding]:
    """`safety` that ends the program before it is over; a program of which nobody sees the end."""
    program, model = subject.program, subject.source.model
    expected_s = program.expected_s
    until = any(isinstance(item, Repeat) and item.until for item in program.instructions)
    if until:  # nobody knows how many passes
        return
    if model.safety.time is not None and model.safety.time < expected_s:
        hours = f"{expected_s / 3600:.4g} h"
        message = f"the program takes about {hours}, and is ended before"
        yield warning(subject.place("safety", "time"), message, "make it longer")
    cycles = _all_cycles(subject)
    if model.safety.cycles is not None and model.safety.cycles < cycles:
        message = f"the program has {cycles} cycles, and is ended before"
        yield warning(subject.place("safety", "cycles"), message, "allow as many")
    if expected_s > _YEARS_S:
        years = f"{expected_s / 365.25 / 86400:.3g} years"
        yield warning(subject.place("steps"), f"the program takes about {years}", "fewer passes?")


def _all_cycles(subject: Subject) -> int:
    passes, count = [1], 0
    for item in subject.program.instructions:
        if isinstance(item, Repeat):
            passes.append(passes[-1] * item.times)
            count += passes[-1] if item.counts_cycles else 0
        elif isinstance(item, End):
            passes.pop()
    return count


def after_a_loop(subject: Subject) -> Iterator[Finding]:
    """What moves charge after a loop of cycles, and is added to the last of them."""
    inside = 0
    after = False
    for item, origin in subject.instructions():
        if isinstance(item, Repeat) and item.counts_cycles:
            inside, after = inside + 1, False
        elif isinstance(item, End) and _counts(subject.program, item):
            inside, after = inside - 1, True
        elif after and not inside and isinstance(item, Step) and item.kind in MOVES_CHARGE:
            remedy = "for a cycle of its own put it into a `repeat: 1`"
            yield note(
                origin.place(), "this counts to the last cycle of the loop before it", remedy
            )
            after = False


def _counts(program: Program, end: End) -> bool:
    loop = program.instructions[end.begin]
    return isinstance(loop, Repeat) and loop.counts_cycles


def disabled(subject: Subject) -> Iterator[Finding]:
    """What is disabled."""
    for skipped in subject.compiled.skipped:
        why = f": {skipped.why}" if skipped.why else ""
        yield note(skipped.place, f"this is disabled{why}")


def never_used(subject: Subject) -> Iterator[Finding]:
    """What is saved, and compared with nothing."""
    program = subject.program
    used = {ref.name for condition in program.conditions for ref in condition.references}
    used |= {step.charged.of for step in program.steps if step.charged}
    for _, step, origin in subject.steps():
        if step.save and step.save not in used:
            message = f"nothing is compared with what is saved as {step.save!r}"
            yield note(origin.place("save"), message)


def at_the_station(subject: Subject) -> Iterator[Finding]:
    """What the station lacks, or is read too slowly for."""
    station = subject.station
    if station is None:
        return
    if station.period_s and (why := too_slow(subject.program, station.period_s)):
        remedy = "shorten `period` of its bus, or give a hold without one a `current`"
        yield error(subject.place("steps"), f"station {station.name}: {why}", remedy)
    moved = [origin for _, step, origin in subject.steps() if step.kind in MOVES_CHARGE]
    if moved and not station.currents_known:
        message = f"what the cycler of station {station.name} can do is not known here"
        remedy = "say it in the lab file, `nameplate` of the instrument; `daq doctor` asks it"
        yield note(moved[0].place(), message, remedy)
    for _, step, origin in subject.steps():
        if step.soak and not station.chamber:
            message = f"station {station.name} has no chamber"
            yield error(origin.place(step.kind), message, "name one in the lab file")
        if step.spectrum and not station.eis:
            message = f"station {station.name} has no `eis`"
            yield error(origin.place(step.kind), message, "name one in the lab file")
        yield from _too_fine(step, origin, station.fastest_s)


def _too_fine(step: Step, origin: Origin, fastest_s: float) -> Iterable[Finding]:
    read = f"the cycler cannot be read faster than every {fastest_s:g} s"
    shortest_s = _shortest_s(step)
    if shortest_s < fastest_s:
        message = f"the profile has a step of {shortest_s:g} s, and {read}"
        yield error(origin.place("profile"), message, "make it coarser")
    if step.record.every_s < fastest_s:
        message = f"a record every {step.record.every_s:g} s is asked for, and {read}"
        yield warning(origin.place("record", "every"), message)
    if step.record.first_every_s < fastest_s:
        message = f"recorded every {step.record.first_every_s:g} s at first, and {read}"
        yield note(origin.place("record", "first"), message)


def _shortest_s(step: Step) -> float:
    course = step.course
    if step.kind is not StepKind.PROFILE or course is None:
        return inf
    pairs = zip(course.times_s, course.times_s[1:], strict=False)
    return min((end_s - begin_s for begin_s, end_s in pairs), default=inf)


def _plain_ends(step: Step, quantity: Quantity) -> Iterator[tuple[int, Condition]]:
    for number, end in enumerate(step.until):
        if end.quantity is quantity and end.reference is None:
            yield number, end


RULES: tuple[Rule, ...] = (
    unreachable,
    empty_loops,
    never_holds,
    rising_current,
    near_voltages,
    pre_empted,
    bounded,
    after_a_loop,
    at_the_station,
    disabled,
    never_used,
)


def review(subject: Subject) -> list[Finding]:
    """Everything that the rules find, in the order of the file; each once."""
    found = dict.fromkeys(finding for rule in RULES for finding in rule(subject))
    return sorted(found, key=lambda one: (one.place.file, one.place.line, one.place.column))
