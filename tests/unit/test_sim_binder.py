"""The simulated BINDER controllers, register by register, on a chamber that obeys physics."""

import struct
from collections.abc import Mapping
from typing import Any

import pytest

from simulators.binder import Binder
from simulators.chamber import ChamberModel
from simulators.clock import ManualClock
from simulators.modbus import RtuSession
from simulators.wire import RegisterError, RegisterSilence

HOUR_S = 3600.0
IDENTITY = 0x0000
DEGC_45 = [0x0000, 0x4234]


class Bench:
    """A controller, the chamber it steers, and the clock of both."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.clock = ManualClock()
        self.chamber = ChamberModel(self.clock)
        self.box = Binder("mk", self.clock, {1: self.chamber}, options)
        self.session = RtuSession(self.box, self.clock)

    def words(self, address: int, count: int = 1) -> list[int]:
        return self.box.read(1, address, count)

    def number(self, address: int) -> float:
        low, high = self.words(address, 2)
        return struct.unpack(">f", struct.pack(">HH", high, low))[0]

    def text(self, address: int) -> str:
        return "".join(map(chr, self.words(address, 20))).strip()

    def write(self, address: int, *values: int) -> None:
        self.box.write(1, address, values)

    def ask(self, frame: str) -> str:
        return (
            b"".join(out.data for out in self.session.feed(bytes.fromhex(frame))).hex(" ").upper()
        )


@pytest.fixture
def mb1() -> Bench:
    return Bench({"controller": "mb1"})


@pytest.fixture
def mb2() -> Bench:
    return Bench({"controller": "mb2"})


# Frames by hand, bytes as the sheet gives them or as the public basil driver makes them.


def test_an_mb1_answers_the_worked_frames(mb1: Bench) -> None:
    mb1.chamber.temperature_degC = 23.5
    assert mb1.ask("01 03 11 A9 00 02 11 17") == "01 03 04 00 00 41 BC CB D2"
    assert mb1.ask("01 10 15 81 00 02 04 66 66 42 20 07 7C") == "01 10 15 81 00 02 15 EC"
    assert mb1.ask("01 06 1A 22 08 00 29 18") == "01 06 1A 22 08 00 29 18"
    assert mb1.chamber.running
    assert mb1.chamber.setpoint_degC == pytest.approx(40.1, abs=1e-5)


def test_an_mb2_answers_the_worked_frame(mb2: Bench) -> None:
    mb2.chamber.temperature_degC = 23.5
    assert mb2.ask("01 03 10 04 00 02 81 0A") == "01 03 04 00 00 41 BC CB D2"


def test_frames_as_a_public_client_of_the_mk56_makes_them_are_obeyed(mb2: Bench) -> None:
    """The sequence of set_temperature(40.1) and get_temperature_target() of basil's binder_mk56."""

    def crc(message: bytes) -> bytes:
        register = 0xFFFF
        for byte in message:
            register ^= byte
            for _ in range(8):
                lowest = register & 1
                register >>= 1
                register ^= lowest * 0xA001
        return struct.pack("<H", register)

    high, low = struct.unpack(">HH", struct.pack(">f", 40.1))
    write = struct.pack(">BBHHBHH", 1, 0x10, 0x114C, 2, 4, low, high)
    reply = bytes.fromhex(mb2.ask((write + crc(write)).hex()))
    assert struct.unpack(">BBHH", reply[:6]) == (1, 0x10, 0x114C, 2)
    assert crc(reply[:6]) == reply[6:]

    read = struct.pack(">BBHH", 1, 0x03, 0x10B2, 2)
    reply = bytes.fromhex(mb2.ask((read + crc(read)).hex()))
    _, function, count, low, high = struct.unpack(">BBBHH", reply[:7])
    assert (function, count, crc(reply[:7])) == (3, 4, reply[7:])
    assert struct.unpack(">f", struct.pack(">HH", high, low))[0] == pytest.approx(40.1, abs=1e-5)


def test_function_4_reads_as_function_3_does(mb1: Bench) -> None:
    by_3 = mb1.ask("01 03 11 A9 00 02 11 17")
    by_4 = mb1.ask("01 04 11 A9 00 02 A4 D7")
    assert by_4[6:-6] == by_3[6:-6]
    assert by_4.startswith("01 04 04")


def test_undefined_memory_answers_exception_3(mb1: Bench) -> None:
    assert mb1.ask("01 03 00 2C 00 01 45 C3").startswith("01 83 03")
    with pytest.raises(RegisterError) as caught:
        mb1.words(0x1004, 2)
    assert caught.value.code == 3


def test_a_write_to_a_reading_answers_exception_5(mb1: Bench) -> None:
    with pytest.raises(RegisterError) as caught:
        mb1.write(0x11A9, *DEGC_45)
    assert caught.value.code == 5


def test_half_a_float_is_not_stored(mb1: Bench) -> None:
    with pytest.raises(RegisterError) as caught:
        mb1.write(0x1581, 0x4234)
    assert caught.value.code == 3
    assert mb1.number(0x1581) == 23.0


@pytest.mark.parametrize("words", [[0x0000, 0x4335], [0x0000, 0xC222], [0x0000, 0x7FC0]])
def test_a_setpoint_out_of_range_answers_exception_3(mb1: Bench, words: list[int]) -> None:
    with pytest.raises(RegisterError) as caught:
        mb1.write(0x1581, *words)
    assert caught.value.code == 3


def test_another_units_frames_are_not_answered(mb1: Bench) -> None:
    with pytest.raises(RegisterSilence):
        mb1.box.read(2, 0x11A9, 2)


# MB1.


def test_an_mb1_tells_firmware_maker_and_build_date(mb1: Bench) -> None:
    content = struct.pack(">30H", *mb1.words(IDENTITY, 30)).decode("latin-1")
    assert content[:10] == "140.03.05 "
    assert content[38:46] == "Binder  "
    assert content[46:] == "26.10.12 15:21"


def test_an_mb1_reaches_its_manual_setpoint_when_the_mode_follows(mb1: Bench) -> None:
    mb1.write(0x1581, *DEGC_45)
    mb1.write(0x156F, *DEGC_45)
    mb1.clock.advance(HOUR_S)
    assert mb1.number(0x11A9) == pytest.approx(23.0)
    assert mb1.words(0x10D4) == [0]
    mb1.write(0x1A22, 0x0800)
    mb1.clock.advance(2 * HOUR_S)
    assert mb1.number(0x11A9) == pytest.approx(45.0, abs=0.2)
    assert mb1.words(0x10D4) == [1]


def test_an_idle_mb1_shows_the_basic_setpoint_as_the_active_one(mb1: Bench) -> None:
    mb1.write(0x1581, *DEGC_45)
    assert mb1.number(0x1077) == 23.0
    mb1.write(0x1A22, 0x0800)
    assert mb1.number(0x1077) == 45.0
    mb1.write(0x1A22, 0)
    assert mb1.number(0x1077) == 23.0


def test_a_running_mb1_follows_a_new_setpoint_at_once(mb1: Bench) -> None:
    mb1.write(0x1A22, 0x0800)
    mb1.write(0x1581, *DEGC_45)
    mb1.clock.advance(2 * HOUR_S)
    assert mb1.number(0x11A9) == pytest.approx(45.0, abs=0.2)


def test_an_mb1_has_no_program_to_run(mb1: Bench) -> None:
    with pytest.raises(RegisterError):
        mb1.write(0x1A22, 0x0400)
    assert mb1.words(0x1A22) == [0]


def test_an_open_door_is_a_note(mb1: Bench) -> None:
    assert mb1.text(0x1228) == ""
    mb1.chamber.door_open = True
    assert mb1.text(0x1228) == "DOOR OPEN"
    assert (mb1.words(0x1007), mb1.words(0x123D), mb1.words(0x123E)) == ([1], [0], [1])


def test_the_thermostat_is_an_alarm_that_leaves_the_mode_as_it_is(mb1: Bench) -> None:
    mb1.write(0x1A22, 0x0800)
    mb1.chamber.over_temperature = True
    assert mb1.text(0x1228) == "TEMPERATURE LIMIT"
    assert (mb1.words(0x10DB), mb1.words(0x123D), mb1.words(0x123E)) == ([1], [1], [0])
    assert mb1.words(0x1A22) == [0x0800]


def test_a_humid_mb1_has_two_more_process_values() -> None:
    humid = Bench({"controller": "mb1", "humidity": True})
    assert humid.number(0x11CD) == pytest.approx(humid.chamber.humidity_pct, abs=1e-3)
    humid.write(0x1583, *DEGC_45)
    assert humid.number(0x1079) == 45.0


# MB2.


def test_an_mb2_runs_when_its_idle_contact_is_cleared(mb2: Bench) -> None:
    assert mb2.words(0x1158) == mb2.words(0x1292) == [0x03]
    mb2.write(0x114C, *DEGC_45)
    mb2.write(0x1158, 0x01)
    mb2.clock.advance(2 * HOUR_S)
    assert mb2.number(0x1004) == pytest.approx(45.0, abs=0.2)
    assert mb2.number(0x10B2) == 45.0
    mb2.write(0x1158, 0x03)
    mb2.clock.advance(10 * HOUR_S)
    assert mb2.number(0x1004) == pytest.approx(23.0, abs=0.2)


def test_a_humid_mb2_has_a_humidity(mb2: Bench) -> None:
    humid = Bench({"humidity": True})
    assert humid.number(0x100A) == pytest.approx(humid.chamber.humidity_pct, abs=1e-3)
    with pytest.raises(RegisterError):
        mb2.words(0x100A, 2)


def test_a_humid_mb2_regulates_only_with_its_contact_cleared() -> None:
    humid = Bench({"humidity": True})
    humid.write(0x114E, *DEGC_45)  # 45 as a float32, whatever its unit
    humid.write(0x1158, 0x01)
    humid.clock.advance(HOUR_S)
    assert humid.chamber.setpoint_pct is None
    humid.write(0x1158, 0x00)
    humid.clock.advance(HOUR_S)
    assert humid.number(0x100A) == pytest.approx(45.0, abs=0.5)


# Faults of the box.


@pytest.mark.parametrize(
    ("controller", "switch", "on", "off"), [("mb1", 0x1A22, 0x0800, 0), ("mb2", 0x1158, 1, 3)]
)
def test_an_ignored_off_is_acknowledged_and_not_obeyed(
    controller: str, switch: int, on: int, off: int
) -> None:
    bench = Bench({"controller": controller})
    bench.write(switch, on)
    bench.box.perturb.ignores_off = True
    bench.write(switch, off)
    assert bench.words(switch) == [on]
    assert bench.chamber.running


def test_an_ignored_setpoint_is_acknowledged_and_not_stored(mb2: Bench) -> None:
    mb2.box.perturb.ignores_set = True
    mb2.write(0x114C, *DEGC_45)
    assert mb2.number(0x114C) == 23.0


def test_a_broken_sensor_reads_not_a_number(mb2: Bench) -> None:
    mb2.box.perturb.nan = frozenset({"temperature_degC"})
    assert mb2.words(0x1004, 2) == [0x0000, 0x7FC0]


@pytest.mark.parametrize(
    "options", [{"controller": "mb3"}, {"unit": 0}, {"unit": True}, {"humidity": 1}, {"speed": 1}]
)
def test_a_bad_option_is_refused_by_its_name(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Bench(options)
