"""How a run comes to be: checks first, everything compiled, nothing energised.

Also how one comes back: a run that a crash or a restart interrupted is restored, paused, from
its checkpoint.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any

from daq.clock import LabClock, monotonic
from daq.config import Lab
from daq.control.assembly import Bench
from daq.control.choice import chosen_cell, chosen_protocol, refuse_if_mounted, strings
from daq.control.documents import cell_document, cell_from, spans
from daq.control.fit import Fit
from daq.control.run import Run
from daq.control.station import Station
from daq.control.status import number
from daq.driver import Range
from daq.errors import CommandRefused
from daq.journal import Journal
from daq.model import Cell, ChannelRef, Command, EventKind, Limits, RunInfo
from daq.protocol.compile import compile_protocol
from daq.protocol.engine import Engine
from daq.protocol.program import Program
from daq.protocol.source import ProtocolSource, parse_protocol


class Starter:
    """Makes runs for the stations of one lab."""

    def __init__(self, lab: Lab, bench: Bench, clock: LabClock, journal: Journal) -> None:
        self._lab = lab
        self._bench = bench
        self._fit = Fit(bench, real_time=clock.factor == 1.0)
        self._clock = clock
        self._journal = journal
        self._ids: set[str] = set()

    def remember(self, runs: Iterable[str]) -> None:
        """Ids of earlier runs, none of which is given again: clocks are set back, too."""
        self._ids.update(runs)

    @property
    def lab_sha256(self) -> str:
        """Of the lab file that this daemon runs."""
        return self._lab.sha256

    def make(self, station: Station, command: Command) -> Run:
        """Check and compile everything that a `start` command asks for.

        Arguments of the command: `text` and `name` of a protocol file, or `protocol`, a released
        one or a file in the lab's `protocols` folder; `cell`, or for one that nobody has described
        also `unregistered` and `capacity`; optional `parameters` and `operator`. With `check` it
        ends here, and nothing is begun.

        Raises:
            CommandRefused, InputError: why it cannot start; nothing has changed.
        """
        self._refuse_if_busy(station)
        source, released = chosen_protocol(self._lab, station.name, command.arguments)
        cell = chosen_cell(self._lab, command.arguments)
        refuse_if_mounted(cell.id, station, self._bench.stations.values())
        parameters = strings(command.arguments.get("parameters"))
        program = self._compile(source, cell, station, parameters)
        self._fit.check(station, program)
        operator = str(command.arguments.get("operator") or command.client)
        protocol = _protocol_document(source, program, parameters) | {"released": released}
        info = self._info(station, cell, program, protocol, operator)
        return Run(info, Engine(program), self._journal)

    def begin(self, station: Station, run: Run) -> None:
        """Hand a run to its station. On the home bus thread.

        Raises:
            CommandRefused: the station has become busy or has tripped meanwhile.
        """
        self._refuse_if_busy(station)
        protocol = run.info.document["protocol"]
        with self._journal.together():
            self._journal.save_run(run.info)
            station.conductor.begin(run)
            station.note(
                EventKind.RUN_STARTED,
                cell=run.info.cell,
                protocol=run.info.protocol,
                version=protocol["version"],
                sha256=protocol["sha256"],
                released=protocol["released"],
                operator=run.info.document["operator"],
                about_cell=run.info.document["cell"],
            )

    def restore(self, info: RunInfo, checkpoint: Mapping[str, Any]) -> Run:
        """A run as it was at its checkpoint, to be continued by its operator.

        Raises:
            InputError, KeyError: its protocol or its snapshot is not understood any more.
        """
        document = info.document
        written = document["protocol"]
        chosen, files = written["parameters"], written.get("files", {})
        source = parse_protocol(written["text"], written["file"], files, chosen)
        cell = cell_from(document["cell"])
        station = self._bench.stations[info.station]
        program = self._compile(source, cell, station, chosen)
        engine = Engine.restore(program, checkpoint["engine"])
        engine.interrupt()
        offset_s = self._offset_s(engine, float(checkpoint["utc_s"])) if engine.started else 0.0
        return Run(info, engine, self._journal, offset_s=offset_s, checkpoint=checkpoint)

    def _offset_s(self, engine: Engine, utc_s: float) -> float:
        """Lab time must go on where it was: by the wall clock where it is real time."""
        away_s = max(0.0, time.time() - utc_s) if self._clock.factor == 1.0 else 0.0
        return engine.time_s + away_s - self._clock.at(monotonic())

    # Checks.

    def _refuse_if_busy(self, station: Station) -> None:
        if station.latch:
            raise CommandRefused(
                f"{station.name} has tripped: {station.latch.message}",
                remedy=f"daq clear {station.name} --reason TEXT",
            )
        if why := station.just_cleared:
            raise CommandRefused(why)
        if run := station.conductor.run:
            raise CommandRefused(f"{run.info.id} runs at {station.name}", remedy="stop it first")
        if station.output.owed:
            raise CommandRefused(f"an OFF of {station.wiring.cycler} is not verified yet")
        for ref in _required(station):
            if not self._bench.instruments[ref.instrument].online:
                raise CommandRefused(f"{ref.instrument} is offline", remedy="daq doctor LAB")

    # Making.

    def _compile(
        self,
        source: ProtocolSource,
        cell: Cell,
        station: Station,
        parameters: Mapping[str, str],
    ) -> Program:
        tiers = [(f"station {station.name}", station.wiring.limits)]
        if (ceiling := station.wiring.checks.Q1) < inf:
            most_Ah = Limits(charge_Ah=ceiling * cell.nominal_capacity_Ah)
            tiers.append((f"check Q1 of station {station.name}", most_Ah))
        return compile_protocol(source, cell, tiers, self._range(station), parameters)

    def _range(self, station: Station) -> Range:
        """What the station's instruments can do together."""
        cycler = self._fit.range_of(station.wiring.cycler)
        chamber = self._fit.range_of(station.wiring.chamber)
        sweeper = self._fit.range_of(station.wiring.sweeper)
        return Range(
            voltage_V=cycler.voltage_V,
            current_A=cycler.current_A,
            temperature_degC=chamber.temperature_degC,
            frequency_Hz=sweeper.frequency_Hz,
        )

    def _info(
        self,
        station: Station,
        cell: Cell,
        program: Program,
        protocol: Mapping[str, Any],
        operator: str,
    ) -> RunInfo:
        utc_s = station.utc()
        return RunInfo(
            self._new_id(station.name),
            station.name,
            cell.id,
            program.protocol,
            utc_s,
            {
                "software": software(),
                "lab": {
                    "name": self._lab.name,
                    "text": self._lab.text,
                    "sha256": self._lab.sha256,
                    "clock_factor": self._lab.clock_factor,
                },
                "operator": operator,
                "cell": cell_document(cell),
                "protocol": protocol,
                "station": _station_document(station),
                "instruments": [
                    self._instrument_document(role, ref) for role, ref in roles(station).items()
                ],
            },
        )

    def _new_id(self, station: str) -> str:
        moment = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        run, count = f"{moment}-{station}", 1
        while run in self._ids:
            count += 1
            run = f"{moment}-{station}-{count}"
        self._ids.add(run)
        return run

    def _instrument_document(self, role: str, ref: ChannelRef) -> dict[str, Any]:
        found, config = (
            self._bench.instruments[ref.instrument],
            self._lab.instruments[ref.instrument],
        )
        identity = found.identity
        return {
            "role": role,
            "name": ref.instrument,
            "channel": ref.channel,
            "driver": found.spec.driver,
            "resource": found.spec.resource,
            "identity": asdict(identity) if identity else {},
            "calibrated": found.spec.calibrated or None,
            "calibration_due": found.spec.calibration_due or None,
            "channel_offsets": dict(config.channel_offsets.get(ref.channel, {})),
        }


def software() -> dict[str, str]:
    """Which program writes this."""
    return {
        "name": "battery-daq",
        "version": version("battery-daq"),
        "python": platform.python_version(),
    }


def roles(station: Station) -> dict[str, ChannelRef]:
    """Role -> channel, of everything that a station is wired to."""
    wiring = station.wiring
    named = {
        "cycler": wiring.cycler,
        "eis": wiring.sweeper,
        "chamber": wiring.chamber,
        "temperature": wiring.thermometer,
    }
    sensors = {f"sensor-{name}": ref for name, ref in station.sensors.wired.items()}
    outputs = {f"output-{name}": ref for name, ref in station.conductor.outputs.wired.items()}
    return {role: ref for role, ref in (named | sensors | outputs).items() if ref is not None}


def _required(station: Station) -> list[ChannelRef]:
    return [ref for ref in (station.wiring.cycler, station.wiring.thermometer) if ref]


def _station_document(station: Station) -> dict[str, Any]:
    return {
        "name": station.name,
        "limits": spans(station.wiring.limits),
        "temperature_source": str(station.wiring.thermometer or ""),
    }


def _protocol_document(
    source: ProtocolSource, program: Program, parameters: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "name": program.protocol,
        "version": program.version,
        "file": Path(source.document.file).name,
        "text": source.text,
        "files": dict(source.files),
        "sha256": program.sha256,
        "parameters": dict(parameters),
        "steps": [
            {
                "number": step.number,
                "kind": step.kind.value,
                "follows": step.course and step.course.follows.value,
                "text": step.text,
                "line": step.line,
            }
            for step in program.steps
        ],
        "expected_s": number(program.expected_s),
    }
