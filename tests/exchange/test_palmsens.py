"""The PalmSens driver, byte by byte."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from daq.errors import BadReply, InputError, InstrumentRefused, NoReply, ReadbackMismatch
from daq.model import Identity, MeasurementState, Spectrum, SpectrumPoint
from drivers import palmsens
from drivers.palmsens import Options, PalmSens
from tests.exchange.scripted import ScriptedText

IDENTIFY = (
    ("t", ["tes4_lr1500#Mar 12 2026 14:28:01", "R*"]),
    ("i", "iES4LR20B0008"),
    ("v", "v01.09.00"),
)
EMSTAT4 = Identity("PalmSens", "EmStat4 LR", "ES4LR20B0008", "1500 MethodSCRIPT 01.09.00")
OFF = ("e\nset_pgstat_chan 0\ncell_off\n", ["e", ""])
SWEEP = Spectrum(1e3, 1e1, 1, 1e-2, at_most_s=600)
SCRIPT = """\
e
var p
var f
var r
var j
var t
cell_off
set_pgstat_chan 0
set_pgstat_mode 3
set_max_bandwidth 1M
set_range ba 10m
set_autoranging ba 1u 10m
set_range ab 3
set_autoranging ab 50m 3
meas_loop_ocp p 100m 1
endloop
set_range_minmax da p p
set_e p
cell_on
timer_start
meas_loop_eis f r j 10m 1k 10 3i p
pck_start
pck_add f
pck_add r
pck_add j
pck_end
timer_get t
if t > 600
send_string "time limit"
breakloop
endif
endloop
on_finished:
cell_off
"""
START = (SCRIPT, "e")
POINT = "Pdc80F4240m;cc97EFEE0n,10,288;cd7445120n,10"


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the driver makes, which a script need not wait for."""
    made: list[float] = []
    monkeypatch.setattr(palmsens.time, "sleep", made.append)
    return made


def identified(line: ScriptedText, options: Options | None = None) -> PalmSens:
    driver = PalmSens(line, options)
    driver.identify()
    return driver


def sweeping(line: ScriptedText) -> PalmSens:
    driver = identified(line)
    driver.start(1, SWEEP)
    return driver


def test_identify_asks_firmware_serial_number_and_script_version() -> None:
    with ScriptedText(*IDENTIFY) as line:
        driver = PalmSens(line)
        assert driver.identify() == EMSTAT4
        assert driver.range(1).voltage_V == (-3.0, 3.0)
        assert driver.range(1).frequency_Hz[1] == 200e3


def test_firmware_too_old_to_tell_its_script_version_is_identified_all_the_same() -> None:
    with ScriptedText(*IDENTIFY[:2], ("v", "v!0003")) as line:
        assert PalmSens(line).identify().firmware == "1500"


@pytest.mark.parametrize("reply", ["tespbl1200#Jan 1 2020", "tunknown", "KEITHLEY,2281S", "t"])
def test_another_instrument_is_not_taken_for_a_potentiostat(reply: str) -> None:
    with ScriptedText(("t", [reply, "R*"])) as line, pytest.raises(BadReply):
        PalmSens(line).identify()


def test_the_output_of_a_dead_hosts_script_does_not_answer_identify() -> None:
    busy = ("t", [POINT, "*", "tes4_lr1500#Mar 12 2026 14:28:01", "R*"])
    abort = ("Z", [POINT, "Z", "*", ""])
    with ScriptedText(busy, ("i", "i!0006"), abort, *IDENTIFY) as line:
        assert PalmSens(line).identify() == EMSTAT4


def test_an_error_that_is_not_busy_ends_identify() -> None:
    with ScriptedText(IDENTIFY[0], ("i", "i!001A")) as line, pytest.raises(InstrumentRefused) as no:
        PalmSens(line).identify()
    assert "calibration" in str(no.value)


def test_setup_is_safe_when_nothing_runs_and_waits_out_the_deaf_time(pauses: list[float]) -> None:
    with ScriptedText(*IDENTIFY, ("", [""]), ("Z", ["Z!0006"])) as line:
        identified(line).setup()
    assert pauses == [pytest.approx(0.11)]


def test_setup_aborts_what_runs_and_reads_on_to_the_empty_line() -> None:
    output = [POINT, "Z", "*", ""]
    with ScriptedText(*IDENTIFY, ("", None), ("Z", output), ("i", "iES4LR20B0008")) as line:
        driver = identified(line)
        driver.setup()
        assert driver.read() == {}


def test_a_sweep_streams_its_points_and_is_done_with_the_empty_line() -> None:
    with ScriptedText(*IDENTIFY, START) as line:
        driver = sweeping(line)
        assert driver.poll().state is MeasurementState.RUNNING
        line.arrive("M000B", "*", "M000D", POINT)
        progress = driver.poll()
        assert progress.points == (SpectrumPoint(1000.0, 0.0251, -0.0123),)
        line.arrive(POINT, POINT, "*", "")
        done = driver.poll()
        assert (done.state, len(done.points)) == (MeasurementState.DONE, 2)
        assert driver.poll().state is MeasurementState.IDLE


def test_while_a_sweep_runs_reading_sends_nothing() -> None:
    with ScriptedText(*IDENTIFY, START) as line:
        assert sweeping(line).read() == {}


def test_a_second_sweep_is_refused_while_one_runs() -> None:
    with ScriptedText(*IDENTIFY, START) as line:
        driver = sweeping(line)
        with pytest.raises(InstrumentRefused, match="runs on channel 1"):
            driver.start(1, SWEEP)


@pytest.mark.parametrize("spectrum", [Spectrum(1e6, 1.0, 5, 5e-3), Spectrum(1e3, 1e-6, 5, 5e-3)])
def test_a_frequency_beyond_the_instrument_is_refused_before_anything_is_sent(
    spectrum: Spectrum,
) -> None:
    with ScriptedText(*IDENTIFY) as line, pytest.raises(InstrumentRefused, match="outside"):
        identified(line).start(1, spectrum)


def test_a_script_that_is_not_accepted_starts_no_sweep(pauses: list[float]) -> None:
    with ScriptedText(*IDENTIFY, (SCRIPT, "e!4001: Line 7, Col 9")) as line:
        driver = identified(line)
        with pytest.raises(InstrumentRefused, match="unknown script command at Line 7"):
            driver.start(1, SWEEP)
        assert driver.poll().state is MeasurementState.IDLE
    assert pauses


def test_a_critical_overload_fails_the_sweep_and_the_driver_opens_the_cell() -> None:
    with ScriptedText(*IDENTIFY, START, OFF) as line:
        driver = sweeping(line)
        line.arrive("M000D", POINT, "!0032: Line 20")
        progress = driver.poll()
        assert progress.state is MeasurementState.FAILED
        assert "critical cell overload" in progress.message
        assert len(progress.points) == 1
        assert driver.poll().state is MeasurementState.IDLE


def test_a_cell_that_cannot_be_opened_after_an_error_loses_neither_points_nor_failure() -> None:
    silent = (OFF[0], NoReply("silence"))
    again = (("", [""]), ("Z", ["Z!0006"]), OFF)
    with ScriptedText(*IDENTIFY, START, silent, *IDENTIFY, *again) as line:
        driver = sweeping(line)
        line.arrive(POINT, "!0032: Line 20")
        with pytest.raises(NoReply):
            driver.poll()
        driver.identify()
        driver.setup()
        progress = driver.poll()
        assert progress.state is MeasurementState.FAILED
        assert len(progress.points) == 1


def test_abort_reads_past_the_points_that_were_on_their_way() -> None:
    with ScriptedText(*IDENTIFY, START, ("Z", [POINT, "Z", POINT, "*", ""])) as line:
        driver = sweeping(line)
        driver.abort()
        driver.abort()
        assert driver.poll().state is MeasurementState.IDLE


def test_abort_of_a_sweep_that_has_just_ended_by_itself_is_no_error() -> None:
    with ScriptedText(*IDENTIFY, START, ("Z", [POINT, "*", "", "Z!0006"])) as line:
        sweeping(line).abort()


def test_an_abort_that_is_not_confirmed_raises_and_is_taken_up_by_setup() -> None:
    again = (("", None), ("Z", ["Z", "*", ""]))
    with ScriptedText(*IDENTIFY, START, ("Z", ["Z"]), *IDENTIFY, *again) as line:
        driver = sweeping(line)
        with pytest.raises(NoReply):
            driver.abort()
        driver.identify()
        driver.setup()
        progress = driver.poll()
        assert progress.state is MeasurementState.FAILED
        assert "line was lost" in progress.message


def test_a_sweep_whose_failure_nobody_asked_for_blocks_neither_reading_nor_the_next() -> None:
    again = (("", None), ("Z", ["Z", "*", ""]))
    with ScriptedText(*IDENTIFY, START, *IDENTIFY, *again, ("i", "iES4LR20B0008"), START) as line:
        driver = sweeping(line)
        driver.identify()
        driver.setup()
        driver.read()
        driver.start(1, SWEEP)
        assert driver.poll().state is MeasurementState.RUNNING


def test_off_aborts_the_sweep_and_sees_a_script_open_the_cell() -> None:
    with ScriptedText(*IDENTIFY, START, ("Z", ["Z", "*", ""]), OFF, OFF) as line:
        driver = sweeping(line)
        driver.off(1)
        driver.off(1)


def test_off_that_draws_any_other_output_is_not_believed() -> None:
    with ScriptedText(*IDENTIFY, (OFF[0], ["e", "*", ""])) as line:
        driver = identified(line)
        with pytest.raises(ReadbackMismatch):
            driver.off(1)


def test_off_of_another_channel_leaves_a_sweep_alone() -> None:
    mux = Options(multiplexer="mux8r2", channels=2)
    select = "set_pgstat_chan 0\nmux_config 3i 0x0000\nmux_set_channel 2i"
    script = SCRIPT.replace("set_pgstat_chan 0", select)
    with ScriptedText(*IDENTIFY, (script, "e")) as line:
        driver = identified(line, mux)
        driver.start(2, SWEEP)
        driver.off(1)
        assert driver.poll().state is MeasurementState.RUNNING


def test_a_mux8_is_addressed_by_digital_lines() -> None:
    off = "e\nset_pgstat_chan 0\nset_gpio_cfg 0b111 1\nset_gpio 4i\ncell_off\n"
    with ScriptedText(*IDENTIFY, (off, ["e", ""])) as line:
        identified(line, Options(multiplexer="mux8", channels=8)).off(5)


def test_a_channel_that_is_not_wired_is_refused() -> None:
    with ScriptedText(*IDENTIFY) as line, pytest.raises(InstrumentRefused, match="no channel 2"):
        identified(line).start(2, SWEEP)


def test_more_channels_than_a_mux8_has_are_refused_before_anything_is_opened() -> None:
    with pytest.raises(InputError, match="8 channels"):
        PalmSens(ScriptedText(), Options(multiplexer="mux8", channels=9))


def test_reading_asks_the_serial_number_and_notices_a_swapped_instrument() -> None:
    with ScriptedText(*IDENTIFY, ("i", "iES4LR20B0008"), ("i", "iES4HR21C0001")) as line:
        driver = identified(line)
        assert driver.read() == {}
        with pytest.raises(BadReply, match="ES4HR21C0001"):
            driver.read()


VOLTAGES = """\
e
var p
cell_off
set_pgstat_chan 0
set_pgstat_mode 3
meas_loop_ocp p 50m 50m
pck_start
pck_add p
pck_end
endloop
set_pgstat_chan 1
set_pgstat_mode 3
meas_loop_ocp p 50m 50m
pck_start
pck_add p
pck_end
endloop
send_string "1"
on_finished:
cell_off
"""


def test_open_circuit_voltages_are_read_where_the_options_ask_for_them() -> None:
    output = ["e", "M000B", "Pab8030D40u", "*", "M000B", "Pab8061A80u", "*", "T1", ""]
    with ScriptedText(*IDENTIFY, (VOLTAGES, output)) as line:
        readings = identified(line, Options(channels=2, read_voltage=True)).read()
    assert {n: r.voltage_V for n, r in readings.items()} == {1: 0.2, 2: 0.4}
    assert all(r.output_on is False for r in readings.values())


def test_a_missing_voltage_is_not_taken_for_another_channels() -> None:
    output = ["e", "M000B", "Pab8030D40u", "*", "T1", ""]
    with ScriptedText(*IDENTIFY, (VOLTAGES, output)) as line:
        driver = identified(line, Options(channels=2, read_voltage=True))
        with pytest.raises(BadReply, match="1 voltages for 2"):
            driver.read()


@pytest.mark.fault("F11", family="palmsens")
def test_a_voltage_that_is_none_is_not_a_number() -> None:
    output = ["e", "Pab     nan", "Pab8061A80u", "T1", ""]
    with ScriptedText(*IDENTIFY, (VOLTAGES, output)) as line:
        readings = identified(line, Options(channels=2, read_voltage=True)).read()
    assert math.isnan(readings[1].voltage_V)
    assert readings[2].voltage_V == 0.4


@pytest.mark.fault("F11", family="palmsens")
@pytest.mark.parametrize(
    "package", ["P", "Pab", "Pab8030D40", "Pab8030D4,0u", "Pab8030D40q", "Pab9.9E37"]
)
def test_what_is_no_package_is_no_voltage(package: str) -> None:
    output = ["e", package, "Pab8061A80u", "T1", ""]
    with ScriptedText(*IDENTIFY, (VOLTAGES, output)) as line:
        driver = identified(line, Options(channels=2, read_voltage=True))
        with pytest.raises(BadReply):
            driver.read()


@pytest.mark.fault("F09", family="palmsens")
@pytest.mark.parametrize("end", [["T2"], ["T1", "M000B"], []])
def test_voltages_of_another_script_are_not_taken_for_those_of_this_one(end: list[str]) -> None:
    output = ["e", "Pab8030D40u", "Pab8061A80u", *end, ""]
    with ScriptedText(*IDENTIFY, (VOLTAGES, output)) as line:
        driver = identified(line, Options(channels=2, read_voltage=True))
        with pytest.raises(BadReply, match="another script"):
            driver.read()


def test_the_sentinels_recipe_expects_what_an_idle_and_a_busy_instrument_answer() -> None:
    with ScriptedText() as line:
        (exchange,) = PalmSens(line).off_exchanges(1)
    assert exchange.send == b"\nZ\n"
    for reply in (b"\nZ!0006\n", b"Z\n\n", b"Z\n*\n\n", POINT.encode() + b"\nZ\n*\n\n"):
        assert re.fullmatch(exchange.expect, reply)
    for unfinished in (b"Z\n", b"Z\n*\n", POINT.encode() + b"\n\n", b"tes4_lr1500\n"):
        assert not re.fullmatch(exchange.expect, unfinished)


GALVANIC = Spectrum(1e3, 1e1, 1, 0.0, amplitude_A=1e-3, bias_A=5e-3, at_most_s=600)
GALVANIC_SCRIPT = """\
e
var f
var r
var j
var t
cell_off
set_pgstat_chan 0
set_pgstat_mode 6
set_max_bandwidth 1M
set_range ba 6414214n
set_range ab 3
set_autoranging ab 50m 3
set_i 5m
cell_on
timer_start
meas_loop_geis f r j 1m 1k 10 3i 5m
pck_start
pck_add f
pck_add r
pck_add j
pck_end
timer_get t
if t > 600
send_string "time limit"
breakloop
endif
endloop
on_finished:
cell_off
"""


def test_a_galvanostatic_sweep_is_a_script_of_its_own() -> None:
    with ScriptedText(*IDENTIFY, (GALVANIC_SCRIPT, "e")) as line:
        identified(line).start(1, GALVANIC)


def test_a_galvanostatic_sweep_beyond_the_largest_range_never_reaches_the_wire() -> None:
    with ScriptedText(*IDENTIFY) as line:
        driver = identified(line)  # an EmStat4 LR: 10 mA
        assert driver.range(1).galvanostatic_A == 10e-3
        with pytest.raises(InstrumentRefused, match="10.* A"):
            driver.start(1, replace(GALVANIC, bias_A=9e-3))


@pytest.mark.parametrize("prefix", ["espico", "senswb"])
def test_a_pico_and_a_sensit_are_no_galvanostats(prefix: str) -> None:
    pico = ("t", [f"t{prefix}1500#Mar 12 2026 14:28:01", "R*"])
    with ScriptedText(pico, *IDENTIFY[1:]) as line:
        driver = identified(line)
        assert driver.range(1).galvanostatic_A == 0.0
        with pytest.raises(InstrumentRefused):
            driver.start(1, replace(GALVANIC, to_Hz=100.0))
