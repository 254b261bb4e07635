"""Spread, outliers and yield of a batch, against numbers worked out by hand."""

from __future__ import annotations

from math import isnan, nan

import pytest

from daq.figures.batch import Criteria, Formed, formation_yield, spread


def named(*values: float) -> dict[str, float]:
    return {f"c{number}": value for number, value in enumerate(values)}


def test_median_quartiles_and_standard_deviation() -> None:
    found = spread(named(1.0, 2.0, 3.0, 4.0))
    assert (found.count, found.median, found.mean) == (4, 2.5, 2.5)
    assert found.iqr == pytest.approx(1.5)  # from 1.75 to 3.25
    assert found.std == pytest.approx((5 / 3) ** 0.5)
    assert found.relative_std_pct == pytest.approx(100 * (5 / 3) ** 0.5 / 2.5)
    assert (found.lowest, found.highest) == (1.0, 4.0)


def test_a_cell_far_from_the_others_is_an_outlier_by_the_modified_z_score() -> None:
    # Median 2.51, distances .01 0 .02 .01 x: MAD 0.01, the limit 3.5 x 0.01 / 0.6745 = 0.0519.
    others = (2.50, 2.51, 2.49, 2.52)
    assert spread(named(*others, 2.51 + 0.0515)).outliers == ()
    assert spread(named(*others, 2.51 + 0.0525)).outliers == ("c4",)
    assert spread(named(2.10, 2.50, 2.51, 2.51, 2.52)).outliers == ("c0",)


def test_of_three_cells_none_stands_out_nor_do_cells_that_agree_to_a_thousandth() -> None:
    assert spread(named(1.0, 1.0, 9.0)).outliers == ()
    assert spread(named(99.420, 99.420, 99.420, 99.421, 99.419, 99.50)).outliers == ()
    assert spread(named(99.420, 99.420, 99.420, 99.421, 99.419, 99.60)).outliers == ("c5",)


def test_what_is_not_known_is_not_counted() -> None:
    assert spread(named(2.0, nan, 4.0)).count == 2
    assert isnan(spread({}).median)
    assert isnan(spread(named(2.0)).std)


def test_the_yield_counts_good_cells_and_says_why_the_others_are_not() -> None:
    cells = [
        Formed("good", True, 98.0, 99.5),
        Formed("stopped", False, 98.0, 99.5),
        Formed("small", True, 79.9, 99.5),
        Formed("leaky", True, 98.0, 94.9),
        Formed("charged before", True, 98.0, 118.0),
        Formed("odd", True, 98.0, 99.5),
        Formed("unknown", True, nan, nan),
    ]
    found = formation_yield(cells, {"retention_pct": ["odd"]}, Criteria(80, 95))
    assert found.pct == pytest.approx(100 / 7)
    assert found.failed == {
        "stopped": "its run was not completed",
        "small": "capacity 79.9 % of nominal",
        "leaky": "coulombic efficiency 94.90 %",
        "charged before": "coulombic efficiency 118.00 %, which is none",
        "odd": "outlier in retention_pct",
        "unknown": "capacity nan % of nominal",
    }
    lenient = formation_yield(cells, {"retention_pct": ["odd"]}, Criteria(70, 90, False))
    assert lenient.good == 4
    assert "no outlier" not in str(Criteria(70, 90, False))
    allowed = formation_yield(cells, {}, Criteria(80, 95, most_efficiency_pct=120))
    assert "charged before" not in allowed.failed
    assert "95 to 101 %" in str(Criteria(80, 95))
    assert isnan(formation_yield([], {}, Criteria()).pct)
