"""SCPI as far as a simulated instrument needs it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators import scpi
from simulators.scpi import ErrorQueue, ScpiError, StatusRegister


def test_a_header_is_spelt_short_or_long_node_by_node():
    assert set(scpi.spellings("VOLTage:PROTection")) == {
        "VOLT:PROT",
        "VOLTAGE:PROT",
        "VOLT:PROTECTION",
        "VOLTAGE:PROTECTION",
    }


@pytest.mark.parametrize("spelling", ["OUTP", "OUTPUT", "OUTP:STAT", "OUTPUT:STATE"])
def test_an_optional_node_may_be_left_out(spelling):
    assert spelling in set(scpi.spellings("OUTPut[:STATe]"))


@pytest.mark.parametrize("spelling", ["CURR", "SOUR:CURR", "SOURCE:CURRENT:LEV"])
def test_an_optional_first_node_may_be_left_out(spelling):
    assert spelling in set(scpi.spellings("[SOURce]:CURRent[:LEVel]"))


def test_a_node_keeps_its_number():
    assert "STAT:QUES2:COND" in set(scpi.spellings("STATus:QUEStionable2:CONDition"))


@pytest.mark.parametrize(
    ("message", "units"),
    [
        ("*IDN?", [("*IDN?", "")]),
        ("volt 4.2", [("VOLT", "4.2")]),
        (":VOLT 4.2;:CURR 1", [("VOLT", "4.2"), ("CURR", "1")]),
        ("VOLT:PROT 4.4;LOW 2", [("VOLT:PROT", "4.4"), ("VOLT:LOW", "2")]),
        ("VOLT:PROT 4;*WAI;LEV 5", [("VOLT:PROT", "4"), ("*WAI", ""), ("VOLT:LEV", "5")]),
        ("VOLT 1;CURR 2", [("VOLT", "1"), ("CURR", "2")]),
        ("VOLT 1;:*WAI", [("VOLT", "1"), (":*WAI", "")]),
        ('DISP "a;b";:VOLT 1', [("DISP", '"a;b"'), ("VOLT", "1")]),
        ("  ; ;", []),
    ],
)
def test_a_message_is_cut_into_units_from_the_root(message, units):
    assert list(scpi.units(message)) == units


@pytest.mark.parametrize(
    ("argument", "value"),
    [("4.2", 4.2), ("-1e0", -1.0), ("200mV", 0.2), ("1.5 A", 1.5), (".5", 0.5), ("MAX", 5.0)],
)
def test_a_number_may_carry_a_unit_or_be_a_name(argument, value):
    assert scpi.number(argument, -5.0, 5.0, 1.0) == pytest.approx(value)


@pytest.mark.parametrize(
    ("argument", "code"),
    [("", -109), ("abc", -104), ("5.1", -222), ("1 parsec", -131), ("nan", -104), ("INF", -222)],
)
def test_a_number_that_does_not_fit_is_refused_and_not_clamped(argument, code):
    with pytest.raises(ScpiError) as refusal:
        scpi.number(argument, -5.0, 5.0, 1.0)
    assert refusal.value.code == code


def test_infinity_is_a_number_where_the_range_holds_it():
    assert scpi.number("INF", 0.0, scpi.INFINITY, 0.0) == scpi.INFINITY


@given(st.floats(1e-9, 1e9).map(lambda x: -x) | st.floats(1e-9, 1e9) | st.just(0.0))
def test_a_float_is_written_with_sign_and_seven_digits(value):
    text = scpi.real(value)
    assert text[0] in "+-"
    assert len(text) == 13
    assert float(text) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("word", ["curr", "CURRENT", "Curr"])
def test_a_keyword_is_understood_in_any_spelling(word):
    assert scpi.keyword(word, ("VOLTage", "CURRent")) == "CURR"


@pytest.mark.parametrize(("word", "code"), [("CURRE", -224), ("", -109)])
def test_a_keyword_is_not_guessed(word, code):
    with pytest.raises(ScpiError) as refusal:
        scpi.keyword(word, ("VOLTage", "CURRent"))
    assert refusal.value.code == code


def test_the_error_queue_gives_the_oldest_first_and_says_when_it_ran_over():
    queue = ErrorQueue(places=3)
    for code in (-101, -102, -103, -104):
        queue.push(ScpiError(code, "x"))
    assert [queue.pop() for _ in range(4)] == [
        '-101,"x"',
        '-102,"x"',
        '-350,"Error queue overflow"',
        None,
    ]


def test_a_status_register_latches_what_its_filters_let_through():
    register = StatusRegister(preset=0b011)
    register.negative = 0b100
    register.update(0b111)
    register.update(0b000)
    assert register.take_event() == 0b111
    assert register.take_event() == 0


def test_a_summary_needs_an_enabled_event():
    register = StatusRegister(preset=1)
    register.update(1)
    assert not register.summary
    register.enable = 1
    assert register.summary
