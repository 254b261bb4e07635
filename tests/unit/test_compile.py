"""Protocol + cell -> program: setpoints inside every tier, loops, cycles and durations."""

from __future__ import annotations

from math import inf, isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.driver import Range
from daq.errors import InputError
from daq.model import Cell, Limits, Setpoint, Spectrum
from daq.protocol.compile import compile_protocol
from daq.protocol.condition import Condition, Quantity
from daq.protocol.course import Course, Follows
from daq.protocol.program import (
    MOVES_CHARGE,
    End,
    Program,
    RecordRule,
    Repeat,
    Soak,
    Step,
    StepKind,
)
from daq.protocol.source import parse_protocol
from tests.unit.marked import refusal

STATION = ("station A1", Limits((2.0, 4.35), (-10.0, 10.0), (0.0, 60.0)))
CELL = Cell("c7", 2.5, limits=Limits((2.2, 4.3), (-6.0, 5.0)))
RANGE = Range((0.0, 20.0), (-8.0, 8.0), (-40.0, 180.0), (1e-3, 2e5))
HEAD = "protocol: p\nversion: 1.0.0\n"
SAFETY = "safety: {voltage: [2.4 V, 4.25 V], temperature: [10 degC, 45 degC], charge: 115 %}\n"


def program(steps: str, head: str = "", range: Range | None = RANGE) -> Program:
    source = parse_protocol(f"{HEAD}{head}steps:\n{steps}\n")
    return compile_protocol(source, CELL, [STATION], range)


def only_step(steps: str, head: str = "") -> Step:
    return program(steps, head).steps[0]


# Setpoints: what the cycler is told.


def test_a_charge_regulates_a_little_above_its_end_so_that_the_end_is_seen() -> None:
    step = only_step("  - {charge: C/20, until: voltage >= 4.2 V, at_most: 25 h}")
    assert step.setpoint == Setpoint(pytest.approx(4.21), 0.125, 0.0)
    assert step.until == (Condition(Quantity.VOLTAGE, True, 4.2, "voltage >= 4.2 V"),)
    assert step.at_most_s == 25 * 3600.0


def test_a_charge_never_regulates_beyond_the_tightest_limit() -> None:
    step = only_step("  - {charge: C/20, until: voltage >= 4.245 V, at_most: 25 h}", SAFETY)
    assert step.setpoint == Setpoint(4.25, 0.125, 0.0)


def test_a_charge_without_a_voltage_end_stays_under_the_tightest_limit() -> None:
    step = only_step("  - {charge: 1 A, until: charge >= 50 %, at_most: 2 h}", SAFETY)
    assert step.setpoint is not None
    assert 4.2 < step.setpoint.voltage_V < 4.25
    assert step.until[0].value == 1.25


def test_of_several_voltage_ends_the_first_to_be_reached_counts() -> None:
    ends = "until: [voltage >= 4.2 V, voltage >= 4.1 V]"
    step = only_step(f"  - {{charge: 1 A, {ends}, at_most: 4 h}}")
    assert step.setpoint is not None
    assert step.setpoint.voltage_V == pytest.approx(4.11)


def test_a_discharge_regulates_a_little_below_its_end() -> None:
    step = only_step("  - {discharge: 2C, until: voltage <= 2.5 V, at_most: 1 h}")
    assert step.setpoint == Setpoint(pytest.approx(2.49), 0.0, 5.0)


def test_a_discharge_never_regulates_beyond_the_tightest_limit() -> None:
    step = only_step("  - {discharge: 2C, until: voltage <= 2.405 V, at_most: 1 h}", SAFETY)
    assert step.setpoint is not None
    assert step.setpoint.voltage_V == 2.4


def test_an_uncapped_hold_may_use_what_cell_station_and_instrument_allow() -> None:
    step = only_step("  - {hold: 4.2 V, until: current <= C/50, at_most: 4 h}")
    assert step.setpoint == Setpoint(4.2, pytest.approx(4.9), pytest.approx(5.88))


def test_a_capped_hold_uses_its_cap_in_both_directions() -> None:
    step = only_step("  - {hold: 4.2 V, current: C/2, until: current <= C/50, at_most: 4 h}")
    assert step.setpoint == Setpoint(4.2, 1.25, 1.25)


def test_cccv_is_one_step_that_the_instrument_itself_changes_over() -> None:
    step = only_step(
        "  - {cccv: {charge: C/2, voltage: 4.2 V}, until: current <= 50 mA, at_most: 4 h}"
    )
    assert (step.kind, step.setpoint) == (StepKind.CCCV, Setpoint(4.2, 1.25, 0.0))
    step = only_step(
        "  - {cccv: {discharge: C/2, voltage: 2.5 V}, until: current <= C/50, at_most: 4 h}"
    )
    assert step.setpoint == Setpoint(2.5, 0.0, 1.25)


def test_power_is_signed_and_bounded_by_the_current_at_the_end_voltage() -> None:
    step = only_step("  - {discharge: 5 W, until: voltage <= 2.51 V, at_most: 3 h}")
    assert step.course == Course(Follows.POWER, (0.0,), (-5.0,), top_V=2.5, bottom_V=2.5)
    assert step.setpoint == Setpoint(pytest.approx(2.5), 0.0, pytest.approx(2.0))
    step = only_step("  - {charge: 5 W, until: voltage >= 4.19 V, at_most: 3 h}")
    assert step.course == Course(Follows.POWER, (0.0,), (5.0,), top_V=4.2, bottom_V=4.2)
    assert step.setpoint == Setpoint(pytest.approx(4.2), pytest.approx(5 / 4.2), 0.0)


def test_a_power_is_renewed_within_what_the_instrument_can_do() -> None:
    source = parse_protocol(
        f"{HEAD}steps:\n  - {{charge: 5 W, until: voltage >= 4.19 V, at_most: 3 h}}\n"
    )
    small = Range((0.0, 20.0), (-3.0, 3.0))
    made = compile_protocol(source, Cell("c", 2.5), [STATION], small)
    assert made.steps[0].limits.current_A == (-3.0, 3.0)


def test_rest_chamber_and_eis_leave_the_output_off() -> None:
    made = program(
        "  - chamber: 25 degC\n    soak: {within: 0.5 K, for: 30 min, at_most: 4 h}\n"
        "  - chamber: 30 degC\n  - rest: 12 h\n"
        "  - eis: {from: 10 kHz, to: 10 mHz, per_decade: 6, amplitude: 5 mV, at_most: 2 h}"
    )
    soaked, at_once, rest, eis = made.steps
    assert all(step.setpoint is None for step in made.steps)
    assert (soaked.soak, soaked.at_most_s) == (Soak(25.0, 0.5, 1800.0), 4 * 3600.0)
    assert at_once.soak == Soak(30.0, inf, 0.0)
    assert (rest.at_most_s, rest.until) == (12 * 3600.0, ())
    assert eis.spectrum == Spectrum(1e4, 0.01, 6, 0.005, 0.0, 7200.0)


def test_a_rest_that_may_end_early_ends_normally_by_its_time_too() -> None:
    step = only_step("  - {rest: 2 h, until: temperature <= 30 degC}")
    assert step.until == (
        Condition(Quantity.TEMPERATURE, False, 30.0, "temperature <= 30 degC"),
        Condition(Quantity.TIME, True, 7200.0, "time >= 2 h"),
    )


def test_a_sweep_has_at_least_three_times_the_time_that_its_frequencies_need() -> None:
    made = program("  - eis: {from: 10 kHz, to: 1 mHz, per_decade: 10, amplitude: 5 mV}")
    assert made.steps[0].at_most_s == pytest.approx(3 * made.expected_s)
    short = only_step("  - eis: {from: 10 kHz, to: 1 Hz, amplitude: 5 mV}")
    assert short.at_most_s == 3600.0


INCLUDES = f"{HEAD}safety: {{charge: 115 %}}\nsteps:\n  - rest: 1 h\n  - include: part.yaml\n"


@pytest.mark.parametrize(
    ("safety", "charge_Ah"),
    [
        ("", 1.15 * 2.5),
        ("safety: {charge: 110 %}\n", 1.1 * 2.5),
        ("safety: {charge: 120 %}\n", 1.15 * 2.5),
    ],
)
def test_an_included_file_tightens_the_charge_only_where_it_says_so(
    safety: str, charge_Ah: float
) -> None:
    part = f"protocol: part\nversion: 1.0.0\n{safety}steps:\n  - rest: 2 h\n"
    source = parse_protocol(INCLUDES, files={"part.yaml": part})
    outer, inner = compile_protocol(source, CELL, [STATION], RANGE).steps
    assert outer.limits.charge_Ah == pytest.approx(1.15 * 2.5)
    assert inner.limits.charge_Ah == pytest.approx(charge_Ah)


# Tiers: what a setpoint may not exceed, and who says so.

ONE_STEP = f"{HEAD}{SAFETY}steps:\n  - "


def compile_text(text: str, cell: Cell = CELL) -> Program:
    return compile_protocol(parse_protocol(text), cell, [STATION], RANGE)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("{charge: §5C, until: voltage >= 4.2 V, at_most: 1 h}", "the 10 A of station A1"),
        ("{charge: §2.2C, until: voltage >= 4.2 V, at_most: 1 h}", "the 5 A of cell c7"),
        ("{discharge: §7 A, until: voltage <= 3 V, at_most: 1 h}", "the -6 A of cell c7"),
        ("{charge: 1 A, until: §voltage >= 4.28 V, at_most: 4 h}", "the 4.25 V of safety of this"),
        ("{charge: 1 A, until: §voltage >= 4.32 V, at_most: 4 h}", "the 4.3 V of cell c7"),
        ("{charge: 1 A, until: §voltage >= 4.4 V, at_most: 4 h}", "the 4.35 V of station A1"),
        ("{discharge: 1 A, until: §voltage <= 2.3 V, at_most: 4 h}", "the 2.4 V of safety of this"),
        ("{charge: 1 A, until: [time >= 1 h, §voltage >= 4.4 V], at_most: 4 h}", "the 4.35 V"),
        ("{hold: §4.3 V, until: time >= 1 h, at_most: 1 h}", "the 4.25 V of safety of this"),
        (
            "{hold: 4.2 V, current: §9 A, until: time >= 1 h, at_most: 1 h}",
            "the 5 A of cell c7",
        ),
        (
            "{hold: §4.2 V, until: time >= 1 h, at_most: 1 h, limits: {voltage: [3 V, 4.1 V]}}",
            "the 4.1 V of this step's limits",
        ),
        (
            "{cccv: {charge: C/2, voltage: §4.3 V}, until: current <= C/50, at_most: 4 h}",
            "the 4.25 V of safety of this",
        ),
        (
            "{cccv: {charge: §3C, voltage: 4.2 V}, until: current <= C/50, at_most: 4 h}",
            "the 5 A of cell c7",
        ),
        ("{discharge: §25 W, until: voltage <= 2.6 V, at_most: 1 h}", "the -6 A of cell c7"),
        ("{charge: 1 A, until: §charge >= 120 %, at_most: 9 h}", "the 2.875 Ah of safety of this"),
        ("chamber: §50 degC", "the 45 degC of safety of this"),
        ("chamber: §70 degC", "the 60 degC of station A1"),
        ("eis: {from: §1 MHz, to: 1 Hz, amplitude: 5 mV}", "1 MHz is beyond the potentiostat"),
        ("eis: {from: 1 kHz, to: §0.1 mHz, amplitude: 5 mV}", "0.1 mHz is beyond the"),
    ],
)
def test_what_exceeds_a_tier_is_refused_with_the_tier_and_the_place(step: str, said: str) -> None:
    error = refusal(compile_text, f"{ONE_STEP}{step}\n")
    assert said in error.message
    assert error.remedy


def test_a_c_rate_beyond_the_instrument_is_refused_before_anything_is_energised() -> None:
    large = Cell("module", 50.0)
    text = f"{ONE_STEP}{{charge: §C/6, until: voltage >= 4.2 V, at_most: 9 h}}\n"
    error = refusal(lambda unmarked: compile_text(unmarked, large), text)
    assert error.message == "charge at C/6 (8.333 A) is above the 8 A of the instrument's range"
    assert error.remedy == "allowed there: -8 to 8 A"


def test_the_most_charge_of_a_protocol_without_one_is_told_to_be_a_default() -> None:
    text = """
protocol: p
version: 1.0.0
safety: {voltage: [2.4 V, 4.25 V]}
steps:
  - {charge: C/2, until: charge >= %s, at_most: 3 h}
"""
    cell = Cell("c7", 1.0)
    with pytest.raises(InputError) as caught:
        compile_protocol(parse_protocol(text % "110 %"), cell, [STATION])
    assert caught.value.message == (
        "the end 'charge >= 110 %' is above the 1.05 Ah of the default of 105 %, "
        "as this protocol has no `safety: charge`"
    )
    assert "`safety: {charge: 115 %}`" in caught.value.remedy
    compile_protocol(parse_protocol(text % "104 %"), cell, [STATION])
    said = text.replace("safety: {", "safety: {charge: 115 %%, ") % "110 %"
    compile_protocol(parse_protocol(said), cell, [STATION])


def test_an_unknown_range_is_not_checked() -> None:
    step = "  - {discharge: 5.9 A, until: voltage <= 3 V, at_most: 1 h}"
    assert program(step, range=None).steps[0].setpoint


@pytest.mark.parametrize(
    ("step", "remedy"),
    [
        ("{charge: 1 A, until: voltage <= 4 V, at_most: 1 h}", "did you mean 'voltage >= 4 V'?"),
        ("{discharge: 1 A, until: soc >= 20 %, at_most: 1 h}", "did you mean 'soc <= 20 %'?"),
        ("{rest: 1 h, until: current <= 1 A}", "it ends by "),
        ("{charge: 1 A, until: 'voltage >= 4,1 V', at_most: 1 h}", "a point, not a comma"),
        (
            "{cccv: {charge: 1 A, discharge: 1 A, voltage: 4 V}, until: time >= 1 s, at_most: 1 h}",
            "write it like {charge: C/2",
        ),
    ],
)
def test_an_end_that_cannot_be_is_answered_with_one_that_can(step: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        program(f"  - {step}")
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("{charge: 1 A, until: §voltage <= 4 V, at_most: 1 h}", "does not end a charge"),
        ("{charge: 1 A, until: §current >= 1 A, at_most: 1 h}", "does not end a charge"),
        ("{discharge: 1 A, until: §voltage >= 3 V, at_most: 1 h}", "does not end a discharge"),
        ("{hold: 4 V, until: §voltage >= 4 V, at_most: 1 h}", "does not end a hold"),
        (
            "{cccv: {charge: 1 A, voltage: 4 V}, until: §voltage >= 4 V, at_most: 1 h}",
            "does not end a cccv",
        ),
        ("{charge: 1 A, until: §time <= 1 h, at_most: 1 h}", "does not end a charge"),
        ("{rest: 1 h, until: §current <= 1 A}", "does not end a rest"),
        ("{charge: 1 A, until: §time >= 2 h, at_most: 1 h}", "lies beyond at_most"),
        ("{charge: 1 A, until: charge >= 2 Ah, at_most: §1 h}", "takes 2 h at this rate"),
        ("eis: {from: 1 Hz, to: §10 Hz, amplitude: 5 mV}", "the sweep goes upwards"),
        (
            "{chamber: 25 degC, soak: {within: 1 K, for: 2 h, at_most: §1 h}}",
            "the soak outlasts its at_most",
        ),
    ],
)
def test_a_step_that_would_end_at_once_or_never_is_refused(step: str, said: str) -> None:
    assert said in refusal(compile_text, f"{ONE_STEP}{step}\n").message


def test_limits_are_the_intersection_of_all_tiers() -> None:
    limits = "limits: {voltage: [3 V, 4.5 V], current: [-2 A, 2 A]}"
    step = only_step(f"  - {{rest: 1 h, {limits}}}", SAFETY)
    assert step.limits == Limits((3.0, 4.25), (-2.0, 2.0), (10.0, 45.0), 2.875)


def test_step_limits_do_not_leak_into_the_next_step() -> None:
    made = program("  - {rest: 1 h, limits: {voltage: [3 V, 4 V]}}\n  - rest: 1 h")
    assert made.steps[1].limits.voltage_V == (2.2, 4.3)


def test_tiers_that_have_nothing_in_common_are_refused() -> None:
    text = f"{HEAD}§safety: {{voltage: [4.4 V, 4.5 V]}}\nsteps:\n  - rest: 1 h\n"
    error = refusal(compile_text, text)
    assert "safety of this protocol and the limits above it have no voltage" in error.message
    text = f"{HEAD}steps:\n  - rest: 1 h\n    §limits: {{temperature: [80 degC, 90 degC]}}\n"
    error = refusal(compile_text, text)
    assert "this step's limits and the limits above it have no temperature" in error.message


def test_safety_charge_is_a_percentage_of_nominal_or_a_charge() -> None:
    assert only_step("  - rest: 1 h", SAFETY).limits.charge_Ah == pytest.approx(2.875)
    assert only_step("  - rest: 1 h", "safety: {charge: 3 Ah}\n").limits.charge_Ah == 3.0


def test_without_any_station_a_file_can_still_be_checked() -> None:
    text = f"{HEAD}steps:\n  - {{hold: 4 V, until: time >= 1 h, at_most: 1 h}}\n"
    made = compile_protocol(parse_protocol(text), Cell("x", 1.0), [])
    assert made.steps[0].setpoint == Setpoint(4.0, inf, inf)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("{hold: 4 V, until: time >= 1 h, at_most: 1 h}", "nothing limits the current"),
        ("{charge: 1 A, until: time >= 1 h, at_most: 1 h}", "nothing limits the voltage"),
    ],
)
def test_at_a_station_no_setpoint_is_unbounded(step: str, said: str) -> None:
    source = parse_protocol(f"{HEAD}steps:\n  - {step}\n")
    with pytest.raises(InputError, match=said):
        compile_protocol(source, Cell("x", 1.0), [("station bare", Limits())])


# Loops and cycles.


def brackets(made: Program) -> list[tuple[int, int, bool]]:
    return [
        (item.times, item.end, item.counts_cycles)
        for item in made.instructions
        if isinstance(item, Repeat)
    ]


CYCLE = """
{pad}- {{charge: 1C, until: voltage >= 4.2 V, at_most: 2 h}}
{pad}- {{discharge: 1C, until: voltage <= 2.5 V, at_most: 2 h}}"""


def test_a_loop_that_charges_and_discharges_counts_cycles() -> None:
    made = program("  - rest: 1 h\n  - repeat: 3\n    steps:" + CYCLE.format(pad="      "))
    assert brackets(made) == [(3, 4, True)]
    assert made.instructions[4] == End(1)


def test_only_the_innermost_such_loop_counts() -> None:
    made = program(
        "  - repeat: 5\n    steps:\n      - repeat: 24\n        steps:"
        + CYCLE.format(pad="          ")
        + "\n      - repeat: 1\n        steps:"
        + CYCLE.format(pad="          ")
    )
    assert [(times, counts) for times, _, counts in brackets(made)] == [
        (5, False),
        (24, True),
        (1, True),
    ]
    for index, item in enumerate(made.instructions):
        if isinstance(item, Repeat):
            assert made.instructions[item.end] == End(index)


def test_a_loop_that_only_pulses_does_not_count_but_the_loop_around_it_does() -> None:
    made = program(
        "  - repeat: 2\n    steps:\n"
        "      - {cccv: {charge: 1C, voltage: 4.2 V}, until: current <= C/20, at_most: 3 h}\n"
        "      - repeat: 10\n        steps:\n"
        "          - {discharge: 1C, until: time >= 6 min, at_most: 6 min}\n"
        "          - rest: 1 h"
    )
    assert [(times, counts) for times, _, counts in brackets(made)] == [(2, True), (10, False)]


def test_a_program_without_cycles_is_cycle_one() -> None:
    made = program("  - rest: 1 h\n  - rest: 2 h")
    assert brackets(made) == [(1, 3, True)]
    assert [step.number for step in made.steps] == [1, 2]


def test_steps_are_numbered_in_the_order_of_the_file_and_know_their_line() -> None:
    made = program("  - rest: 1 h\n  - repeat: 3\n    steps:" + CYCLE.format(pad="      "))
    assert [(step.number, step.line) for step in made.steps] == [(1, 4), (2, 7), (3, 8)]


def test_loops_of_loops_are_bounded() -> None:
    text = (
        f"{HEAD}steps:\n  - repeat: 100000\n    steps:\n      - repeat: §100000\n"
        "        steps:\n          - rest: 1 s\n"
    )
    assert "more than 1000000 passes" in refusal(compile_text, text).message


# Durations and records.


def test_durations_count_every_pass() -> None:
    made = program("  - rest: 1 h\n  - repeat: 3\n    steps:" + CYCLE.format(pad="      "))
    assert made.at_most_s == 3600 * (1 + 3 * 4)
    assert made.expected_s == 3600 * (1 + 3 * 2)


def test_a_step_expects_the_first_of_its_ends_and_never_more_than_at_most() -> None:
    assert program(
        "  - {charge: C/10, until: [voltage >= 4.2 V, time >= 10 min], at_most: 11 min}"
    ).expected_s == pytest.approx(600.0)
    assert program(
        "  - {charge: C/10, until: voltage >= 4.2 V, at_most: 2 h}"
    ).expected_s == pytest.approx(7200.0)
    assert program(
        "  - {charge: C/10, until: charge >= 10 %, at_most: 2 h}"
    ).expected_s == pytest.approx(3600.0)


def test_a_step_takes_what_its_record_rule_leaves_out_from_the_protocol_s() -> None:
    head = "record: {every: 1 min, voltage: 5 mV, current: 1 %}\n"
    record = "record: {every: 1 s, temperature: 0.2 K}"
    made = program(f"  - rest: 1 h\n  - {{rest: 1 h, {record}}}", head)
    assert made.steps[0].record == RecordRule(60.0, 0.005, 0.025)
    assert made.steps[1].record == RecordRule(1.0, 0.005, 0.025, 0.2)


def test_without_a_record_rule_a_sample_is_kept_every_ten_seconds() -> None:
    assert only_step("  - rest: 1 h").record == RecordRule()


def test_the_program_says_where_it_comes_from() -> None:
    source = parse_protocol(f"{HEAD}steps:\n  - rest: 1 h\n")
    made = compile_protocol(source, CELL, [STATION])
    assert (made.protocol, made.version, made.cell) == ("p", "1.0.0", "c7")
    assert (made.sha256, made.nominal_capacity_Ah) == (source.sha256, 2.5)


# Whatever a protocol asks for, a program that compiles stays inside.

VOLTS = st.floats(1.0, 5.0).map(lambda value: f"{value:.3f} V")
AMPS = st.floats(0.001, 20.0).map(lambda value: f"{value:.3f} A") | st.integers(1, 40).map(
    lambda hours: f"C/{hours}"
)
MOVING = st.one_of(
    st.builds("{{charge: {}, until: voltage >= {}, at_most: 50 h}}".format, AMPS, VOLTS),
    st.builds("{{discharge: {}, until: voltage <= {}, at_most: 50 h}}".format, AMPS, VOLTS),
    st.builds(
        "{{hold: {}, current: {}, until: current <= C/50, at_most: 4 h}}".format, VOLTS, AMPS
    ),
    st.builds("{{hold: {}, until: current <= C/50, at_most: 4 h}}".format, VOLTS),
    st.builds(
        "{{cccv: {{charge: {}, voltage: {}}}, until: current <= C/50, at_most: 50 h}}".format,
        AMPS,
        VOLTS,
    ),
    st.builds(
        "{{discharge: {} W, until: voltage <= {}, at_most: 50 h}}".format,
        st.integers(1, 50),
        VOLTS,
    ),
    st.builds("{{charge: {}, until: time >= 1 h, at_most: 50 h}}".format, AMPS),
)
SPANS = st.tuples(st.floats(1.0, 3.0), st.floats(3.1, 5.0))


@given(step=MOVING, volts=SPANS, amps=st.floats(0.5, 12.0))
def test_a_program_that_compiles_has_every_setpoint_inside_every_tier(
    step: str, volts: tuple[float, float], amps: float
) -> None:
    cell = Cell("c", 2.5, limits=Limits(volts, (-amps, amps)))
    try:
        made = compile_text(f"{ONE_STEP}{step}\n", cell)
    except InputError as error:
        assert error.place is not None
        return
    for compiled in made.steps:
        assert compiled.kind in MOVES_CHARGE
        setpoint, limits = compiled.setpoint, compiled.limits
        assert setpoint is not None
        assert limits.voltage_V[0] <= setpoint.voltage_V <= limits.voltage_V[1]
        assert 0.0 <= setpoint.charge_A <= min(limits.current_A[1], RANGE.current_A[1])
        assert 0.0 <= setpoint.discharge_A <= min(-limits.current_A[0], -RANGE.current_A[0])
        assert isfinite(compiled.at_most_s)
        assert made.expected_s <= made.at_most_s


@pytest.mark.parametrize(
    ("before", "charges", "discharges"), [("charge", True, False), ("discharge", False, True)]
)
def test_a_hold_goes_on_in_the_direction_of_the_step_before_it(before, charges, discharges) -> None:
    end = "voltage >= 4.1 V" if before == "charge" else "voltage <= 3 V"
    both = program(
        f"  - {{{before}: C/2, until: {end}, at_most: 4 h}}\n"
        "  - {hold: 3.6 V, current: C/2, until: current <= C/50, at_most: 4 h}"
    )
    setpoint = both.steps[1].setpoint
    assert setpoint is not None
    assert (setpoint.charge_A > 0, setpoint.discharge_A > 0) == (charges, discharges)
