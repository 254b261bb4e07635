"""`daq dry-run`: a protocol, compiled and played on a model of a cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from daq import units
from daq.checks import Checks
from daq.cli.outline import INDENT, heading, outline
from daq.cli.output import EXIT_FAILED, Json, complain, console, duration, near, pairs, print_json
from daq.cli.profiles import TABLES
from daq.cli.stations import compiled_for, known_cell, known_station, need_lab, nominal_Ah
from daq.cli.tables import Column, fitted, print_table, show
from daq.errors import InputError
from daq.labreader import load_lab
from daq.model import Cell
from daq.protocol.condition import Condition, Exit
from daq.protocol.program import Program, Repeat, Step
from daq.protocol.source import load_protocol

if TYPE_CHECKING:
    from daq.dryrun.trace import Played

_MOST_ROWS, _MOST_CYCLES = 40, 12
_COMPLETE = ("completed", "not finished")
_NOTHING = 1e-6  # of the nominal capacity
NO_MODEL = "none"


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("dry-run")(dry_run)


def dry_run(
    protocol: Annotated[Path, typer.Argument(help="The protocol file.")],
    capacity: Annotated[
        str, typer.Option(help="Nominal capacity of the cell, such as '2.5 Ah'.")
    ] = "1 Ah",
    lab: Annotated[Path | None, typer.Option("--lab", help="Take cell and limits from it.")] = None,
    station: Annotated[str, typer.Option(help="Station of that lab.")] = "",
    cell: Annotated[str, typer.Option(help="Cell of that lab.")] = "",
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="name=value.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(help="Cell model; default: by the cell's chemistry. none: compile only."),
    ] = "",
    soc: Annotated[str, typer.Option(help="State of charge at the start.")] = "30 %",
    unformed: Annotated[
        bool, typer.Option("--unformed", help="A fresh cell, whose first charge forms it.")
    ] = False,
    until_cycle: Annotated[
        int | None, typer.Option("--until-cycle", min=1, help="Play these cycles only.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw a picture into this.")] = None,
    as_json: Json = False,
) -> None:
    """Compile a protocol, and play it on a model of a cell: each step, how long, and its end."""
    need_lab(lab, station, cell)
    values = pairs(parameter or ())
    source = load_protocol(protocol, TABLES, values)
    loaded = load_lab(lab) if lab else None
    subject = known_cell(loaded, cell) if loaded and cell else Cell("dry-run", nominal_Ah(capacity))
    at = known_station(loaded, station) if loaded and station else None
    start = _Start(
        _model(model, subject), _fraction(soc), unformed, until_cycle or inf,
        at.checks if at else Checks(),
    )  # fmt: skip
    if plot and model != NO_MODEL:
        _check_picture(plot)
    program = compiled_for(source, subject, loaded, at, values)
    result: Any = _document(program)
    if not as_json:
        _print_program(program)
    if model == NO_MODEL:
        if as_json:
            print_json(result)
        return
    name, played = start.model, _play(program, subject, start)
    if plot:
        _draw(program, played, plot, f"{subject.nominal_capacity_Ah:g} Ah, model {name}")
    if as_json:
        print_json(result | {"played": _played(name, played)})
    else:
        _print_played(name, played, program.nominal_capacity_Ah)
        if plot:
            console().print(near(plot.resolve()))
    if played.outcome not in _COMPLETE:
        complain(f"{played.outcome}: {played.reason}")
        raise typer.Exit(EXIT_FAILED)


def _fraction(soc: str) -> float:
    """A state of charge as it is typed: "30 %".

    Raises:
        InputError: it is none.
    """
    fraction = units.parse(soc, units.FRACTION)
    if not 0.0 <= fraction <= 1.0:
        raise InputError(f"{soc} is no state of charge", remedy="0 % to 100 %")
    return fraction


@dataclass(frozen=True, slots=True)
class _Start:
    """How a program is to be played; all of it is checked before anything is printed."""

    model: str
    soc: float
    unformed: bool
    until_cycle: float
    checks: Checks


def _model(name: str, cell: Cell) -> str:
    """The name of the cell model that was asked for, or that the cell's chemistry names.

    Raises:
        InputError: there is none.
    """
    # Here and not above: `daq serve` must not load what only this command wants.
    from daq.dryrun.model import find_model, model_for

    if name == NO_MODEL:
        return name
    found = name or model_for(cell.chemistry)
    find_model(found)
    return found


def _check_picture(out: Path) -> None:
    from daq.dryrun.picture import check

    check(out)


def _play(program: Program, cell: Cell, start: _Start) -> Played:
    from daq.dryrun.model import find_model
    from daq.dryrun.player import Player

    model = find_model(start.model)(cell.nominal_capacity_Ah, start.soc, formed=not start.unformed)
    window = start.checks.Q2
    return Player(program, model, until_cycle=start.until_cycle, window=window).play()


def _draw(program: Program, played: Played, out: Path, heading: str) -> None:
    from daq.dryrun.picture import draw

    try:
        draw(program, played, out, heading)
    except (OSError, ValueError) as error:  # no such format, or nowhere to write it
        raise InputError(f"{out} cannot be drawn: {error}") from error


def _played(name: str, played: Played) -> dict[str, Any]:
    from daq.dryrun.summary import document

    return {"model": name, **document(played)}


# For people.


def _print_program(program: Program) -> None:
    title = f"{program.protocol} {program.version} for a cell of {program.nominal_capacity_Ah:g} Ah"
    print_table(("step", "line", "what", "setpoint", "until", "at most"), _rows(program), title)
    console().print(
        f"expected {duration(program.expected_s)}, at most "
        f"{duration(program.at_most_s)} of lab time"
    )


def _print_played(name: str, played: Played, nominal_Ah: float) -> None:
    console().print()
    title = f"played on {name}: {played.outcome} after {duration(played.duration_s)}"
    if len(played.executed) <= _MOST_ROWS:
        _print_each(played, nominal_Ah, title)
    else:
        _print_by_step(played, nominal_Ah, title)
        _print_by_cycle(played, nominal_Ah)
    for note in played.notes:
        console().print(f"note: {note}")


def _print_each(played: Played, nominal_Ah: float, title: str) -> None:
    done = played.executed
    _print_fitted(
        title,
        Column("step", [str(one.step.number) for one in done]),
        Column("cycle", [str(one.cycle) for one in done], rank=3),
        Column("what", [_short(one.step) for one in done], least=12),
        Column("time", [duration(one.lasted_s) for one in done]),
        *_moved([one.moved for one in done], nominal_Ah),
        Column("end V", [f"{one.voltage_V:.4f}" for one in done]),
        Column("ended by", [one.reason for one in done], least=16),
    )


def _print_by_step(played: Played, nominal_Ah: float, title: str) -> None:
    from daq.dryrun.summary import by_step

    rows = by_step(played)
    _print_fitted(
        title,
        Column("step", [str(row.step.number) for row in rows]),
        Column("times", [str(row.totals.times) for row in rows]),
        Column("what", [_short(row.step) for row in rows], least=12),
        Column("time", [duration(row.totals.lasted_s) for row in rows]),
        *_moved([row.totals for row in rows], nominal_Ah),
        Column("end V", [f"{row.voltage_V:.4f}" for row in rows], rank=3),
        Column("ended by", [row.ended_by for row in rows], least=16),
    )


def _print_by_cycle(played: Played, nominal_Ah: float) -> None:
    from daq.dryrun.summary import by_cycle, some

    totals = by_cycle(played)
    cycles = some(totals, _MOST_CYCLES)
    console().print()
    _print_fitted(
        "by cycle" if len(cycles) == len(totals) else f"by cycle, {len(cycles)} of {len(totals)}",
        Column("cycle", [str(cycle) for cycle in cycles]),
        Column("time", [duration(totals[cycle].lasted_s) for cycle in cycles]),
        *_moved([totals[cycle] for cycle in cycles], nominal_Ah),
    )


def _print_fitted(title: str, *columns: Column) -> None:
    console().print(Text(title))
    show(fitted(columns, console().width))


def _moved(moved: Sequence[Any], nominal_Ah: float) -> list[Column]:
    amounts = [_amounts(one, nominal_Ah) for one in moved]
    return [
        Column(heading, [amount[index] for amount in amounts], rank=rank)
        for index, (heading, rank) in enumerate(_MOVED)
    ]


_MOVED = (("Ah in", 0), ("Ah out", 0), ("Wh in", 4), ("Wh out", 4))
"""Headings, and what goes first where a terminal is narrow."""


def _amounts(moved: Any, nominal_Ah: float) -> Sequence[str]:
    """Charge and energy, in and out; the edge of a step, which is nothing, is left empty."""
    values = (moved.charge_Ah, moved.discharge_Ah, moved.charge_Wh, moved.discharge_Wh)
    return [f"{value:.5g}" if value > _NOTHING * nominal_Ah else "" for value in values]


def _short(step: Step) -> str:
    return step.text.partition(" until ")[0]


def _rows(program: Program) -> Iterator[tuple[Any, ...]]:
    for depth, item in outline(program):
        indent = depth * INDENT
        if isinstance(item, Step):
            what = indent + _short(item)
            line = f"{item.file}:{item.line}" if item.file else item.line
            until = _ends(program, item.until)
            yield item.number, line, what, _setpoint(item), until, duration(item.at_most_s)
        else:
            until = _ends(program, item.until) if isinstance(item, Repeat) else ""
            yield "", "", indent + heading(item), "", until, ""


def _ends(program: Program, conditions: Sequence[Condition]) -> str:
    return " or ".join(_end(program, condition) for condition in conditions)


def _end(program: Program, condition: Condition) -> str:
    """A condition, and where the program goes on if that is not the next line."""
    goes = condition.goes
    if goes is None:
        return condition.text
    if goes.exit is Exit.GOTO:
        return f"{condition.text}, then goto {program.targets[goes.target].label}"
    return f"{condition.text}, then end {goes.exit}"


def _setpoint(step: Step) -> str:
    setpoint = step.setpoint
    if setpoint is None:
        return "OFF"
    low, high = 0.0 - setpoint.discharge_A, setpoint.charge_A
    voltage = f"{setpoint.voltage_V:g} V" if isfinite(setpoint.voltage_V) else "no voltage limit"
    return f"{voltage}, {low:.4g} to {high:.4g} A"


def _document(program: Program) -> dict[str, Any]:
    return {
        "protocol": program.protocol,
        "version": program.version,
        "sha256": program.sha256,
        "expected_s": program.expected_s,
        "at_most_s": program.at_most_s,
        "steps": [
            {
                "step": step.number,
                "line": step.line,
                "kind": step.kind.value,
                "text": step.text,
                "setpoint": _setpoint(step),
                "until": [condition.text for condition in step.until],
                "at_most_s": step.at_most_s,
            }
            for step in program.steps
        ],
    }
