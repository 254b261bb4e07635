"""A protocol and a cell -> a program. Everything that can be refused is refused here.

Limits come in tiers, and a lower one may only tighten: what a protocol allows beyond its station
is not allowed. Every setpoint and end voltage is checked against each tier and against what the
instruments can do, before anything is energised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import inf

from daq.checks import NOTHING_SET
from daq.driver import Range
from daq.model import Cell
from daq.protocol.build import Builder, Origin, Skipped, Source
from daq.protocol.program import End, Instruction, Program, RecordRule, Repeat, Step
from daq.protocol.schema import ProtocolModel, SafetyModel
from daq.protocol.site import DEFAULT_CHARGE, SAFETY, Tier, intersection
from daq.protocol.source import ProtocolSource, Value, overridden
from daq.protocol.steps.base import add_list

_SPARE, _SPARE_S = 1.02, 60.0
"""Each step's own time (S1) is the first to speak; that of the whole is for what it misses."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program, and where each of its instructions stands in its file.

    Attributes:
        origins: one for each instruction.
        skipped: what is disabled.
    """

    program: Program
    origins: tuple[Origin, ...]
    skipped: tuple[Skipped, ...]


def compile_protocol(
    source: ProtocolSource,
    cell: Cell,
    tiers: Sequence[Tier],
    range: Range | None = None,
    parameters: Mapping[str, Value] | None = None,
) -> Program:
    """Compile a protocol for a cell at a station: the program of `compile_placed`."""
    return compile_placed(source, cell, tiers, range, parameters).program


def compile_placed(
    source: ProtocolSource,
    cell: Cell,
    tiers: Sequence[Tier],
    range: Range | None = None,
    parameters: Mapping[str, Value] | None = None,
) -> Compiled:
    """Compile a protocol for a cell at a station.

    Args:
        source: the protocol file.
        cell: what C-rates and percentages refer to; its limits are a tier.
        tiers: limits above the cell's, such as `("station A1", …)`; the highest first. None at
            all only to check a file: then a setpoint that nothing limits is infinite.
        range: what the station's instruments can do together; None: unknown, not checked.
        parameters: values that replace those of the file, by name.

    Raises:
        InputError: a setpoint outside a tier, an unknown parameter, a value that does not fit;
            with the place in the protocol file.
    """
    values = overridden(source, parameters or {})
    data, model = source.with_parameters(values)
    nominal = cell.nominal_capacity_Ah
    all_tiers = (*tiers, (f"cell {cell.id}", cell.limits), *_own_tiers(model.safety, nominal))
    intersection(all_tiers, source.document.place(("safety",)))
    record = model.record.rule(RecordRule(), nominal)
    builder = Builder(
        Source(source.document, data, all_tiers, record), cell, range or Range(), bool(tiers)
    )
    _build(model, builder)
    cycles, at_most_s = _with_jumps(builder)
    program = Program(
        protocol=model.protocol,
        version=model.version,
        sha256=source.sha256,
        cell=cell.id,
        nominal_capacity_Ah=nominal,
        instructions=tuple(builder.instructions),
        expected_s=builder.expected_s,
        at_most_s=at_most_s,
        longest_s=min(model.safety.time or inf, _SPARE * at_most_s + _SPARE_S),
        cycles=min(model.safety.cycles or inf, cycles),
        checks=model.safety.checks.checks(NOTHING_SET),
        waits_for_operator=model.resume == "operator",
        targets=tuple(builder.scopes.targets),
    )
    return Compiled(program, tuple(builder.origins), tuple(builder.skipped))


def _own_tiers(safety: SafetyModel, nominal_Ah: float) -> tuple[Tier, ...]:
    """The protocol's `safety`; and apart from what it says, the most charge if it says none."""
    said = (SAFETY, safety.limits_for(nominal_Ah, included=True))
    return (said,) if safety.charge else (said, (DEFAULT_CHARGE, safety.limits_for(nominal_Ah)))


def _build(model: ProtocolModel, builder: Builder) -> None:
    """All steps; where no loop counts cycles the whole program is cycle 1."""
    counted = any(step.counts_cycles() for step in model.steps)
    with nullcontext() if counted else builder.loop(1, counts_cycles=True, written=False):
        add_list(builder, model.steps, ("steps",), closed=True)
    builder.scopes.check_references()
    inside = [item for item in builder.instructions if not isinstance(item, Repeat | End)]
    if not inside or not isinstance(inside[0], Step):
        message = "a protocol begins with a step" if inside else "there is no step that is done"
        builder.refuse(message, ("steps", 0), "begin it with one, like `rest: 1 min`")


def _with_jumps(builder: Builder) -> tuple[int, float]:
    """Cycles and longest time, with what may be done again after a goto that goes back."""
    cycles, at_most_s = builder.cycles, builder.at_most_s
    for at, number in builder.scopes.jumps:
        target = builder.scopes.targets[number]
        more_cycles, more_s = _stretch(builder.instructions[target.index : at + 1])
        cycles += target.times * more_cycles
        at_most_s += target.times * more_s
    return cycles, at_most_s


def _stretch(instructions: Sequence[Instruction]) -> tuple[int, float]:
    """Cycles and longest time of a stretch of a program."""
    passes, cycles, at_most_s = [1], 0, 0.0
    for item in instructions:
        if isinstance(item, Repeat):
            passes.append(passes[-1] * item.times)
            cycles += passes[-1] if item.counts_cycles else 0
        elif isinstance(item, End) and len(passes) > 1:
            passes.pop()
        elif isinstance(item, Step):
            at_most_s += passes[-1] * item.at_most_s
    return cycles, at_most_s
