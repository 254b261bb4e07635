"""How often a cell must be read: the table, the lines between, and which current counts."""

from __future__ import annotations

import pytest

from daq.control.pace import highest_C, least_Hz, too_slow
from tests.unit.fakes import CHARGE, REST, program


@pytest.mark.parametrize(
    ("c_rate", "hertz"),
    [(0.05, 1.0), (1.0, 1.0), (3.0, 3.0), (5.0, 5.0), (7.5, 12.5), (10.0, 20.0), (12.0, 26.0)],
)
def test_the_table_and_the_straight_lines_between(c_rate, hertz):
    assert least_Hz(c_rate) == pytest.approx(hertz)


@pytest.mark.parametrize(("period_s", "refused"), [(1.0, False), (1.001, True), (0.05, False)])
def test_a_second_is_enough_up_to_1C_and_not_more(period_s, refused):
    why = too_slow(program(CHARGE), period_s)
    assert bool(why) is refused
    if why:
        assert "1C" in why
        assert "every 1000 ms or faster" in why


def test_a_discharge_counts_like_a_charge():
    step = "  - discharge: 3C\n    until: voltage <= 2.7 V\n    at_most: 2 h\n"
    assert highest_C(program(CHARGE, step)) == pytest.approx(3.0)
    assert too_slow(program(step), 1.0)
    assert not too_slow(program(step), 1 / 3)


HOLD = "  - hold: {} V\n    until: current <= C/50\n    at_most: 4 h\n"


def test_a_hold_begins_with_the_current_of_the_charge_that_arrived_there():
    assert highest_C(program(CHARGE, HOLD.format(4.2))) == pytest.approx(1.0)


def test_any_other_hold_counts_with_what_the_limits_allow():
    limit_C = 0.98 * 10.0 / 2.5
    assert highest_C(program(CHARGE, HOLD.format(4.1))) == pytest.approx(limit_C)
    assert highest_C(program(REST, HOLD.format(4.2))) == pytest.approx(limit_C)
    assert highest_C(program(HOLD.format(4.2))) == pytest.approx(limit_C)


def test_a_program_without_current_needs_no_hurry():
    assert highest_C(program(REST)) == 0.0
