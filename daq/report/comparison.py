"""Several runs side by side: how their cells spread, and how many are good."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite, nan
from typing import Any, cast

from daq.errors import InputError
from daq.figures.batch import (
    OUTLIER_RULE,
    Criteria,
    Formed,
    Spread,
    Yield,
    formation_yield,
    spread,
)
from daq.figures.scopes import CycleFigures
from daq.recorder import metadata
from daq.report.document import plain
from daq.report.summary import Summary
from daq.report.tables import NONE, Table, more_than_all, number, significant

UNKNOWN = "not known"
_MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that every cell of a batch has one of."""

    name: str
    heading: str
    digits: int
    of: Callable[[Summary, Sequence[CycleFigures]], float]


FIGURES = (
    Figure("first_coulombic_efficiency_pct", "First CE / %", 2,
           lambda _, cycles: cycles[0].coulombic_efficiency_pct),
    Figure("first_discharge_Ah", "First discharge / Ah", 4,
           lambda _, cycles: cycles[0].whole.moved.discharge_Ah),
    Figure("last_discharge_Ah", "Last discharge / Ah", 4,
           lambda _, cycles: cycles[-1].whole.moved.discharge_Ah),
    Figure("last_coulombic_efficiency_pct", "Last CE / %", 2,
           lambda _, cycles: cycles[-1].coulombic_efficiency_pct),
    Figure("retention_pct", "Retention / %", 2, lambda _, cycles: cycles[-1].retention_pct),
    Figure("last_discharge_mean_V", "Mean discharge / V", 4,
           lambda _, cycles: cycles[-1].whole.moved.discharge_mean_V),
    Figure("fitted_R0_ohm", "R0 of the last spectrum / Ω", 6, lambda one, _: fitted_r0(one)),
)  # fmt: skip


def fitted_r0(summary: Summary) -> float:
    """R0 of the last spectrum that was fitted; NaN without."""
    fits = [one.fit for one in summary.spectra if one.fit]
    found = [p.value for fit in fits[-1:] for p in fit.parameters if p.name == "R0"]
    return found[0] if found else nan


@dataclass(frozen=True, slots=True)
class Comparison:
    """A batch.

    Attributes:
        names: of each run, short where that is enough to tell them apart.
        values: name of each figure -> by run.
    """

    summaries: tuple[Summary, ...]
    names: tuple[str, ...]
    values: Mapping[str, Mapping[str, float]]
    spreads: Mapping[str, Spread]
    formed: Yield
    criteria: Criteria


def compare(summaries: Sequence[Summary], criteria: Criteria | None = None) -> Comparison:
    """Compare runs.

    Raises:
        InputError: there are fewer than two.
    """
    if len(summaries) < 2:
        raise InputError("a comparison needs two runs at least")
    names = _names(summaries)
    values = {
        figure.name: {name: _value(figure, one) for name, one in zip(names, summaries, strict=True)}
        for figure in FIGURES
    }
    spreads = {name: spread(by_run) for name, by_run in values.items()}
    chosen = criteria or Criteria()
    formed = formation_yield(
        [_formed(name, one) for name, one in zip(names, summaries, strict=True)],
        {name: one.outliers for name, one in spreads.items()},
        chosen,
    )
    return Comparison(tuple(summaries), names, values, spreads, formed, chosen)


def _names(summaries: Sequence[Summary]) -> tuple[str, ...]:
    """The cells' names; where a cell comes twice, the runs' too."""
    cells = [one.data.cell or one.data.run for one in summaries]
    runs = [one.data.run for one in summaries]
    named = zip(cells, runs, strict=True)
    made = tuple(cell if cells.count(cell) == 1 else f"{cell} ({run})" for cell, run in named)
    if len(set(made)) < len(made):
        raise InputError("a run is named twice", remedy="name each run once")
    return made


def whole_cycles(summary: Summary) -> list[CycleFigures]:
    """The cycles of a run that went both ways."""
    return [cycle for cycle in summary.cycles if cycle.both_ways]


def _value(figure: Figure, summary: Summary) -> float:
    cycles = whole_cycles(summary)
    return figure.of(summary, cycles) if cycles else nan


def _formed(name: str, summary: Summary) -> Formed:
    cycles = whole_cycles(summary)
    last = cycles[-1] if cycles else None
    return Formed(
        name,
        summary.data.facts.get("outcome") == "completed",
        100 * last.whole.moved.discharge_Ah / summary.data.nominal_Ah if last else nan,
        last.coulombic_efficiency_pct if last else nan,
    )


# As text and as JSON.


def cells_table(found: Comparison) -> Table:
    """One row a cell."""
    kept = [figure for figure in FIGURES if _known(found, figure)]
    rows = tuple(
        (
            name,
            one.data.run,
            *(number(found.values[figure.name][name], figure.digits) for figure in kept),
            found.formed.failed.get(name, "good"),
        )
        for name, one in zip(found.names, found.summaries, strict=True)
    )
    headings = ("Cell", "Run", *(figure.heading for figure in kept), "Verdict")
    formed = found.formed
    note = (
        f"Yield: {formed.good} of {formed.cells} cells, {number(formed.pct, 1)} %. A good one: "
        f"{found.criteria}. First and last: of the cycles that both charged and discharged."
        f"{_differences_note(found)}"
        f"{more_than_all(one.efficiency_pct for one in map(_formed, found.names, found.summaries))}"
    )
    return Table("Cells", headings, rows, note, frozenset({0, 1, len(headings) - 1}))


def differences(found: Comparison) -> dict[str, dict[str, list[str]]]:
    """What the cells of a batch should have in common and have not.

    Returns:
        What it is -> each value -> the names of its cells; empty when the cells are alike.
    """
    named = list(zip(found.names, found.summaries, strict=True))
    by_chemistry: dict[str, list[str]] = {}
    by_capacity: dict[str, list[str]] = {}
    for name, one in named:
        chemistry = metadata.section(one.data.facts, "cell").get("chemistry") or UNKNOWN
        by_chemistry.setdefault(str(chemistry), []).append(name)
        known = isfinite(one.data.nominal_Ah)
        amount = f"{one.data.nominal_Ah:.6g} Ah" if known else UNKNOWN
        by_capacity.setdefault(amount, []).append(name)
    both = {"chemistry": by_chemistry, "nominal capacity": by_capacity}
    return {what: values for what, values in both.items() if len(values) > 1}


def _differences_note(found: Comparison) -> str:
    told = [
        f" NOT ALIKE in {what}: {_each(values)}." for what, values in differences(found).items()
    ]
    return "".join(told)


def _each(values: Mapping[str, Sequence[str]]) -> str:
    """Each value and its cells; of many cells only how many."""
    return "; ".join(
        f"{value} ({', '.join(names) if len(names) <= _MOST_NAMED else f'{len(names)} cells'})"
        for value, names in values.items()
    )


def spread_table(found: Comparison) -> Table:
    """One row a figure."""
    rows = tuple(
        _spread_row(figure, found.spreads[figure.name])
        for figure in FIGURES
        if _known(found, figure)
    )
    return Table(
        "Spread",
        ("Figure", "Cells", "Median", "IQR", "Mean", "Std", "Std / %", "Lowest", "Highest",
         "Outliers"),
        rows,
        f"IQR: distance of the quartiles. Std: of the sample, n - 1. Outliers: {OUTLIER_RULE}.",
        frozenset({0, 9}),
    )  # fmt: skip


def _spread_row(figure: Figure, one: Spread) -> tuple[str, ...]:
    return (
        figure.heading,
        str(one.count),
        number(one.median, figure.digits),
        significant(one.iqr, 3),
        number(one.mean, figure.digits),
        significant(one.std, 3),
        number(one.relative_std_pct, 3),
        number(one.lowest, figure.digits),
        number(one.highest, figure.digits),
        ", ".join(one.outliers) or NONE,
    )


def _known(found: Comparison, figure: Figure) -> bool:
    return any(isfinite(value) for value in found.values[figure.name].values())


def document(found: Comparison) -> dict[str, Any]:
    """Everything, ready for JSON."""
    cells = [
        {
            "cell": one.data.cell,
            "run": one.data.run,
            **{figure.name: found.values[figure.name][name] for figure in FIGURES},
            "good": name not in found.formed.failed,
            "fault": found.formed.failed.get(name),
        }
        for name, one in zip(found.names, found.summaries, strict=True)
    ]
    made = {
        "cells": cells,
        "spread": {name: asdict(one) for name, one in found.spreads.items()},
        "formation_yield_pct": found.formed.pct,
        "criteria": asdict(found.criteria) | {"text": str(found.criteria)},
        "outlier_rule": OUTLIER_RULE,
        "differences": differences(found),
    }
    return cast("dict[str, Any]", plain(made))
