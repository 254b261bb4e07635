"""`daq doctor`: looks a lab over before anybody trusts it. Reads only; energises nothing."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import typer

from daq.bus.resource import make_line
from daq.cli.output import EXIT_FAILED, Json, print_json, print_table
from daq.config import InstrumentConfig, Lab, StationConfig, load_lab
from daq.control.client import SOCKET_NAME
from daq.driver import Cycler, Driver, Range
from daq.errors import InstrumentError
from daq.model import Span

LEAST_DISK = 0.05
DUE_SOON = timedelta(days=30)
FIRST_SANE_YEAR = 2025
OK, WARN, BAD = "ok", "warning", "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: str
    message: str


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    app.command()(doctor)


def doctor(
    lab: Annotated[Path, typer.Argument(help="The lab file.")], as_json: Json = False
) -> None:
    """Check a lab: addresses, identities, limits, protection layers, disk, clock, calibration."""
    loaded = load_lab(lab)
    findings = list(examine(loaded))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [(item.state, item.what, item.message) for item in findings]
        print_table(("", "what", "finding"), rows, f"lab {loaded.name}")
    if any(item.state == BAD for item in findings):
        raise typer.Exit(EXIT_FAILED)


def examine(lab: Lab) -> Iterator[Finding]:
    """Everything that a lab can be asked without energising anything."""
    yield from _machine(lab)
    ranges: dict[str, dict[int, Range]] = {}
    running = (lab.data / SOCKET_NAME).exists()
    for config in lab.instruments.values():
        yield from _calibration(config)
        if running and config.resource.per_exchange is False:
            continue
        finding, ranges[config.name] = _ask(lab, config)
        yield finding
    if running:
        yield Finding("instruments", OK, "a daemon owns the lines: see `daq status`")
    for station in lab.stations.values():
        yield from _station(lab, station, ranges)


def _machine(lab: Lab) -> Iterator[Finding]:
    folder = next(path for path in (lab.data, *lab.data.parents) if path.exists())
    usage = shutil.disk_usage(folder)
    free = usage.free / usage.total
    state = OK if free >= LEAST_DISK else BAD
    yield Finding("disk", state, f"{usage.free / 1e9:.1f} GB free ({free:.0%}) for {lab.data}")
    year = time.gmtime().tm_year
    state = OK if year >= FIRST_SANE_YEAR else BAD
    yield Finding("clock", state, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    if lab.clock_factor != 1.0:
        yield Finding("clock", WARN, f"lab time runs {lab.clock_factor:g} times as fast: simulated")


def _calibration(config: InstrumentConfig) -> Iterator[Finding]:
    due = config.calibration_due
    what = f"calibration of {config.name}"
    if due is None:
        yield Finding(what, WARN, "no `calibration_due` in the lab file")
    elif due < date.today():
        yield Finding(what, BAD, f"was due on {due}")
    elif due < date.today() + DUE_SOON:
        yield Finding(what, WARN, f"is due on {due}")
    else:
        yield Finding(what, OK, f"due on {due}")


def _ask(lab: Lab, config: InstrumentConfig) -> tuple[Finding, dict[int, Range]]:
    """Open, identify, ask for ranges. Does not call `setup`, which may write."""
    line = make_line(config.resource, config.settings, lab.visa_backend)
    driver: Driver[object] = config.driver_class(line, config.options)  # type: ignore[type-var]
    try:
        line.open()
        identity = driver.identify()
        ranges = {channel: driver.range(channel) for channel in driver.channels}
    except InstrumentError as error:
        return Finding(config.name, BAD, f"{config.resource}: {error}"), {}
    finally:
        line.close()
    return Finding(config.name, OK, f"{identity} at {config.resource}"), ranges


def _station(
    lab: Lab, station: StationConfig, ranges: dict[str, dict[int, Range]]
) -> Iterator[Finding]:
    what = f"station {station.name}"
    cycler = station.cycler
    found = ranges.get(cycler.instrument, {}).get(cycler.channel)
    if found:
        yield _fits(what, "voltage", station.limits.voltage_V, found.voltage_V, "V")
        yield _fits(what, "current", station.limits.current_A, found.current_A, "A")
    missing = list(_missing_layers(lab, station))
    state = WARN if missing else OK
    yield Finding(what, state, f"missing layers: {', '.join(missing)}" if missing else "all layers")


def _fits(what: str, name: str, limit: Span, able: Span, unit: str) -> Finding:
    inside = able[0] <= limit[0] and limit[1] <= able[1]
    text = f"{name} limits {limit[0]:g} to {limit[1]:g} {unit}; it can {able[0]:g} to {able[1]:g}"
    return Finding(what, OK if inside else WARN, text)


def _missing_layers(lab: Lab, station: StationConfig) -> Iterator[str]:
    driver = lab.instruments[station.cycler.instrument].driver_class
    if issubclass(driver, Cycler):
        layers = driver.layers
        for name in ("overvoltage", "undervoltage", "overcurrent", "watchdog"):
            if not getattr(layers, name):
                yield f"the instrument's own {name}"
    if station.temperature is None and station.chamber is None:
        yield "a temperature of the cell"
    elif station.temperature is None:
        yield "a sensor at the cell (the chamber's stands in)"
    yield "a hard-wired relay (not known to this file)"
