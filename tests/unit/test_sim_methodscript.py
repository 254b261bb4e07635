"""The simulated instrument's MethodSCRIPT: parser, interpreter, packages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.methodscript.interpreter import Run
from simulators.methodscript.parser import ARGUMENTS, parse
from simulators.methodscript.values import ScriptError, Value, literal, package
from tests.unit.methodscript_host import Bench, sweep_at_rest


@pytest.fixture
def bench() -> Bench:
    return Bench()


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


@settings(deadline=None, max_examples=60)  # an endless loop takes its time
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


def test_hexadecimal_and_binary_literals_are_integers() -> None:
    assert literal("0x1Fi") == literal("0b11111") == Value(31, integer=True)


GEIS = """\
var f
var r
var j
set_pgstat_chan 0
set_pgstat_mode 6
set_range ba 1
set_i 500m
cell_on
meas_loop_geis f r j 50m 1k 10 3i 500m
pck_start
pck_add f
pck_add r
pck_add j
pck_end
endloop
on_finished:
cell_off
"""


def test_a_galvanostatic_sweep_drives_its_direct_current_through_the_cell(bench: Bench) -> None:
    lines = bench.run(GEIS.replace("1k 10 3i", "1 100m 3i"), 120.0)
    assert lines[0] == "M000E"
    assert len([line for line in lines if line.startswith("P")]) == 3
    ledger = bench.leads[1].ledger
    assert ledger.peak_A == 0.5
    assert ledger.charged_Ah > 0.0
    assert not ledger.on


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (("mode 6", "mode 3"), "!0023: Line 7"),  # set_i is the galvanostat's
        (("set_i 500m", "set_i 5"), "!0012: Line 7"),
        (("j 50m 1k", "j 900m 1k"), "!0012: Line 9"),  # its peak is beyond the range
        (("cell_on\n", ""), "!4027: Line 8"),
        (("1k 10", "2M 10"), "!0011: Line 9"),
    ],
)
def test_a_galvanostatic_sweep_that_cannot_be_is_a_runtime_error(
    bench: Bench, change: tuple[str, str], error: str
) -> None:
    assert error in bench.run(GEIS.replace(*change))


def test_a_pico_has_no_galvanostat() -> None:
    lines = Bench(model="espico").run(GEIS)
    assert "!0021: Line 5" in lines
