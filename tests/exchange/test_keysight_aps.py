"""The Keysight driver, byte for byte: what the manual says must go over the wire."""

from __future__ import annotations

from math import isnan

import pytest

from daq.errors import BadReply, InstrumentRefused, NoReply, ReadbackMismatch
from daq.model import Counted, Protection, Setpoint
from drivers.keysight_aps import (
    IS_ON,
    LIMITS,
    ON_POLLS,
    READS,
    KeysightAps,
    KeysightApsOptions,
)
from tests.exchange.scripted import Answer, ScriptedText

N6974A = ("*IDN?", "Keysight Technologies,N6974A,MY00000121,A.02.04.1234")
RP7935A = ("*IDN?", "Keysight Technologies,RP7935A,MY00000122,B.01.01")
NO_ERROR = '+0,"No error"'
N6974A_LIMITS = (
    LIMITS,
    "+0.000000E+00;+8.160000E+01;+1.000000E-02;+2.550000E+01;-2.500000E+00;-5.000000E-03"
    ";+9.600000E+01;-5.000000E-03;+1.000000E-02",
)
SETUP_N6900: list[tuple[str, Answer]] = [
    ("SYST:ERR?", NO_ERROR),
    ("FUNC?", "VOLT"),
    ("OUTP:PROT:MODE HIGHZ", None),
    ("OUTP:PROT:MODE?;:SYST:ERR?", f"HIGHZ;{NO_ERROR}"),
    ("CURR:PROT:STAT 0", None),
    ("CURR:PROT:STAT?;:SYST:ERR?", f"0;{NO_ERROR}"),
    N6974A_LIMITS,
]
SETUP_RP7900 = [step for step in SETUP_N6900 if "MODE" not in step[0]]
READ_BACK = "CURR:LIM:NEG?;:VOLT?;:CURR:LIM?;:SYST:ERR?"


def ready(*script: tuple[str, Answer], idn: tuple[str, Answer] = N6974A) -> KeysightAps:
    """A driver after identify and setup, with `script` still to come."""
    setup = SETUP_RP7900 if idn is RP7935A else SETUP_N6900
    driver = KeysightAps(ScriptedText(idn, *setup, *script))
    driver.identify()
    driver.setup()
    return driver


def finish(driver: KeysightAps) -> None:
    line = driver.line
    assert isinstance(line, ScriptedText)
    line.finished()


def reading(reply: str):
    driver = ready((READS[0], reply))
    result = driver.read()[1]
    finish(driver)
    return result


@pytest.mark.parametrize("model", ["N6974A", "N7950A", "RP7935A"])
def test_every_model_of_the_family_is_known(model: str) -> None:
    driver = KeysightAps(ScriptedText(("*IDN?", f"Keysight Technologies,{model},MY1,A.1")))
    assert driver.identify().model == model


@pytest.mark.parametrize("answer", ["Keysight Technologies,E36312A,MY1,1.0", "0", "a,N6974A,b"])
def test_something_else_at_the_address_is_not_taken_for_an_aps(answer: str) -> None:
    with pytest.raises(BadReply, match="not a Keysight"):
        KeysightAps(ScriptedText(("*IDN?", answer))).identify()


def test_setup_leaves_the_output_alone_when_it_is_in_voltage_priority_already() -> None:
    finish(ready())


def test_setup_changes_the_priority_before_anything_that_the_change_would_reset() -> None:
    script = [*SETUP_N6900]
    script[1:2] = [
        ("FUNC?", "CURR"),
        ("FUNC VOLT", None),
        ("FUNC?;:SYST:ERR?", f"VOLT;{NO_ERROR}"),
    ]
    with ScriptedText(N6974A, *script) as line:
        driver = KeysightAps(line)
        driver.identify()
        driver.setup()


def test_setup_reads_the_errors_of_others_until_there_are_none() -> None:
    stale: list[tuple[str, Answer]] = [
        ("SYST:ERR?", '-113,"Undefined header"'),
        ("SYST:ERR?", '+310,"The command is not supported by this model;"'),
    ]
    with ScriptedText(N6974A, *stale, *SETUP_N6900) as line:
        driver = KeysightAps(line)
        driver.identify()
        driver.setup()


def test_an_error_queue_that_never_ends_is_a_bad_reply() -> None:
    endless = [("SYST:ERR?", '-113,"Undefined header"')] * 100
    with pytest.raises(BadReply, match="queue"):
        KeysightAps(ScriptedText(*endless)).setup()


def test_the_range_is_what_the_instrument_says() -> None:
    driver = ready()
    assert driver.range(1).voltage_V == (0.0, 81.6)
    assert driver.range(1).current_A == (-2.5, 25.5)


def test_a_reading_is_one_message_of_one_acquisition() -> None:
    result = reading("+3.701234E+00;-1.999871E+00;+0;+0;+2;1")
    assert (result.voltage_V, result.current_A) == (3.701234, -1.999871)
    assert (result.output_on, result.fault) == (True, "")


def test_an_output_that_the_watchdog_opened_is_off_although_outp_says_on() -> None:
    result = reading("+3.7E+00;+0.0E+00;+2048;+0;+0;1")
    assert (result.output_on, result.fault) == (False, "watchdog")


def test_an_output_that_the_status_calls_off_is_off_although_outp_says_on() -> None:
    assert reading("+3.7E+00;+0.0E+00;+0;+0;+4;1").output_on is False


def test_every_protection_that_latched_is_named() -> None:
    result = reading("+3.7E+00;+0.0E+00;+17;+64;+4;0")
    assert result.fault == "over-voltage, over-temperature, under-voltage"


def test_lost_sense_leads_are_a_fault_with_the_output_still_on() -> None:
    result = reading("+3.7E+00;+1.0E+00;+8192;+0;+2;1")
    assert (result.output_on, result.fault) == (True, "sense leads lost")


def test_a_regulation_limit_is_not_a_fault() -> None:
    assert reading("+3.7E+00;+1.0E+00;+384;+2;+2;1").fault == ""


@pytest.mark.fault("F08", family="keysight_aps")
@pytest.mark.parametrize("turn", [0, 1])
def test_a_reply_that_comes_twice_does_not_fit_the_next_question(turn: int) -> None:
    replies = ["+3.7E+00;+1.0E+00;+0;+0;+2;1", "1;+3.7E+00;+1.0E+00;+0;+0;+2"]
    script = [(READS[0], replies[0]), (READS[1], replies[1]), (READS[0], replies[0])]
    driver = ready(*script[:turn], script[turn], (READS[1 - turn], replies[turn]))
    for _ in range(turn + 1):
        driver.read()
    with pytest.raises(BadReply):
        driver.read()


@pytest.mark.fault("F11", family="keysight_aps")
@pytest.mark.parametrize("text", ["9.9E37", "-9.9E37", "9.91E37", "nan", "inf"])
def test_infinity_is_never_a_number(text: str) -> None:
    assert isnan(reading(f"+3.7E+00;{text};+0;+0;+2;1").current_A)


@pytest.mark.fault("F11", family="keysight_aps")
@pytest.mark.parametrize(
    "reply",
    [
        "0-113;+3.7;+0;+0;+2;1", "+3.7;+1.0;+0;+0;+2", "", "+3,7;+1.0;+0;+0;+2;1",
        "+3.7;1;x;0;2;1", ";1;0;0;2;1", "+3_7;1;0;0;2;1", "+3.7 ;1;0;0;2;1", "+3.7;1;0;0;-2;1",
    ],
)  # fmt: skip
def test_a_reply_that_is_not_six_numbers_is_never_a_reading(reply: str) -> None:
    driver = ready((READS[0], reply))
    with pytest.raises(BadReply):
        driver.read()


def test_protections_are_written_and_read_back_in_a_second_message() -> None:
    driver = ready(
        ("VOLT:PROT 4.4;:CURR:PROT:STAT 0;:OUTP:PROT:WDOG:DEL 10;:OUTP:PROT:WDOG 1", None),
        (
            "VOLT:PROT?;:CURR:PROT:STAT?;:OUTP:PROT:WDOG:DEL?;:OUTP:PROT:WDOG?;:SYST:ERR?",
            f"+4.400120E+00;0;+10;1;{NO_ERROR}",
        ),
        ("CURR:LIM:NEG -0.005;:CURR:LIM 0.01", None),
        ("CURR:LIM:NEG?;:CURR:LIM?;:SYST:ERR?", f"-5.0E-03;+1.0E-02;{NO_ERROR}"),
    )
    driver.protect(1, Protection((2.4, 4.4), (-2.0, 2.0), 10.9))
    finish(driver)


def test_an_rp7900_gets_an_under_voltage_protection_too() -> None:
    driver = ready(
        (
            "VOLT:PROT 4.4;:VOLT:PROT:LOW 2.4;:VOLT:PROT:LOW:STAT 1;:CURR:PROT:STAT 0"
            ";:OUTP:PROT:WDOG:DEL 1;:OUTP:PROT:WDOG 1",
            None,
        ),
        (
            "VOLT:PROT?;:VOLT:PROT:LOW?;:VOLT:PROT:LOW:STAT?;:CURR:PROT:STAT?"
            ";:OUTP:PROT:WDOG:DEL?;:OUTP:PROT:WDOG?;:SYST:ERR?",
            f"+4.4;+2.4;1;0;+1;1;{NO_ERROR}",
        ),
        ("CURR:LIM:NEG -0.005;:CURR:LIM 0.01", None),
        ("CURR:LIM:NEG?;:CURR:LIM?;:SYST:ERR?", f"-5.0E-03;+1.0E-02;{NO_ERROR}"),
        idn=RP7935A,
    )
    driver.protect(1, Protection((2.4, 4.4), (-2.0, 2.0), 0.2))
    finish(driver)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (f"+9.6E+01;0;+10;1;{NO_ERROR}", "VOLT:PROT"),
        (f"+4.4;1;+10;1;{NO_ERROR}", "CURR:PROT:STAT"),
        (f"+4.4;0;+60;1;{NO_ERROR}", "WDOG:DEL"),
        (f"+4.4;0;+10;0;{NO_ERROR}", "WDOG"),
        (f"9.9E37;0;+10;1;{NO_ERROR}", "VOLT:PROT"),
    ],
)
def test_a_protection_that_did_not_take_is_noticed(answer: str, what: str) -> None:
    driver = ready(
        ("VOLT:PROT 4.4;:CURR:PROT:STAT 0;:OUTP:PROT:WDOG:DEL 10;:OUTP:PROT:WDOG 1", None),
        ("VOLT:PROT?;:CURR:PROT:STAT?;:OUTP:PROT:WDOG:DEL?;:OUTP:PROT:WDOG?;:SYST:ERR?", answer),
    )
    with pytest.raises(ReadbackMismatch, match=what):
        driver.protect(1, Protection((2.4, 4.4), (-2.0, 2.0), 10))


def test_a_charge_gets_the_discharge_limit_nearest_to_zero() -> None:
    driver = ready(
        ("CURR:LIM:NEG -0.005;:VOLT 4.25;:CURR:LIM 0.125", None),
        (READ_BACK, f"-5.0E-03;+4.249800E+00;+1.250100E-01;{NO_ERROR}"),
    )
    driver.apply(1, Setpoint(4.25, 0.125, 0))
    finish(driver)


def test_limits_go_down_before_the_voltage_moves_and_up_after_it() -> None:
    driver = ready(
        ("VOLT 4.2;:CURR:LIM:NEG -2;:CURR:LIM 2", None),
        ("VOLT?;:CURR:LIM:NEG?;:CURR:LIM?;:SYST:ERR?", f"+4.2;-2.0;+2.0;{NO_ERROR}"),
        ("CURR:LIM:NEG -1;:CURR:LIM 0.01;:VOLT 2.45", None),
        ("CURR:LIM:NEG?;:CURR:LIM?;:VOLT?;:SYST:ERR?", f"-1.0;+0.01;+2.45;{NO_ERROR}"),
    )
    driver.apply(1, Setpoint(4.2, 2, 2))
    driver.apply(1, Setpoint(2.45, 0, 1))
    finish(driver)


@pytest.mark.parametrize(
    "answer",
    [
        f"-5.0E-03;+4.20E+00;+1.25E-01;{NO_ERROR}",
        f"-5.0E-03;+4.25E+00;+1.25E+02;{NO_ERROR}",
        f"-1.0E+00;+4.25E+00;+1.25E-01;{NO_ERROR}",
    ],
)
def test_a_setpoint_that_did_not_take_is_noticed(answer: str) -> None:
    driver = ready(("CURR:LIM:NEG -0.005;:VOLT 4.25;:CURR:LIM 0.125", None), (READ_BACK, answer))
    with pytest.raises(ReadbackMismatch):
        driver.apply(1, Setpoint(4.25, 0.125, 0))


def test_a_refusal_is_reported_with_the_instruments_own_words() -> None:
    driver = ready(
        ("CURR:LIM:NEG -0.005;:VOLT 4.25;:CURR:LIM 99", None),
        (READ_BACK, '-5.0E-03;+0.0;+1.0;-222,"Data out of range;"'),
    )
    with pytest.raises(InstrumentRefused, match="Data out of range"):
        driver.apply(1, Setpoint(4.25, 99, 0))


def test_a_setpoint_beyond_the_protections_currents_never_leaves() -> None:
    driver = ready(
        ("VOLT:PROT 4.4;:CURR:PROT:STAT 0;:OUTP:PROT:WDOG:DEL 10;:OUTP:PROT:WDOG 1", None),
        (
            "VOLT:PROT?;:CURR:PROT:STAT?;:OUTP:PROT:WDOG:DEL?;:OUTP:PROT:WDOG?;:SYST:ERR?",
            f"+4.4;0;+10;1;{NO_ERROR}",
        ),
        ("CURR:LIM:NEG -0.005;:CURR:LIM 0.01", None),
        ("CURR:LIM:NEG?;:CURR:LIM?;:SYST:ERR?", f"-5.0E-03;+1.0E-02;{NO_ERROR}"),
    )
    driver.protect(1, Protection((2.4, 4.4), (-2.0, 2.0), 10))
    for setpoint in (Setpoint(4.2, 2.1, 0), Setpoint(2.5, 0, 2.1)):
        with pytest.raises(InstrumentRefused, match="beyond the protection"):
            driver.apply(1, setpoint)
    finish(driver)


def test_on_waits_for_the_relay() -> None:
    driver = ready(
        ("OUTP 1", None),
        (IS_ON, "+0;+0;+4;1"),
        (IS_ON, "+0;+0;+2;1"),
    )
    driver.on(1)
    finish(driver)


def test_an_output_that_does_not_switch_on_is_noticed_with_its_fault() -> None:
    driver = ready(("OUTP 1", None), *[(IS_ON, "+2048;+0;+4;1")] * ON_POLLS)
    with pytest.raises(ReadbackMismatch, match="watchdog"):
        driver.on(1)
    finish(driver)


@pytest.mark.parametrize("answer", ["0;+4", "0;+0", "1;+4"])
def test_off_is_verified_and_rests_the_watchdog(answer: str) -> None:
    driver = ready(("OUTP 0", None), ("OUTP?;:STAT:OPER:COND?", answer), ("OUTP:PROT:WDOG 0", None))
    driver.off(1)
    finish(driver)


def test_an_off_that_was_ignored_is_noticed() -> None:
    driver = ready(("OUTP 0", None), ("OUTP?;:STAT:OPER:COND?", "1;+2"))
    with pytest.raises(ReadbackMismatch, match="still on"):
        driver.off(1)


def test_clear_switches_off_first_and_again_after() -> None:
    off: list[tuple[str, Answer]] = [
        ("OUTP 0", None),
        ("OUTP?;:STAT:OPER:COND?", "0;+4"),
        ("OUTP:PROT:WDOG 0", None),
        ("OUTP?", "0"),
    ]
    driver = ready(*off, ("OUTP:PROT:CLE", None), *off, ("SYST:ERR?", NO_ERROR))
    driver.clear(1)
    finish(driver)


def test_clear_never_clears_when_the_programmed_state_is_still_on() -> None:
    driver = ready(
        ("OUTP 0", None),
        ("OUTP?;:STAT:OPER:COND?", "1;+4"),
        ("OUTP:PROT:WDOG 0", None),
        ("OUTP?", "1"),
    )
    with pytest.raises(ReadbackMismatch, match="would switch on"):
        driver.clear(1)
    finish(driver)


def test_silence_stays_silence() -> None:
    driver = ready((READS[0], NoReply("no reply")))
    with pytest.raises(NoReply):
        driver.read()


def test_the_sentinel_gets_off_and_its_proof_as_bytes() -> None:
    off, proof, rest = KeysightAps(ScriptedText()).off_exchanges(1)
    assert (rest.send, rest.expect) == (b"OUTP:PROT:WDOG 0\n", b"")
    assert (off.send, off.expect) == (b"OUTP 0\n", b"")
    assert proof.send == b"OUTP?\n"


@pytest.mark.parametrize(("answer", "taken"), [("+5.000320E-01", True), ("+9.999360E-01", False)])
def test_the_integration_time_is_written_where_the_options_give_one_and_read_back(answer, taken):
    asked: list[tuple[str, Answer]] = [
        ("SENS:SWE:NPLC 0.5", None),
        ("SENS:SWE:NPLC?;:SYST:ERR?", f"{answer};{NO_ERROR}"),
    ]
    script = [*SETUP_N6900[:-1], *asked, *([N6974A_LIMITS] if taken else [])]
    line = ScriptedText(N6974A, *script)
    driver = KeysightAps(line, KeysightApsOptions(power_line_cycles=0.5))
    driver.identify()
    if taken:
        driver.setup()
    else:
        with pytest.raises(ReadbackMismatch, match="NPLC"):
            driver.setup()
    line.finished()


def counted(reply: str) -> Counted | None:
    driver = ready(("FETC:AHO?;:FETC:WHO?", reply))
    result = driver.counted(1)
    finish(driver)
    return result


def test_its_counters_are_asked_in_one_message_and_nothing_is_reset() -> None:
    found = counted("-1.250000E+00;+8.160000E+01")
    assert found is not None
    assert (found.net_Ah, found.net_Wh) == (-1.25, 81.6)


def test_a_counter_is_known_to_the_last_digit_that_it_shows() -> None:
    found = counted("-1.250000E-03;+8.160000E+03")
    assert found is not None
    assert found.digit_Ah == pytest.approx(1e-9)
    assert found.digit_Wh == pytest.approx(1e-3)


def test_a_counter_that_ran_over_is_no_number() -> None:
    found = counted("+9.900000E+37;+8.160000E+01")
    assert found is not None
    assert isnan(found.net_Ah)


@pytest.mark.parametrize("reply", ["+1.000000E+00", "+1.000000E+00;", "1 Ah;2 Wh", "1;2;3"])
def test_half_an_answer_of_the_counters_is_none(reply: str) -> None:
    with pytest.raises(BadReply):
        counted(reply)
