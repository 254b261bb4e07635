"""The EA PSB driver, byte for byte: what the manual says must go over the wire."""

from __future__ import annotations

from math import isnan

import pytest

from daq.errors import BadReply, InstrumentRefused, NoReply, ReadbackMismatch
from daq.model import Protection, Reading, Setpoint
from drivers.ea_psb import LOST, ON_POLLS, EaPsb
from tests.exchange.scripted import Answer, ScriptedText

Step = tuple[str, Answer]

IDN: Step = ("*IDN?", "EA ELEKTRO-AUTOMATIK,PSB 10060-60 2U,123456,KE 3.10, HMI 2.0")
LOCK: list[Step] = [("SYST:LOCK ON", None), ("SYST:LOCK:OWN?", "REMOTE")]
SETUP: list[Step] = [
    *LOCK,
    ("SYST:NOM:VOLT?", "60.00 V"),
    ("SYST:NOM:CURR?", "60.00 A"),
    ("SYST:NOM:POW?", "1500 W"),
    ("SINK:CURR?", "0.00 A"),
    ("CURR?", "0.00 A"),
]
ASKED: list[Step] = [
    ("SYST:CONF:MODE?", "UIP"),
    ("POW:STAG:AFT:REM?", "OFF"),
    ("SYST:ALAR:ACT:PFA?", "OFF"),
    ("SYST:ALAR:ACT:OTEM?", "OFF"),
]
PROTECTED: list[Step] = [
    ("VOLT:PROT?", "4.40 V"),
    ("SYST:CONF:UVD?", "2.40 V"),
    ("SYST:CONF:UVD:ACT?", "ALARM"),
    ("CURR:PROT?", "2.00 A"),
    ("SINK:CURR:PROT?", "3.00 A"),
    ("POW?", "1500 W"),
    ("SINK:POW?", "1500 W"),
    ("SYST:COMM:MON:TIME?", "10"),
    ("SYST:COMM:MON:ACT?", "ON"),
]
PROTECTION = Protection((2.4, 4.4), (-3.0, 2.0), 10.9)
OFF: list[Step] = [("OUTP OFF", None), ("OUTP?", "OFF")]
ON_AND_REMOTE, OFF_AND_REMOTE = "3072", "1024"
ON: list[Step] = [
    ("SYST:LOCK:OWN?", "REMOTE"),
    ("OUTP ON", None),
    ("STAT:QUES:COND?", ON_AND_REMOTE),
]
NO_ERROR: Step = ("SYST:ERR:ALL?", '0,"No error"')


def ready(*script: Step) -> EaPsb:
    """A driver after identify and setup, with `script` still to come."""
    driver = EaPsb(ScriptedText(IDN, *SETUP, *script))
    driver.identify()
    driver.setup()
    return driver


def finish(driver: EaPsb) -> None:
    line = driver.line
    assert isinstance(line, ScriptedText)
    line.finished()


def reading(values: str, status: str = OFF_AND_REMOTE) -> Reading:
    driver = ready(("MEAS:ARR?", values), ("STAT:QUES:COND?", status))
    result = driver.read()[1]
    finish(driver)
    return result


def test_the_line_keeps_the_pause_of_the_manual() -> None:
    assert EaPsb.settings.gap_s >= 0.05
    assert EaPsb.read_messages == 2


def test_the_firmware_may_hold_commas() -> None:
    identity = EaPsb(ScriptedText(IDN)).identify()
    assert (identity.serial, identity.firmware) == ("123456", "KE 3.10, HMI 2.0")


@pytest.mark.parametrize("model", ["PSB 11500-30 3U", "PSBE 10060-1000 4U", "PUB 10080-1000 4U"])
def test_its_sisters_are_known(model: str) -> None:
    answer = f"EA ELEKTRO-AUTOMATIK,{model},1,KE 3.10"
    assert EaPsb(ScriptedText(("*IDN?", answer))).identify().model == model


@pytest.mark.parametrize(
    "answer", ["EA ELEKTRO-AUTOMATIK,PSI 9080-60,1,V1", "EA,ELR 10080-120,1,V1", "PSB 10060-60", ""]
)
def test_something_else_at_the_address_is_not_taken_for_a_psb(answer: str) -> None:
    with pytest.raises(BadReply, match="not an EA PSB"):
        EaPsb(ScriptedText(("*IDN?", answer))).identify()


@pytest.mark.parametrize("owner", ["LOCAL", "NONE"])
def test_setup_needs_the_lock(owner: str) -> None:
    driver = EaPsb(ScriptedText(("SYST:LOCK ON", None), ("SYST:LOCK:OWN?", owner)))
    with pytest.raises(InstrumentRefused, match=owner):
        driver.setup()


@pytest.mark.parametrize("rating", ["0.00 V", "-60.00 V", "nan V", "9.9E37 V"])
def test_a_rating_that_no_supply_has_is_no_rating(rating: str) -> None:
    script = [*SETUP[:2], ("SYST:NOM:VOLT?", rating), *SETUP[3:5]]
    with pytest.raises(BadReply, match="rated"):
        EaPsb(ScriptedText(*script)).setup()


# Readings ----------------------------------------------------------------------------------------


def test_a_reading_is_two_messages() -> None:
    result = reading("3.71 V,-1.50 A,-6 W", ON_AND_REMOTE)
    assert (result.voltage_V, result.current_A) == (3.71, -1.5)
    assert (result.output_on, result.fault) == (True, "")


def test_units_may_stand_close_to_their_numbers() -> None:
    assert reading("43.50V,8.00A,348W").voltage_V == 43.5


@pytest.mark.fault("F21", family="ea_psb")
@pytest.mark.parametrize(
    "values", ["3710 mV,1.50 A,6 W", "3.71 V,1500 mA,6 W", "1.50 A,3.71 V,6 W"]
)
def test_a_number_in_another_unit_is_no_number(values: str) -> None:
    with pytest.raises(BadReply):
        reading(values)


@pytest.mark.fault("F11", family="ea_psb")
@pytest.mark.parametrize(
    "values",
    ["3,71 V,1,50 A,6 W", "", "3.71 V,1.50 A", "V,A,W", "3.71,1.50,6", "3.7\x001 V,1 A,6 W"],
)
def test_what_is_not_three_numbers_with_their_units_is_never_a_reading(values: str) -> None:
    with pytest.raises(BadReply):
        reading(values)


@pytest.mark.fault("F11", family="ea_psb")
@pytest.mark.parametrize("number", ["nan", "9.9E37", "-9.91E37", "inf"])
def test_infinity_is_never_a_number(number: str) -> None:
    assert isnan(reading(f"{number} V,1.50 A,6 W").voltage_V)


@pytest.mark.parametrize("status", ["", "0x400", "-1", "1024 V", "ON"])
def test_a_status_that_is_no_number_is_never_a_reading(status: str) -> None:
    with pytest.raises(BadReply, match="status"):
        reading("3.71 V,0.00 A,0 W", status)


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (1024 + 1, "over-voltage"),
        (1024 + 2 + 8, "over-current, over-temperature"),
        (1024 + 256, "alarm bit 8"),
        (0, LOST),
        (16, f"power fail, {LOST}"),
    ],
)
def test_alarms_and_a_lost_lock_are_told_in_words(status: int, fault: str) -> None:
    assert reading("3.71 V,0.00 A,0 W", str(status)).fault == fault


# Protections and setpoints -----------------------------------------------------------------------


def test_what_stands_already_is_not_written_again() -> None:
    driver = ready(*ASKED, *PROTECTED, *PROTECTED)
    driver.protect(1, PROTECTION)
    driver.protect(1, PROTECTION)
    finish(driver)


def test_what_does_not_stand_is_written_and_read_back() -> None:
    script = [*ASKED, *PROTECTED]
    at = script.index(("VOLT:PROT?", "4.40 V"))
    script[at:at] = [("VOLT:PROT?", "66.00 V"), ("VOLT:PROT 4.4", None)]
    script[1:1] = [("POW:STAG:AFT:REM?", "AUTO"), ("POW:STAG:AFT:REM OFF", None)]
    driver = ready(*script)
    driver.protect(1, PROTECTION)
    finish(driver)


def test_what_others_may_have_changed_is_looked_at_whenever_the_lock_was_taken_anew() -> None:
    driver = ready(*ASKED, *PROTECTED, *SETUP, *ASKED, *PROTECTED)
    driver.protect(1, PROTECTION)
    driver.setup()
    driver.protect(1, PROTECTION)
    finish(driver)


def test_a_watchdog_may_answer_with_its_unit() -> None:
    script = [*ASKED, *PROTECTED]
    script[script.index(("SYST:COMM:MON:TIME?", "10"))] = ("SYST:COMM:MON:TIME?", "10 s")
    driver = ready(*script)
    driver.protect(1, PROTECTION)
    finish(driver)


@pytest.mark.fault("F14", family="ea_psb")
@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("VOLT:PROT 4.4", "66.00 V"),
        ("SYST:CONF:UVD 2.4", "0.00 V"),
        ("SYST:CONF:UVD:ACT ALARM", "NONE"),
        ("CURR:PROT 2", "66.00 A"),
        ("SINK:CURR:PROT 3", "66.00 A"),
        ("POW 1500", "30 W"),
        ("SINK:POW 1500", "30 W"),
        ("SYST:COMM:MON:TIME 10", "60"),
        ("SYST:COMM:MON:ACT ON", "OFF"),
    ],
)
def test_a_protection_that_did_not_take_is_noticed(command: str, wrong: str) -> None:
    name = command.partition(" ")[0]
    before = PROTECTED[: [question for question, _ in PROTECTED].index(f"{name}?")]
    attempt: list[Step] = [(f"{name}?", wrong), (command, None), (f"{name}?", wrong)]
    driver = ready(*ASKED, *before, *attempt, ("STAT:QUES:COND?", OFF_AND_REMOTE), NO_ERROR)
    with pytest.raises(ReadbackMismatch, match=name):
        driver.protect(1, PROTECTION)
    finish(driver)


CHARGE: list[Step] = [
    ("SINK:CURR 0", None),
    ("SINK:CURR?", "0.00 A"),
    ("VOLT 4.215", None),
    ("VOLT?", "4.21 V"),
    ("CURR 0.125", None),
    ("CURR?", "0.12 A"),
]


def test_a_charge_closes_the_sink_first_and_opens_the_source_last() -> None:
    driver = ready(*CHARGE)
    driver.apply(1, Setpoint(4.215, 0.125, 0))
    finish(driver)


def test_from_charge_to_discharge_the_source_is_closed_first() -> None:
    driver = ready(
        *CHARGE,
        ("CURR 0", None),
        ("CURR?", "0.00 A"),
        ("VOLT 2.45", None),
        ("VOLT?", "2.45 V"),
        ("SINK:CURR 1", None),
        ("SINK:CURR?", "1.00 A"),
    )
    driver.apply(1, Setpoint(4.215, 0.125, 0))
    driver.apply(1, Setpoint(2.45, 0, 1))
    finish(driver)


def test_a_new_current_the_same_way_leaves_what_stands_alone_while_it_is_on() -> None:
    change: list[Step] = [("CURR 2", None), ("CURR?", "2.00 A")]
    again = [*CHARGE[:2], *CHARGE[4:], *CHARGE[2:4]]  # the current comes down: before the voltage
    driver = ready(*CHARGE, *ON, *change, *OFF, *again)
    driver.apply(1, Setpoint(4.215, 0.125, 0))
    driver.on(1)
    driver.apply(1, Setpoint(4.215, 2.0, 0))
    driver.off(1)
    driver.apply(1, Setpoint(4.215, 0.125, 0))  # before the next ON everything is written again
    finish(driver)


@pytest.mark.fault("F21", family="ea_psb")
@pytest.mark.parametrize("answer", ["0.00 A", "125 mA", "125.00 A", "1 A", "0.12 V"])
def test_a_current_that_was_understood_otherwise_is_noticed(answer: str) -> None:
    """Rounding excuses half of the last digit shown, and never more than 60 mA of 60 A."""
    script: list[Step] = [*CHARGE[:-1], ("CURR?", answer)]
    driver = ready(*script, ("STAT:QUES:COND?", OFF_AND_REMOTE), NO_ERROR)
    with pytest.raises((ReadbackMismatch, BadReply)):
        driver.apply(1, Setpoint(4.215, 0.125, 0))


def test_a_refusal_is_reported_with_the_instruments_own_words() -> None:
    driver = ready(
        *CHARGE[:2],
        ("VOLT 99", None),
        ("VOLT?", "0.00 V"),
        ("STAT:QUES:COND?", OFF_AND_REMOTE),
        ("SYST:ERR:ALL?", '-222,"Data out of range"'),
    )
    with pytest.raises(InstrumentRefused, match="Data out of range"):
        driver.apply(1, Setpoint(99, 1, 0))
    finish(driver)


def test_while_an_alarm_stands_the_error_queue_is_left_alone() -> None:
    driver = ready(*CHARGE[:3], ("VOLT?", "0.00 V"), ("STAT:QUES:COND?", "1025"))
    with pytest.raises(ReadbackMismatch, match="over-voltage"):
        driver.apply(1, Setpoint(4.215, 1, 0))
    finish(driver)


def test_a_setpoint_beyond_the_protections_currents_never_leaves() -> None:
    driver = ready(*ASKED, *PROTECTED)
    driver.protect(1, PROTECTION)
    for setpoint in (Setpoint(4.2, 2.1, 0), Setpoint(2.5, 0, 3.1)):
        with pytest.raises(InstrumentRefused, match="beyond the protection"):
            driver.apply(1, setpoint)
    finish(driver)


# Switching ---------------------------------------------------------------------------------------


def test_on_looks_at_the_lock_and_waits_for_the_output() -> None:
    driver = ready(
        ("SYST:LOCK:OWN?", "REMOTE"),
        ("OUTP ON", None),
        ("STAT:QUES:COND?", OFF_AND_REMOTE),
        ("STAT:QUES:COND?", ON_AND_REMOTE),
    )
    driver.on(1)
    finish(driver)


@pytest.mark.parametrize("owner", ["NONE", "LOCAL"])
def test_without_the_lock_nothing_is_energised(owner: str) -> None:
    driver = ready(("SYST:LOCK:OWN?", owner))
    with pytest.raises(InstrumentRefused, match=owner):
        driver.on(1)
    finish(driver)


def test_an_output_that_does_not_switch_on_is_noticed_with_its_fault() -> None:
    polls: list[Step] = [("STAT:QUES:COND?", "1025")] * ON_POLLS
    driver = ready(("SYST:LOCK:OWN?", "REMOTE"), ("OUTP ON", None), *polls)
    with pytest.raises(ReadbackMismatch, match="over-voltage"):
        driver.on(1)
    finish(driver)


def test_off_is_sent_first_and_verified() -> None:
    driver = ready(*OFF)
    driver.off(1)
    finish(driver)


def test_an_off_that_was_not_obeyed_is_repeated_with_the_lock() -> None:
    driver = ready(("OUTP OFF", None), ("OUTP?", "ON"), *LOCK, *OFF)
    driver.off(1)
    finish(driver)


@pytest.mark.fault("F15", family="ea_psb")
def test_an_off_that_was_ignored_twice_is_noticed() -> None:
    stuck: list[Step] = [("OUTP OFF", None), ("OUTP?", "ON")]
    driver = ready(*stuck, *LOCK, *stuck)
    with pytest.raises(ReadbackMismatch, match="still on"):
        driver.off(1)
    finish(driver)


@pytest.mark.parametrize("answer", ["1", "OFFON", "", "0"])
def test_an_off_that_is_answered_otherwise_is_not_verified(answer: str) -> None:
    with pytest.raises(BadReply):
        ready(("OUTP OFF", None), ("OUTP?", answer)).off(1)


@pytest.mark.fault("F20", family="ea_psb")
def test_clear_acknowledges_only_after_off_and_with_no_current_set() -> None:
    zero: list[Step] = [
        ("CURR 0", None),
        ("CURR?", "0.00 A"),
        ("SINK:CURR 0", None),
        ("SINK:CURR?", "0.00 A"),
    ]
    driver = ready(*LOCK, *OFF, *zero, NO_ERROR, *OFF)
    driver.clear(1)
    finish(driver)


@pytest.mark.fault("F20", family="ea_psb")
def test_clear_never_acknowledges_while_a_current_is_set() -> None:
    driver = ready(*LOCK, *OFF, ("CURR 0", None), ("CURR?", "5.00 A"), ("STAT:QUES:COND?", "1025"))
    with pytest.raises(ReadbackMismatch, match="CURR"):
        driver.clear(1)
    finish(driver)


def test_silence_stays_silence() -> None:
    with pytest.raises(NoReply):
        ready(("MEAS:ARR?", NoReply("no reply"))).read()


def test_the_sentinel_gets_lock_off_and_proof_as_bytes() -> None:
    lock, off, proof = EaPsb(ScriptedText()).off_exchanges(1)
    assert (lock.send, off.send, proof.send) == (b"SYST:LOCK ON\n", b"OUTP OFF\n", b"OUTP?\n")
    assert (lock.expect, off.expect) == (b"", b"")


def test_what_it_counted_is_the_source_less_the_sink() -> None:
    driver = ready(("FETC:AHO?", "12.345 Ah"), ("FETC:SINK:AHO?", "10.00Ah"))
    found = driver.counted(1)
    finish(driver)
    assert found is not None
    assert found.net_Ah == pytest.approx(2.345)
    assert found.digit_Ah == 0.01, "the coarser of the two"
    assert isnan(found.net_Wh)


@pytest.mark.parametrize("reply", ["12.345", "12.345 kWh", "12.345 mAh", ""])
def test_a_counter_in_another_unit_is_none(reply: str) -> None:
    driver = ready(("FETC:AHO?", reply), ("FETC:SINK:AHO?", reply))
    with pytest.raises(BadReply):
        driver.counted(1)
