"""Quantities as people write them."""

from __future__ import annotations

import re
import subprocess
import sys
from decimal import Decimal
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq import units
from daq.errors import UnitError
from daq.units import KINDS, Amount, Kind, parse, parse_any, pattern


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("4.2 V", units.VOLTAGE, 4.2),
        ("35 mV", units.VOLTAGE, 0.035),
        ("5uV", units.VOLTAGE, 5e-6),
        ("500 mA", units.CURRENT, 0.5),
        ("-10 A", units.CURRENT, -10.0),
        ("2 \u03bcA", units.CURRENT, 2e-6),
        ("2 W", units.POWER, 2.0),
        ("30 min", units.TIME, 1800.0),
        ("1.5h", units.TIME, 5400.0),
        ("2 d", units.TIME, 172800.0),
        ("10 kHz", units.FREQUENCY, 1e4),
        ("10 mHz", units.FREQUENCY, 0.01),
        ("25 degC", units.TEMPERATURE, 25.0),
        ("25 °C", units.TEMPERATURE, 25.0),
        ("298.15 K", units.TEMPERATURE, 25.0),
        ("0.5 K", units.TEMPERATURE_CHANGE, 0.5),
        ("80 mAh", units.CHARGE, 0.08),
        ("10 Wh", units.ENERGY, 10.0),
        ("1 %", units.FRACTION, 0.01),
        ("115%", units.FRACTION, 1.15),
        ("18.2 mg", units.MASS, 0.0182),
        ("80 um", units.LENGTH, 80e-6),
        ("12 g/m^2", units.AREAL_MASS, 1.2),
        ("12.3 mg/cm²", units.AREAL_MASS, 12.3),
        ("C/20", units.RATE, 0.05),
        ("2C", units.RATE, 2.0),
        ("0.5 C", units.RATE, 0.5),
        ("C", units.RATE, 1.0),
        ("3C/4", units.RATE, 0.75),
    ],
)
def test_a_quantity_becomes_exactly_the_si_number_that_it_means(
    text: str, kind: Kind, value: float
) -> None:
    assert parse(text, kind) == value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_example_in_every_error_is_itself_accepted(kind: Kind) -> None:
    assert isfinite(parse(kind.example, kind))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (4.2, "4.2 has no unit: a voltage is expected"),
        ("4.2", "4.2 has no unit: a voltage is expected"),
        (4, "4 has no unit: a voltage is expected"),
        (None, "there is no value: a voltage is expected"),
        (True, "True is not a quantity: a voltage is expected"),
        (["4.2 V"], "['4.2 V'] is not a quantity: a voltage is expected"),
        ("4.2 mA", "'4.2 mA' is a current; a voltage is expected"),
        ("30 min", "'30 min' is a time; a voltage is expected"),
        ("C/5", "'C/5' is a C-rate; a voltage is expected"),
        ("2C", "'2C' is a C-rate; a voltage is expected"),
        ("4.2 parsec", "'parsec' is not a unit that is known here; a voltage is expected"),
        ("4.2 MV", "'MV' is not a unit that is known here; a voltage is expected"),
        ("nan V", "'nan V' is not a voltage"),
        ("inf V", "'inf V' is not a voltage"),
        ("1e999 V", "'1e999 V' is beyond what a number can hold"),
        ("1e999 mV", "'1e999 mV' is beyond what a number can hold"),
        ("4,2 V", "'4,2 V' is not a voltage"),
        ("", "'' is not a voltage"),
    ],
)
def test_a_refusal_says_what_was_expected_and_shows_an_example(value: object, said: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse(value, units.VOLTAGE)
    assert caught.value.message == said
    assert caught.value.remedy.endswith('write it like "4.2 V"')


def test_a_decimal_comma_is_named() -> None:
    with pytest.raises(UnitError, match="a number has a point, not a comma; write it like"):
        parse("4,2 V", units.VOLTAGE)


@pytest.mark.parametrize("text", ["-1C", "-C/5", "- 0.5 C"])
def test_a_negative_c_rate_is_told_where_the_direction_is_said(text: str) -> None:
    with pytest.raises(UnitError, match="is negative .the step says in which direction"):
        parse_any(text, units.RATE, units.CURRENT)


def test_a_unit_in_the_wrong_case_is_answered_with_the_right_one() -> None:
    with pytest.raises(UnitError, match="did you mean 'mV'"):
        parse("5 mv", units.VOLTAGE)


def test_a_temperature_difference_in_degC_is_refused_because_it_is_ambiguous() -> None:
    with pytest.raises(UnitError, match="a temperature difference is expected"):
        parse("0.5 degC", units.TEMPERATURE_CHANGE)


@pytest.mark.parametrize("text", ["C/0", "0C", "0C/5", "C/1e9", "-C/5", "C/-5", "C//5", "CC"])
def test_a_c_rate_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        parse(text, units.RATE)


def test_an_endless_text_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(UnitError, match="too long"):
        parse("1" * 10_000 + " V", units.VOLTAGE)


def test_where_several_kinds_are_allowed_the_kind_tells_them_apart() -> None:
    assert parse_any("C/2", units.RATE, units.CURRENT) == Amount(0.5, units.RATE)
    assert parse_any("2 A", units.RATE, units.CURRENT) == Amount(2.0, units.CURRENT)
    with pytest.raises(UnitError, match="a C-rate or a current is expected"):
        parse_any("2 V", units.RATE, units.CURRENT)


def test_a_c_rate_is_a_current_only_of_a_given_cell() -> None:
    assert Amount(0.05, units.RATE).current_A(2.5) == 0.125
    assert Amount(0.3, units.CURRENT).current_A(2.5) == 0.3
    with pytest.raises(TypeError):
        Amount(5.0, units.POWER).current_A(2.5)


NUMBERS = st.decimals(
    min_value=-10_000, max_value=10_000, places=6, allow_nan=False, allow_infinity=False
)
UNITS = [(kind, unit) for kind in KINDS for unit in kind.spellings]


@given(number=NUMBERS, choice=st.sampled_from(UNITS), space=st.sampled_from(["", " ", "   "]))
def test_what_the_editor_s_pattern_allows_is_what_the_parser_accepts(
    number: Decimal, choice: tuple[Kind, str], space: str
) -> None:
    kind, unit = choice
    text = f"{number}{space}{unit}"
    assert re.search(pattern(kind), text)
    assert isfinite(parse(text, kind))


@given(text=st.text(max_size=30), kind=st.sampled_from(KINDS))
def test_any_text_is_either_a_finite_number_or_refused(text: str, kind: Kind) -> None:
    try:
        value = parse(text, kind)
    except UnitError as error:
        assert error.message
    else:
        assert isfinite(value)
        assert re.search(pattern(kind), text)


@given(data=st.data(), kind=st.sampled_from(KINDS))
def test_what_has_the_right_form_is_refused_only_for_its_size(
    data: st.DataObject, kind: Kind
) -> None:
    text = data.draw(st.from_regex(re.compile(pattern(kind), re.ASCII)))
    try:
        assert isfinite(parse(text, kind))
    except UnitError as error:
        assert re.search("too long|beyond|usable", error.message)


@given(number=NUMBERS)
def test_a_milli_is_exactly_the_thousandth_that_a_person_would_write(number: Decimal) -> None:
    assert parse(f"{number} mV", units.VOLTAGE) == float(number / 1000)


@given(first=st.sampled_from(UNITS), second=st.sampled_from(UNITS))
def test_the_unit_of_another_kind_is_never_taken_for_this_one(
    first: tuple[Kind, str], second: tuple[Kind, str]
) -> None:
    kind, unit = first[0], second[1]
    if unit not in kind.spellings:
        with pytest.raises(UnitError):
            parse(f"1 {unit}", kind)


def test_pint_is_imported_with_the_first_quantity_and_not_before() -> None:
    script = (
        "import sys, daq.labreader, daq.protocol.compile, daq.units as u\n"
        "print('pint' in sys.modules)\n"
        "u.parse('5 mV', u.VOLTAGE)\n"
        "print('pint' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr
