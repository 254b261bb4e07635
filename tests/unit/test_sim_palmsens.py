"""The simulated MethodSCRIPT dialect, without a socket."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.cell import Cell
from simulators.clock import ManualClock
from simulators.methodscript.interpreter import Run
from simulators.methodscript.parser import ARGUMENTS, parse
from simulators.methodscript.values import ScriptError, Value, literal, package
from simulators.palmsens import PalmSens
from simulators.rig import Position

EIS = """\
var f
var r
var j
set_pgstat_chan 0
set_pgstat_mode 3
set_autoranging ba 1u 5m
set_e 1
cell_on
meas_loop_eis f r j 10m 1k 10 3 1
pck_start
pck_add f
pck_add r
pck_add j
pck_end
endloop
on_finished:
cell_off
"""


class Bench:
    """One simulated box and a host that talks to it on a clock of its own."""

    def __init__(self, cells: int = 1, capacity: float = 2.5, **options: Any) -> None:
        self.clock = ManualClock()
        self.leads = {
            n: Position(Cell("nmc", capacity, 0.3 + 0.2 * n), self.clock, owner=f"cell-{n}")
            for n in range(1, cells + 1)
        }
        self.box = PalmSens("pico", self.clock, self.leads, options)
        self.host = self.box.session()

    def say(self, text: str) -> str:
        return "".join(out.data.decode() for out in self.host.feed(text.encode()))

    def wait(self, seconds: float) -> str:
        """Let bench time pass as a server does, and return what arrived."""
        output = ""
        for _ in range(20):
            self.clock.advance(seconds / 20)
            self.box.advance()
            output += "".join(out.data.decode() for out in self.host.tick())
        return output

    def run(self, script: str, seconds: float = 30.0) -> list[str]:
        """Run a script and return its output lines after the `e`."""
        first = self.say(f"e\n{script.rstrip()}\n\n")
        output = first + self.wait(seconds)
        assert output.startswith("e\n"), output
        return output.split("\n")[1:-1]

    @property
    def cell_is_on(self) -> bool:
        return self.leads[1].regulation != "off"


@pytest.fixture
def bench() -> Bench:
    return Bench()


def sweep_at_rest(bench: Bench, *, low: str = "10", channel: int = 1) -> str:
    """The EIS script at the cell's own voltage, on the largest ranges."""
    millivolts = round(1000 * bench.leads[channel].voltage_V)
    script = EIS.replace("set_e 1\n", f"set_e {millivolts}m\n").replace(
        "3 1\n", f"3 {millivolts}m\n"
    )
    return script.replace("1u 5m", "1u 1").replace("1k 10 3", f"1k {low} 3")


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


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("invalid_command", "4001: Line 1, Col 16"),
        ("var a\nvar a", "4026: Line 2, Col 6"),
        ("set_e b", "420B: Line 1, Col 8"),
        ("var 1x", "402B: Line 1, Col 7"),
        ("wait 1q", "4004: Line 1, Col 8"),
        ("wait", "4004: Line 1, Col 5"),
        ("cell_on 1", "420A: Line 1, Col 10"),
        ("wait 1 nscans(2)", "4008: Line 1, Col 17"),
        ("loop 1 < 2", "4018: Line 1, Col 11"),
        ("endloop", "400E: Line 1, Col 8"),
        ("if 1 < 2\nendloop\nendif", "400E: Line 2, Col 8"),
        ("if 1 < 2\nelse\nelse\nendif", "400E: Line 3, Col 5"),
        ("breakloop", "400C: Line 1, Col 10"),
        ("if 1 ~ 2\nendif", "4004: Line 1, Col 7"),
        ("var a\nstore_var a 1 zz", "0002: Line 2, Col 17"),
        ("var a\nadd_var 5 a", "4208: Line 2, Col 10"),
        ("send_string hello", "4004: Line 1, Col 18"),
        ("# " + "x" * 300, "0008: Line 1, Col 1"),
        ("var a\nmeas_loop_ocp a 1 1\nmeas_loop_ocp a 1 1", "400B: Line 3, Col 20"),
        ("wait 1\n" * 3000, "4005: Line 1, Col 1"),
    ],
)
def test_a_script_with_a_mistake_is_refused_with_its_place(
    bench: Bench, script: str, error: str
) -> None:
    assert bench.say(f"e\n{script}\n\n") == f"e!{error}\n"
    assert not bench.box.running


def test_the_sheets_three_point_sweep_streams_three_packages() -> None:
    bench = Bench()
    lines = bench.run(sweep_at_rest(bench))
    assert lines[0] == "M000D"
    assert [line[:12] for line in lines[1:4]] == ["Pdc80F4240m;", "PdcDF5E100u;", "Pdc8989680u;"]
    assert lines[4:] == ["*", ""]


def test_a_spectrum_is_the_cells_own_impedance_within_the_noise() -> None:
    bench = Bench()
    truth = {hertz: bench.leads[1].impedance(hertz) for hertz in (1000.0, 100.0, 10.0)}
    for line in bench.run(sweep_at_rest(bench))[1:4]:
        hertz, real, imaginary = (_number(text) for text in line[1:].split(";"))
        z = truth[round(hertz, 6)]
        assert abs(complex(real, imaginary) - z) < 0.006 * abs(z)


def _number(text: str) -> float:
    scale = {"u": 1e-6, "m": 1e-3, "n": 1e-9, "p": 1e-12, " ": 1.0}[text[9]]
    return (int(text[2:9], 16) - 0x8000000) * scale


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
    assert _number(real) > 1.5 * bench.leads[1].impedance(1000.0).real


def test_a_critical_overload_ends_the_script_and_opens_the_relay() -> None:
    bench = Bench(model="es4_hr")
    script = sweep_at_rest(bench).replace("j 10m", "j 100m")
    assert bench.run(script) == ["M000D", "!0032: Line 9", ""]
    assert not bench.cell_is_on


def test_a_full_cell_is_beyond_a_pico(bench: Bench) -> None:
    bench = Bench(model="espico")
    assert bench.run(sweep_at_rest(bench)) == ["!000F: Line 7", ""]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (("cell_on\n", ""), "!4027: Line 8"),
        (("mode 3", "mode 2"), "!0023: Line 9"),
        (("mode 3", "mode 9"), "!0021: Line 5"),
        (("mode 3", "mode 0"), "!0023: Line 8"),
        (("chan 0", "chan 7"), "!002F: Line 4"),
        (("1k 10", "2M 10"), "!0011: Line 9"),
        (("j 10m", "j 5"), "!0012: Line 9"),
        (("cell_on\n", "cell_on\nmeas_loop_ocp f 1 1\nendloop\n"), "!0014: Line 9"),
        (("pck_start\n", ""), "!401B: Line 10"),
        (("cell_on\n", "div_var f 0\ncell_on\n"), "!0028: Line 8"),
    ],
)
def test_what_the_instrument_cannot_do_ends_the_script_with_the_line(
    bench: Bench, change: tuple[str, str], error: str
) -> None:
    assert error in bench.run(sweep_at_rest(bench).replace(*change))


@pytest.mark.parametrize("finishes", [False, True])
def test_whether_a_runtime_error_runs_on_finished_is_an_option(finishes: bool) -> None:
    bench = Bench(on_finished_after_error=finishes)
    bench.run(sweep_at_rest(bench).replace("j 10m", "j 5"))
    assert bench.cell_is_on is not finishes


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
    assert all(_number(line.split(";")[1]) > 0.05 for line in lines[1:6])
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


def test_variables_loops_and_branches_compute() -> None:
    script = """\
var n
var s
store_var n 0i ja
store_var s 0 ab
loop n < 5i
  add_var n 1i
  if n == 2i
    add_var s 100m
  elseif n > 3i
    add_var s 1
  else
    add_var s 10m   # 1 and 3
  endif
endloop
mul_var s 2
div_var s 4
sub_var s 60m
copy_var s n
send_string f"s is {s} # not a comment"
pck_start
pck_add n
pck_end
set_script_output 0
pck_start
pck_add n
pck_end
"""
    lines = Bench().run(script)
    assert lines == ["L", "+", "Ts is 1 # not a comment", package([Value(1.0, "ab")]), ""]


def test_the_stop_watch_and_the_interval_keep_bench_time(bench: Bench) -> None:
    script = "var t\ntimer_start\nset_int 2\nwait 500m\nawait_int\nawait_int\ntimer_get t\n"
    lines = bench.run(script + 'if t > 3990m\nsend_string "4"\nendif\nif t > 4010m\nabort\nendif')
    assert lines == ["T4", ""]


def test_a_script_without_end_does_not_hold_the_bench(bench: Bench) -> None:
    bench.run("loop 1 < 2\nendloop", 1e6)
    assert bench.say("Z\n") + bench.wait(1.0) == "Z\n\n"


def test_abort_in_a_script_goes_to_on_finished(bench: Bench) -> None:
    script = 'loop 1 < 2\nabort\nendloop\nsend_string "no"\non_finished:\nsend_string "off"\nabort'
    assert bench.run(script) == ["L", "Toff", ""]


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


def test_every_command_that_the_parser_takes_can_be_run() -> None:
    structure = {"endloop", "elseif", "else", "endif"}
    for name in ARGUMENTS.keys() - structure:
        assert callable(getattr(Run, f"do_{name}", None)), name


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (-57.847747e-6, "48D503Dp"), (0.2, "8030D40u"), (1e3, "80F4240m"), (25.1e-3, "97EFEE0n"),
        (0.0, "8000000 "), (1e300, "     nan"), (float("inf"), "     nan"),
    ],
)  # fmt: skip
def test_a_number_is_packed_with_the_smallest_prefix_that_holds_it(
    number: float, text: str
) -> None:
    assert package([Value(number, "ab")]) == f"Pab{text}"


@given(st.text(alphabet='abcdefmeas_loop cell_onvar0123456789imku#"<=.{}\n', max_size=120))
def test_any_text_is_parsed_or_refused_with_a_code(text: str) -> None:
    try:
        parse(text.split("\n"))
    except ScriptError as error:
        assert error.where.startswith("Line ")


def _arguments(name: str) -> st.SearchStrategy[str]:
    """A line of this command whose arguments have the right form and any value."""
    numbers = [
        "a",
        "b",
        "0",
        "1",
        "-1",
        "3",
        "2i",
        "0b111",
        "100m",
        "10k",
        "1E",
        "3600m",
        "4000000k",
    ]
    pools = {
        "new": ["c", "d"],
        "out": ["a", "b"],
        "num": numbers,
        "type": ["ba", "ab", "da"],
        "cmp": ["<", ">=", "=="],
        "text": ['"x"', 'f"{a}"'],
    }
    parts = [st.sampled_from(pools[kind]) for kind in ARGUMENTS[name].split()]
    return st.tuples(st.just(name), *parts).map(" ".join)


_BLOCKS = {name for name in ARGUMENTS if name in ("if", "loop") or name.startswith("meas_loop")}
_PLAIN = sorted(
    ARGUMENTS.keys() - _BLOCKS - {"endloop", "elseif", "else", "endif", "breakloop", "var"}
)
_PLAIN_LINES = st.sampled_from(_PLAIN).flatmap(_arguments)
_BLOCK_LINES = st.tuples(
    st.sampled_from(sorted(_BLOCKS)).flatmap(_arguments), st.lists(_PLAIN_LINES, max_size=3)
).map(lambda b: "\n".join([b[0], *b[1], "endif" if b[0].startswith("if") else "endloop"]))


@given(st.lists(_PLAIN_LINES | _BLOCK_LINES, max_size=12), st.integers(0, 3))
def test_no_script_kills_the_box_and_the_host_gets_it_back(lines: list[str], how: int) -> None:
    bench = Bench(cells=2, multiplexer=["none", "mux8", "mux8r2"][how % 3])
    head = "var a\nvar b\nset_pgstat_mode 3\n" + ("set_e 3600m\ncell_on\n" if how else "")
    script = head + "\n".join(lines) + "\non_finished:\ncell_off"
    assert bench.say(f"e\n{script}\n\n").startswith("e\n")
    bench.wait(100.0)
    bench.say("\nZ\n")
    bench.wait(1.0)
    bench.clock.advance(1.0)
    assert bench.say("v\n").endswith("v01.09.00\n")


@given(st.binary(max_size=200))
def test_no_bytes_kill_the_box(data: bytes) -> None:
    bench = Bench()
    for out in bench.host.feed(data):
        assert isinstance(out.data, bytes)
    bench.wait(1.0)


def test_hexadecimal_and_binary_literals_are_integers() -> None:
    assert literal("0x1Fi") == literal("0b11111") == Value(31, integer=True)
