"""The simulated EA PSB, without a socket: its oddities are what drivers fall over."""

from __future__ import annotations

import pytest

from simulators.cell import Cell
from simulators.clock import ManualClock
from simulators.ea_psb import EaPsb
from simulators.rig import Position

NO_ERROR = '0,"No error"'
LOCAL = '-201,"Invalid while in local"'


class Bench:
    """One supply on one cell, and a connection to it."""

    def __init__(self, soc: float = 0.5, **options) -> None:
        self.clock = ManualClock()
        self.position = Position(Cell("nmc", 2.5, soc), self.clock, owner="psb/1")
        self.box = EaPsb("psb", self.clock, {1: self.position}, {"noise": 0} | options)
        self.session = self.box.session()

    def say(self, *messages: str) -> str:
        """Send messages; the last one's reply."""
        reply = ""
        for message in messages:
            self.clock.advance(0.06)
            outs = self.session.feed(message.encode() + b"\n")
            reply = b"".join(out.data for out in outs).decode().removesuffix("\n")
        return reply

    def wait(self, seconds: float) -> None:
        for _ in range(100):
            self.clock.advance(seconds / 100)
            self.box.advance()

    def charging(self, amps: float = 1.0) -> Bench:
        self.say("SYST:LOCK ON", "VOLT 4.2", f"CURR {amps}", "OUTP ON")
        return self

    @property
    def on(self) -> bool:
        return self.position.regulation != "off"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_sample_exchange_of_the_fact_sheet_holds(bench):
    assert bench.say("*IDN?") == "EA ELEKTRO-AUTOMATIK,PSB 10060-60 2U,123456,KE 3.10"
    assert bench.say("SYST:LOCK ON", "SYST:LOCK:OWN?") == "REMOTE"
    assert bench.say("VOLT:PROT 4.5", "SYST:ERR?") == NO_ERROR
    bench.say("VOLT 4.2", "CURR 1.5", "OUTP ON")
    volts, amps, watts = bench.say("MEAS:ARR?").split(",")
    assert float(volts.removesuffix(" V")) == pytest.approx(bench.position.voltage_V, abs=0.006)
    assert (amps, watts) == ("1.50 A", "6 W")
    assert bench.say("STAT:QUES:COND?") == "3072"


def test_nothing_is_obeyed_without_the_lock_and_everything_is_answered(bench):
    bench.say("VOLT 4.2", "OUTP ON", "SYST:COMM:MON:ACT ON")
    assert bench.say("VOLT?") == "0.00 V"
    assert bench.say("OUTP?") == "OFF"
    assert bench.say("SYST:ERR:ALL?") == ",".join([LOCAL] * 3)


def test_a_panel_that_is_locked_refuses_the_lock(bench):
    bench.box.touch({"panel_lock": True})
    assert bench.say("SYST:LOCK ON", "SYST:LOCK:OWN?") == "LOCAL"
    assert bench.say("SYST:ERR?") == LOCAL
    bench.box.touch({"panel_lock": False})
    assert bench.say("SYST:LOCK ON", "SYST:LOCK:OWN?") == "REMOTE"


@pytest.mark.parametrize("values", [{"panel": True}, {"relay_1": False}])
def test_a_hand_finds_nothing_else_to_touch(bench, values):
    with pytest.raises(ValueError, match="panel_lock"):
        bench.box.touch(values)


def test_the_queue_holds_five(bench):
    bench.say(*["BOGUS"] * 7)
    errors = bench.say("SYST:ERR:ALL?")
    assert errors.count("-100") == 4
    assert errors.endswith('-350,"Error queue overflow"')
    assert bench.say("SYST:ERR?") == NO_ERROR


@pytest.mark.parametrize(
    ("message", "code"),
    [("VOLT 62", -222), ("VOLT x", -104), ("SYST:CONF:MODE XY", -224), ("VOLT 1;CURR 1", -102)],
)
def test_what_it_does_not_understand_it_queues(bench, message, code):
    bench.say("SYST:LOCK ON", message)
    assert bench.say("SYST:ERR?").startswith(f"{code},")
    assert bench.say("VOLT?") == "0.00 V"


def test_an_unknown_query_is_never_answered(bench):
    assert bench.say("BOGUS?") == ""
    assert bench.say("SYST:ERR?").startswith("-100")


def test_a_setpoint_outside_its_adjustment_limits_is_refused(bench):
    bench.say("SYST:LOCK ON", "VOLT:LIM:HIGH 5", "VOLT 6")
    assert bench.say("SYST:ERR?").startswith("-222")
    assert bench.say("VOLT?") == "0.00 V"


def test_long_headers_are_understood(bench):
    bench.say("SYSTEM:LOCK ON", "SOURCE:VOLTAGE 4.2")
    assert bench.say("VOLTAGE?") == bench.say("SOUR:VOLT?") == "4.20 V"


def test_current_flows_out_of_the_cell_when_the_voltage_set_is_below_it(bench):
    bench.say("SYST:LOCK ON", "VOLT 2.5", "SINK:CURR 2", "OUTP ON")
    assert bench.say("MEAS:CURR?") == "-2.00 A"
    bench.say("SINK:CURR 0")
    assert float(bench.say("MEAS:CURR?").removesuffix(" A")) == 0.0


def test_power_limits_the_current(bench):
    bench.charging(2.0).say("POW 3.5")
    assert bench.position.current_A == pytest.approx(3.5 / bench.position.voltage_V, rel=0.05)


# The watchdog ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("told", "on"), [("OFF", False), ("AUTO", True)])
def test_silence_ends_remote_control_and_the_output_goes_as_told(bench, told, on):
    bench.charging()
    bench.say(f"POW:STAG:AFT:REM {told}", "SYST:COMM:MON:TIME 3", "SYST:COMM:MON:ACT ON")
    bench.wait(2.9)
    assert bench.box.output.owner == "REMOTE"
    bench.wait(0.2)
    assert bench.box.output.owner == "NONE"
    assert bench.on is on
    assert bench.say("STAT:QUES:COND?") == ("2048" if on else "0")
    assert bench.say("SYST:ERR?") == NO_ERROR


# Alarms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("restores", "on"), [(True, True), (False, False)])
def test_an_alarm_opens_the_output_until_the_queue_is_read(restores, on):
    bench = Bench(restores=restores).charging()
    bench.say("VOLT:PROT 3")
    bench.wait(0.1)
    assert not bench.on
    assert (bench.say("OUTP?"), bench.say("STAT:QUES:COND?")) == ("OFF", "1025")
    bench.say("OUTP ON")
    assert not bench.on
    bench.say("SYST:ERR?")
    assert bench.say("STAT:QUES:COND?") == "1025"  # the cause stands
    bench.say("VOLT:PROT 66")
    assert not bench.on
    bench.say("SYST:ERR?")
    assert bench.on is on


def test_off_during_an_alarm_is_remembered(bench):
    bench.charging().say("VOLT:PROT 3")
    bench.wait(0.1)
    bench.say("VOLT:PROT 66", "OUTP OFF", "SYST:ERR?")
    assert not bench.on


@pytest.mark.parametrize(("action", "on"), [("NONE", True), ("WARNING", True), ("ALARM", False)])
def test_an_event_does_what_it_was_told(bench, action, on):
    bench.charging().say("SYST:CONF:UVD 4.1", f"SYST:CONF:UVD:ACT {action}")
    bench.wait(0.1)
    assert bench.on is on
    assert bool(int(bench.say("STAT:QUES:COND?")) & 64) is (action != "NONE")


def test_the_event_register_remembers_what_came_and_forgets_it_when_read(bench):
    bench.charging()
    assert bench.say("STAT:QUES?") == "3072"
    assert bench.say("STAT:QUES?") == "0"


# Faults of the box -------------------------------------------------------------------------------


def test_a_message_that_comes_too_soon_is_lost_if_so_told():
    bench = Bench(gap=0.05)
    bench.say("SYST:LOCK ON")
    list(bench.session.feed(b"VOLT 4.2\n"))
    assert bench.say("VOLT?") == "0.00 V"
    assert bench.say("VOLT 4.2", "VOLT?") == "4.20 V"


def test_an_ignored_off_leaves_it_on(bench):
    bench.charging().box.perturb.ignores_off = True
    assert bench.say("OUTP OFF", "OUTP?") == "ON"


def test_a_setpoint_in_the_wrong_unit_is_a_thousandth(bench):
    bench.say("SYST:LOCK ON")
    bench.box.perturb.wrong_unit = True
    assert bench.say("CURR 30", "CURR?") == "0.03 A"


def test_switching_the_mains_forgets_everything(bench):
    bench.charging().box.touch({"power_cycle": True})
    assert not bench.on
    assert bench.say("SYST:LOCK:OWN?") == "NONE"
    assert bench.say("VOLT:PROT?") == "66.00 V"


@pytest.mark.parametrize(
    "options",
    [{"model": "PSI"}, {"colour": 1}, {"space": 1}, {"voltage_V": -1}, {"current_A": 0}],
)
def test_options_that_no_unit_has_are_refused(options):
    with pytest.raises(ValueError, match="|".join([*options, "above 0"])):
        Bench(**options)
