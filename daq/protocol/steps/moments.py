"""Conditions that one moment decides: those of `if`, and of the `until` of a loop."""

from __future__ import annotations

from collections.abc import Sequence

from daq.protocol.build import Builder
from daq.protocol.clause import Clause
from daq.protocol.condition import Condition
from daq.yamlfile import Where


def moments(builder: Builder, clauses: Sequence[Clause], where: Where) -> tuple[Condition, ...]:
    """Resolve conditions that stand at `where`.

    Raises:
        InputError: one of them looks back, and nothing is remembered between two steps.
    """
    place = builder.source.document.place(where, value=True)
    builder.scopes.use(clauses, place)
    resolved = tuple(clause.resolve(builder.cell.nominal_capacity_Ah) for clause in clauses)
    for condition in resolved:
        if condition.looks_back:
            remedy = "no `for`, `after`, dV/dt, dT/dt or -dV here; end a step by it"
            builder.refuse(f"{condition.text!r} cannot be told in one moment", where, remedy)
    return resolved
