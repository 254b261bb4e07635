"""`daq doctor`: looks a lab over before anybody trusts it.

It energises nothing. It writes only what the daemon writes when it connects, and only to a cycler
whose outputs are OFF. While a daemon runs, it asks the daemon.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from daq.bus.resource import make_line
from daq.cli.output import EXIT_FAILED, Json, near, print_json
from daq.cli.tables import print_table
from daq.config import InstrumentConfig, Lab, StationConfig
from daq.control.client import SOCKET_NAME, ControlClient
from daq.driver import AnyDriver, Cycler, Logger, Range
from daq.errors import DaqError, InstrumentError
from daq.journal import JournalReader, Kept
from daq.labreader import load_lab
from daq.model import EVERYWHERE, Identity, Span

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
    for config in lab.instruments.values():
        yield from _calibration(config)
    online = _ask_daemon(lab)
    if online is None:
        yield from _ask_bench(lab)
    else:
        yield Finding("daemon", OK, "runs and owns the lines; it says:")
        yield from _as_the_daemon_says(lab, online)
    for config in lab.instruments.values():
        yield from _sentinel(lab, config)
    for station in lab.stations.values():
        yield _layers(lab, station)
        yield _checks(lab, station)


def _machine(lab: Lab) -> Iterator[Finding]:
    folder = next(path for path in (lab.data, *lab.data.parents) if path.exists())
    usage = shutil.disk_usage(folder)
    free = usage.free / usage.total
    state = OK if free >= LEAST_DISK else BAD
    yield Finding(
        "disk", state, f"{usage.free / 1e9:.1f} GB free ({free:.0%}) for {near(lab.data)}"
    )
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


def _ask_daemon(lab: Lab) -> Mapping[str, Any] | None:
    """What a running daemon knows of its instruments; None when none runs."""
    if not (lab.data / SOCKET_NAME).exists():
        return None
    try:
        return ControlClient(lab.data).call("instruments").data
    except DaqError:
        return None


def _as_the_daemon_says(lab: Lab, online: Mapping[str, Any]) -> Iterator[Finding]:
    for name, config in lab.instruments.items():
        found = online.get(name)
        if found is None:
            yield Finding(name, BAD, "is not known to it: the lab file has changed since its start")
        elif not found["online"]:
            yield Finding(name, BAD, f"does not answer at {config.resource}")
        else:
            yield Finding(name, OK, f"{found['identity']} at {config.resource}")


def _ask_bench(lab: Lab) -> Iterator[Finding]:
    known = _known_identities(lab)
    for config in lab.instruments.values():
        finding, ranges = _ask(lab, config, known.get(config.name))
        yield finding
        yield from _nameplate(config, ranges)
        for station in lab.stations.values():
            if ranges and station.cycler.instrument == config.name:
                yield from _limits(station, ranges[station.cycler.channel])


def _known_identities(lab: Lab) -> dict[str, Identity]:
    """Who answered when the daemon last ran."""
    journal = lab.data / "journal.sqlite"
    if not journal.exists():
        return {}
    with JournalReader(journal) as reader:
        kept = reader.kept(Kept.IDENTITY)
    return {name: Identity(**document) for name, (_, document) in kept.items()}


def _ask(
    lab: Lab, config: InstrumentConfig, known: Identity | None
) -> tuple[Finding, dict[int, Range]]:
    line = make_line(config.resource, config.settings, lab.visa_backend)
    driver: AnyDriver = config.driver_class(line, config.options)
    try:
        line.open()
        identity = driver.identify()
        ranges = _ranges(driver)
    except InstrumentError as error:
        return Finding(config.name, BAD, f"{config.resource}: {error}"), {}
    finally:
        line.close()
    if known and known.serial != identity.serial:
        message = f"{identity} answers, it was {known}; if that is meant: daq forget {config.name}"
        return Finding(config.name, BAD, message), {}
    return Finding(config.name, OK, f"{identity} at {config.resource}"), ranges


def _ranges(driver: AnyDriver) -> dict[int, Range]:
    """What a cycler can do, unless one of its outputs is ON: `setup` may write settings."""
    if not isinstance(driver, Cycler) or any(one.output_on for one in driver.read().values()):
        return {}
    driver.setup()
    return {channel: driver.range(channel) for channel in driver.channels}


def _nameplate(config: InstrumentConfig, ranges: Mapping[int, Range]) -> Iterator[Finding]:
    """Whether `daq check`, which asks no instrument, knows what a cycler can do."""
    what, said = f"nameplate of {config.name}", config.nameplate
    for told in dict.fromkeys(ranges.values()):
        known = config.driver_class.known_range(config.options).within(said)
        if EVERYWHERE in (known.voltage_V, known.current_A):
            yield Finding(what, WARN, f"{_NOT_SAID}; it tells {_written(told)}")
        elif said.within(told) != said:
            yield Finding(what, WARN, f"it says more than the instrument: {_written(told)}")


_NOT_SAID = "not in the lab file, so `daq check` does not know what it can do"


def _written(able: Range) -> str:
    """As a lab file has it."""
    volts, amps = ([f"{end:g}" for end in span] for span in (able.voltage_V, able.current_A))
    return f"{{voltage: [{' V, '.join(volts)} V], current: [{' A, '.join(amps)} A]}}"


def _limits(station: StationConfig, able: Range) -> Iterator[Finding]:
    what = f"station {station.name}"
    yield _fits(what, "voltage", station.limits.voltage_V, able.voltage_V, "V")
    yield _fits(what, "current", station.limits.current_A, able.current_A, "A")


def _sentinel(lab: Lab, config: InstrumentConfig) -> Iterator[Finding]:
    """How the sentinel would switch an instrument off: by itself, or through the driver."""
    if issubclass(config.driver_class, Logger):
        return
    line = make_line(config.resource, config.settings, lab.visa_backend)
    driver: AnyDriver = config.driver_class(line, config.options)
    by_itself = line.endpoint() is not None and all(map(driver.off_exchanges, driver.channels))
    message = (
        "switches it off by itself, with the driver's bytes"
        if by_itself
        else "needs a fresh process with the driver to switch it off, which takes seconds"
    )
    yield Finding(f"sentinel, {config.name}", OK if by_itself else WARN, message)


def _layers(lab: Lab, station: StationConfig) -> Finding:
    missing = list(_missing_layers(lab, station))
    return Finding(f"station {station.name}", WARN, f"missing layers: {', '.join(missing)}")


def _checks(lab: Lab, station: StationConfig) -> Finding:
    """Which of the guard's checks this station does without, and why."""
    off = [f"{name} (switched off)" for name in station.checks.switched_off]
    cycler = lab.instruments[station.cycler.instrument].driver_class
    at_cell = station.temperature or getattr(cycler, "measures_temperature", False)
    if not at_cell or station.temperature == station.chamber or station.chamber is None:
        off.append("T3, T4, P4 (they need a sensor at the cell, and a chamber)")
    if station.voltage_check is None:
        off.append("V3 (it needs a `voltage_check`)")
    if not station.interlocks:
        off.append("K1 (there are no `interlocks`)")
    what = f"checks of {station.name}"
    return Finding(what, WARN, f"without {'; '.join(off)}") if off else Finding(what, OK, "all")


def _fits(what: str, name: str, limit: Span, able: Span, unit: str) -> Finding:
    inside = able[0] <= limit[0] and limit[1] <= able[1]
    text = f"{name} limits {limit[0]:g} to {limit[1]:g} {unit}, cycler {able[0]:g} to {able[1]:g}"
    return Finding(what, OK, text if inside else f"{text}: what lies beyond is never reached")


def _missing_layers(lab: Lab, station: StationConfig) -> Iterator[str]:
    driver = lab.instruments[station.cycler.instrument].driver_class
    if issubclass(driver, Cycler):
        layers = driver.layers
        for name in ("overvoltage", "undervoltage", "overcurrent", "watchdog"):
            if not getattr(layers, name):
                yield f"{name} protection in the cycler"
    at_cell = station.temperature or getattr(driver, "measures_temperature", False)
    if not at_cell:
        stand_in = "the chamber's stands in" if station.chamber else "nothing measures it"
        yield f"a temperature sensor at the cell ({stand_in})"
    if station.relay is None:
        yield "a relay that the daemon opens (`relay`)"
    yield "a hard-wired relay (not known to this file)"
