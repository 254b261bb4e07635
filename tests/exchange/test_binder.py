"""BINDER drivers, register by register; words and frames as the sheets of MB1 and MB2 give them."""

import math
import re
from dataclasses import replace

import pytest
from pydantic import ValidationError

from daq.bus.line import LineSettings
from daq.bus.resource import make_line, parse_resource
from daq.driver import find_driver
from daq.errors import BadReply, InstrumentRefused, ReadbackMismatch
from daq.model import Identity
from drivers.binder import Binder, BinderOptions, from_words, to_words
from tests.exchange.scripted import Call, ScriptedRegisters, reads, with_crc, writes, writes_one

DEGC_23_5 = (0x0000, 0x41BC)
DEGC_40_1 = (0x6666, 0x4220)
BLANK = tuple(ord(" ") for _ in range(20))


def mb1(*steps: Call, **options: object) -> tuple[Binder, ScriptedRegisters]:
    return binder("mb1", *steps, **options)


def mb2(*steps: Call, **options: object) -> tuple[Binder, ScriptedRegisters]:
    return binder("mb2", *steps, **options)


def binder(controller: str, *steps: Call, **options: object) -> tuple[Binder, ScriptedRegisters]:
    line = ScriptedRegisters(*steps)
    given = BinderOptions.model_validate({"controller": controller, **options})
    return Binder(line, given), line


def text(words: str) -> tuple[int, ...]:
    return tuple(ord(char) for char in words.ljust(20))


def identity_words(
    maker: str = "Binder  ", firmware: str = "140.03.05 ", built: str = "26.10.12 15:21"
) -> tuple[int, ...]:
    content = firmware.ljust(0x26, "\0") + maker + built
    pairs = zip(content[::2], content[1::2], strict=True)
    return tuple(ord(high) << 8 | ord(low) for high, low in pairs)


def test_a_float_has_its_low_word_first() -> None:
    assert to_words(23.5) == [0x0000, 0x41BC]
    assert to_words(40.1) == [0x6666, 0x4220]
    assert from_words([0x1C12, 0x4233]) == pytest.approx(44.7774, abs=1e-4)  # seen on a real MB1


def test_the_entry_point_leads_to_the_driver() -> None:
    assert find_driver("binder") is Binder


def test_an_mb1_says_who_it_is_in_its_identity_words() -> None:
    driver, line = mb1(reads(0x0000, *identity_words()), reads(0x11A9, *DEGC_23_5))
    with line:
        found = driver.identify()
    assert found == Identity("BINDER", "MB1", firmware="140.03.05 (26.10.12 15:21)")


def test_an_mb1_without_readable_identity_words_is_known_by_its_temperature() -> None:
    refused = InstrumentRefused("exception 3")
    driver, line = mb1(reads(0x0000, error=refused), reads(0x11A9, *DEGC_23_5))
    with line:
        assert driver.identify() == Identity("BINDER", "MB1")


@pytest.mark.fault("F05", family="binder")
def test_zeros_and_stray_bytes_do_not_belong_to_a_name() -> None:
    words = identity_words(firmware="140\0.03\x1b", built="26.10.12\0\0\0\xff15")
    driver, line = mb1(reads(0x0000, *words), reads(0x11A9, *DEGC_23_5))
    with line:
        firmware = driver.identify().firmware
    assert firmware == "140.03 (26.10.12\xff15)"


def test_another_makers_name_is_not_accepted() -> None:
    driver, line = mb1(reads(0x0000, *identity_words("Weiss   ")))
    with line, pytest.raises(BadReply, match="no BINDER MB1"):
        driver.identify()


def test_an_mb2_is_known_by_a_plausible_temperature_alone() -> None:
    driver, line = mb2(reads(0x1004, *DEGC_23_5))
    with line:
        assert driver.identify() == Identity("BINDER", "MB2")


@pytest.mark.parametrize("value", [251.0, -101.0, math.nan, math.inf])
def test_an_implausible_temperature_is_another_controller(value: float) -> None:
    driver, line = mb2(reads(0x1004, *to_words(value)))
    with line, pytest.raises(BadReply, match="mb1 or mb2"):
        driver.identify()


def test_an_mb1_in_manual_mode_reads_as_it_did_on_the_real_one() -> None:
    driver, line = mb1(
        reads(0x11A9, 0x1C12, 0x4233),
        reads(0x1A22, 0x0800),
        reads(0x1228, *BLANK),
        reads(0x1007, 0),
    )
    with line:
        reading = driver.read()[1]
    assert reading.temperature_degC == pytest.approx(44.777, abs=1e-3)
    assert math.isnan(reading.humidity_pct)
    assert reading.output_on is True
    assert reading.fault == ""


@pytest.mark.parametrize(
    ("alarm", "door", "fault"),
    [
        ("TEMPERATURE LIMIT", 0, "TEMPERATURE LIMIT"),
        ("DOOR OPEN", 1, "DOOR OPEN"),
        ("DOOR OPEN", 0, "DOOR OPEN"),  # the MK 53 whose bit does not work
        ("", 1, "DOOR OPEN"),
        ("", 0xFFFE, ""),
        ("DOOR\u2020OPEN", 0, "DOOR OPEN"),  # the character is the low byte of its word
    ],
)
def test_an_alarm_a_note_or_an_open_door_is_a_fault(alarm: str, door: int, fault: str) -> None:
    driver, line = mb1(
        reads(0x11A9, *DEGC_23_5),
        reads(0x1A22, 0),
        reads(0x1228, *text(alarm)),
        reads(0x1007, door),
    )
    with line:
        reading = driver.read()[1]
    assert reading.fault == fault
    assert reading.output_on is False


@pytest.mark.parametrize("mode", [0x1000, 0x0800, 0x0400])
def test_an_mb1_conditions_in_basic_manual_and_program_mode(mode: int) -> None:
    driver, line = mb1(
        reads(0x11A9, *DEGC_23_5), reads(0x1A22, mode), reads(0x1228, *BLANK), reads(0x1007, 0)
    )
    with line:
        assert driver.read()[1].output_on is True


def test_a_humid_mb2_reads_temperature_humidity_and_contacts() -> None:
    driver, line = mb2(
        reads(0x1004, *DEGC_23_5),
        reads(0x1158, 0x0040),
        reads(0x100A, *to_words(51.5)),
        reads(0x1158, 0x0040),
        humidity=True,
    )
    with line:
        reading = driver.read()[1]
    assert (reading.temperature_degC, reading.humidity_pct) == (23.5, 51.5)
    assert reading.output_on is True


def test_an_idle_mb2_is_not_conditioning_whatever_its_other_contacts_say() -> None:
    driver, line = mb2(reads(0x1004, *DEGC_23_5), reads(0x1158, 0x0043))
    with line:
        assert driver.read()[1].output_on is False


@pytest.mark.fault("F11", family="binder")
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 9.9e37, -273.2, 250.1])
def test_a_broken_sensor_reads_as_not_a_number(value: float) -> None:
    driver, line = mb2(reads(0x1004, *to_words(value)), reads(0x1158, 0x0002))
    with line:
        assert math.isnan(driver.read()[1].temperature_degC)


def test_an_mb1_gets_its_setpoints_before_its_mode() -> None:
    driver, line = mb1(
        writes(0x1581, *DEGC_40_1),
        reads(0x1581, *DEGC_40_1),
        writes(0x156F, *DEGC_40_1),
        reads(0x156F, *DEGC_40_1),
        writes_one(0x1A22, 0x0800),
        reads(0x1A22, 0x0800),
    )
    with line:
        driver.set_temperature(40.1)


def test_an_mb2_starts_by_clearing_the_idle_contact_and_no_other() -> None:
    driver, line = mb2(
        reads(0x1158, 0x0147),
        writes(0x114C, *DEGC_40_1),
        reads(0x114C, *DEGC_40_1),
        writes_one(0x1158, 0x0145),
        reads(0x1158, 0x0145),
    )
    with line:
        driver.setup()
        driver.set_temperature(40.1)


def test_a_setpoint_that_does_not_take_is_noticed_before_conditioning_starts() -> None:
    driver, line = mb2(writes(0x114C, *DEGC_40_1), reads(0x114C, *DEGC_23_5))
    with line, pytest.raises(ReadbackMismatch, match="23.5 degC, not 40.1"):
        driver.set_temperature(40.1)


def test_a_setpoint_that_reads_back_as_nan_is_a_mismatch() -> None:
    driver, line = mb2(writes(0x114C, *DEGC_40_1), reads(0x114C, *to_words(math.nan)))
    with line, pytest.raises(ReadbackMismatch):
        driver.set_temperature(40.1)


def test_a_mode_that_does_not_take_is_noticed() -> None:
    driver, line = mb2(
        writes(0x114C, *DEGC_40_1),
        reads(0x114C, *DEGC_40_1),
        writes_one(0x1158, 0x0000),
        reads(0x1158, 0x0002),
    )
    with line, pytest.raises(ReadbackMismatch, match="0x1158"):
        driver.set_temperature(40.1)


@pytest.mark.parametrize("degC", [-40.1, 180.1, math.nan])
def test_a_temperature_beyond_the_range_never_reaches_the_wire(degC: float) -> None:
    driver, line = mb1()
    with line, pytest.raises(InstrumentRefused, match="outside"):
        driver.set_temperature(degC)


def test_the_range_is_an_option_with_units() -> None:
    driver, line = mb1(temperature=["-20 degC", "80 degC"])
    assert driver.range(1).temperature_degC == (-20.0, 80.0)
    with line, pytest.raises(InstrumentRefused, match="-20 to 80"):
        driver.set_temperature(81)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"controller": "mb3"}, "mb1"),
        ({"temperature": [-20, 80]}, "no unit"),
        ({"temperature": ["80 degC", "-20 degC"]}, "not below"),
        ({"temperature": ["80 degC"]}, "temperature"),
        ({"humid": True}, "humid"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        BinderOptions.model_validate(options)


def test_off_makes_an_mb1_idle_and_looks() -> None:
    driver, line = mb1(writes_one(0x1A22, 0), reads(0x1A22, 0))
    with line:
        driver.off(1)


def test_off_keeps_the_other_contacts_of_an_mb2() -> None:
    driver, line = mb2(reads(0x1158, 0x0045), writes_one(0x1158, 0x0047), reads(0x1158, 0x0047))
    with line:
        driver.setup()
        driver.off(1)


@pytest.mark.parametrize(
    ("controller", "word"), [("mb1", 0x0800), ("mb1", 0x1000), ("mb1", 0x0400), ("mb2", 0x0045)]
)
def test_an_off_that_is_not_obeyed_is_noticed(controller: str, word: int) -> None:
    address = {"mb1": 0x1A22, "mb2": 0x1158}[controller]
    off = {"mb1": 0x0000, "mb2": 0x0047}[controller]
    driver, line = binder(
        controller, reads(address, word), writes_one(address, off), reads(address, word)
    )
    with line:
        driver.setup()
        with pytest.raises(ReadbackMismatch):
            driver.off(1)


# The worked frames: the same bytes, made by the script's own CRC and by the true Modbus line.

SETTINGS = LineSettings(unit=1)


def lines() -> list[object]:
    true_line = make_line(parse_resource("modbus+rtu+tcp://127.0.0.1:10001"), SETTINGS)
    return [ScriptedRegisters(settings=SETTINGS), true_line]


@pytest.mark.parametrize("line", lines(), ids=["scripted", "true"])
@pytest.mark.parametrize(
    ("address", "values", "request_frame", "reply_frame"),
    [
        (
            0x1581,
            DEGC_40_1,
            "01 10 15 81 00 02 04 66 66 42 20 07 7C",
            "01 10 15 81 00 02 15 EC",
        ),
        (0x1A22, (0x0800,), "01 06 1A 22 08 00 29 18", "01 06 1A 22 08 00 29 18"),
    ],
)
def test_the_worked_frames_come_out_byte_for_byte(
    line: ScriptedRegisters,
    address: int,
    values: tuple[int, ...],
    request_frame: str,
    reply_frame: str,
) -> None:
    exchange = line.write_exchange(address, values)
    assert exchange.send == bytes.fromhex(request_frame)
    assert re.fullmatch(exchange.expect, bytes.fromhex(reply_frame), re.DOTALL)
    assert not re.fullmatch(exchange.expect, bytes.fromhex("01 83 02 C0 F1"), re.DOTALL)


def test_the_sheets_checksums_are_modbus_ones() -> None:
    for frame in (
        "01 03 11 A9 00 02 11 17",
        "01 03 04 00 00 41 BC CB D2",
        "01 83 02 C0 F1",
        "01 03 10 04 00 02 81 0A",
    ):
        raw = bytes.fromhex(frame)
        assert with_crc(raw[:-2]) == raw


def test_the_sentinel_gets_the_idle_frame_of_an_mb1() -> None:
    driver, _ = mb1()
    (exchange,) = driver.off_exchanges(1)
    assert exchange.send == with_crc(bytes.fromhex("01 06 1A 22 00 00"))


def test_the_sentinel_gets_the_contacts_of_an_mb2_as_they_were_read_last() -> None:
    driver, line = mb2(reads(0x1158, 0x0145))
    line.settings = replace(line.settings, unit=7)
    with line:
        driver.setup()
        (exchange,) = driver.off_exchanges(1)
    assert exchange.send == with_crc(bytes.fromhex("07 06 11 58 01 47"))


# Humidity.


def test_an_mb2_gets_its_humidity_and_the_contact_that_lets_it_regulate_and_no_other() -> None:
    driver, line = mb2(
        writes(0x114E, *to_words(55.0)),
        reads(0x114E, *to_words(55.0)),
        reads(0x1158, 0x0143),
        writes_one(0x1158, 0x0142),  # it goes on idling
        reads(0x1158, 0x0142),
        humidity=True,
    )
    with line:
        driver.set_humidity(55.0)


def test_an_mb1_gets_its_humidity_in_manual_and_in_basic_mode() -> None:
    fifty = to_words(50.0)
    driver, line = mb1(
        writes(0x1583, *fifty),
        reads(0x1583, *fifty),
        writes(0x1571, *fifty),
        reads(0x1571, *fifty),
        humidity=True,
    )
    with line:
        driver.set_humidity(50.0)


def test_a_humidity_that_does_not_take_is_noticed() -> None:
    written, old = to_words(55.0), to_words(0.0)
    driver, line = mb2(writes(0x114E, *written), reads(0x114E, *old), humidity=True)
    with line, pytest.raises(ReadbackMismatch, match="0 % r.h., not 55 % r.h."):
        driver.set_humidity(55.0)


def test_a_contact_that_stays_is_noticed() -> None:
    words = to_words(55.0)
    driver, line = mb2(
        writes(0x114E, *words),
        reads(0x114E, *words),
        reads(0x1158, 0x0003),
        writes_one(0x1158, 0x0002),
        reads(0x1158, 0x0003),
        humidity=True,
    )
    with line, pytest.raises(ReadbackMismatch, match="humidity is off"):
        driver.set_humidity(55.0)


@pytest.mark.parametrize(
    ("options", "pct"),
    [
        ({}, 50.0),
        ({"humidity": True}, 9.9),
        ({"humidity": True}, 80.1),
        ({"humidity": True}, math.nan),
    ],
)
def test_a_humidity_that_the_chamber_has_not_never_reaches_the_wire(options, pct) -> None:
    driver, line = mb2(**options)
    with line, pytest.raises(InstrumentRefused, match="humidity_range"):
        driver.set_humidity(pct)


def test_what_may_be_asked_for_is_an_option() -> None:
    assert mb2()[0].range(1).humidity_pct is None
    assert mb2(humidity=True)[0].range(1).humidity_pct == (10.0, 80.0)
    wider, _ = mb2(humidity=True, humidity_range=[10, 98])
    assert wider.range(1).humidity_pct == (10.0, 98.0)
