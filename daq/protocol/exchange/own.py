"""Our own protocols as phases that other programs know: what exporters walk.

A phase drives a current, holds a voltage or rests. A `cccv` is two of them. What no exporter can
say, such as a jump, is refused here; what only one of them cannot say, there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from daq import units
from daq.errors import InputError, Place
from daq.filemodel import show
from daq.protocol.exchange.draft import Drive, Task
from daq.protocol.source import ProtocolSource, substitute
from daq.units import Kind
from daq.yamlfile import Document, Where

PhaseKind = Literal["rest", "current", "hold", "scan", "eis", "chamber"]
_DRIVES = (units.RATE, units.CURRENT, units.POWER, units.RESISTANCE)
_STEPS = ("rest", "charge", "discharge", "hold", "cccv", "pulse", "ramp", "chamber", "eis")
_BOOKKEEPING = ("label", "save", "soc", "cycle")
_CONDITION = re.compile(r"\s*(voltage|current|time)\s*(>=|<=)\s*([^\s].*?)\s*")
_BEYOND = re.compile(r"\b(for|after|over|and|or)\b")


@dataclass(slots=True)
class Phase:
    """One thing that is done.

    Attributes:
        way: "charge" or "discharge", of a current.
        volts: that are held, or that a scan goes to.
        time_s: its normal end; None where only something else ends it.
        from_volts, rate_V_per_s: of a scan.
        values: of a spectrum, as written.
        record: its own recording rule, as written.
    """

    kind: PhaseKind
    place: Place
    way: str = ""
    drive: Drive | None = None
    volts: float | None = None
    time_s: float | None = None
    end_volts: float | None = None
    end_current: Drive | None = None
    from_volts: float | None = None
    rate_V_per_s: float = 0.0
    celsius: float = 0.0
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    record: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(slots=True)
class Passes:
    """A loop."""

    times: int
    nodes: list[Phase | Passes]
    place: Place


Node = Phase | Passes


@dataclass(slots=True)
class Own:
    """A protocol of ours."""

    name: str
    record: Mapping[str, Any]
    safety: Mapping[str, Any]
    nodes: list[Node]
    document: Document


def read(source: ProtocolSource, task: Task) -> Own:
    """Walk a protocol; what cannot be said elsewhere is in the findings."""
    document = source.document
    data = substitute(document, source.parameters)
    walker = _Walker(document, task)
    nodes = walker.nodes(data["steps"], ("steps",))
    return Own(data["protocol"], data.get("record", {}), data.get("safety", {}), nodes, document)


@dataclass(frozen=True, slots=True)
class _Walker:
    document: Document
    task: Task

    def nodes(self, steps: list[dict[str, Any]], where: Where) -> list[Node]:
        found: list[Node] = []
        for index, step in enumerate(steps):
            with self.task.findings.collecting():
                found += self._node(step, (*where, index))
        return found

    def _node(self, step: dict[str, Any], where: Where) -> list[Node]:
        place = self.document.place(where)
        if "disabled" in step:
            self.task.findings.leave(place, f"a disabled step: {step['disabled']}")
            return []
        if "repeat" in step:
            return [self._repeat(step, where)]
        kind = next((key for key in _STEPS if key in step), None)
        if kind is None:
            word = next((key for key in step if key not in _BOOKKEEPING), "step")
            raise InputError(f"`{word}` has no counterpart", place=place)
        self._beside(step, kind, where)
        phases: list[Phase] = getattr(self, f"_{kind}")(_Source(self, step, where, place))
        for phase in phases:
            phase.record = step.get("record", {})
        return list(phases)

    def _repeat(self, step: dict[str, Any], where: Where) -> Passes:
        place = self.document.place(where)
        for key in step:
            if key not in ("repeat", "steps", *_BOOKKEEPING):
                raise InputError(f"`{key}` of a loop has no counterpart", place=place)
        return Passes(step["repeat"], self.nodes(step["steps"], (*where, "steps")), place)

    def _beside(self, step: dict[str, Any], kind: str, where: Where) -> None:
        """Keys that any step may have."""
        for key in step:
            place = self.document.place((*where, key))
            if key == "limits":
                self.task.findings.change(place, "`limits` of a step", "leaves them out")
            elif key in _BOOKKEEPING:
                self.task.findings.leave(place, f"`{key}` of a step")
            elif key == "at_most":
                self.task.findings.leave(place, "at_most: they fail no run when a step takes long")
            elif key not in (kind, "until", "soak", "record"):
                raise InputError(f"`{key}` of a {kind} has no counterpart", place=place)

    def _rest(self, at: _Source) -> list[Phase]:
        at.refuse_until()
        return [Phase("rest", at.place, time_s=at.quantity(at.step["rest"], units.TIME))]

    def _charge(self, at: _Source) -> list[Phase]:
        return [at.ended(at.driven("charge", at.step["charge"]))]

    def _discharge(self, at: _Source) -> list[Phase]:
        return [at.ended(at.driven("discharge", at.step["discharge"]))]

    def _pulse(self, at: _Source) -> list[Phase]:
        pulse = at.step["pulse"]
        way = "charge" if "charge" in pulse else "discharge"
        phase = at.driven(way, pulse[way])
        phase.time_s = at.quantity(pulse["for"], units.TIME)
        return [at.ended(phase)]

    def _hold(self, at: _Source) -> list[Phase]:
        return [at.ended(Phase("hold", at.place, volts=at.volts(at.step["hold"])))]

    def _cccv(self, at: _Source) -> list[Phase]:
        """Two phases; a time that ends the whole would end the second one alone."""
        both = at.step["cccv"]
        way = "charge" if "charge" in both else "discharge"
        first, volts = at.driven(way, both[way]), at.volts(both["voltage"])
        first.end_volts = volts
        second = at.ended(Phase("hold", at.place, volts=volts))
        if second.time_s is not None:
            what = "the time of a cccv counts from its beginning"
            self.task.findings.change(at.place, what, "counts it from the constant voltage on")
        return [first, second]

    def _ramp(self, at: _Source) -> list[Phase]:
        ramp = at.step["ramp"]
        at.refuse_until()
        if set(ramp) != {"voltage", "rate", "from"}:
            raise at.refused("only a ramp of the voltage with `from` has a counterpart")
        rate = at.quantity(ramp["rate"], units.VOLTAGE_RATE)
        start, end = at.volts(ramp["from"]), at.volts(ramp["voltage"])
        return [Phase("scan", at.place, volts=end, from_volts=start, rate_V_per_s=rate)]

    def _eis(self, at: _Source) -> list[Phase]:
        return [Phase("eis", at.place, values=at.step["eis"])]

    def _chamber(self, at: _Source) -> list[Phase]:
        if "soak" in at.step:
            what = "waiting for the chamber"
            self.task.findings.change(at.place, what, "goes on at once")
        celsius = at.quantity(at.step["chamber"], units.TEMPERATURE)
        return [Phase("chamber", at.place, celsius=celsius)]


@dataclass(frozen=True, slots=True)
class _Source:
    """A step and where it stands."""

    walker: _Walker
    step: dict[str, Any]
    where: Where
    place: Place

    def refused(self, message: str) -> InputError:
        return InputError(message, place=self.place)

    def quantity(self, text: Any, kind: Kind) -> float:
        return units.parse(text, kind)

    def volts(self, text: Any) -> float:
        return units.parse(text, units.VOLTAGE)

    def driven(self, way: str, text: Any) -> Phase:
        return Phase("current", self.place, way=way, drive=self.drive(text))

    def drive(self, text: Any) -> Drive:
        try:
            amount = units.parse_any(text, *_DRIVES)
        except InputError as error:
            raise self.refused(error.message) from error
        return Drive(amount.value, amount.kind.unit)

    def refuse_until(self) -> None:
        if "until" in self.step:
            raise self.refused(f"`until` of a {self._kind()} has no counterpart")

    def _kind(self) -> str:
        return next(key for key in _STEPS if key in self.step)

    def ended(self, phase: Phase) -> Phase:
        """The phase with its ends."""
        until = self.step.get("until", [])
        for entry in cast("list[Any]", until if isinstance(until, list) else [until]):
            match = _CONDITION.fullmatch(entry) if isinstance(entry, str) else None
            if match is None or _BEYOND.search(match[3]):
                raise self.refused(f"the end {_words(entry)} has no counterpart")
            self._end(phase, *match.groups())
        return phase

    def _end(self, phase: Phase, quantity: str, sign: str, value: str) -> None:
        wanted = {"time": ">=", "current": "<="}.get(quantity, _sign(phase.way))
        slot = {"time": "time_s", "current": "end_current", "voltage": "end_volts"}[quantity]
        fits = quantity == "time" or (quantity == "current") == (phase.kind == "hold")
        if sign != wanted or not fits or getattr(phase, slot) is not None:
            raise self.refused(f"the end `{quantity} {sign} {value}` has no counterpart here")
        if quantity == "current":
            phase.end_current = self.drive(value)
        else:
            kind = units.TIME if quantity == "time" else units.VOLTAGE
            setattr(phase, slot, units.parse(value, kind))


def _sign(way: str) -> str:
    return ">=" if way == "charge" else "<="


def _words(entry: Any) -> str:
    """An end as it was written."""
    if not isinstance(entry, Mapping):
        return show(entry)
    pairs = cast("Mapping[str, Any]", entry).items()
    return f"{{{', '.join(f'{key}: {value}' for key, value in pairs)}}}"
