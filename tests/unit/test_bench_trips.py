"""What the benches count as an answered trip, on tapes as the simulated cyclers keep them."""

from __future__ import annotations

import pytest

from bench.trips import reaction, unanswered

ASK = "OUTP?;:MEAS:VOLT?;:FETC:CURR?\n"
OTHER = "MEAS:VOLT?;:FETC:CURR?;:OUTP?\n"
HIGH = "1;+4.760000E+00;+1.250000E+00\n"
CALM = "1;+3.760000E+00;+1.250000E+00\n"
DOWN = "0;+4.760000E+00;+0.000000E+00\n"
OFF = "OUTP 0\nOUTP?;:STAT:OPER:COND?\n"
PUSHED_AT = 10.0


def tape(*lines: tuple[float, str, str]) -> list[tuple[float, str, str]]:
    return [*lines]


def test_the_time_runs_from_the_reading_to_the_off_after_it():
    lines = tape((10.1, "heard", ASK), (10.125, "said", HIGH), (10.25, "heard", OFF))
    assert reaction(lines, PUSHED_AT) == pytest.approx(0.125)
    assert not unanswered(lines, PUSHED_AT)


def test_both_questions_of_the_driver_are_understood():
    lines = tape((10.1, "heard", OTHER), (10.1, "said", "+4.76E+00;+1.25E+00;1\n"))
    assert unanswered(lines, PUSHED_AT)


def test_an_off_that_has_not_come_is_missed():
    lines = tape((9.9, "heard", OFF), (10.1, "heard", ASK), (10.2, "said", HIGH))
    assert reaction(lines, PUSHED_AT) is None
    assert unanswered(lines, PUSHED_AT)


@pytest.mark.parametrize("reply", [CALM, DOWN])
def test_without_a_reading_beyond_the_limit_while_on_nothing_has_to_be_answered(reply):
    lines = tape((10.1, "heard", ASK), (10.2, "said", reply))
    assert reaction(lines, PUSHED_AT) is None
    assert not unanswered(lines, PUSHED_AT)


def test_a_reading_of_before_the_push_is_not_what_is_measured():
    lines = tape((9.8, "heard", ASK), (9.9, "said", HIGH), (10.2, "heard", OFF))
    assert reaction(lines, PUSHED_AT) is None
    assert not unanswered(lines, PUSHED_AT)
