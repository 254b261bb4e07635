"""Conditions that can never hold, and why."""

from __future__ import annotations

from math import inf, isfinite

from daq.protocol.condition import Condition, Past, Quantity, Reference
from daq.protocol.program import End, Repeat, Step
from daq.review.flow import SOC, Flow, conditions_of
from daq.review.subject import Station


class Never:
    """Says of the conditions at one instruction why they can never hold.

    Args:
        flow: of the program.
        index: of the instruction.
        station: where it is to run; None: not said.
    """

    def __init__(self, flow: Flow, index: int, station: Station | None) -> None:
        item = flow.program.instructions[index]
        looked_at = item.end if isinstance(item, Repeat) else index
        self._step = item if isinstance(item, Step) else None
        self._known = flow.known[looked_at]
        self._cycles = flow.most_cycles(looked_at)
        self._station = station

    def why(self, condition: Condition) -> str:
        """Why it never holds; empty where it may."""
        if condition.quantity is Quantity.ALL:
            reasons = (self.why(part) for part in condition.parts)
            return next(filter(None, reasons), "") or _contradiction(condition)
        if condition.quantity is Quantity.ANY:
            reasons = [self.why(part) for part in condition.parts]
            return reasons[0] if all(reasons) else ""
        for reference in condition.references:
            if why := self._reference(reference):
                return why
        if condition.reference is not None:
            return ""
        return self._plain(condition)

    def _reference(self, reference: Reference) -> str:
        if reference.past is Past.SAVED and reference.name not in self._known:
            return f"nothing is saved as {reference.name!r} before it"
        if reference.past is Past.CYCLE and int(reference.name) > self._cycles:
            return f"there are {self._cycles:g} cycles at most until there"
        if reference.past is Past.PREVIOUS and self._cycles < 2:
            return "there is one cycle only"
        return ""

    def _plain(self, condition: Condition) -> str:
        value, up = condition.value, condition.at_least
        if condition.quantity is Quantity.SOC:
            return self._soc(value, up)
        if condition.quantity is Quantity.CYCLE and up and value > self._cycles:
            return f"there are {self._cycles:g} cycles at most until there"
        if condition.quantity is Quantity.CURRENT and up and value > self._most_A():
            return f"the step allows no more than {self._most_A():.4g} A"
        if condition.quantity is Quantity.CHAMBER and self._station and not self._station.chamber:
            return f"station {self._station.name} has no chamber"
        return ""

    def _soc(self, value: float, up: bool) -> str:
        if SOC not in self._known:
            return "no step before it says what the state of charge is"
        if up and value > 1.0:
            return "a state of charge is 100 % at most"
        return "a state of charge is 0 % at least" if not up and value < 0.0 else ""

    def _most_A(self) -> float:
        step = self._step
        if step is None or step.setpoint is None:
            return inf
        return max(step.setpoint.charge_A, step.setpoint.discharge_A)


def _contradiction(condition: Condition) -> str:
    """Comparisons of one quantity that leave nothing between them."""
    spans: dict[tuple[str, str], tuple[float, float]] = {}
    for part in condition.parts:
        if part.parts or not isfinite(part.value) or part.for_s or part.after_s:
            continue
        key = part.quantity.value, part.sensor
        low, high = spans.get(key, (-inf, inf))
        spans[key] = (max(low, part.value), high) if part.at_least else (low, min(high, part.value))
    return next((f"no {key[0]} is both" for key, (low, high) in spans.items() if low > high), "")


def never_at(flow: Flow, index: int, station: Station | None) -> list[tuple[int, Condition, str]]:
    """The conditions at an instruction that never hold: number among them, condition, why."""
    item = flow.program.instructions[index]
    if isinstance(item, End):
        return []
    judge = Never(flow, index, station)
    found = [(n, one, judge.why(one)) for n, one in enumerate(conditions_of(item))]
    return [(number, condition, why) for number, condition, why in found if why]
