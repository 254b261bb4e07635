"""The simulated potentiostat's commands, relay, ranges and multiplexer, without a socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.methodscript.parser import ARGUMENTS
from tests.unit.methodscript_host import Bench, number, sweep_at_rest


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("t\n", "tes4_lr1500#Mar 12 2026 14:28:01\nR*\n"),
        ("i\n", "iES4LR20B0008\n"),
        ("v\n", "v01.09.00\n"),
        ("\n", "\n"),
        ("r\n", "r!000C\n"),
        ("Z\n", "Z!0006\n"),
        ("Y\n", "Y!0006\n"),
        ("*IDN?\n", "*!0003\n"),
        ("q" * 300 + "\n", "q!0008\n"),
    ],
)
def test_commands_answer_as_the_makers_documents_say(command: str, answer: str) -> None:
    assert Bench(model="es4_lr", serial="ES4LR20B0008").say(command) == answer


def test_capabilities_are_bit_fields_of_64_hex_digits(bench: Bench) -> None:
    communication, script = bench.say("CC\n"), bench.say("CM\n")
    assert len(communication) == len(script) == 1 + 64 + 1
    assert int(communication[1:], 16) >> 98 & 1, "Z"
    assert int(script[1:], 16) >> 31 & 1, "meas_loop_eis"
    assert bin(int(script[1:], 16)).count("1") == len(ARGUMENTS)


def test_a_command_may_arrive_one_byte_at_a_time(bench: Bench) -> None:
    assert [bench.say(byte) for byte in "v\n"] == ["", "v01.09.00\n"]


def test_after_an_error_the_box_is_deaf_for_a_tenth_of_a_second(bench: Bench) -> None:
    assert bench.say("x\nv\n") == "x!0003\n"
    bench.clock.advance(0.05)
    assert bench.say("v\n") == ""
    bench.clock.advance(0.06)
    assert bench.say("v\n") == "v01.09.00\n"


def test_a_script_as_the_maker_prints_it_is_accepted_and_0_volt_is_a_critical_overload() -> None:
    script = (
        "var f\nvar r\nvar j\nset_pgstat_chan 0\nset_pgstat_mode 3\nset_autoranging ba 1u 5m\n"
        "cell_on\nmeas_loop_eis f r j 10m 1k 10 3 0m\npck_start\npck_add f\npck_add r\n"
        "pck_add j\npck_end\nendloop\non_finished:\ncell_off"
    )
    bench = Bench()
    assert bench.run(script) == ["M000D", "!0032: Line 8", ""]
    assert not bench.cell_is_on


def test_a_sweep_of_three_points_streams_three_packages() -> None:
    bench = Bench()
    lines = bench.run(sweep_at_rest(bench))
    assert lines[0] == "M000D"
    assert [line[:12] for line in lines[1:4]] == ["Pdc80F4240m;", "PdcDF5E100u;", "Pdc8989680u;"]
    assert lines[4:] == ["*", ""]


def test_a_spectrum_is_the_cells_own_impedance_within_the_noise() -> None:
    bench = Bench()
    truth = {hertz: bench.leads[1].impedance(hertz) for hertz in (1000.0, 100.0, 10.0)}
    for line in bench.run(sweep_at_rest(bench))[1:4]:
        hertz, real, imaginary = (number(text) for text in line[1:].split(";"))
        z = truth[round(hertz, 6)]
        assert abs(complex(real, imaginary) - z) < 0.006 * abs(z)


def test_points_come_as_bench_time_passes() -> None:
    bench = Bench()
    output = bench.say(f"e\n{sweep_at_rest(bench, low='100m')}\n")
    assert output.count("P") == 0
    assert bench.wait(1.0).count("P") == 2
    assert bench.box.running
    assert bench.wait(29.0).count("P") == 0, "three periods of 100 mHz take 30 s"
    assert bench.wait(2.0).count("P") == 1
    assert not bench.box.running


def test_a_current_beyond_its_range_is_flagged_and_clipped() -> None:
    bench = Bench()
    script = sweep_at_rest(bench).replace("1u 1\n", "1u 100m\n")
    line = bench.run(script)[1]
    real = line.split(";")[1]
    assert real.endswith(",12,20A"), "overload, on the 100 mA range"
    assert number(real) > 1.5 * bench.leads[1].impedance(1000.0).real


def test_a_critical_overload_ends_the_script_and_opens_the_relay() -> None:
    bench = Bench(model="es4_hr")
    script = sweep_at_rest(bench).replace("j 10m", "j 100m")
    assert bench.run(script) == ["M000D", "!0032: Line 9", ""]
    assert not bench.cell_is_on


def test_a_full_cell_is_beyond_a_pico(bench: Bench) -> None:
    bench = Bench(model="espico")
    assert bench.run(sweep_at_rest(bench)) == ["!000F: Line 7", ""]


def test_while_the_relay_is_open_no_current_flows(bench: Bench) -> None:
    bench.run("set_pgstat_mode 3\nset_e 4\nwait 10\ncell_off", 20)
    assert bench.leads[1].ledger.peak_A == 0.0
    assert bench.leads[1].ledger.edges == []


def test_amperometry_holds_a_potential_and_charges_the_cell(bench: Bench) -> None:
    script = "var e\nvar i\nset_pgstat_mode 3\nset_autoranging ba 1m 1\ncell_on\n"
    volts = round(1000 * bench.leads[1].voltage_V) + 10
    script += f"meas_loop_ca e i {volts}m 1 5\npck_start\npck_add e\npck_add i\npck_end\nendloop\n"
    lines = bench.run(script + "on_finished:\ncell_off", 10)
    assert (lines[0], lines[-2:]) == ("M0007", ["*", ""])
    assert len(lines) == 8
    assert all(number(line.split(";")[1]) > 0.05 for line in lines[1:6])
    assert bench.leads[1].ledger.charged_Ah > 0.0


def test_z_ends_the_measurement_runs_on_finished_and_sends_the_empty_line() -> None:
    bench = Bench()
    bench.say(f"e\n{sweep_at_rest(bench, low='1m')}\n")
    bench.wait(1.0)
    assert bench.cell_is_on
    assert bench.say("Z\n") + bench.wait(1.0) == "Z\n*\n\n"
    assert not bench.cell_is_on
    assert bench.say("Z\n") == "Z!0006\n"


def test_on_finished_cannot_be_aborted(bench: Bench) -> None:
    bench.run('wait 1\non_finished:\nwait 10\nsend_string "safe"', 2.0)
    assert bench.say("Z\n") + bench.wait(12.0) == "Z\nTsafe\n\n"


def test_y_ends_only_the_measurement_loop(bench: Bench) -> None:
    bench.run('var p\nmeas_loop_ocp p 1 100\nendloop\nsend_string "next"', 5.0)
    assert bench.say("Y\n") + bench.wait(1.0) == "Y\n*\nTnext\n\n"


def test_h_holds_a_script_until_capital_h(bench: Bench) -> None:
    bench.run('wait 5\nsend_string "done"', 4.0)
    assert bench.say("h\n") + bench.wait(60.0) == "h\n"
    assert bench.say("H\n") + bench.wait(0.9) == "H\n"
    assert bench.wait(0.2) == "Tdone\n\n"


def test_an_aborted_halt_does_not_hold_on_finished(bench: Bench) -> None:
    bench.run("wait 5", 1.0)
    bench.say("h\n")
    assert bench.say("Z\n") + bench.wait(1.0) == "Z\n\n"


@pytest.mark.parametrize(
    ("command", "answer"),
    [("i\n", "i!0006\n"), ("e\n", "e!0006\n"), ("t\n", "tnexus11500#Mar 12 2026 14:28:01\nR*\n")],
)
def test_while_a_script_runs_most_commands_are_refused(
    bench: Bench, command: str, answer: str
) -> None:
    bench.run("wait 5", 1.0)
    assert bench.say(command) == answer


def test_an_empty_line_to_a_running_script_is_not_answered_as_its_end(bench: Bench) -> None:
    bench.run("wait 5", 1.0)
    assert bench.say("\n") == ""


def test_a_script_runs_on_when_the_host_goes_away_and_its_output_is_lost() -> None:
    bench = Bench()
    bench.say(f"e\n{sweep_at_rest(bench)}\n")
    bench.host.close()
    bench.wait(2.0)
    assert not bench.box.running
    assert [edge.on for edge in bench.leads[1].ledger.edges] == [True, False]
    bench.host = bench.box.session()
    assert bench.wait(1.0) == ""


def test_a_loaded_script_runs_as_often_as_asked(bench: Bench) -> None:
    assert bench.say('l\nsend_string "hello"\n\n') == "l\n"
    for _ in range(2):
        assert bench.say("r\n") + bench.wait(1.0) == "r\nThello\n\n"


def test_a_mux8_switches_the_cell_by_its_digital_lines() -> None:
    bench = Bench(cells=3, multiplexer="mux8")
    script = sweep_at_rest(bench, channel=3).replace(
        "set_pgstat_mode", "set_gpio_cfg 0b111 1\nset_gpio 2i\nset_pgstat_mode"
    )
    assert bench.run(script)[-2:] == ["*", ""]
    assert [len(bench.leads[n].ledger.edges) for n in (1, 2, 3)] == [0, 0, 2]


def test_a_closed_relay_moves_with_the_multiplexer() -> None:
    bench = Bench(cells=2, multiplexer="mux8r2")
    script = "mux_config 3i 0x0000\nmux_set_channel 1i\nset_pgstat_mode 3\nset_e 3600m\ncell_on\n"
    bench.run(script + "wait 1\nmux_set_channel 2i\nwait 5", 3.0)
    assert [bench.leads[n].regulation == "off" for n in (1, 2)] == [True, False]


@pytest.mark.parametrize(
    ("multiplexer", "script", "error"),
    [
        ("none", "mux_config 3i 0x0000", "!0046: Line 1"),
        ("mux8r2", "mux_set_channel 1i", "!4021: Line 1"),
        ("mux8r2", "mux_config 1i 0x0000", "!00BD: Line 1"),
        ("mux8", "set_gpio 1i", "!00BA: Line 1"),
    ],
)
def test_a_multiplexer_must_be_there_and_be_set_up(
    multiplexer: str, script: str, error: str
) -> None:
    assert Bench(multiplexer=multiplexer).run(script) == [error, ""]


def test_two_potentiostat_channels_have_relays_of_their_own() -> None:
    bench = Bench(cells=2, model="espico")
    script = "set_pgstat_chan 1\nset_pgstat_mode 3\nset_e 1\ncell_on\nset_pgstat_chan 0\ncell_off"
    bench.run(script)
    assert [bench.leads[n].regulation == "off" for n in (1, 2)] == [True, False]


def test_a_channel_that_is_not_wired_measures_nothing() -> None:
    bench = Bench(model="espico")
    script = "var p\nset_pgstat_chan 1\nset_pgstat_mode 3\nmeas 100m p ab\n"
    assert bench.run(script + "pck_start\npck_add p\npck_end") == ["Pab     nan", ""]


def test_scripted_faults_of_the_box_reach_its_numbers() -> None:
    bench = Bench()
    bench.box.perturb.nan = frozenset({"impedance_ohm"})
    assert "cc     nan,1" in bench.run(sweep_at_rest(bench))[1]
    bench.box.perturb.ignores_off = True
    bench.run(sweep_at_rest(bench))
    assert bench.cell_is_on


@pytest.mark.parametrize(
    "options", [{"model": "emstat9"}, {"multiplexer": "mux16"}, {"colour": "red"}]
)
def test_an_option_that_cannot_be_is_refused_by_its_name(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Bench(**options)


@given(st.binary(max_size=200))
def test_no_bytes_kill_the_box(data: bytes) -> None:
    bench = Bench()
    for out in bench.host.feed(data):
        assert isinstance(out.data, bytes)
    bench.wait(1.0)
