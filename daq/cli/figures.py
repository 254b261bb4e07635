"""Commands on what runs come to: figures, report, compare."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daq.cli.output import DEFAULT_LAB, Json, LabFile, console, print_json
from daq.cli.runs import LAST, RunId, origin
from daq.cli.tables import Column, folded, show
from daq.errors import InputError

if TYPE_CHECKING:
    from daq.report.summary import Choices, Summary
    from daq.report.tables import Table

Reference = Annotated[
    int | None,
    typer.Option(help="Cycle with 100 % of retention; default: the first that went both ways."),
]
Circuit = Annotated[
    str | None,
    typer.Option(help="Circuit fitted to spectra, such as 'R0-p(R1,CPE1)-CPE2'; 'none': no fit."),
]


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    app.command()(figures)
    app.command()(report)
    app.command()(compare)


def figures(
    run: RunId = LAST,
    reference: Reference = None,
    circuit: Circuit = None,
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Capacities, efficiencies, resistances and fits of a run, as tables."""
    from daq.report import document, tables

    summary = _summary(run, lab, _choices(reference, circuit))
    if as_json:
        print_json(document.document(summary))
        return
    for table in tables.tables(summary):
        _print(table)


def report(
    run: RunId = LAST,
    out: Annotated[
        Path | None, typer.Option(help="The page (.html, .pdf); default: RUN.html here.")
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Write RUN.pdf beside the page, too.")] = False,
    reference: Reference = None,
    circuit: Circuit = None,
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Write one page about a run: who and what, pictures, tables; --pdf for paper."""
    from daq.report.page import write_page
    from daq.report.pdf import write_pdf

    summary = _summary(run, lab, _choices(reference, circuit))
    page = out or Path(f"{Path(summary.data.run).name}.html")
    on_paper = page.suffix.lower() == ".pdf"
    written = {} if on_paper else {"page": str(write_page(summary, page))}
    if pdf or on_paper:
        written["pdf"] = str(write_pdf(summary, page.with_suffix(".pdf")))
    _say(written, as_json)


def compare(
    runs: Annotated[list[str], typer.Argument(help="Ids of runs, or .h5 files; two at least.")],
    out: Annotated[
        Path | None, typer.Option(help="The picture (.png, .svg, .pdf); default: none.")
    ] = None,
    least_capacity: Annotated[
        float, typer.Option(help="Least capacity of a good cell, % of nominal.")
    ] = 80.0,
    least_efficiency: Annotated[
        float, typer.Option(help="Least coulombic efficiency of its last cycle, %.")
    ] = 95.0,
    most_efficiency: Annotated[
        float, typer.Option(help="Most: a higher one is none, the cell was not empty before.")
    ] = 101.0,
    outliers: Annotated[bool, typer.Option(help="Whether an outlier may be a good cell.")] = False,
    reference: Reference = None,
    circuit: Circuit = None,
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Hold the cells of a batch side by side: spread, outliers, yield, a picture."""
    from daq.figures.batch import Criteria
    from daq.report import comparison
    from daq.report.batch_picture import comparison_picture

    criteria = Criteria(least_capacity, least_efficiency, not outliers, most_efficiency)
    chosen = _choices(reference, circuit)
    found = comparison.compare([_summary(run, lab, chosen) for run in runs], criteria)
    if out:
        _save(comparison_picture(found), out)
    if as_json:
        print_json(comparison.document(found) | ({"picture": str(out)} if out else {}))
        return
    _print(comparison.cells_table(found))
    _print(comparison.spread_table(found))
    if out:
        console().print(str(out))


def _choices(reference: int | None, circuit: str | None) -> Choices:
    from daq.figures import circuits
    from daq.report.summary import Choices

    if circuit is None:
        return Choices(reference)
    if circuit == "none":
        return Choices(reference, "")
    circuits.parse(circuit)  # before anything is read: a wrong one is refused at once
    return Choices(reference, circuit)


def _summary(run: str, lab: str, choices: Choices) -> Summary:
    from daq.report.data import load
    from daq.report.summary import summarise

    with origin(run, lab) as (found, name):
        data = load(found, name)
    if choices.reference is not None and choices.reference not in data.rows["cycle_number"]:
        raise InputError(f"run {data.run} has no cycle {choices.reference}")
    return summarise(data, choices)


def _save(picture: Any, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        picture.savefig(out, dpi=140)
    except ValueError as unknown:  # an ending that matplotlib has no writer for
        raise InputError(f"{out}: {unknown}", remedy="end it in .png, .svg or .pdf") from unknown


def _print(table: Table) -> None:
    columns = [
        Column(heading, cells, right=index not in table.words)
        for index, (heading, cells) in enumerate(
            zip(table.headings, zip(*table.rows, strict=True), strict=True)
        )
    ]
    print(f"\n{table.title}")
    for part in folded(columns, console().width):
        show(part)
    if table.note:
        print(table.note)


def _say(written: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json(written)
        return
    for path in written.values():
        console().print(path)
