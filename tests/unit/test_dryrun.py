"""A dry run: a program is played on a model of a cell, and what it says is what would come."""

from __future__ import annotations

import json
import re
from copy import copy
from math import inf, isclose
from pathlib import Path
from typing import Any

import pytest

from daq import cli
from daq.dryrun.model import find_model, model_for
from daq.dryrun.player import Player
from daq.dryrun.summary import by_cycle, by_step, document, some
from daq.dryrun.trace import Executed, Played
from daq.errors import InputError
from daq.model import Cell, Limits
from daq.protocol.compile import compile_protocol
from daq.protocol.program import Program
from daq.protocol.source import parse_protocol
from simulators.cell import Cell as SimulatedCell
from simulators.chamber import ChamberModel
from simulators.clock import ManualClock
from simulators.ledger import Slice
from simulators.played import PlayedCell

NOMINAL_AH = 2.5
HEAD = "protocol: p\nversion: 1.0.0\n"
SAFETY = "safety: {voltage: [2.4 V, 4.25 V], temperature: [10 degC, 50 degC]}\n"
CYCLE = """
  - repeat: 2
    steps:
      - charge: C/2
        until: voltage >= 4.2 V
        at_most: 3 h
      - hold: 4.2 V
        current: C/2
        until: current <= C/20
        at_most: 3 h
      - rest: 30 min
      - discharge: 1C
        until: [voltage <= 2.8 V, charge >= 90 %]
        at_most: 3 h
      - rest: 20 min
"""


class Ledger(PlayedCell):
    """The cell, and a book of its own of what went through it."""

    def __init__(self, soc: float = 0.3, longest_s: float = inf, **more: Any) -> None:
        super().__init__("nmc", NOMINAL_AH, soc, **more)
        self.charge_C = self.discharge_C = self.energy_J = 0.0
        self._at_most_s = longest_s

    @property
    def longest_s(self) -> float:
        return min(self._at_most_s, super().longest_s)

    def advance(self, seconds: float) -> None:
        step = self._cell.step
        self._cell.step = lambda *stretch: self._book(step(*stretch))
        super().advance(seconds)
        del self._cell.step

    def _book(self, piece: Slice) -> None:
        moved_C = piece.current_A * piece.seconds
        self.charge_C += max(moved_C, 0.0)
        self.discharge_C += max(-moved_C, 0.0)
        self.energy_J += abs(piece.energy_J)

    def save(self) -> Any:
        return super().save(), (self.charge_C, self.discharge_C, self.energy_J)

    def restore(self, saved: Any) -> None:
        super().restore(saved[0])
        self.charge_C, self.discharge_C, self.energy_J = saved[1]


def compiled(steps: str, head: str = SAFETY, files: dict[str, str] | None = None) -> Program:
    source = parse_protocol(f"{HEAD}{head}steps:{steps}", files=files)
    return compile_protocol(source, Cell("c", NOMINAL_AH), [])


def played(steps: str, model: PlayedCell | None = None, head: str = SAFETY, **more: Any) -> Played:
    files = more.pop("files", None)
    return Player(compiled(steps, head, files), model or Ledger(), **more).play()


def executed(of: Played, kind: str) -> list[Executed]:
    return [one for one in of.executed if one.step.kind == kind]


# Ends, and what moved until then.


def test_no_end_is_overshot_by_more_than_a_millivolt_or_a_thousandth() -> None:
    result = played(CYCLE)
    assert result.outcome == "completed"
    for one in executed(result, "charge"):
        assert 4.2 <= one.voltage_V <= 4.201
    for one in executed(result, "hold"):
        assert 0.125 * 0.998 <= one.current_A <= 0.125
    for one in executed(result, "discharge"):
        by_charge = one.reason == "charge >= 90 %"
        assert by_charge or 2.799 <= one.voltage_V <= 2.8
        assert not by_charge or 2.25 <= one.moved.discharge_Ah <= 2.25 * 1.001
    for one in executed(result, "rest"):
        assert one.lasted_s == pytest.approx(one.step.at_most_s, abs=1e-3)


def test_the_steep_end_of_a_discharge_is_met_as_well() -> None:
    result = played("\n  - {discharge: 2C, until: voltage <= 2.5 V, at_most: 1 h}")
    assert 2.499 <= result.executed[0].voltage_V <= 2.5


def test_charge_and_energy_are_those_that_went_through_the_cell() -> None:
    model = Ledger()
    result = played(CYCLE, model)
    moved = [one.moved for one in result.executed]
    charge_C = 3600.0 * sum(one.charge_Ah for one in moved)
    discharge_C = 3600.0 * sum(one.discharge_Ah for one in moved)
    energy_J = 3600.0 * sum(one.charge_Wh + one.discharge_Wh for one in moved)
    assert charge_C == pytest.approx(model.charge_C, rel=1e-3)
    assert discharge_C == pytest.approx(model.discharge_C, rel=1e-4)
    assert energy_J == pytest.approx(model.energy_J, rel=1e-3)


def test_large_steps_come_to_the_same_as_steps_of_a_second() -> None:
    coarse, fine = played(CYCLE), played(CYCLE, Ledger(longest_s=1.0))
    assert len(coarse.trace) < len(fine.trace) / 10
    for rough, exact in zip(coarse.executed, fine.executed, strict=True):
        assert rough.reason == exact.reason
        assert rough.lasted_s == pytest.approx(exact.lasted_s, rel=1e-2, abs=1.0)
        assert rough.voltage_V == pytest.approx(exact.voltage_V, abs=2e-3)
        assert rough.moved.charge_Ah == pytest.approx(exact.moved.charge_Ah, rel=1e-3, abs=4e-4)


def test_a_cell_that_is_played_twice_does_the_same() -> None:
    assert document(played(CYCLE)) == document(played(CYCLE))


# Time.


def test_a_pulse_lasts_as_long_as_it_says_and_moves_what_that_makes() -> None:
    steps = "\n  - pulse: {discharge: 1C, for: 10 s}\n  - rest: 100 ms\n"
    pulse, rest = played(steps).executed
    assert pulse.lasted_s == pytest.approx(10.0, abs=1e-4)
    assert rest.lasted_s == pytest.approx(0.1, abs=1e-4)
    assert pulse.moved.discharge_Ah == pytest.approx(25.0 / 3600.0, rel=1e-3)


def test_a_profile_finer_than_a_second_keeps_its_times() -> None:
    table = "time_s,current_A\n0,-1\n0.05,1\n0.3,-2\n60,0\n60.2,0\n"
    result = played("\n  - profile: {file: p.csv}\n", files={"p.csv": table})
    times = result.trace.columns["time_s"]
    currents = result.trace.columns["current_A"]
    for begin_s, end_s, current_A in ((0.0, 0.05, -1.0), (0.05, 0.3, 1.0), (0.3, 60.0, -2.0)):
        inside = [
            current
            for time_s, current in zip(times, currents, strict=True)
            if begin_s + 1e-4 < time_s < end_s - 1e-4
        ]
        assert inside
        assert inside == pytest.approx([current_A] * len(inside))
    net_Ah = result.executed[0].moved.charge_Ah - result.executed[0].moved.discharge_Ah
    assert net_Ah == pytest.approx((-0.05 + 0.25 - 2 * 59.7) / 3600.0, rel=1e-3)


def test_a_voltage_ramp_moves_as_fast_as_it_says() -> None:
    result = played("\n  - {ramp: {from: 3.6 V, voltage: 3.7 V, rate: 1 mV/s}, at_most: 1 h}")
    assert result.executed[0].lasted_s == pytest.approx(100.0, abs=0.1)
    assert result.executed[0].voltage_V == pytest.approx(3.7, abs=2e-3)


def test_a_spectrum_takes_what_its_frequencies_need() -> None:
    (one,) = played("\n  - eis: {from: 10 Hz, to: 1 Hz, amplitude: 5 mV}").executed
    assert one.reason == "sweep done"
    # ten points a decade, half a second and five periods each
    needed_s = sum(0.5 + 5.0 / 10 ** (n / 10) for n in range(11))
    assert one.lasted_s == pytest.approx(needed_s, abs=1e-3)


def test_a_step_right_after_a_spectrum_is_seen_to_move_charge() -> None:
    _, drawn = played(
        "\n  - eis: {from: 10 Hz, to: 1 Hz, amplitude: 5 mV}"
        "\n  - discharge: C/2\n    until: charge >= 10 %\n    at_most: 1 h\n"
    ).executed
    assert drawn.reason == "charge >= 10 %"
    assert drawn.moved.discharge_Ah == pytest.approx(0.25, rel=1e-3)


def test_what_flows_after_a_spectrum_is_counted_and_during_it_is_the_potentiostats() -> None:
    steps = (
        "\n  - eis: {from: 10 Hz, to: 1 Hz, amplitude: C/50, charge: C/10}"
        "\n  - {discharge: C/3, until: charge >= 20 %, at_most: 2 h}\n"
    )
    model = Ledger(soc=0.5)
    sweep, discharge = played(steps, model).executed
    assert sweep.moved.charge_Ah == 0.0
    assert model.charge_C == pytest.approx(0.25 * sweep.lasted_s, rel=1e-3)
    assert discharge.reason == "charge >= 20 %"
    assert discharge.moved.discharge_Ah == pytest.approx(0.5, rel=1e-3)


def test_a_soak_takes_the_time_of_the_chamber() -> None:
    (one,) = played(
        "\n  - {chamber: 40 degC, soak: {within: 0.5 K, for: 10 min, at_most: 4 h}}\n"
    ).executed
    assert one.reason == "soaked at 40 degC"
    # 15 K at the 5 K/min of the model are 3 min at least, two lags and the soak come on top
    assert 780.0 < one.lasted_s < 2400.0


def test_a_condition_that_must_hold_for_a_while_ends_after_that_while() -> None:
    steps = "\n  - {charge: C/2, until: voltage >= 3.9 V for 2 min, at_most: 3 h}\n"
    result = played(steps)
    times, voltages = result.trace.columns["time_s"], result.trace.columns["voltage_V"]
    above_s = next(t for t, volts in zip(times, voltages, strict=True) if volts >= 3.9)
    assert result.duration_s - above_s == pytest.approx(120.0, abs=1.0)


# What is taken for granted.


def test_an_operator_confirms_at_once_and_outputs_are_switched() -> None:
    steps = "\n  - {operator: look, at_most: 1 d}\n  - set: {lamp: on}\n"
    result = played(steps)
    assert [one.reason for one in result.executed] == ["confirmed", "switched"]
    assert result.duration_s < 1.0
    assert result.notes == ["whoever is asked for something confirms it at once"]


def test_a_sensor_that_is_not_modelled_is_said() -> None:
    result = played("\n  - {rest: 1 min, until: sensor.tab >= 40 degC}\n")
    assert "tab" in result.notes[0]
    assert result.executed[0].reason == "time >= 1 min"


def test_a_current_that_nothing_limits_is_said() -> None:
    result = played("\n  - {hold: 3.8 V, until: current <= C/10, at_most: 3 h}\n")
    assert "nothing limits the current of line 5" in result.notes[0]


# What goes wrong.


def test_a_step_that_does_not_reach_its_end_fails_the_run() -> None:
    result = played("\n  - {charge: C/2, until: voltage >= 4.2 V, at_most: 10 min}\n")
    assert result.outcome == "failed"
    assert "not within 600 s" in result.reason
    assert result.executed[-1].failed


def test_a_charge_beyond_the_limit_of_charge_trips_as_the_guard_would() -> None:
    steps = "\n  - {charge: 1C, until: voltage >= 4.2 V, at_most: 2 h}\n"
    result = played(steps, head="safety: {voltage: [2.4 V, 4.25 V], charge: 10 %}\n")
    assert result.outcome == "tripped"
    assert result.reason.startswith("Q1: ")
    assert result.duration_s == pytest.approx(360.0, rel=0.1)


def test_more_than_the_station_lets_be_drawn_trips() -> None:
    steps = "\n  - {discharge: 1C, until: voltage <= 2.5 V, at_most: 2 h}\n"
    result = played(steps, Ledger(soc=1.0), window=0.2)
    assert (result.outcome, result.reason[:4]) == ("tripped", "Q2: ")
    assert result.duration_s == pytest.approx(720.0, rel=0.1)


def test_a_cell_that_gets_too_hot_trips() -> None:
    steps = "\n  - {discharge: 3C, until: voltage <= 2.5 V, at_most: 2 h}\n"
    head = "safety: {voltage: [2.4 V, 4.25 V], temperature: [10 degC, 30 degC]}\n"
    result = played(steps, Ledger(soc=1.0), head=head)
    assert (result.outcome, result.reason[:4]) == ("tripped", "T1: ")


def test_a_cell_outside_its_limits_is_not_started() -> None:
    result = played("\n  - rest: 1 h\n", head="safety: {voltage: [3.9 V, 4.25 V]}\n")
    assert result.outcome == "failed"
    assert "not started" in result.reason


# Loops and cycles.


def test_only_the_first_cycles_are_played_if_that_is_wanted() -> None:
    result = played(CYCLE, until_cycle=1)
    assert (result.outcome, result.reason) == ("not finished", "played as far as cycle 1")
    assert set(by_cycle(result)) == {1}


def test_steps_and_cycles_are_summed() -> None:
    result = played(CYCLE)
    rows = by_step(result)
    assert [row.totals.times for row in rows] == [2] * 5
    total_Ah = sum(totals.discharge_Ah for totals in by_cycle(result).values())
    assert rows[3].totals.discharge_Ah == pytest.approx(total_Ah, rel=1e-6)
    assert sum(row.totals.lasted_s for row in rows) == pytest.approx(result.duration_s)
    assert rows[2].ended_by == "1800 s"


def test_of_many_cycles_the_first_and_the_last_are_shown() -> None:
    assert some(range(1, 6), 12) == [1, 2, 3, 4, 5]
    chosen = some(range(1, 504), 12)
    assert (chosen[0], chosen[-1], len(chosen)) == (1, 503, 12)


# The model.


def test_the_models_of_the_simulators_are_found_by_chemistry() -> None:
    assert find_model("nmc")(2.0, 0.5, formed=True).soc == 0.5
    assert model_for("NMC622/graphite") == "nmc"
    assert model_for("LFP") == "lfp"
    assert model_for("") == "nmc"


@pytest.mark.parametrize("name", ["lead", "nowhere:cell", "simulators.cell:_STEP_V"])
def test_a_model_that_is_not_there_is_an_error_of_the_file(name: str) -> None:
    with pytest.raises(InputError):
        find_model(name)


def test_a_chemistry_without_a_model_names_those_that_there_are() -> None:
    with pytest.raises(InputError, match="there is no model of a cell of 'Zn/MnO2'.*lfp or nmc"):
        model_for("Zn/MnO2")


def test_a_cell_can_go_back_to_where_it_was_any_number_of_times() -> None:
    model = PlayedCell("nmc", NOMINAL_AH, 0.5)
    model.drive(4.2, 2.5, 0.0)
    model.set_chamber(40.0)
    saved = model.save()
    seen = []
    for _ in range(2):
        for _ in range(5):
            model.advance(30.0)
        seen.append((model.voltage_V, model.soc, model.temperature_degC, model.chamber_degC))
        model.restore(saved)
    assert seen[0] == seen[1]
    assert seen[0][1] > 0.5
    assert model.soc == 0.5


def test_a_copy_of_a_cell_goes_its_own_way() -> None:
    cell = SimulatedCell("nmc", 1.0, 0.5)
    twin = copy(cell)
    twin.step(60.0, 1.0)
    assert cell.voltage_V(0.0) == SimulatedCell("nmc", 1.0, 0.5).voltage_V(0.0)
    cell.step(60.0, 1.0)
    assert cell.voltage_V(1.0) == twin.voltage_V(1.0)


def test_a_chamber_that_stands_still_is_where_it_would_have_been() -> None:
    clock = ManualClock()
    chamber = ChamberModel(clock, 25.0)
    chamber.set(30.0)
    chamber.start()
    assert not chamber.settled(1e-3)
    clock.advance(86400.0)
    chamber.advance()
    assert chamber.settled(1e-9)
    clock.advance(1e9)  # would be 200 million steps
    chamber.advance()
    assert isclose(chamber.temperature_degC, 30.0, abs_tol=1e-9)
    chamber.set(20.0)
    assert not chamber.settled(1e-3)


# On the command line.

FILE = f"{HEAD}{SAFETY}steps:{CYCLE}"


@pytest.fixture
def daq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command line beside `p.yaml`: exit code, stdout, stderr."""
    (tmp_path / "p.yaml").write_text(FILE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        code = cli.run(list(words))
        return code, *capsys.readouterr()

    return run


def test_daq_dry_run_shows_each_step_with_what_it_moved_and_its_end(daq: Any) -> None:
    code, out, err = daq("dry-run", "p.yaml", "--capacity", "2.5")
    assert (code, err) == (0, "")
    assert "played on nmc: completed after" in out
    row = next(line for line in out.splitlines() if line.startswith("4     2      discharge 1C"))
    assert row.split()[-3:] == ["charge", ">=", "90", "%"][-3:]


def test_daq_dry_run_speaks_json(daq: Any) -> None:
    code, out, _ = daq("dry-run", "p.yaml", "--capacity", "2.5", "--json", "--soc", "50 %")
    result = json.loads(out)["played"]
    assert code == 0
    assert (result["model"], result["outcome"]) == ("nmc", "completed")
    assert len(result["executions"]) == 10
    assert [row["times"] for row in result["steps"]] == [2] * 5
    assert [row["cycle"] for row in result["cycles"]] == [1, 2]
    first = result["executions"][0]
    assert first["charge_Ah"] == pytest.approx(0.5 * 2.5, rel=0.1)
    assert first["reason"] == "voltage >= 4.2 V"


def test_daq_dry_run_draws_a_picture(daq: Any, tmp_path: Path) -> None:
    code, out, _ = daq("dry-run", "p.yaml", "--capacity", "2.5", "--plot", "new/p.png")
    assert code == 0
    assert out.splitlines()[-1] == "new/p.png"
    content = (tmp_path / "new" / "p.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 20_000


@pytest.mark.parametrize("said", ["2.5", "2.5 Ah", "2500 mAh"])
def test_a_capacity_is_a_quantity_or_a_number_of_ampere_hours(daq: Any, said: str) -> None:
    code, out, _ = daq("dry-run", "p.yaml", "--capacity", said, "--model", "none")
    assert (code, "for a cell of 2.5 Ah" in out) == (0, True)


@pytest.mark.parametrize("said", ["0", "-1", "nan", "inf", "0 Ah", "2.5 V", "much"])
def test_a_capacity_that_is_none_is_an_error(daq: Any, said: str) -> None:
    code, _, err = daq("dry-run", "p.yaml", "--capacity", said)
    assert (code, err.startswith("error: ")) == (2, True)


WAYS = """\
protocol: ways
version: 1.0.0
steps:
  - repeat: 3
    steps:
      - charge: 1C
        until: [{when: voltage >= 4.1 V, goto: full}, {when: time >= 5 min, end: repeat}]
        at_most: 1 h
  - include: p.yaml
  - label: full
    rest: 10 min
"""


def test_a_step_is_shown_with_its_file_and_with_where_its_ends_lead(
    daq: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # on a narrow terminal the cells are folded
    (tmp_path / "ways.yaml").write_text(WAYS, encoding="utf-8")
    _, out, _ = daq("dry-run", "ways.yaml", "--model", "none")
    words = " ".join(out.split())
    assert "voltage >= 4.1 V, then goto full or time >= 5 min, then end repeat" in words
    assert re.search(r"^2 +p\.yaml:\d+ ", out, re.M)
    assert re.search(r"^1 +6 ", out, re.M)


def test_a_profile_that_nothing_limits_is_told_in_words(
    daq: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = "protocol: d\nversion: 1.0.0\nsteps: [{profile: {file: d.csv}}]\n"
    (tmp_path / "d.csv").write_text("time_s,current_A\n0,1\n9,-1\n10,0\n", encoding="utf-8")
    (tmp_path / "d.yaml").write_text(text, encoding="utf-8")
    assert "no voltage limit, -1 to 1 A" in daq("dry-run", "d.yaml", "--model", "none")[1]


def test_a_picture_of_no_known_kind_is_an_error(daq: Any) -> None:
    code, _, err = daq("dry-run", "p.yaml", "--plot", "p.doc")
    assert code == 2
    assert "p.doc cannot be drawn" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--plot", "p.doc"), "no picture ends in '.doc'"),
        (("--plot", "p"), "no picture ends in 'nothing'"),
        (("--plot", "p.yaml/p.png"), "is no folder to write to"),
        (("--model", "zinc"), "zinc"),
        (("--soc", "130 %"), "130 % is no state of charge"),
        (("--model", "none", "--soc", "3 V"), "3 V"),
    ],
)
def test_what_cannot_be_played_or_drawn_is_said_before_anything_is_printed(
    options: tuple[str, ...], said: str, daq: Any
) -> None:
    code, out, err = daq("dry-run", "p.yaml", *options)
    assert (code, out) == (2, "")
    assert said in err


def test_a_program_that_trips_is_exit_code_1_and_says_where(daq: Any, tmp_path: Path) -> None:
    text = FILE.replace("temperature", "charge: 20 %, temperature")
    (tmp_path / "p.yaml").write_text(text.replace(", charge >= 90 %", ""), encoding="utf-8")
    code, _, err = daq("dry-run", "p.yaml", "--capacity", "2.5")
    assert code == 1
    assert err.startswith("error: tripped: Q1: ")


def test_without_a_model_a_dry_run_only_compiles(daq: Any) -> None:
    code, out, _ = daq("dry-run", "p.yaml", "--model", "none")
    assert code == 0
    assert "played" not in out
    assert "played" not in json.loads(daq("dry-run", "p.yaml", "--model", "none", "--json")[1])


@pytest.mark.parametrize(
    "words",
    [("--model", "lead"), ("--soc", "120 %"), ("--soc", "3 V"), ("--until-cycle", "0")],
    ids=" ".join,
)
def test_a_wrong_option_of_a_dry_run_is_exit_code_2(daq: Any, words: tuple[str, str]) -> None:
    code, _, err = daq("dry-run", "p.yaml", *words)
    assert code == 2
    assert "rror" in err


def test_the_limits_of_a_lab_hold_in_a_dry_run() -> None:
    source = parse_protocol(
        f"{HEAD}steps:\n  - {{charge: 1C, until: charge >= 10 %, at_most: 1 h}}\n"
    )
    station = ("station A1", Limits((2.0, 3.6), (-5.0, 5.0)))
    program = compile_protocol(source, Cell("c", NOMINAL_AH), [station])
    result = Player(program, Ledger()).play()
    assert result.outcome == "failed"  # the station holds 3.58 V, where hardly anything flows
    assert max(result.trace.columns["voltage_V"]) <= 3.6
