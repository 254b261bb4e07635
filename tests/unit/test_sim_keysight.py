"""The simulated Keysight APS, without a socket: its oddities are what drivers fall over."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.cell import Cell
from simulators.clock import ManualClock
from simulators.keysight_aps import ApsSession, KeysightAps
from simulators.rig import Position

SOC = 0.5
NO_ERROR = '+0,"No error"\n'
ON_S = 0.2  # more than the output takes to close


class Bench:
    """One supply on one cell, and a connection to it."""

    def __init__(self, soc: float = SOC, factor: float = 1.0, **options) -> None:
        self.clock = ManualClock(factor)
        self.position = Position(Cell("nmc", 2.5, soc), self.clock, owner="aps1/1")
        wiring = {1: self.position}
        defaults = {"model": "N6974A", "sink": 1.0, "noise": 0}
        self.box = KeysightAps("aps1", self.clock, wiring, defaults | options)
        self.session = self.box.session()

    def say(self, message: str, session: ApsSession | None = None) -> str:
        """Send a message and wait for its reply, as long as an acquisition takes."""
        session = session or self.session
        outs = list(session.feed(message.encode() + b"\n"))
        for _ in range(4):
            self.clock.advance(0.01)
            outs += session.tick()
        return b"".join(out.data for out in outs).decode()

    def wait(self, seconds: float) -> None:
        """Let time pass under the eyes of the box."""
        for _ in range(100):
            self.clock.advance(seconds / 100)
            self.box.advance()

    def charging(self, amps: float = 1.0) -> "Bench":
        self.say(f"FUNC CURR;:VOLT:LIM 4.2;:CURR {amps};:OUTP 1")
        self.wait(ON_S)
        return self


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_sample_exchange_of_the_manual_holds(bench):
    assert bench.say("*IDN?") == "Keysight Technologies,N6974A,MY00000000,A.02.04.1234\n"
    assert bench.say("FUNC CURR;:SYST:ERR?") == NO_ERROR
    assert bench.say("VOLT:LIM 4.2;:SYST:ERR?") == NO_ERROR
    assert bench.say("CURR -2.0;:SYST:ERR?") == NO_ERROR
    protection = "VOLT:PROT 4.4;:OUTP:PROT:WDOG:DEL 10;:OUTP:PROT:WDOG 1;:SYST:ERR?"
    assert bench.say(protection) == NO_ERROR
    assert bench.say("OUTP 1") == ""
    bench.wait(ON_S)
    reply = bench.say("STAT:QUES:COND?;:STAT:OPER:COND?;:MEAS:VOLT?;:FETC:CURR?")
    ques, oper, volts, amps = reply.split(";")
    assert (ques, oper) == ("+0", "+2")
    assert float(volts) == pytest.approx(bench.position.voltage_V, abs=1e-3)
    assert float(amps) == pytest.approx(-2.0, abs=1e-3)
    bench.clock.advance(10.5)
    bench.box.advance()
    assert bench.say("STAT:QUES:COND?;:OUTP?") == "+2048;1\n"


# Parser ---------------------------------------------------------------------------------------


def test_an_unknown_query_is_never_answered_and_leaves_an_error(bench):
    assert bench.say("BOGUS?") == ""
    assert bench.say("SYST:ERR?") == '-113,"Undefined header"\n'
    assert bench.say("SYST:ERR?") == NO_ERROR


def test_a_bad_command_discards_its_message_and_glues_what_was_answered_to_the_next_reply(bench):
    assert bench.say("OUTP?;:BOGUS?;:FUNC?") == ""
    assert bench.say("SYST:ERR?") == '0-113,"Undefined header"\n'
    assert bench.say("FUNC?") == "VOLT\n"


def test_only_a_new_connection_is_rid_of_a_glued_answer(bench):
    bench.say("OUTP?;:BOGUS?")
    assert bench.say("FUNC?", bench.box.session()) == "VOLT\n"


def test_a_colon_before_a_common_command_is_an_error(bench):
    assert bench.say("VOLT 1;:*WAI") == ""
    assert bench.say("SYST:ERR?").startswith("-113")


@pytest.mark.parametrize("name", ["VOLT", "CURR:LIM", "CURR:LIM:NEG"])
def test_a_level_queried_in_the_message_that_sets_it_is_the_old_one(bench, name):
    before = bench.say(f"{name}?")
    assert bench.say(f"{name} {'-' * name.endswith('NEG')}2;:{name}?") == before
    assert abs(float(bench.say(f"{name}?"))) == pytest.approx(2.0, abs=2e-3)


def test_a_protection_level_queried_in_the_message_that_sets_it_is_the_new_one(bench):
    assert float(bench.say("VOLT:PROT 4.4;:VOLT:PROT?")) == pytest.approx(4.4, abs=2e-3)


def test_each_connection_has_an_error_queue_of_its_own(bench):
    other = bench.box.session()
    bench.say("BOGUS")
    assert bench.say("SYST:ERR?", other) == NO_ERROR
    assert bench.say("SYST:ERR?").startswith("-113")


def test_the_global_queue_is_read_after_the_connections_own(bench):
    bench.say("*RST")
    bench.box.global_errors.push(_error(-200))
    bench.say("BOGUS")
    codes = [bench.say("SYST:ERR?").partition(",")[0] for _ in range(3)]
    assert codes == ["-113", "-200", "+0"]


def _error(code: int):
    from simulators.scpi import ScpiError

    return ScpiError(code, "file not found; 0 state")


def test_the_error_queue_holds_twenty(bench):
    for _ in range(30):
        bench.say("BOGUS")
    errors = [bench.say("SYST:ERR?") for _ in range(21)]
    assert errors[18].startswith("-113")
    assert errors[19].startswith("-350")
    assert errors[20] == NO_ERROR


def test_a_query_that_overtakes_a_reply_drops_that_reply(bench):
    assert list(bench.session.feed(b"MEAS:VOLT?\n")) == []
    assert list(bench.session.feed(b"FUNC?\n"))[0].data == b"VOLT\n"
    assert bench.say("SYST:ERR?") == '-410,"Query INTERRUPTED"\n'
    assert bench.say("*ESR?") == "+4\n"


def test_a_measurement_takes_an_acquisition_and_a_fetch_takes_none(bench):
    assert list(bench.session.feed(b"MEAS:VOLT?;:MEAS:CURR?\n")) == []
    bench.clock.advance(0.040)
    assert bench.session.tick() == []
    bench.clock.advance(0.003)
    assert len(bench.session.tick()) == 1
    assert len(list(bench.session.feed(b"FETC:VOLT?\n"))) == 1


def test_integration_time_is_quantised(bench):
    assert bench.say("SENS:SWE:NPLC 1;:SENS:SWE:NPLC?") == "+1.000000E+00\n"
    assert bench.say("SENS:SWE:NPLC 0.1;:SENS:SWE:NPLC?") != "+1.000000E-01\n"


def test_a_fetch_before_the_first_acquisition_is_not_answered(bench):
    assert bench.say("FETC:VOLT?") == ""
    assert bench.say("SYST:ERR?").startswith("-230")
    bench.say("MEAS:VOLT?")
    assert bench.say("FETC:VOLT?") != ""


def test_a_message_may_arrive_byte_by_byte(bench):
    outs = [out for byte in b"*IDN?\n" for out in bench.session.feed(bytes([byte]))]
    assert len(outs) == 1


# Settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "reply"),
    [
        ("VOLT? MAX", "+8.160000E+01"),
        ("VOLT? MIN", "+0.000000E+00"),
        ("CURR:LIM? MAX", "+1.275000E+01"),
        ("CURR:LIM:NEG? MIN", "-1.275000E+01"),
        ("VOLT:PROT? MAX", "+9.600000E+01"),
        ("OUTP:PROT:WDOG:DEL? MAX", "+3.600000E+03"),
    ],
)
def test_limits_are_told(bench, query, reply):
    assert bench.say(query) == reply + "\n"


def test_an_n6900_without_dissipators_sinks_a_tenth():
    assert Bench(sink=0.1).say("CURR:LIM:NEG? MIN") == "-1.275000E+00\n"


@pytest.mark.parametrize("command", ["VOLT 82", "VOLT -1", "CURR:LIM:NEG 1", "VOLT INF"])
def test_a_level_out_of_range_is_refused_and_not_clamped(bench, command):
    name = command.split()[0]
    before = bench.say(f"{name}?")
    bench.say(command)
    assert bench.say("SYST:ERR?") == '-222,"Data out of range"\n'
    assert bench.say(f"{name}?") == before


def test_a_level_reads_back_as_the_converter_took_it(bench):
    bench.say("VOLT 4.2")
    took = float(bench.say("VOLT?"))
    assert took != 4.2
    assert took == pytest.approx(4.2, abs=81.6 / 65535)


def test_a_voltage_limit_in_voltage_priority_is_a_settings_conflict(bench):
    assert bench.say("VOLT:LIM 4.2;:SYST:ERR?") == ""
    assert bench.say("SYST:ERR?") == '+315,"Settings conflict error"\n'
    assert bench.say("*ESR?") == "+8\n"


def test_a_current_in_voltage_priority_is_accepted_and_does_nothing(bench):
    assert bench.say("CURR 1;:SYST:ERR?") == NO_ERROR
    bench.say("VOLT 4.2;:OUTP 1")
    bench.wait(ON_S)
    assert bench.position.current_A == pytest.approx(0.125, rel=1e-2)


def test_a_change_of_priority_switches_off_and_resets_levels(bench):
    bench.charging()
    bench.say("OUTP:PROT:MODE HIGHZ")
    bench.say("FUNC VOLT")
    assert bench.say("OUTP?;:VOLT?;:OUTP:PROT:MODE?") == "0;+0.000000E+00;LOWZ\n"
    assert bench.position.current_A == 0.0


def test_the_same_priority_again_changes_nothing(bench):
    bench.charging()
    bench.say("FUNC CURR")
    assert bench.say("OUTP?") == "1\n"


@pytest.mark.parametrize(
    ("model", "command"),
    [("N6974A", "VOLT:PROT:LOW 2.5"), ("RP7952A", "OUTP:PROT:MODE HIGHZ")],
)
def test_what_only_the_other_family_has_is_not_supported(model, command):
    bench = Bench(model=model)
    bench.say(command)
    reply = bench.say("SYST:ERR?")
    assert reply == '+310,"The command is not supported by this model;"\n'


@pytest.mark.parametrize("model", ["N6974A", "N7974A", "RP7952A"])
def test_every_setting_that_can_be_written_can_be_read(model):
    bench = Bench(model=model)
    for header in ("VOLT", "CURR", "CURR:LIM", "CURR:LIM:NEG", "VOLT:PROT", "CURR:PROT:DEL"):
        assert float(bench.say(f"{header}?")) is not None
        assert bench.say("SYST:ERR?") == NO_ERROR


def test_the_alias_of_the_over_current_delay_is_the_same_setting(bench):
    bench.say("OUTP:PROT:DEL 0.1")
    assert float(bench.say("CURR:PROT:DEL?")) == pytest.approx(0.1)


# Output ---------------------------------------------------------------------------------------


def test_the_output_takes_its_time_to_close(bench):
    bench.say("FUNC CURR;:VOLT:LIM 4.2;:CURR 1")
    bench.session.feed(b"OUTP 1\n")
    bench.clock.advance(0.02)
    bench.box.output.look()
    assert bench.position.current_A == 0.0
    bench.wait(ON_S)
    assert bench.position.current_A == pytest.approx(1.0, abs=1e-3)


def test_in_voltage_priority_the_supply_charges_within_its_limit_then_holds():
    bench = Bench(soc=0.9)
    bench.say("VOLT 4.2;:CURR:LIM 1;:OUTP 1")
    bench.wait(ON_S)
    assert bench.say("STAT:OPER:COND?;:STAT:QUES:COND?") == "+2;+128\n"
    bench.wait(3600.0)
    assert bench.say("STAT:OPER:COND?;:STAT:QUES:COND?") == "+1;+0\n"
    assert bench.position.voltage_V == pytest.approx(4.2, abs=2e-3)


def test_in_voltage_priority_the_supply_discharges_within_its_negative_limit():
    bench = Bench(soc=0.1)
    bench.say("VOLT 3.0;:CURR:LIM:NEG -2;:OUTP 1")
    bench.wait(ON_S)
    assert bench.position.current_A == pytest.approx(-2.0, abs=1e-3)
    assert bench.say("STAT:OPER:COND?;:STAT:QUES:COND?") == "+2;+256\n"
    bench.wait(3600.0)
    assert bench.position.voltage_V == pytest.approx(3.0, abs=2e-3)


def test_in_current_priority_the_voltage_limit_ends_the_constant_current():
    bench = Bench(soc=0.9).charging(2.0)
    bench.wait(3600.0)
    assert bench.position.regulation == "cv"
    assert bench.position.voltage_V == pytest.approx(4.2, abs=2e-3)
    assert bench.say("STAT:OPER:COND?;:STAT:QUES:COND?") == "+1;+128\n"


def test_an_rp7900_ends_a_discharge_at_its_low_limit():
    bench = Bench(soc=0.1, model="RP7952A")
    bench.say("FUNC CURR;:VOLT:LIM 4.2;:VOLT:LIM:LOW 3.0;:CURR -2;:OUTP 1")
    bench.wait(3600.0)
    assert bench.position.voltage_V == pytest.approx(3.0, abs=5e-3)
    assert bench.say("STAT:OPER:COND?;:STAT:QUES:COND?") == "+1;+256\n"


def test_with_the_output_off_the_voltage_is_the_cells_and_no_current_flows(bench):
    reply = bench.say("MEAS:VOLT?;:FETC:CURR?;:STAT:OPER:COND?")
    volts, amps, oper = reply.split(";")
    assert float(volts) == pytest.approx(bench.position.open_circuit_V, abs=1e-3)
    assert float(amps) == 0.0
    assert oper == "+4\n"


def test_counters_count_what_flowed_and_start_anew(bench):
    bench.charging(1.0)
    bench.wait(3600.0)
    assert float(bench.say("FETC:AHO?")) == pytest.approx(1.0, rel=1e-3)
    assert float(bench.say("FETC:WHO?")) == pytest.approx(3.9, rel=0.03)
    bench.say("SENS:AHO:RES")
    assert float(bench.say("FETC:AHO?")) == pytest.approx(0.0, abs=1e-4)
    assert float(bench.say("FETC:WHO?")) > 3.5


# Protections ----------------------------------------------------------------------------------


def test_an_over_voltage_opens_the_output_and_latches():
    bench = Bench(soc=0.9)
    bench.say("VOLT:PROT 4.15;:VOLT 4.3;:CURR:LIM 2;:OUTP 1")
    bench.wait(1200.0)
    assert bench.position.current_A == 0.0
    assert bench.say("STAT:QUES:COND?;:OUTP?;:STAT:OPER:COND?") == "+1;1;+4\n"


def test_an_over_voltage_cannot_be_cleared_while_it_stands(bench):
    bench.say("VOLT 4.2;:CURR:LIM 1;:OUTP 1")
    bench.wait(ON_S)
    bench.say("VOLT:PROT 3.0")
    bench.wait(ON_S)
    bench.say("OUTP:PROT:CLE")
    assert bench.say("STAT:QUES:COND?") == "+1\n"
    bench.say("VOLT:PROT 4.4;:OUTP:PROT:CLE")
    bench.wait(ON_S)
    assert bench.say("STAT:QUES:COND?;:STAT:OPER:COND?") == "+128;+2\n"


def test_clearing_a_protection_energises_an_output_that_is_still_programmed_on(bench):
    bench.charging().say("OUTP:PROT:WDOG:DEL 1;:OUTP:PROT:WDOG 1")
    bench.wait(1.5)
    assert bench.position.current_A == 0.0
    bench.say("OUTP:PROT:CLE")
    bench.wait(ON_S)
    assert bench.position.current_A == pytest.approx(1.0, abs=1e-3)
    assert [edge.on for edge in bench.position.ledger.edges] == [True, False, True]


def test_clearing_a_protection_after_off_energises_nothing(bench):
    bench.charging().say("OUTP:PROT:WDOG:DEL 1;:OUTP:PROT:WDOG 1")
    bench.wait(1.5)
    bench.say("OUTP 0;:OUTP:PROT:CLE")
    bench.wait(ON_S)
    assert bench.position.current_A == 0.0
    assert bench.say("STAT:QUES:COND?;:OUTP?") == "+0;0\n"


def test_on_does_not_get_past_a_latched_protection(bench):
    bench.charging().say("OUTP:PROT:WDOG:DEL 1;:OUTP:PROT:WDOG 1")
    bench.wait(1.5)
    bench.say("OUTP 0")
    bench.say("OUTP 1")
    bench.wait(ON_S)
    assert bench.position.current_A == 0.0


def test_the_watchdog_counts_real_seconds_however_fast_the_bench_runs():
    bench = Bench(factor=1000.0)
    bench.say("OUTP:PROT:WDOG:DEL 2;:OUTP:PROT:WDOG 1")
    bench.charging(0.01)
    bench.wait(1900.0)
    assert bench.position.regulation == "cc+"
    bench.wait(200.0)
    assert bench.position.regulation == "off"


def test_any_traffic_on_any_connection_holds_the_watchdog_off(bench):
    bench.charging().say("OUTP:PROT:WDOG:DEL 1;:OUTP:PROT:WDOG 1")
    other = bench.box.session()
    for _ in range(5):
        bench.wait(0.8)
        bench.say("*OPC?", other)
    assert bench.position.current_A > 0.0


def test_the_watchdog_sleeps_until_it_is_switched_on(bench):
    bench.charging()
    bench.wait(7200.0)
    assert bench.position.regulation != "off"


def test_an_over_current_protection_trips_when_the_limit_is_entered(bench):
    bench.say("CURR:PROT:DEL 0.1;:CURR:PROT:STAT 1;:VOLT 4.2;:CURR:LIM 1;:OUTP 1")
    bench.wait(0.05)
    assert bench.position.current_A > 0.0
    bench.wait(0.3)
    assert bench.say("STAT:QUES:COND?") == "+2\n"
    assert bench.position.current_A == 0.0


def test_an_rp7900_has_an_under_voltage_protection():
    bench = Bench(soc=0.05, model="RP7952A")
    bench.say("VOLT:PROT:LOW 2.9;:VOLT:PROT:LOW:STAT 1;:VOLT 2.0;:CURR:LIM:NEG -2;:OUTP 1")
    bench.wait(1200.0)
    assert bench.say("STAT:QUES2:COND?;:STAT:QUES:COND?") == "+64;+0\n"
    assert bench.position.current_A == 0.0


def test_a_reset_switches_off(bench):
    bench.charging().say("*RST")
    assert bench.say("OUTP?;:FUNC?;:OUTP:PROT:WDOG?") == "0;VOLT;0\n"
    assert bench.position.current_A == 0.0


# Status ---------------------------------------------------------------------------------------


def test_events_stay_until_read_and_measuring_is_one(bench):
    bench.say("STAT:OPER?")
    bench.say("MEAS:VOLT?")
    assert int(bench.say("STAT:OPER:EVEN?")) & 40 == 40
    assert bench.say("STAT:OPER?") == "+0\n"


def test_presets_of_the_transition_filters_are_as_measured(bench):
    filters = "STAT:OPER:PTR?;:STAT:QUES:PTR?;:STAT:QUES2:PTR?;:STAT:OPER:NTR?"
    assert bench.say(filters) == "+511;+16383;+127;+0\n"


def test_the_status_byte_sums_up(bench):
    bench.say("STAT:QUES:ENAB 2048;*SRE 8")
    bench.say("OUTP:PROT:WDOG:DEL 1;:OUTP:PROT:WDOG 1")
    bench.wait(1.5)
    bench.say("BOGUS")
    assert int(bench.say("*STB?")) == 4 + 8 + 64


# Faults of the box ----------------------------------------------------------------------------


def test_a_reading_that_is_not_a_number_is_written_as_scpi_does(bench):
    bench.box.perturb.nan = frozenset({"voltage_V"})
    reply = bench.say("MEAS:VOLT?;:FETC:CURR?;:FETC:POW?")
    assert reply == "+9.910000E+37;+0.000000E+00;+9.910000E+37\n"


def test_an_ignored_off_leaves_the_current_flowing(bench):
    bench.charging().box.perturb.ignores_off = True
    bench.say("OUTP 0")
    assert bench.say("SYST:ERR?") == NO_ERROR
    assert bench.position.current_A > 0.0
    assert bench.position.ledger.on


def test_an_ignored_setpoint_reads_back_as_before(bench):
    bench.box.perturb.ignores_set = True
    before = bench.say("VOLT?")
    assert bench.say("VOLT 4.2;:SYST:ERR?") == NO_ERROR
    assert bench.say("VOLT?") == before


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"model": "N6999A"}, "model: 'N6999A'"),
        ({"colour": "grey"}, "colour: unknown"),
        ({"sink": 1.5}, "sink: must be"),
        ({"voltage_V": 0}, "must be above 0"),
    ],
)
def test_wrong_options_are_refused(options, why):
    with pytest.raises(ValueError, match=why):
        Bench(**options)


@pytest.mark.parametrize(("slowness", "waits"), [(1.0, True), (0.0, False)])
def test_a_measurement_takes_as_long_as_the_bench_file_says(slowness, waits):
    reply = Bench(acquisition=slowness).session.feed(b"MEAS:VOLT?\n")
    assert (reply == []) is waits


def test_noise_is_small_and_the_same_every_time():
    def readings(noise: float) -> list[str]:
        bench = Bench(noise=noise)
        return [bench.say("MEAS:VOLT?") for _ in range(20)]

    assert readings(1.0) == readings(1.0)
    assert len(set(readings(1.0))) > 3
    assert len(set(readings(0.0))) == 1


# Anything at all ------------------------------------------------------------------------------

WORDS = st.sampled_from(
    "VOLT CURR OUTP FUNC MEAS FETC SYST STAT PROT LIM NEG COND? ERR? ? : ; * 1 -1 1e9 ON INF nan"
    ' MAX " , BOGUS *RST *IDN? \r \x00'.split(" ")
)


@settings(max_examples=200, deadline=None)
@given(messages=st.lists(st.lists(WORDS, max_size=12).map(" ".join), max_size=5))
def test_no_message_upsets_the_parser(messages):
    bench = Bench()
    for message in messages:
        bench.say(message)
        bench.say(message.replace(" ", ""))
    say: Callable[[str], str] = lambda text: bench.say(text, bench.box.session())  # noqa: E731
    assert say("*IDN?").startswith("Keysight")
