"""protocols/: every number is that of its source, and every file runs on a cell as it should."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.profiles import Car, figures, profile
from daq.driver import Range
from daq.dryrun.player import Player
from daq.dryrun.trace import Played
from daq.errors import InputError
from daq.model import Cell, Limits
from daq.protocol.compile import compile_placed, compile_protocol
from daq.protocol.condition import Condition, Exit
from daq.protocol.program import Branch, End, Leave, Program, RecordRule, Repeat, Step, StepKind
from daq.protocol.source import load_protocol
from daq.protocol.tables import Table, read_table
from daq.review.finding import Level
from daq.review.flow import flow_of
from daq.review.rules import review
from daq.review.subject import Station, Subject
from simulators.played import PlayedCell
from tests.unit.library_sources import (
    DST,
    DST_READ_OFF,
    DST_READ_OFF_S,
    LEAF_UDDS_WH_PER_KM,
    NOMINAL_AH,
    OUTLINES,
    UDDS_KM,
)

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "protocols"
NAMES = sorted(path.stem for path in LIBRARY.glob("*.yaml"))
PARTS = sorted((LIBRARY / "parts").glob("*.yaml"))
PROFILES = sorted((LIBRARY / "profiles").glob("*.csv"))
BENCH = ("station A1", Limits((-1.0, 5.0), (-40.0, 40.0), (-20.0, 80.0)))
INSTRUMENTS = Range((-1.0, 9.0), (-40.0, 40.0), (-40.0, 180.0), (1e-3, 2e5))


def compiled(name: str, nominal_Ah: float, **parameters: str | int) -> Program:
    """A file of the library for a fitting cell at a fitting station."""
    source = load_protocol(LIBRARY / f"{name}.yaml")
    return compile_protocol(source, Cell("fit", nominal_Ah), [BENCH], INSTRUMENTS, parameters)


def steps(name: str) -> tuple[Step, ...]:
    return compiled(name, NOMINAL_AH.get(name, 1.0)).steps


# Numbers: the compiled program against what was written down from the source.


def outline(program: Program) -> list[str]:
    """One line a step and a loop; a loop that only makes all of it cycle 1 is nobody's line."""
    lines: list[str] = []
    depth = 0
    first, *rest = program.instructions
    all_of_it = isinstance(first, Repeat) and first.times == 1 and first.end == len(rest)
    for item in rest[:-1] if all_of_it else program.instructions:
        depth -= isinstance(item, End)
        if not isinstance(item, End):
            lines.append("  " * depth + described(item))
        depth += isinstance(item, Repeat)
    return lines


def described(item: Step | Repeat | Branch | Leave) -> str:
    if isinstance(item, Step):
        return f"{driven(item)}{ends(item)}".strip()
    if isinstance(item, Repeat):
        until = f" until {item.until[0].text}" if item.until else ""
        return f"repeat {item.times}{' cycles' if item.counts_cycles else ''}{until}"
    return f"if {item.condition.text}" if isinstance(item, Branch) else item.text


def driven(step: Step) -> str:
    if step.spectrum:
        asked = step.spectrum
        band = f"{asked.from_Hz:g} to {asked.to_Hz:g} Hz"
        return f"eis {band}, {asked.per_decade} a decade, {asked.amplitude_V:g} V"
    if step.soak:
        return f"chamber {step.soak.temperature_degC:g} degC"
    if step.kind is StepKind.PROFILE and step.course:
        course = step.course
        peak_W = max(abs(value) for value in course.values)
        return f"profile of {len(course.times_s)} points, {course.times_s[-1]:g} s, {peak_W:g} W"
    told = step.setpoint
    if told is None:
        return "rest"
    flow = f" +{told.charge_A:.3g}" if told.charge_A else f" -{told.discharge_A:.3g}"
    held = f" {told.voltage_V:g} V" if step.kind in (StepKind.HOLD, StepKind.CCCV) else ""
    return f"{step.kind}{'' if step.kind is StepKind.HOLD else flow}{held}"


def ends(step: Step) -> str:
    if step.kind is StepKind.REST and not step.until:
        return f" {step.at_most_s:.8g} s"
    return " until " + " | ".join(one_end(end) for end in step.until) if step.until else ""


def one_end(end: Condition) -> str:
    way = f" -> {end.goes.exit}" if end.goes and end.goes.exit is not Exit.GOTO else ""
    digits = "g" if end.quantity == "time" else ".3g"
    return f"{end.quantity} {'>=' if end.at_least else '<='} {end.value:{digits}}{way}"


@pytest.mark.parametrize("name", NAMES)
def test_the_compiled_program_has_the_numbers_of_its_source(name: str) -> None:
    program = compiled(name, NOMINAL_AH.get(name, 1.0))
    assert outline(program) == OUTLINES[name].strip("\n").splitlines()


def test_a_changed_number_would_be_seen() -> None:
    changed = compiled("gitt", 1.0, rate="C/19")
    assert outline(changed) != OUTLINES["gitt"].strip("\n").splitlines()


RECORDS = {
    ("formation-coin-cell", 4): RecordRule(10.0, 0.005, 0.02),
    ("rate-capability", 4): RecordRule(60.0, 0.010, 0.05, 0.2),
    ("pseudo-ocv", 4): RecordRule(60.0, 0.001, temperature_K=0.2),
    ("hppc-handbook", 5): RecordRule(1.0, 0.003, first_every_s=0.02, first_for_s=60.0),
    ("hppc-ev", 2): RecordRule(1.0, 0.0001),
    ("hppc-ev", 3): RecordRule(30.0, 0.001, first_every_s=0.01, first_for_s=30.0),
    ("hppc-ev", 4): RecordRule(30.0, 0.001, first_every_s=0.01, first_for_s=40.0),
    ("rpt", 1): RecordRule(120.0, 0.001),
    ("fast-charge-severson", 10): RecordRule(5.0, 0.010, 0.01),
}


@pytest.mark.parametrize(("name", "number"), RECORDS)
def test_a_source_that_says_how_to_record_is_followed(name: str, number: int) -> None:
    assert steps(name)[number - 1].record == RECORDS[name, number]


SPANS = {
    "fast-charge-severson": ((1.8, 4.0), (-5.0, 10.0)),
    "hppc-ev": ((2.0, 4.4), BENCH[1].current_A),
    "rpt": ((2.0, 4.4), BENCH[1].current_A),
    "cycle-ageing": ((2.0, 4.4), BENCH[1].current_A),
}


@pytest.mark.parametrize("name", SPANS)
def test_a_source_that_gives_limits_is_followed(name: str) -> None:
    for step in steps(name):
        assert (step.limits.voltage_V, step.limits.current_A) == SPANS[name]


def test_the_coin_cell_stays_inside_the_limits_of_its_source() -> None:
    for step in steps("formation-coin-cell"):
        assert step.limits.voltage_V[0] >= -0.1
        assert step.limits.voltage_V[1] <= 5.0


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("formation")])
def test_a_formation_begins_with_a_cell_that_has_no_voltage_yet(name: str) -> None:
    until_full = steps(name)[:3]
    assert {step.limits.voltage_V[0] for step in until_full} == {-0.1}


@pytest.mark.parametrize(
    ("name", "lowest_V"), [("formation-nmc-graphite", 2.4), ("formation-lfp", 2.2)]
)
def test_the_discharge_of_a_formation_has_a_lower_limit(name: str, lowest_V: float) -> None:
    (discharge,) = (step for step in steps(name) if step.kind is StepKind.DISCHARGE)
    assert discharge.limits.voltage_V[0] == lowest_V


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_may_hold_somewhat_more_than_its_nominal_capacity(name: str) -> None:
    nominal_Ah = NOMINAL_AH.get(name, 1.0)
    assert {round(step.limits.charge_Ah / nominal_Ah, 6) >= 1.15 for step in steps(name)} == {True}


SOAKS = {("standard-cycle", 1): (2.0, 1800.0), ("rate-capability", 18): (1.0, 7200.0)}


@pytest.mark.parametrize(("name", "number"), SOAKS)
def test_a_source_that_says_how_long_to_wait_for_a_temperature_is_followed(
    name: str, number: int
) -> None:
    soak = steps(name)[number - 1].soak
    assert soak is not None
    assert (soak.within_K, soak.for_s) == SOAKS[name, number]


# Marks: where a number comes from is said in the file.


def comment(name: str) -> str:
    text = (LIBRARY / f"{name}.yaml").read_text(encoding="utf-8")
    head = text.partition("\nprotocol: ")[0].splitlines()
    return " ".join(line.lstrip("# ") for line in head)


UNCHECKED = {"drive-dst", "capacity-iec-61960", "capacity-iec-62660-1", "hppc-hev"}
READ = {
    *("formation-coin-cell", "formation-pouch-cell", "gitt", "hppc-ev", "rpt", "cycle-ageing"),
    *("fast-charge-severson", "pulse-power-iso-12405"),
    *("drive-cycle", "drive-us06", "drive-wltc"),
}
STANDINGS = {"checked": "checked", "extract": "extract", "UNCHECKED": "unchecked"}


def standing(name: str) -> str:
    """What the file says of its numbers, in the words of the catalogue."""
    said = comment(name).partition(" Numbers: ")[2]
    found = [standing for mark, standing in STANDINGS.items() if mark in said]
    assert found, name
    return found[0] if len(found) == 1 else "in part"


@pytest.mark.parametrize("name", NAMES)
def test_a_number_that_nobody_has_checked_is_marked(name: str) -> None:
    assert ("UNCHECKED" in comment(name)) == (name in UNCHECKED)
    assert (standing(name) == "checked") == (name in READ)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_says_what_it_is_for(name: str) -> None:
    text = (LIBRARY / f"{name}.yaml").read_text(encoding="utf-8")
    assert "Source: " in comment(name) or "sources" in comment(name)
    assert text.startswith("# yaml-language-server: $schema=../docs/schema/protocol.schema.json\n")
    assert load_protocol(LIBRARY / f"{name}.yaml").model.description


def test_every_part_is_used_and_names_who_uses_it() -> None:
    brought = {name: load_protocol(LIBRARY / f"{name}.yaml").files for name in NAMES}
    for path in PARTS:
        users = [name for name, files in brought.items() if f"parts/{path.name}" in files]
        assert users, path.name
        assert f"{users[0]}.yaml" in path.read_text(encoding="utf-8")
        assert load_protocol(path).model.protocol == path.stem


# Profiles.


def table(path: Path) -> Table:
    return read_table(path.read_text(encoding="utf-8"), path.name)


def test_the_steps_of_the_dynamic_stress_test_take_360_s() -> None:
    read = table(LIBRARY / "profiles" / "dst.csv")
    spans = [b - a for a, b in zip(read.times_s, read.times_s[1:], strict=False)]
    assert tuple(zip(spans, read.values, strict=False)) == DST
    assert sum(seconds for seconds, _ in DST) == 360


def test_the_dynamic_stress_test_is_what_others_have_read_off_a_figure() -> None:
    seconds, powers = zip(*DST, strict=True)
    assert tuple(power / 12.5 for power in powers) == DST_READ_OFF
    assert seconds[1:-1] == DST_READ_OFF_S[1:-1]
    between_cycles_s = seconds[-1] + seconds[0]
    assert between_cycles_s == DST_READ_OFF_S[-1] + DST_READ_OFF_S[0]
    assert sum(s * power for s, power in DST) / sum(seconds) == -100.0 / 8


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_profile_is_a_power_that_discharges_and_is_small(path: Path) -> None:
    read = table(path)
    assert read.column == "power_W"
    assert path.stat().st_size < 60_000
    figure = figures(list(zip(read.times_s, read.values, strict=True)))
    assert figure["energy_Wh"] > 0.0
    assert figure["peak_kW"] > figure["peak_back_kW"] > 0.0


def test_the_drive_cycle_takes_the_energy_for_which_such_a_car_is_certified() -> None:
    read = table(LIBRARY / "profiles" / "udds.csv")
    energy_Wh = figures(list(zip(read.times_s, read.values, strict=True)))["energy_Wh"]
    assert energy_Wh / UDDS_KM == pytest.approx(LEAF_UDDS_WH_PER_KM, rel=0.05)


def test_a_steady_speed_costs_rolling_drag_and_auxiliaries() -> None:
    car = Car()
    rolling_N, drag_N = 1600 * 9.81 * 0.008, 0.6 * 0.868 * 20.0**2
    power_W = car.battery_W(20.0, 20.0, 1.0)
    assert power_W == pytest.approx(-((rolling_N + drag_N) * 20.0 / 0.88 + 250.0))


def test_a_car_that_stands_draws_its_auxiliaries_alone() -> None:
    assert Car().battery_W(0.0, 0.0, 1.0) == -250.0


def test_braking_gives_back_less_than_the_car_had() -> None:
    car = Car()
    speeds = [(float(second), 20.0 - second) for second in range(21)]
    back_J = sum(power for _, power in profile(speeds, car))
    assert 0.6 * 0.5 * 1600 * 20.0**2 < back_J < 0.88 * 0.5 * (1600 + 28.9) * 20.0**2


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_the_figures_in_the_readme_are_those_of_the_profile(path: Path) -> None:
    text = (LIBRARY / "profiles" / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{path.name}` \|(.*)\|$", text, re.M)
    duration, _, peak, back, energy = (cell.strip() for cell in row.split("|"))
    read = table(path)
    figure = figures(list(zip(read.times_s, read.values, strict=True)))
    assert duration == f"{figure['duration_s']:.0f}"
    if path.stem == "dst":
        return  # in per cent of the peak
    assert float(peak) == pytest.approx(figure["peak_kW"], abs=0.05)
    assert float(back) == pytest.approx(figure["peak_back_kW"], abs=0.05)
    assert float(energy) == pytest.approx(figure["energy_Wh"], abs=0.5)


# Every file, played on a model of a cell.


@dataclass(frozen=True, slots=True)
class Case:
    """How a file is played, and how its steps should end: number -> reason -> how often."""

    nominal_Ah: float = 2.5
    chemistry: str = "nmc"
    soc: float = 0.3
    parameters: Mapping[str, str | int] = field(default_factory=dict[str, "str | int"])
    cell: dict[str, Any] = field(default_factory=dict[str, Any])
    reasons: dict[int, dict[str, int]] = field(default_factory=dict[int, dict[str, int]])
    reason: str = ""


UNFORMED = {"formed": False}
HARD = {"peak": "60 W"}  # a second of a profile takes as long to play as an hour of rest
CASES = {
    "formation-coin-cell": Case(  # the model has no LNMO; the voltages are those of the cell it has
        0.002,
        soc=0.02,
        cell=UNFORMED,
        parameters={"v_max": "4.2 V", "v_min": "2.5 V", "blocks": 1, "cycles": 2},
        reasons={2: {"already satisfied: voltage >= 2 V": 1}, 6: {"voltage <= 2.5 V": 3}},
    ),
    "formation-pouch-cell": Case(
        0.2,
        soc=0.0,
        cell=UNFORMED,
        reasons={3: {"time >= 60 min": 1}, 9: {"voltage >= 4.1 V": 2}, 13: {"time >= 5 min": 1}},
    ),
    "formation-nmc-graphite": Case(soc=0.02, cell=UNFORMED, reasons={9: {"sweep done": 1}}),
    "formation-lfp": Case(
        chemistry="lfp", soc=0.0, cell=UNFORMED, reasons={3: {"current <= C/50": 2}}
    ),
    "standard-cycle": Case(reasons={6: {"current <= C/25": 1}}),
    "cycling-cccv": Case(  # ends by the end of life, long before 1000 cycles
        cell={"fade_per_cycle": 0.02}, reasons={3: {"voltage <= 2.5 V": 14}}
    ),
    "rate-capability": Case(reasons={4: {"voltage <= 2.5 V": 1}, 50: {"voltage <= 2.5 V": 1}}),
    "pseudo-ocv": Case(reasons={4: {"voltage <= 2.5 V": 1}, 6: {"voltage >= 4.2 V": 1}}),
    "gitt": Case(reasons={3: {"time >= 1 h": 19, "voltage <= 2.5 V": 1}}),
    "gitt-relaxed": Case(reasons={3: {"time >= 30 min": 19, "voltage <= 2.5 V": 1}}),
    "hppc-ev": Case(
        reasons={5: {"time >= 10 s": 10}, 6: {"time >= 18 min": 9, "voltage <= 2.7 V": 1}}
    ),
    "hppc-hev": Case(reasons={3: {"charge >= 10 %": 9}, 5: {"time >= 10 s": 9}}),
    "hppc-handbook": Case(reasons={3: {"charge >= 10 %": 9}, 5: {"time >= 18 s": 9}}),
    "pulse-power-iso-12405": Case(
        reasons={3: {"soc <= 90 %": 1}, 31: {"soc <= 20 %": 1}, 33: {"time >= 18 s": 1}}
    ),
    "drive-cycle": Case(parameters=HARD, reasons={3: {"profile over": 4, "voltage <= 2.5 V": 1}}),
    "drive-us06": Case(parameters=HARD),
    "drive-wltc": Case(parameters=HARD),
    # An eighth of 20 W for 360 s are 0.25 Wh; a cell of 2.5 Ah has about 9 Wh: 36 passes.
    "drive-dst": Case(reasons={3: {"profile over": 35, "voltage <= 2.5 V": 1}}),
    "eis-by-soc": Case(reasons={4: {"sweep done": 1}, 7: {"sweep done": 5}}),
    "capacity-iec-61960": Case(reasons={6: {"voltage <= 2.5 V": 1}}),
    "capacity-iec-62660-1": Case(
        reasons={8: {"soaked at 0 degC": 1}, 9: {"dT/dt <= 1 K/h over 1 h after 1 h": 1}}
    ),
    "calendar-ageing": Case(cell={"fade_per_cycle": 0.05}, reasons={12: {"3.6288e+06 s": 3}}),
    "rpt": Case(reasons={2: {"voltage <= 2.7 V": 1}, 15: {"voltage <= 2.7 V": 1}}),
    "cycle-ageing": Case(
        cell={"fade_per_cycle": 0.03}, parameters={"first_cycles": 2, "cycles": 2}
    ),
    "fast-charge-severson": Case(
        1.1,
        "lfp",
        cell={"fade_per_cycle": 0.05},
        reasons={10: {"cycle.charge >= 0.086 Ah": 6}, 4: {"1800 s": 1}},
        reason="end of the run",
    ),
}
_PLAYED: dict[str, Played] = {}


def played(name: str) -> Played:
    """The file, played once for all tests of this module."""
    if name not in _PLAYED:
        case = CASES[name]
        program = compiled(name, case.nominal_Ah, **case.parameters)
        model = PlayedCell(case.chemistry, case.nominal_Ah, case.soc, **case.cell)
        _PLAYED[name] = Player(program, model).play()
    return _PLAYED[name]


def reasons(run: Played, number: int) -> Counter[str]:
    """How the executions of a step have ended."""
    return Counter(one.reason for one in run.executed if one.step.number == number)


@pytest.mark.parametrize("name", NAMES)
def test_a_program_runs_to_its_end_on_a_cell(name: str) -> None:
    case, run = CASES[name], played(name)
    assert (run.outcome, run.reason) == ("completed", case.reason)
    assert not any(one.failed for one in run.executed)
    for number, expected in case.reasons.items():
        assert reasons(run, number) == expected, number


@pytest.mark.parametrize(
    ("name", "file"),
    [("drive-cycle", "udds"), ("drive-us06", "us06"), ("drive-wltc", "wltc"), ("drive-dst", "dst")],
)
def test_what_a_car_gives_back_when_it_brakes_is_charged(name: str, file: str) -> None:
    """Of the last whole pass: a full cell cannot take it all."""
    read = table(LIBRARY / "profiles" / f"{file}.csv")
    last = [one for one in played(name).executed if one.reason == "profile over"][-1]
    peak_W = float(CASES[name].parameters.get("peak", "20 W").split()[0])
    steps = list(zip(read.times_s, read.times_s[1:], read.values, strict=False))
    scale = peak_W / max(abs(value) for value in read.values) / 3600.0
    back_Wh = scale * sum((end - begin) * value for begin, end, value in steps if value > 0.0)
    assert last.moved.charge_Wh == pytest.approx(back_Wh, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_no_step_is_left_out(name: str) -> None:
    case, run = CASES[name], played(name)
    program = compiled(name, case.nominal_Ah, **case.parameters)
    assert {one.step.number for one in run.executed} == {step.number for step in program.steps}


@pytest.mark.parametrize("name", NAMES)
def test_a_review_has_nothing_to_say_but_notes(name: str) -> None:
    source = load_protocol(LIBRARY / f"{name}.yaml")
    made = compile_placed(source, Cell("fit", NOMINAL_AH.get(name, 2.5)), [BENCH], INSTRUMENTS)
    station = Station("A1", period_s=0.1, chamber=True, eis=True, window=1.1)
    found = review(Subject(source, made, flow_of(made.program), station))
    assert [str(one.message) for one in found if one.level is not Level.NOTE] == []


LFP = {
    **{"v_max": "3.65 V", "v_min": "2.0 V", "trip_low": "1.8 V", "trip_high": "3.8 V"},
    **{"v_pulse": "3.75 V", "v_cycle": "3.6 V"},
}
FOR_ANY_CHEMISTRY = [
    name for name in NAMES if "formation" not in name and name != "fast-charge-severson"
]


@pytest.mark.parametrize("name", FOR_ANY_CHEMISTRY)
def test_another_chemistry_needs_other_parameters_and_no_other_file(name: str) -> None:
    own = load_protocol(LIBRARY / f"{name}.yaml").parameters
    voltages = {key: value for key, value in LFP.items() if key in own}
    assert {"v_max", "v_min", "trip_low", "trip_high"} <= set(voltages)
    program = compiled(name, 2.5, **CASES[name].parameters, **voltages)
    run = Player(program, PlayedCell("lfp", 2.5, 0.3, **CASES[name].cell)).play()
    assert (run.outcome, run.reason) == ("completed", "")
    assert not any(one.failed for one in run.executed)


def test_a_cell_that_must_not_see_the_pulses_is_refused_before_anything_is_energised() -> None:
    source = load_protocol(LIBRARY / "hppc-handbook.yaml")
    weak = Cell("weak", 2.5, limits=Limits(current_A=(-5.0, 2.5)))
    with pytest.raises(InputError, match="-5 A of cell weak"):
        compile_protocol(source, weak, [BENCH], INSTRUMENTS)


# The catalogue.


def catalogue() -> dict[str, tuple[str, str]]:
    """Name -> duration and standing of the numbers."""
    text = (ROOT / "docs" / "protocol-library.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[([\w-]+)\]\(\.\./protocols/\1\.yaml\) \|(.*)\|$", text, re.M)
    return {name: tuple(cell.strip() for cell in row.split("|"))[-2:] for name, row in rows}


def test_the_catalogue_names_every_file_and_no_other() -> None:
    assert sorted(catalogue()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_catalogue_says_of_the_numbers_what_the_file_says(name: str) -> None:
    assert catalogue()[name][1] == standing(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_duration_in_the_catalogue_is_that_of_the_played_program(name: str) -> None:
    said = re.fullmatch(r"(\d+) h", catalogue()[name][0])
    if said is None:
        assert catalogue()[name][0].startswith(("about ", "until "))
        return
    assert not CASES[name].parameters
    assert played(name).duration_s / 3600.0 == pytest.approx(float(said[1]), rel=0.15, abs=0.6)
