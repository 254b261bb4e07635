"""MethodSCRIPT as text: what the driver writes, and what it reads."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.errors import BadReply
from daq.model import MeasurementState, Spectrum, SpectrumPoint
from drivers.methodscript import (
    Sweep,
    Variable,
    count_points,
    is_script_output,
    literal,
    off_script,
    parse_package,
    refusal,
    spectrum_script,
    voltage_script,
)
from simulators.methodscript import values
from simulators.methodscript.parser import parse

POINT = "Pdc80F4240m;cc97EFEE0n,10,288;cd7445120n,10"
CLIPPED = "Pdc80F4240m;cc97EFEE0n,12,288;cd7445120n,10"
NOT_A_NUMBER = "Pdc80F4240m;cc     nan,10;cd     nan,10"


def test_the_sample_package_is_a_point_of_25_minus_12_milliohm_at_1_kHz() -> None:
    assert parse_package(POINT) == (
        Variable("dc", 1000.0),
        Variable("cc", 0.0251, status=0, range_code=0x88),
        Variable("cd", -0.0123, status=0),
    )


def test_the_sample_of_a_voltammogram_reads_minus_57_8_microampere() -> None:
    potential, current = parse_package("Pda7F85F3Fu;ba48D503Dp,10,288")
    assert potential.value == pytest.approx(-0.499905)
    assert current.value == pytest.approx(-57.847747e-6)
    assert (current.status, current.range_code) == (0, 0x88)


@pytest.mark.parametrize(
    ("text", "value"),
    [("ab8030D40u", 0.2), ("ab8000000 ", 0.0), ("ee800000Ai", 10.0), ("dc80F4240m", 1e3)],
)
def test_a_prefix_scales_its_variable(text: str, value: float) -> None:
    assert parse_package("P" + text)[0].value == value


def test_five_spaces_and_nan_are_not_a_number() -> None:
    assert math.isnan(parse_package("Pcc     nan,12")[0].value)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "P",
        "Pdc80F4240",
        "Pdc80F424m",
        "Pdc80F4240m;",
        "Pdc80F4240x",
        "dc80F4240m",
        "Pd80F4240mm",
    ],
)
def test_a_damaged_package_is_a_bad_reply(line: str) -> None:
    with pytest.raises(BadReply):
        parse_package(line)


@given(
    st.floats(min_value=1e-15, max_value=1e20) | st.floats(min_value=-1e20, max_value=-1e-15),
    st.sampled_from(["dc", "cc", "cd", "ab", "ba"]),
    st.integers(0, 15),
    st.integers(0, 255),
)
def test_what_the_instrument_packs_the_driver_unpacks(
    number: float, kind: str, status: int, code: int
) -> None:
    sent = values.Value(number, kind, metadata=(f"1{status:X}", f"2{code:02X}"))
    (got,) = parse_package(values.package([sent]))
    assert (got.kind, got.status, got.range_code) == (kind, status, code)
    # 28 bits and steps of 1000 leave 2**27 / 1000 counts at the least; below that, attos.
    assert got.value == pytest.approx(number, rel=500 / 2**27, abs=0.6e-18)


@given(st.text(alphabet="P;,dcxyz 0123456789ABCDEFmnupi\n\t", max_size=40))
def test_no_line_makes_the_parser_fail_in_another_way(line: str) -> None:
    try:
        parse_package(line)
    except BadReply:
        pass


@given(st.floats(min_value=1e-6, max_value=1e7) | st.floats(min_value=-1e7, max_value=-1e-6))
def test_a_literal_is_read_back_as_the_number_it_was_made_of(number: float) -> None:
    assert values.literal(literal(number)).number == pytest.approx(number, rel=1e-6)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"), (0.005, "5m"), (1e4, "10k"), (0.01, "10m"), (3600.0, "3600"), (-0.015, "-15m"),
        (2e5, "200k"), (3.7, "3700m"), (1e-6, "1u"), (1e6, "1M"),
    ],
)  # fmt: skip
def test_literals_are_integers_with_the_largest_prefix_that_is_exact(
    number: float, text: str
) -> None:
    assert literal(number) == text


@pytest.mark.parametrize("number", [math.nan, math.inf, 1e-20])
def test_a_number_that_no_literal_can_hold_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not a number for a script"):
        literal(number)


def test_an_error_reply_tells_its_meaning_and_place() -> None:
    error = refusal("e!4001: Line 1, Col 16")
    assert error is not None
    assert error.code == 0x4001
    assert str(error) == "error 4001: unknown script command at Line 1, Col 16"


@pytest.mark.parametrize("line", ["Z", "", "tes4_lr1500#Mar 12 2026", POINT, "e!40", "T!0032 x"])
def test_other_lines_are_no_errors(line: str) -> None:
    assert refusal(line) is None


@pytest.mark.parametrize("line", ["", "*", "+", "-", "L", "M000D", "C0001", POINT, "Ttext"])
def test_a_scripts_output_is_told_from_replies(line: str) -> None:
    assert is_script_output(line)


@pytest.mark.parametrize("line", ["Z", "e", "tes4_lr1500", "iES4LR20B0008", "v01.09.00", "Mxyz"])
def test_replies_are_told_from_a_scripts_output(line: str) -> None:
    assert not is_script_output(line)


def test_six_decades_at_ten_points_are_61_frequencies() -> None:
    assert count_points(Spectrum(1e4, 1e-2, 10, 5e-3)) == 61
    assert count_points(Spectrum(1e3, 1e3, 10, 5e-3)) == 1


SWEEP = Spectrum(1e4, 1e-2, 10, 5e-3, bias_V=-0.01, at_most_s=7200)


def sweep_lines() -> list[str]:
    script = spectrum_script(SWEEP, ["set_pgstat_chan 0"], (1e-6, 1.0), 10.0)
    assert script.startswith("e\n")
    assert script.endswith("\n")
    return script.split("\n")[1:-1]


def test_a_sweep_measures_the_open_circuit_voltage_with_the_cell_off_and_adds_the_bias() -> None:
    lines = sweep_lines()
    ocp = lines.index("meas_loop_ocp p 100m 1")
    assert "cell_off" in lines[:ocp]
    assert lines.index("add_var p -10m") > ocp
    assert lines.index("set_e p") > lines.index("add_var p -10m")
    assert lines.index("cell_on") > lines.index("set_e p")
    assert "meas_loop_eis f r j 5m 10k 10m 61i p" in lines


def test_a_sweep_without_bias_leaves_the_open_circuit_voltage_alone() -> None:
    script = spectrum_script(Spectrum(1e3, 1.0, 5, 5e-3), [], (1e-6, 1.0), 10.0)
    assert "add_var" not in script


def test_whatever_ends_a_script_the_cell_ends_off() -> None:
    assert sweep_lines()[-2:] == ["on_finished:", "cell_off"]
    assert voltage_script([["set_pgstat_chan 0"]], "7").endswith("on_finished:\ncell_off\n")
    assert off_script(["set_pgstat_chan 1"]) == "e\nset_pgstat_chan 1\ncell_off\n"


def test_a_sweep_is_bounded_in_time_by_the_instrument_itself() -> None:
    lines = sweep_lines()
    at = lines.index("if t > 7200")
    assert lines[at - 1 : at + 4] == [
        "timer_get t", "if t > 7200", 'send_string "time limit"', "breakloop", "endif",
    ]  # fmt: skip


def test_a_simulated_instrument_of_old_firmware_could_read_every_script() -> None:
    for lines in (
        sweep_lines(),
        voltage_script([["set_pgstat_chan 0"]] * 2, "7").split("\n")[1:-1],
    ):
        parse(lines)
        names = [line.split()[1] for line in lines if line.startswith("var ")]
        assert all(len(name) == 1 for name in names)


def taken(expected: int, *lines: str) -> Sweep:
    sweep = Sweep(1, expected)
    for line in lines:
        sweep.take(line)
    return sweep


def test_a_sweep_is_done_when_every_point_came_before_the_empty_line() -> None:
    sweep = taken(2, "M000B", "*", "M000D", POINT, POINT, "*")
    assert sweep.state is MeasurementState.RUNNING
    sweep.take("")
    assert sweep.state is MeasurementState.DONE
    assert sweep.points() == (SpectrumPoint(1000.0, 0.0251, -0.0123),) * 2
    assert sweep.points() == ()


def test_a_sweep_that_ends_early_has_failed_and_says_why() -> None:
    sweep = taken(3, POINT, "Ttime limit", "*", "")
    assert sweep.state is MeasurementState.FAILED
    assert sweep.message == "time limit; ended after 1 of 3 points"


@pytest.mark.parametrize("bad", [CLIPPED, NOT_A_NUMBER])
def test_a_point_of_a_clipped_current_is_not_given_out(bad: str) -> None:
    sweep = taken(2, bad, POINT, "*", "")
    assert len(sweep.points()) == 1
    assert sweep.state is MeasurementState.DONE
    assert sweep.message.startswith("1 points left out")


def test_a_sweep_of_clipped_points_only_has_failed() -> None:
    assert taken(2, CLIPPED, CLIPPED, "*", "").state is MeasurementState.FAILED


def test_a_critical_overload_fails_the_sweep_and_later_lines_do_not_mend_it() -> None:
    sweep = taken(1, "!0032: Line 24", POINT, "")
    assert sweep.state is MeasurementState.FAILED
    assert sweep.broken
    assert sweep.message == "error 0032: critical cell overload, measurement aborted at Line 24"
    assert sweep.points() == ()


def test_flow_control_bytes_of_a_uart_do_not_hide_a_package() -> None:
    assert taken(1, "\x11" + POINT).points() != ()


@pytest.mark.parametrize("line", ["hello", "Pdc80F4240m;cc97EFEE0n", "Pzz", "e"])
def test_a_line_that_no_sweep_sends_is_a_bad_reply(line: str) -> None:
    with pytest.raises(BadReply):
        taken(1, line)


# Galvanostatic sweeps.


def test_a_galvanostatic_sweep_is_told_its_direct_current_before_the_cell_is_on() -> None:
    sweep = Spectrum(1e3, 10.0, 5, 0.0, amplitude_A=0.01, bias_A=-0.25, at_most_s=600)
    lines = spectrum_script(sweep, ["set_pgstat_chan 0"], (1e-6, 1.0), 10.0).split("\n")
    assert "set_pgstat_mode 6" in lines
    assert lines.index("set_i -250m") < lines.index("cell_on")
    assert "meas_loop_geis f r j 10m 1k 10 11i -250m" in lines
    assert not any(line.startswith(("set_e", "meas_loop_ocp", "add_var")) for line in lines)
    assert lines[-4:-1] == ["endloop", "on_finished:", "cell_off"]
    assert "if t > 600" in lines


def test_the_current_range_of_a_galvanostatic_sweep_holds_its_peak() -> None:
    sweep = Spectrum(1e3, 10.0, 5, 0.0, amplitude_A=0.1, bias_A=0.2)
    script = spectrum_script(sweep, [], (1e-6, 1.0), 10.0)
    (line,) = [line for line in script.split("\n") if line.startswith("set_range ba")]
    digits = line.removeprefix("set_range ba ").removesuffix("u").removesuffix("n")
    assert float(digits) == pytest.approx(341421.356, rel=1e-3) or line.endswith("n")
    assert sweep.peak_A == pytest.approx(0.2 + 0.1 * 2**0.5)
