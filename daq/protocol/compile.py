"""A protocol and a cell -> a program. Everything that can be refused is refused here.

Limits come in tiers, and a lower one may only tighten: what a protocol allows beyond its station
is not allowed. Every setpoint and end voltage is checked against each tier and against what the
instruments can do, before anything is energised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from math import inf

from daq.checks import NOTHING_SET
from daq.driver import Range
from daq.filemodel import validate
from daq.model import Cell
from daq.protocol.build import Builder, Tier, intersection
from daq.protocol.program import Program, RecordRule
from daq.protocol.schema import ProtocolModel
from daq.protocol.source import ProtocolSource, Value, overridden, substitute

_SPARE, _SPARE_S = 1.02, 60.0
"""Each step's own time (S1) is the first to speak; that of the whole is for what it misses."""


def compile_protocol(
    source: ProtocolSource,
    cell: Cell,
    tiers: Sequence[Tier],
    range: Range | None = None,
    parameters: Mapping[str, Value] | None = None,
) -> Program:
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
    data = substitute(source.document, values)
    model = validate(ProtocolModel, source.document, data)
    nominal = cell.nominal_capacity_Ah
    own = ("safety of this protocol", model.safety.limits_for(nominal))
    all_tiers = (*tiers, (f"cell {cell.id}", cell.limits), own)
    intersection(all_tiers, source.document.place(("safety",)))
    builder = Builder(
        source.document,
        data,
        cell,
        all_tiers,
        range or Range(),
        model.record.rule(RecordRule(), nominal),
        bounded=bool(tiers),
    )
    _build(model, builder)
    return Program(
        protocol=model.protocol,
        version=model.version,
        sha256=source.sha256,
        cell=cell.id,
        nominal_capacity_Ah=nominal,
        instructions=tuple(builder.instructions),
        expected_s=builder.expected_s,
        at_most_s=builder.at_most_s,
        longest_s=min(model.safety.time or inf, _SPARE * builder.at_most_s + _SPARE_S),
        cycles=min(model.safety.cycles or inf, builder.cycles),
        checks=model.safety.checks.checks(NOTHING_SET),
        waits_for_operator=model.resume == "operator",
    )


def _build(model: ProtocolModel, builder: Builder) -> None:
    """All steps; where no loop counts cycles the whole program is cycle 1."""
    counted = any(step.counts_cycles() for step in model.steps)
    with nullcontext() if counted else builder.loop(1, counts_cycles=True):
        for index, step in enumerate(model.steps):
            step.compile(builder, ("steps", index))
