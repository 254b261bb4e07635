"""ESPEC driver, line by line, as the controller's network guide gives them."""

import math
import re

import pytest
from pydantic import ValidationError

from daq.driver import find_driver
from daq.errors import BadReply, InstrumentRefused, NoReply, ReadbackMismatch
from daq.model import Identity
from drivers.espec import Espec, EspecOptions
from tests.exchange.scripted import Answer, ScriptedText


def espec(*steps: tuple[str, Answer], **options: object) -> tuple[Espec, ScriptedText]:
    line = ScriptedText(*steps, settings=Espec.settings)
    return Espec(line, EspecOptions.model_validate(options)), line


def test_the_entry_point_leads_to_the_driver() -> None:
    assert find_driver("espec") is Espec


def test_messages_end_with_crlf_and_are_half_a_second_apart() -> None:
    assert Espec.settings.terminator == b"\r\n"
    assert Espec.settings.gap_s >= 0.5  # the guide's pause after a setting


def test_rom_and_sensors_say_who_it_is() -> None:
    driver, line = espec(("ROM?", "EHS-211 Ver. 1.02"), ("TYPE?", "T,T,S2,160.0"))
    with line:
        assert driver.identify() == Identity("ESPEC", "EHS-211", firmware="1.02")


def test_a_temperature_only_chamber_has_a_sensor_less() -> None:
    driver, line = espec(("ROM?", "JPN B. Ver.3.11 94.12/07"), ("TYPE?", "T,S2,160.0"))
    with line:
        assert driver.identify() == Identity("ESPEC", "JPN B.", firmware="3.11 94.12/07")


@pytest.mark.parametrize("sensors", ["", "T", "ACME,TempBox,1,2.0,x", "0", "T,T,S2,hot"])
def test_something_else_at_the_address_is_not_accepted(sensors: str) -> None:
    driver, line = espec(("ROM?", "v1"), ("TYPE?", sensors))
    with line, pytest.raises(BadReply, match="no ESPEC"):
        driver.identify()


def test_one_question_reads_a_humid_chamber() -> None:
    driver, line = espec(("MON?", "24.1,55,CONSTANT,0"))
    with line:
        reading = driver.read()[1]
    assert (reading.temperature_degC, reading.humidity_pct) == (24.1, 55.0)
    assert reading.output_on is True
    assert reading.fault == ""


def test_a_temperature_only_chamber_leaves_the_humidity_empty() -> None:
    driver, line = espec(("MON?", "-24.1,,STANDBY,0"))
    with line:
        reading = driver.read()[1]
    assert reading.temperature_degC == -24.1
    assert math.isnan(reading.humidity_pct)
    assert reading.output_on is False


@pytest.mark.parametrize(
    ("mode", "on"),
    [
        ("OFF", False),
        ("STANDBY", False),
        ("CONSTANT", True),
        ("RUN", True),
        ("RUN 1", True),
        ("RUN PAUSE", True),
    ],
)
def test_a_chamber_conditions_in_constant_and_run_modes(mode: str, on: bool) -> None:
    driver, line = espec(("MON?", f"24.1,,{mode},0"))
    with line:
        assert driver.read()[1].output_on is on


def test_alarms_are_asked_for_when_there_are_any() -> None:
    driver, line = espec(("MON?", "24.1,,STANDBY,2"), ("ALARM?", "2,5,11"))
    with line:
        assert driver.read()[1].fault == "alarm 5, 11"


def test_an_alarm_that_went_while_its_code_was_asked_for_is_none() -> None:
    driver, line = espec(("MON?", "24.1,,STANDBY,1"), ("ALARM?", "0"))
    with line:
        assert driver.read()[1].fault == ""


@pytest.mark.fault("F11", family="espec")
@pytest.mark.parametrize(
    "reply",
    [
        "24.1,,CONSTANT", "24.1", "", "OK:MON?", "warm,,CONSTANT,0", "24.1,,CONSTANT,0,0",
        "24,1,,CONSTANT,0", "nan,,CONSTANT,0", "9.9E37,,CONSTANT,0", "2_4.1,,CONSTANT,0",
        ",,CONSTANT,0",
    ],
)  # fmt: skip
def test_a_reply_that_is_not_the_chambers_state_is_a_bad_one(reply: str) -> None:
    driver, line = espec(("MON?", reply))
    with line, pytest.raises(BadReply):
        driver.read()


@pytest.mark.fault("F11", family="espec")
@pytest.mark.parametrize("field", ["-273.1", "999.9", "250.1"])
def test_what_no_sensor_can_show_is_not_a_number(field: str) -> None:
    driver, line = espec(("MON?", f"{field},999,CONSTANT,0"))
    with line:
        reading = driver.read()[1]
    assert math.isnan(reading.temperature_degC)
    assert math.isnan(reading.humidity_pct)


def test_alarm_limits_upside_down_are_none() -> None:
    driver, line = espec(("TEMP?", "23.0,23.0,-40.0,150.0"))
    with line, pytest.raises(BadReply, match="alarm limits"):
        driver.range(1)


def test_the_range_is_what_the_alarm_limits_allow() -> None:
    driver, line = espec(("TEMP?", "24.1,25.0,150.0,-40.0"))
    with line:
        assert driver.range(1).temperature_degC == (-40.0, 150.0)


def test_the_setpoint_goes_out_before_the_mode_and_both_are_read_back() -> None:
    driver, line = espec(
        ("TEMP?", "24.1,25.0,150.0,-40.0"),
        ("TEMP, S45.0", "OK:TEMP, S45.0"),
        ("TEMP?", "24.1,45.0,150.0,-40.0"),
        ("MODE,CONSTANT", "OK:MODE,CONSTANT"),
        ("MODE?", "CONSTANT"),
    )
    with line:
        driver.set_temperature(45)


def test_a_setpoint_is_rounded_to_the_chambers_tenth() -> None:
    driver, line = espec(
        ("TEMP?", "24.1,25.0,150.0,-40.0"),
        ("TEMP, S-9.8", "OK:TEMP,S-9.8"),  # some controllers echo without the blank
        ("TEMP?", "24.1,-9.8,150.0,-40.0"),
        ("MODE,CONSTANT", "OK:MODE,CONSTANT"),
        ("MODE?", "CONSTANT"),
    )
    with line:
        driver.set_temperature(-9.84)


@pytest.mark.parametrize("degC", [-40.1, 150.1, math.nan])
def test_a_temperature_beyond_the_alarm_limits_is_never_written(degC: float) -> None:
    driver, line = espec(("TEMP?", "24.1,25.0,150.0,-40.0"))
    with line, pytest.raises(InstrumentRefused, match="alarm limits"):
        driver.set_temperature(degC)


def test_a_setpoint_that_does_not_take_is_noticed_before_conditioning_starts() -> None:
    driver, line = espec(
        ("TEMP?", "24.1,25.0,150.0,-40.0"),
        ("TEMP, S45.0", "OK:TEMP, S45.0"),
        ("TEMP?", "24.1,25.0,150.0,-40.0"),
    )
    with line, pytest.raises(ReadbackMismatch, match="25 degC, not 45"):
        driver.set_temperature(45)


def test_a_mode_that_does_not_take_is_noticed() -> None:
    driver, line = espec(("MODE,STANDBY", "OK:MODE,STANDBY"), ("MODE?", "CONSTANT"))
    with line, pytest.raises(ReadbackMismatch, match="CONSTANT, not STANDBY"):
        driver.off(1)


def test_off_is_standby_and_is_looked_at() -> None:
    driver, line = espec(("MODE,STANDBY", "OK:MODE,STANDBY"), ("MODE?", "STANDBY"))
    with line:
        driver.off(1)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        ("CMD ERR", "does not know this command"),
        ("CMD_ERR", "does not know this command"),
        ("CONT NOT READY-4", "not got, or has switched off"),
        ("DATA OUT OF RANGE", "alarm limits"),
        ("NEVER HEARD OF", "manual does not list"),
    ],
)
def test_an_error_is_raised_with_its_meaning(error: str, meaning: str) -> None:
    driver, line = espec(("MON?", f"NA:{error}"))
    with line, pytest.raises(InstrumentRefused, match=meaning) as caught:
        driver.read()
    assert error.replace("_", " ") in str(caught.value)


def test_a_locked_chamber_cannot_be_controlled_and_says_so() -> None:
    driver, line = espec(("MODE,STANDBY", "NA:PROTECT ON"))
    with line, pytest.raises(InstrumentRefused, match="cannot be controlled.*panel"):
        driver.off(1)


def test_a_setting_that_is_answered_by_another_ones_echo_is_a_bad_reply() -> None:
    driver, line = espec(("MODE,STANDBY", "OK:MODE,CONSTANT"))
    with line, pytest.raises(BadReply, match="CONSTANT"):
        driver.off(1)


def test_a_setting_that_is_answered_by_data_is_a_bad_reply() -> None:
    driver, line = espec(("MODE,STANDBY", "MODE,STANDBY"))
    with line, pytest.raises(BadReply):
        driver.off(1)


def test_a_late_echo_is_never_taken_for_a_reading() -> None:
    driver, line = espec(("MON?", "OK:MODE,STANDBY"))
    with line, pytest.raises(BadReply, match="old_protocol"):
        driver.read()


def test_an_rs485_address_goes_in_front_of_every_message() -> None:
    driver, line = espec(
        ("3,MON?", "24.1,,STANDBY,0"),
        ("3,MODE,STANDBY", "OK:3,MODE,STANDBY"),
        ("3,MODE?", "STANDBY"),
        address=3,
    )
    with line:
        driver.read()
        driver.off(1)


def test_the_old_protocol_echoes_a_question_and_sends_the_data_on_a_second_line() -> None:
    driver, line = espec(
        ("MON?", ["OK:MON?", "24.1,,STANDBY,0"]),
        ("MODE,STANDBY", "OK:MODE,STANDBY"),
        ("MODE?", ["OK:MODE?", "STANDBY"]),
        old_protocol=True,
    )
    with line:
        assert driver.read()[1].temperature_degC == 24.1
        driver.off(1)


def test_the_old_protocol_without_its_second_line_is_no_reply() -> None:
    driver, line = espec(("MON?", "OK:MON?"), old_protocol=True)
    with line, pytest.raises(NoReply):
        driver.read()


def test_the_old_protocols_echo_of_another_question_is_a_bad_reply() -> None:
    driver, line = espec(("MON?", ["OK:TEMP?", "24.1,,STANDBY,0"]), old_protocol=True)
    with line, pytest.raises(BadReply, match=r"TEMP\?"):
        driver.read()


def test_the_old_protocol_may_refuse_on_its_second_line() -> None:
    driver, line = espec(("MON?", ["OK:MON?", "NA:CHB NOT READY"]), old_protocol=True)
    with line, pytest.raises(InstrumentRefused, match="not ready"):
        driver.read()


def test_the_old_protocol_refuses_on_its_first_line() -> None:
    driver, line = espec(("MON?", "NA:CHB NOT READY"), old_protocol=True)
    with line, pytest.raises(InstrumentRefused, match="not ready"):
        driver.read()


@pytest.mark.parametrize("address", [0, 17])
def test_an_address_that_no_chamber_can_have_is_refused(address: int) -> None:
    with pytest.raises(ValidationError, match="address"):
        EspecOptions.model_validate({"address": address})


@pytest.mark.parametrize(
    ("options", "message", "answers"),
    [
        ({}, b"MODE,STANDBY\r\n", [b"OK:MODE,STANDBY\r\n", b"OK:MODE, STANDBY\r\n"]),
        ({"address": 16}, b"16,MODE,STANDBY\r\n", [b"OK:16,MODE,STANDBY\r\n"]),
    ],
)
def test_the_sentinel_gets_one_setting_whose_echo_is_the_proof(
    options: dict[str, object], message: bytes, answers: list[bytes]
) -> None:
    driver, _ = espec(**options)
    (exchange,) = driver.off_exchanges(1)
    assert exchange.send == message
    assert all(re.fullmatch(exchange.expect, answer) for answer in answers)
    refusals = (b"NA:PROTECT ON\r\n", b"OK:MODE,CONSTANT\r\n", b"OK:MODE,STANDBY")
    assert not any(re.fullmatch(exchange.expect, answer) for answer in refusals)


# Humidity.


def humid(*steps: tuple[str, Answer]) -> tuple[Espec, ScriptedText]:
    driver, line = espec(("ROM?", "EHS-211 Ver. 1.02"), ("TYPE?", "T,T,S2,160.0"), *steps)
    driver.identify()
    return driver, line


def test_a_humidity_is_written_and_read_back() -> None:
    driver, line = humid(("HUMI, S60.0", "OK:HUMI, S60.0"), ("HUMI?", "50,60,100,0"))
    with line:
        driver.set_humidity(60.0)


@pytest.mark.parametrize("answer", ["50,OFF,100,0", "50,50,100,0"])
def test_a_humidity_that_does_not_take_is_noticed(answer: str) -> None:
    driver, line = humid(("HUMI, S60.0", "OK:HUMI, S60.0"), ("HUMI?", answer))
    with line, pytest.raises(ReadbackMismatch, match="not 60 %"):
        driver.set_humidity(60.0)


def test_a_chamber_with_a_wet_sensor_tells_which_humidities_may_be_asked_for() -> None:
    driver, line = humid(("TEMP?", "24.1,25.0,150.0,-40.0"), ("HUMI?", "50,OFF,98,20"))
    with line:
        assert driver.range(1).humidity_pct == (20.0, 98.0)


def test_a_humidity_beyond_the_limits_is_refused_in_the_chambers_words() -> None:
    driver, line = humid(("HUMI, S99.0", "NA:DATA OUT OF RANGE"))
    with line, pytest.raises(InstrumentRefused, match="beyond the alarm limits"):
        driver.set_humidity(99.0)
