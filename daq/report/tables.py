"""The figures of a run as tables of text: the terminal, the page and the PDF show the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from daq.figures.counted import Amount, run_counted
from daq.figures.pulses import TIMES_S, Pulse
from daq.figures.scopes import Scope
from daq.figures.spectra import SOUND_PCT, Parameter
from daq.report import document
from daq.report.summary import SpectrumFigures, Summary

NONE = "–"
_ALL_PCT = 100.5
"""Beyond what instruments are wrong by."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        title: stands above it.
        headings: with units.
        rows: cells as they are shown.
        note: a sentence below it.
        words: columns of text, which is aligned to the left; by index.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    words: frozenset[int] = frozenset({0})


def number(value: float, digits: int) -> str:
    """With that many digits behind the point; a dash for what is not known."""
    return f"{value:z.{digits}f}" if isfinite(value) else NONE


def significant(value: float, digits: int = 4) -> str:
    """With that many significant digits."""
    return f"{value:.{digits}g}" if isfinite(value) else NONE


def hours(seconds: float) -> str:
    """A duration as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"


def tables(summary: Summary) -> list[Table]:
    """All tables of a run that have rows."""
    made = (
        totals_table(summary),
        cycles_table(summary),
        steps_table(summary),
        counted_table(summary),
        pulses_table(summary),
        *(spectrum_table(one) for one in summary.spectra),
        events_table(summary),
    )
    return [table for table in made if table.rows]


def totals_table(summary: Summary) -> Table:
    """The run as a whole."""
    whole = summary.whole
    return Table(
        "The run",
        ("", "Charge", "Discharge", "Net", "Cumulative"),
        (
            ("Capacity / Ah", *_four(whole, "Ah")),
            ("Energy / Wh", *_four(whole, "Wh")),
        ),
        f"{whole.records} records in {hours(whole.duration_s)} h{_paused_note(whole)}. "
        "From the daemon's counters, "
        "which take in every sample; trapezoids over the kept records alone differ by "
        f"{number(whole.deviation_pct, 3)} %.{_counted_note(summary)}",
    )


def _paused_note(whole: Scope) -> str:
    return f" and {hours(whole.paused_s)} h of pauses" if whole.paused_s else ""


def _counted_note(summary: Summary) -> str:
    found = run_counted(list(summary.counted.values()))
    if found is None:
        return ""
    apart = f"{number(found.charge_deviation_pct, 3)} % in charge"
    if isfinite(found.energy_deviation_pct):
        apart += f", {number(found.energy_deviation_pct, 3)} % in energy"
    return f" The cycler's own counters differ by {apart}."


def _four(whole: Scope, unit: str) -> tuple[str, ...]:
    names = ("charge", "discharge", "net", "cumulative")
    return tuple(number(getattr(whole.moved, f"{name}_{unit}"), 4) for name in names)


def cycles_table(summary: Summary) -> Table:
    """Cycle by cycle."""
    reference = document.reference_cycle(summary)
    rows = tuple(
        (
            str(one.cycle),
            number(one.whole.moved.charge_Ah, 4),
            number(one.whole.moved.discharge_Ah, 4),
            number(one.coulombic_efficiency_pct, 2),
            number(one.whole.moved.charge_Wh, 4),
            number(one.whole.moved.discharge_Wh, 4),
            number(one.energy_efficiency_pct, 2),
            number(one.retention_pct, 2),
            number(one.whole.moved.charge_mean_V, 4),
            number(one.whole.moved.discharge_mean_V, 4),
            number(one.whole.mean_degC, 1),
            number(one.whole.deviation_pct, 3),
        )
        for one in summary.cycles
    )
    named = f"cycle {reference}" if reference is not None else "no cycle: none is whole"
    return Table(
        "Cycles",
        ("Cycle", "Charge / Ah", "Discharge / Ah", "CE / %", "Charge / Wh", "Discharge / Wh",
         "EE / %", "Retention / %", "Mean charge / V", "Mean discharge / V", "Mean / °C",
         "Deviation / %"),
        rows,
        "CE, EE: charge (energy) out over charge (energy) in, of the same cycle. Retention: "
        f"discharge capacity over that of {named}. Deviation: records against counters."
        f"{more_than_all(one.coulombic_efficiency_pct for one in summary.cycles)}",
    )  # fmt: skip


def more_than_all(efficiencies_pct: Iterable[float]) -> str:
    """What to think of a cell that gave more than it had got; empty where none did."""
    if not any(one > _ALL_PCT for one in efficiencies_pct):
        return ""
    return " CE above 100 %: the cell was not empty when that cycle began; it is no efficiency."


def steps_table(summary: Summary) -> Table:
    """Step by step."""
    kinds = summary.data.step_kinds
    rows = tuple(
        (
            str(one.step_count),
            str(one.step),
            kinds.get(one.step, NONE),
            str(one.cycle),
            hours(one.whole.start_s),
            hours(one.whole.duration_s),
            number(one.whole.moved.charge_Ah, 4),
            number(one.whole.moved.discharge_Ah, 4),
            number(one.whole.moved.net_Wh, 4),
            number(one.mean_A, 3),
            number(one.whole.begin_V, 4),
            number(one.whole.end_V, 4),
            number(one.whole.max_degC, 1),
            summary.reasons.get(one.step_count, NONE),
        )
        for one in summary.steps
    )
    return Table(
        "Steps",
        ("Pass", "Step", "Kind", "Cycle", "Begins", "Lasts", "Charge / Ah", "Discharge / Ah",
         "Net / Wh", "Mean / A", "First / V", "Last / V", "Max / °C", "Ended by"),
        rows,
        "Times as h:mm:ss since the start of the run. Pauses are left out of Lasts and of Mean.",
        frozenset({2, 13}),
    )  # fmt: skip


def counted_table(summary: Summary) -> Table:
    """Against the cycler's own counters, for the steps that moved enough, or were not counted."""
    shown = [
        one
        for one in summary.counted.values()
        if one.missing or isfinite(one.charge_Ah.deviation_pct)
    ]
    why = any(one.missing for one in shown)
    rows = tuple(
        (
            str(one.step_count),
            str(one.step),
            *_twice(one.charge_Ah, 4),
            *_twice(one.energy_Wh, 4),
            *([one.missing] if why else []),
        )
        for one in shown
    )
    return Table(
        "Against the cycler's own counters",
        ("Pass", "Step", "Net / Ah", "Cycler / Ah", "Deviation / %", "Net / Wh", "Cycler / Wh",
         "Deviation / %", *(["Missing because"] if why else [])),
        rows,
        "Net by the daemon and by the cycler, from one look at its counters to the next, at the "
        "edges between steps. Deviation: the daemon's less the cycler's, over what was moved both "
        "ways. Steps that moved less than 100 of the counter's last digits, and those with the "
        "output OFF, are left out.",
        frozenset({8}),
    )  # fmt: skip


def _twice(one: Amount, digits: int) -> tuple[str, str, str]:
    return (
        number(one.net, digits),
        number(one.instrument_net, digits),
        number(one.deviation_pct, 3),
    )


def pulses_table(summary: Summary) -> Table:
    """DC resistances."""
    return Table(
        "DC resistance / mΩ, at seconds after the edge of the current",
        ("Pass", "Edge", "Current step / A", "SoC / %", "Before / V", "At / °C",
         *(f"{time_s:g} s" for time_s in TIMES_S), "Edge ± / s"),
        tuple(_pulse(one) for one in summary.pulses),
        "(V - V before the edge) / (I - I before); SoC by counting charge, where the run has been "
        "through most of the cell. A dash: the records do not give it.",
        frozenset({1}),
    )  # fmt: skip


def _pulse(one: Pulse) -> tuple[str, ...]:
    at = {found.after_s: found.ohm for found in one.resistances}
    return (
        str(one.step_count),
        one.edge,
        number(one.step_A, 3),
        number(one.soc_pct, 1),
        number(one.before_V, 4),
        number(one.temperature_degC, 1),
        *(number(1e3 * at.get(time_s, float("nan")), 3) for time_s in TIMES_S),
        number(one.uncertainty_s, 3),
    )


def spectrum_table(one: SpectrumFigures) -> Table:
    """The fit of one spectrum."""
    title = (
        f"Spectrum of cycle {one.cycle}, at {hours(one.time_s)}, "
        f"{number(one.temperature_degC, 1)} °C"
    )
    rows = tuple(_parameter(parameter) for parameter in one.fit.parameters) if one.fit else ()
    return Table(
        title,
        ("Parameter", "Value", "Standard error", "Standard error / %", "Unit"),
        rows or ((NONE, NONE, NONE, NONE, NONE),),
        f"{_fit_note(one)} {_sound_note(one)}",
        frozenset({0, 4}),
    )


def _parameter(parameter: Parameter) -> tuple[str, ...]:
    relative = parameter.std_error / parameter.value if parameter.value else float("nan")
    return (
        parameter.name,
        significant(parameter.value, 5),
        significant(parameter.std_error, 2),
        number(100 * relative, 1) if relative < 10 else "not determined",
        parameter.unit.replace("ohm", "Ω"),
    )


def _fit_note(one: SpectrumFigures) -> str:
    if one.fit is None:
        return f"No fit: {one.fault}."
    return (
        f"{one.fit.circuit} on {len(one.fit.frequency_Hz)} points; residual "
        f"{number(one.fit.rms_pct, 3)} % of |Z| (rms)."
    )


def _sound_note(one: SpectrumFigures) -> str:
    found = one.consistency
    if found is None:
        return "Too few points for a Kramers-Kronig test."
    sign = "≤" if found.sound else ">"
    verdict = "consistent" if found.sound else "NOT consistent: drift, or not linear"
    worst = number(found.worst_pct, 2)
    return f"Kramers-Kronig: {verdict}; largest residual {worst} % {sign} {SOUND_PCT:g} %."


def events_table(summary: Summary) -> Table:
    """Alarms, trips, pauses and gaps."""
    found = sorted((*summary.alarms, *summary.gaps), key=lambda event: event.utc_s)
    rows = tuple((moment(e.utc_s), e.kind.replace("_", " "), told(e.data)) for e in found)
    words = frozenset({0, 1, 2})
    return Table("Alarms, trips, pauses and gaps", ("UTC", "What", "Details"), rows, "", words)


def told(data: dict[str, Any]) -> str:
    """What an event says, for people: its message where it has one."""
    for name in ("message", "reason", "text"):
        if data.get(name):
            return ": ".join(str(data[k]) for k in ("check", name) if data.get(k))
    return ", ".join(f"{name} {value}" for name, value in data.items() if value not in (None, ""))


def moment(utc_s: float) -> str:
    """A moment as people write it, UTC."""
    if not isfinite(utc_s):
        return NONE
    return datetime.fromtimestamp(utc_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
