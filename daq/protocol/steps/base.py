"""What every step kind is: a pydantic model of its keys that compiles itself.

A new kind is one class in this folder and one line in `daq.protocol.steps`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from math import inf
from typing import Annotated, Any, ClassVar, cast

from pydantic import Field

from daq import units
from daq.filemodel import FileModel, Word
from daq.model import NO_CHARGE_BELOW_DEGC, Limits, Setpoint, intersect
from daq.protocol.build import Builder
from daq.protocol.clause import Clause
from daq.protocol.condition import Goes
from daq.protocol.program import Charged, RecordRule, Step, StepKind
from daq.protocol.site import Ends, Site
from daq.protocol.steps.soc import StateOfCharge
from daq.protocol.until import Until
from daq.quantities import Duration, LimitsModel
from daq.quantities import Quantity as WithUnit
from daq.units import Amount
from daq.yamlfile import Where

CHARGES, DISCHARGES = "charges", "discharges"

_RECORD_CURRENT = (units.CURRENT, units.RATE, units.FRACTION)


class FirstModel(FileModel):
    """How the beginning of a step is recorded."""

    every: Duration = Field(examples=["20 ms"])
    """Longest time between records."""
    duration: Duration = Field(alias="for", examples=["5 s"])
    """How long."""


class RecordModel(FileModel):
    """Which samples are kept, beside the first and the last of every step."""

    every: Duration | None = None
    """Longest time between records."""
    voltage: Annotated[float, WithUnit((units.VOLTAGE,), above=0.0)] | None = None
    """Change since the last record that makes one."""
    current: Annotated[Amount, WithUnit(_RECORD_CURRENT, above=0.0)] | None = None
    """Change that makes a record; a percentage is of 1C."""
    temperature: Annotated[float, WithUnit((units.TEMPERATURE_CHANGE,), above=0.0)] | None = None
    """Change that makes a record."""
    charge: Annotated[Amount, WithUnit((units.CHARGE, units.FRACTION), above=0.0)] | None = None
    """Change that makes a record; a percentage is of the nominal capacity."""
    first: FirstModel | None = None
    """Faster at the beginning of each step."""

    def rule(self, above: RecordRule, nominal_capacity_Ah: float) -> RecordRule:
        """This, with what is not given taken from the rule above it."""
        return RecordRule(
            every_s=self.every or above.every_s,
            voltage_V=self.voltage or above.voltage_V,
            current_A=self._current_A(nominal_capacity_Ah) or above.current_A,
            temperature_K=self.temperature or above.temperature_K,
            charge_Ah=self._charge_Ah(nominal_capacity_Ah) or above.charge_Ah,
            first_every_s=self.first.every if self.first else above.first_every_s,
            first_for_s=self.first.duration if self.first else above.first_for_s,
        )

    def _charge_Ah(self, nominal_capacity_Ah: float) -> float | None:
        if self.charge is None:
            return None
        relative = self.charge.kind is units.FRACTION
        return self.charge.value * (nominal_capacity_Ah if relative else 1.0)

    def _current_A(self, nominal_capacity_Ah: float) -> float | None:
        if self.current is None:
            return None
        relative = self.current.kind is not units.CURRENT
        return self.current.value * (nominal_capacity_Ah if relative else 1.0)


class Instruction(FileModel):
    """One entry of a list of `steps`."""

    kind: ClassVar[str]
    """The key that names it in the file."""

    label: Word | None = None
    """A name for `goto`."""
    disabled: bool | str = False
    """It is checked and numbered, and not done; better than `true` is why."""

    def add_to(self, builder: Builder, where: Where) -> None:
        """Add what this stands for to a program, unless it is disabled."""
        why = self.disabled if isinstance(self.disabled, str) else ""
        with builder.disabled(where, why) if self.disabled else nullcontext():
            builder.stand(where)
            if self.label:
                builder.label(self.label, where)
            self.compile(builder, where)

    @abstractmethod
    def compile(self, builder: Builder, where: Where) -> None:
        """Add what this stands for to a program.

        Raises:
            InputError: it cannot be carried out within the limits; with its place.
        """

    def moves(self) -> frozenset[str]:
        """Which ways charge flows: for the counting of cycles."""
        return frozenset()

    def counts_cycles(self) -> bool:
        """Whether it, or something in it, is a loop whose passes are cycles."""
        return False


class StepModel(Instruction):
    """A step: something that a station does until it ends."""

    ends: ClassVar[Ends] = frozenset()
    """What may end it."""

    record: RecordModel | None = None
    """Recording rule of this step."""
    limits: LimitsModel | None = None
    """Limits of this step; they may only tighten."""
    save: Word | None = None
    """Keeps what the step has moved under a name, for later conditions."""
    soc: StateOfCharge | None = None
    """What the state of charge is when the step ends."""

    def compile(self, builder: Builder, where: Where, raw: dict[str, Any] | None = None) -> None:
        """Add this one step.

        Args:
            builder: takes it.
            where: it stands in the present file.
            raw: as it would be written, where it is one of several that a line stands for.
        """
        site = self.site(builder, where)
        step, expected_s = self.plan(replace(site, raw=raw) if raw else site)
        builder.add(self._named(builder, where, step), expected_s)

    def site(self, builder: Builder, where: Where) -> Site:
        """Where it stands."""
        limits: Limits | None = self.limits.limits() if self.limits else None
        return builder.site(where, self.kind, limits, self.recorded(builder))

    def recorded(self, builder: Builder) -> RecordRule:
        """Its recording rule."""
        above, nominal = builder.source.record, builder.cell.nominal_capacity_Ah
        return self.record.rule(above, nominal) if self.record else above

    def ended_by(self) -> tuple[Clause, ...]:
        """Its `until`, where it has one."""
        return getattr(self, "until", ())

    def _named(self, builder: Builder, where: Where, step: Step) -> Step:
        """The same with all that refers to names elsewhere in the program."""
        clauses = self.ended_by()
        builder.scopes.use(clauses, builder.source.document.place((*where, "until"), value=True))
        goes = [self._goes(builder, where, clause, i) for i, clause in enumerate(clauses)]
        # A kind of step may add conditions of its own behind those of its author.
        until = tuple(
            replace(condition, goes=goes[index] if index < len(goes) else None)
            for index, condition in enumerate(step.until)
        )
        if self.save:
            builder.scopes.saved.add(self.save)
        return replace(
            step, until=until, save=self.save or "", charged=self._charged(builder, where)
        )

    def _goes(self, builder: Builder, where: Where, clause: Clause, index: int) -> Goes | None:
        return builder.goes(clause.way, (*where, "until", index)) if clause.way else None

    def _charged(self, builder: Builder, where: Where) -> Charged | None:
        if self.soc is None:
            return None
        builder.scopes.knows_soc = True
        if self.soc.of:
            place = builder.source.document.place((*where, "soc"), value=True)
            builder.scopes.use_name(self.soc.of, place)
        return self.soc

    @abstractmethod
    def plan(self, site: Site) -> tuple[Step, float]:
        """The step, and how long it should take in seconds."""

    def step(self, site: Site, at_most_s: float, **more: Any) -> Step:
        """A `Step` with all that the site knows."""
        setpoint: Setpoint | None = more.get("setpoint")
        return Step(
            number=site.number,
            kind=StepKind(self.kind),
            line=site.line,
            text=describe(site.raw, site.key),
            limits=site.limits if setpoint is None else directed(site, setpoint),
            record=site.record,
            at_most_s=at_most_s,
            follows=bool(site.after),
            file=site.file,
            **more,
        )


class MovingStep(StepModel):
    """A step that moves charge: it says what ends it and what it must never exceed."""

    until: Until = Field(examples=["voltage >= 4.2 V"])
    """What ends it; any one of a list."""
    at_most: Duration = Field(examples=["25 h"])
    """Longest duration; reaching it means that something is wrong, and fails the run."""


def directed(site: Site, setpoint: Setpoint) -> Limits:
    """The temperatures at which current may flow the way that a setpoint lets it."""
    limits = site.limits
    if setpoint.charge_A > 0.0:
        charging = intersect(limits.charging_degC, (NO_CHARGE_BELOW_DEGC, inf))
        limits = limits.tighten(Limits(temperature_degC=charging))
    if setpoint.discharge_A > 0.0:
        limits = limits.tighten(Limits(temperature_degC=limits.discharging_degC))
    low, high = limits.temperature_degC
    if not low < high:
        message = f"no temperature is left for it: at least {low:g} and at most {high:g} degC"
        site.refuse(message, (site.key,), "no cell is charged below 0 degC")
    return limits


def describe(raw: dict[str, Any], key: str) -> str:
    """A step on one line, as its author wrote it, the numbers put in."""
    text = f"{key} {_inline(raw[key])}"
    for more in ("rate", "humidity", "soak"):
        if more in raw:
            text += f" {more} {_inline(raw[more])}"
    if "until" in raw:
        text += f" until {_inline(raw['until'], ' or ')}"
    return text


def _inline(value: Any, between: str = " ") -> str:
    if isinstance(value, dict):
        items = cast(dict[str, Any], value).items()
        return " ".join(f"{key} {_inline(inner)}" for key, inner in items)
    if isinstance(value, list):
        return between.join(_inline(inner) for inner in cast(list[Any], value))
    return str(value)


def add_list(
    builder: Builder, steps: Sequence[Instruction], where: Where, *, closed: bool = False
) -> None:
    """Add a list of steps; gotos look for their labels in it, then in the lists around it.

    Args:
        builder: takes them.
        steps: the list.
        where: of the list in the present file.
        closed: it is the list of a whole file, and nothing is looked for beyond it.
    """
    with builder.scopes.list_of_steps(closed=closed):
        for index, step in enumerate(steps):
            step.add_to(builder, (*where, index))
