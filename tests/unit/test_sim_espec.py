"""The simulated ESPEC controller, line by line, on a chamber that obeys physics."""

from typing import Any

import pytest

from simulators.chamber import ChamberModel
from simulators.clock import ManualClock
from simulators.espec import Espec

HOUR_S = 3600.0


class Bench:
    """A controller, a connection to it, its chamber, and the clock of all."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.chamber = ChamberModel(self.clock)
        self.box = Espec("sh241", self.clock, {1: self.chamber}, options)
        self.session = self.box.session()

    def feed(self, data: bytes) -> bytes:
        return b"".join(out.data for out in self.session.feed(data))

    def ask(self, line: str) -> str:
        return self.feed(line.encode() + b"\r\n").decode().removesuffix("\r\n")


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("message", "reply"),
    [
        ("ROM?", "EHS-211 Ver. 1.02"),
        ("TYPE?", "T,S2,150.0"),
        ("MON?", "23.0,,STANDBY,0"),
        ("TEMP?", "23.0,23.0,150.0,-40.0"),
        ("MODE?", "STANDBY"),
        ("ALARM?", "0"),
        ("KEYPROTECT?", "OFF"),
        ("TEMP, S45.0", "OK:TEMP, S45.0"),
        ("MODE,CONSTANT", "OK:MODE,CONSTANT"),
        ("TEMP, S999.0", "NA:DATA OUT OF RANGE"),
        ("TEMP, S-40.1", "NA:DATA OUT OF RANGE"),
        ("TEMP, X1.0", "NA:PARA ERR"),
        ("TEMP,", "NA:PARA ERR"),
        ("MODE,RUN1", "NA:DATA NOT READY"),
        ("MODE,FAST", "NA:PARA ERR"),
        ("HUMI?", "NA:CONT NOT READY-1"),
        ("*IDN?", "NA:CMD ERR"),
        ("", "NA:CMD ERR"),
    ],
)
def test_each_message_is_answered_as_the_guide_says(bench: Bench, message: str, reply: str) -> None:
    assert bench.ask(message) == reply


def test_a_humid_chamber_shows_both_sensors() -> None:
    humid = Bench(humidity=True)
    assert humid.ask("TYPE?") == "T,T,S2,150.0"
    assert humid.ask("MON?") == "23.0,45,STANDBY,0"
    assert humid.ask("HUMI?") == "45,OFF,100,0"


def test_a_message_may_come_in_pieces_and_several_at_once(bench: Bench) -> None:
    assert bench.feed(b"MODE") == b""
    assert bench.feed(b"?\r") == b""
    assert bench.feed(b"\nALARM?\r\nMO") == b"STANDBY\r\n0\r\n"
    assert bench.feed(b"DE?\r\n") == b"STANDBY\r\n"


def test_each_connection_has_its_own_half_line(bench: Bench) -> None:
    other = bench.box.session()
    assert bench.feed(b"MO") == b""
    assert b"".join(out.data for out in other.feed(b"MODE?\r\n")) == b"STANDBY\r\n"


def test_a_babbling_client_does_not_fill_the_memory(bench: Bench) -> None:
    for _ in range(100):
        bench.feed(b"x" * 1000)
    assert len(bench.session._buffer) < 10_000
    assert bench.ask("") == "NA:CMD ERR"
    assert bench.ask("MODE?") == "STANDBY"


def test_bytes_that_are_no_ascii_are_an_unknown_command(bench: Bench) -> None:
    assert bench.feed(b"\xff\xfe\r\n") == b"NA:CMD ERR\r\n"


def test_the_chamber_follows_its_setpoint_in_constant_mode_only(bench: Bench) -> None:
    bench.ask("TEMP, S45.0")
    bench.clock.advance(HOUR_S)
    assert bench.ask("MON?") == "23.0,,STANDBY,0"
    bench.ask("MODE,CONSTANT")
    bench.clock.advance(2 * HOUR_S)
    assert bench.ask("TEMP?") == "45.0,45.0,150.0,-40.0"
    bench.ask("MODE,STANDBY")
    bench.clock.advance(10 * HOUR_S)
    assert bench.ask("MON?") == "23.0,,STANDBY,0"


def test_power_on_starts_constant_mode(bench: Bench) -> None:
    assert bench.ask("POWER,ON") == "OK:POWER,ON"
    assert bench.chamber.running
    assert bench.ask("POWER,OFF") == "OK:POWER,OFF"
    assert bench.ask("MODE?") == "OFF"
    assert not bench.chamber.running
    assert bench.ask("POWER,MAYBE") == "NA:PARA ERR"


def test_the_alarm_limits_bound_the_setpoint_and_can_be_moved(bench: Bench) -> None:
    assert bench.ask("TEMP, H60.0 L-10.0") == "OK:TEMP, H60.0 L-10.0"
    assert bench.ask("TEMP, S60.1") == "NA:DATA OUT OF RANGE"
    assert bench.ask("TEMP, H20.0") == "NA:DATA OUT OF RANGE"  # below the setpoint
    assert bench.ask("TEMP?") == "23.0,23.0,60.0,-10.0"


def test_the_thermostat_is_an_alarm(bench: Bench) -> None:
    bench.chamber.over_temperature = True
    assert bench.ask("MON?").endswith(",1")
    assert bench.ask("ALARM?") == "1,1"


def test_a_locked_panel_does_not_lock_the_wire(bench: Bench) -> None:
    assert bench.ask("KEYPROTECT,ON") == "OK:KEYPROTECT,ON"
    assert bench.ask("KEYPROTECT?") == "ON"
    assert bench.ask("MODE,CONSTANT") == "OK:MODE,CONSTANT"
    assert bench.ask("KEYPROTECT,YES") == "NA:PARA ERR"


def test_a_protected_chamber_answers_questions_and_refuses_settings() -> None:
    locked = Bench(protected=True)
    assert locked.ask("MODE,CONSTANT") == "NA:PROTECT ON"
    assert locked.ask("MODE?") == "STANDBY"
    assert not locked.chamber.running


def test_on_rs485_only_its_own_address_is_answered() -> None:
    third = Bench(address=3)
    assert third.ask("3,MODE,CONSTANT") == "OK:3,MODE,CONSTANT"
    assert third.ask("3,MODE?") == "CONSTANT"
    assert third.feed(b"MODE?\r\n4,MODE?\r\n") == b""


def test_without_an_address_a_prefix_is_ignored(bench: Bench) -> None:
    assert bench.ask("7,MODE?") == "STANDBY"


def test_the_old_protocol_answers_a_question_with_two_lines() -> None:
    old = Bench(old_protocol=True)
    assert old.feed(b"MODE?\r\n") == b"OK:MODE?\r\nSTANDBY\r\n"
    assert old.feed(b"MODE,CONSTANT\r\n") == b"OK:MODE,CONSTANT\r\n"
    assert old.feed(b"BOGUS?\r\n") == b"NA:CMD ERR\r\n"


def test_an_ignored_off_is_acknowledged_and_not_obeyed(bench: Bench) -> None:
    bench.ask("MODE,CONSTANT")
    bench.box.perturb.ignores_off = True
    assert bench.ask("MODE,STANDBY") == "OK:MODE,STANDBY"
    assert bench.ask("MODE?") == "CONSTANT"
    assert bench.chamber.running


def test_an_ignored_setpoint_is_acknowledged_and_not_stored(bench: Bench) -> None:
    bench.box.perturb.ignores_set = True
    assert bench.ask("TEMP, S45.0") == "OK:TEMP, S45.0"
    assert bench.ask("TEMP?") == "23.0,23.0,150.0,-40.0"


def test_a_broken_sensor_reads_not_a_number(bench: Bench) -> None:
    bench.box.perturb.nan = frozenset({"temperature_degC"})
    assert bench.ask("MON?") == "nan,,STANDBY,0"


@pytest.mark.parametrize(
    "options", [{"address": 17}, {"address": True}, {"humidity": "yes"}, {"rom": 1}, {"speed": 1}]
)
def test_a_bad_option_is_refused_by_its_name(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Bench(**options)


def test_a_humidity_setpoint_is_kept_and_switched_off_again() -> None:
    humid = Bench(humidity=True)
    assert humid.ask("HUMI, S60.0") == "OK:HUMI, S60.0"
    assert humid.ask("HUMI?").split(",")[1] == "60"
    assert humid.ask("HUMI,SOFF") == "OK:HUMI,SOFF"
    assert humid.ask("HUMI?").split(",")[1] == "OFF"
    assert humid.ask("HUMI, S101") == "NA:DATA OUT OF RANGE"
    assert humid.ask("HUMI, 50") == "NA:PARA ERR"
    assert Bench().ask("HUMI, S60.0") == "NA:CONT NOT READY-1"
