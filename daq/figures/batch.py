"""Cells that were made alike: how far their figures spread, which stand out, how many are good.

An outlier is a value whose modified z-score, 0.6745 (x - median) / MAD, is beyond 3.5 (B. Iglewicz
and D. Hoaglin, How to Detect and Handle Outliers, ASQC 1993; NIST/SEMATECH e-Handbook 1.3.5.17).
MAD is the median distance from the median. Unlike a standard deviation it is not blown up by the
very values that are to be found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np

OUTLYING = 3.5
_SCORE = 0.6745  # MAD over standard deviation, for a normal distribution
LEAST_CELLS = 4
"""Of three values, one is always far from the other two."""
_SAME = 1e-3  # of the median: cells that agree this well are alike, however small MAD is

OUTLIER_RULE = (
    f"|0.6745 (x - median) / MAD| > {OUTLYING:g} and more than {100 * _SAME:g} % from the median, "
    f"from {LEAST_CELLS} cells on"
)
"""In words, for whoever reads the figures."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How one figure spreads over the cells of a batch.

    Attributes:
        count: cells that have the figure.
        iqr: distance of the quartiles (linear interpolation between order statistics).
        std: of the sample (n - 1); NaN for one cell, as is what follows from it.
        relative_std_pct: std over the mean.
        outliers: names of the cells that stand out, by `OUTLIER_RULE`.
    """

    count: int
    median: float
    iqr: float
    mean: float
    std: float
    relative_std_pct: float
    lowest: float
    highest: float
    outliers: tuple[str, ...]


def spread(values: Mapping[str, float]) -> Spread:
    """The spread of a figure.

    Args:
        values: by the name of the cell (or run); NaN where there is none.
    """
    known = {name: value for name, value in values.items() if isfinite(value)}
    if not known:
        return Spread(0, nan, nan, nan, nan, nan, nan, nan, ())
    numbers = np.array(list(known.values()))
    low, median, high = np.percentile(numbers, [25, 50, 75]).tolist()
    mean = float(numbers.mean())
    std = float(numbers.std(ddof=1)) if len(numbers) > 1 else nan
    return Spread(
        len(numbers),
        median,
        high - low,
        mean,
        std,
        100 * std / abs(mean) if mean else nan,
        float(numbers.min()),
        float(numbers.max()),
        _outliers(known, median),
    )


def _outliers(values: Mapping[str, float], median: float) -> tuple[str, ...]:
    if len(values) < LEAST_CELLS:
        return ()
    away = {name: abs(value - median) for name, value in values.items()}
    mad = float(np.median(list(away.values())))
    least = max(mad * OUTLYING / _SCORE, _SAME * abs(median))
    return tuple(name for name, distance in away.items() if distance > least)


@dataclass(frozen=True, slots=True)
class Criteria:
    """What makes a formed cell a good one.

    Attributes:
        least_capacity_pct: discharge capacity of the last whole cycle, of nominal.
        least_efficiency_pct: coulombic efficiency of the last whole cycle.
        no_outlier: nor may the cell stand out of its batch in any figure.
        most_efficiency_pct: a higher one is none: the cell was not empty when that cycle began.
    """

    least_capacity_pct: float = 80.0
    least_efficiency_pct: float = 95.0
    no_outlier: bool = True
    most_efficiency_pct: float = 101.0

    def __str__(self) -> str:
        rules = [
            "the run was completed",
            f"capacity of the last cycle >= {self.least_capacity_pct:g} % of nominal",
            f"its coulombic efficiency {self.least_efficiency_pct:g} to "
            f"{self.most_efficiency_pct:g} %",
        ]
        return "; ".join(rules + ["no outlier in any figure"] * self.no_outlier)


@dataclass(frozen=True, slots=True)
class Formed:
    """What the yield asks of one cell; NaN where it is not known, which does not pass."""

    name: str
    completed: bool
    capacity_pct: float
    efficiency_pct: float


@dataclass(frozen=True, slots=True)
class Yield:
    """How many of a batch are good.

    Attributes:
        failed: name of each cell that is not -> why.
    """

    cells: int
    good: int
    failed: Mapping[str, str]

    @property
    def pct(self) -> float:
        """Good cells of all, in percent; NaN without any."""
        return 100 * self.good / self.cells if self.cells else nan


def formation_yield(
    cells: Sequence[Formed], outliers: Mapping[str, Sequence[str]], criteria: Criteria
) -> Yield:
    """Judge every cell of a batch.

    Args:
        cells: one entry a cell.
        outliers: name of each figure -> the cells that stand out in it.
        criteria: what a good one has.
    """
    failed = {cell.name: why for cell in cells if (why := _fault(cell, outliers, criteria))}
    return Yield(len(cells), len(cells) - len(failed), failed)


def _fault(cell: Formed, outliers: Mapping[str, Sequence[str]], criteria: Criteria) -> str:
    """The first thing that is wrong with a cell; empty when nothing is."""
    if not cell.completed:
        return "its run was not completed"
    if not cell.capacity_pct >= criteria.least_capacity_pct:
        return f"capacity {cell.capacity_pct:.1f} % of nominal"
    if not cell.efficiency_pct >= criteria.least_efficiency_pct:
        return f"coulombic efficiency {cell.efficiency_pct:.2f} %"
    if cell.efficiency_pct > criteria.most_efficiency_pct:
        return f"coulombic efficiency {cell.efficiency_pct:.2f} %, which is none"
    odd = [figure for figure, names in outliers.items() if cell.name in names]
    return f"outlier in {', '.join(odd)}" if odd and criteria.no_outlier else ""
