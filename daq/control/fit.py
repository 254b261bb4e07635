"""Whether a program fits its station: what it names must be there, and able to do it.

Asked at the start, before anything is energised: what is missing must not be found out at three in
the morning, in the middle of the program.
"""

from __future__ import annotations

from math import isnan

from daq.control.assembly import Bench
from daq.control.pace import too_fine, too_slow
from daq.control.station import Station
from daq.driver import Range
from daq.errors import CommandRefused
from daq.model import ChannelRef
from daq.protocol.condition import Condition
from daq.protocol.program import Program, Step


class Fit:
    """Asks of one bench."""

    def __init__(self, bench: Bench, *, real_time: bool) -> None:
        self._bench = bench
        self._real_time = real_time

    def check(self, station: Station, program: Program) -> None:
        """Ask everything.

        Raises:
            CommandRefused: what does not fit.
        """
        self._wired(station, program)
        for step in program.steps:
            self._spectrum(station, step)
        self._climate(station, program)
        self._shared(station, program)
        if self._real_time:  # accelerated, hours lie between two samples
            _pace(station, program)

    def range_of(self, ref: ChannelRef | None) -> Range:
        """What a channel can do: by what it tells, once it has been found, and by its nameplate."""
        if ref is None:
            return Range()
        instrument = self._bench.instruments[ref.instrument]
        return instrument.ranges.get(ref.channel, Range()).within(instrument.spec.nameplate)

    def _wired(self, station: Station, program: Program) -> None:
        if temperatures(program) and station.conductor.thermostat is None:
            raise CommandRefused(f"the program sets a temperature; {station.name} has no chamber")
        if any(step.spectrum for step in program.steps) and not station.conductor.sweep.possible:
            raise CommandRefused(f"the program measures EIS; {station.name} has no `eis`")
        known = station.conductor.outputs.names
        for name in sorted({name for step in program.steps for name, _ in step.outputs}):
            if name not in known:
                raise CommandRefused(
                    f"the program switches {name!r}; {station.name} has no such output",
                    remedy=f"`outputs` of the station has: {_names(known)}",
                )
        for condition in program.conditions:
            for part in condition.comparisons():
                if part.sensor:
                    _sensor(station, part)

    def _spectrum(self, station: Station, step: Step) -> None:
        ref, spectrum = station.wiring.sweeper, step.spectrum
        if ref is None or spectrum is None or not spectrum.galvanostatic:
            return
        self._known(ref.instrument)
        most_A = self.range_of(ref).galvanostatic_A
        if spectrum.peak_A > most_A:
            able = f"up to {most_A:g} A" if most_A else "no galvanostatic spectra"
            raise CommandRefused(
                f"step {step.number}, {step.place}: a spectrum with a peak of "
                f"{spectrum.peak_A:.4g} A; {ref} can do {able}"
            )

    def _climate(self, station: Station, program: Program) -> None:
        thermostat, asked = station.conductor.thermostat, humidities(program)
        if thermostat is None or not asked:
            return
        self._known(thermostat.name)
        span = thermostat.humidity_pct
        if span is None:
            raise CommandRefused(f"the program sets a humidity; {thermostat.name} regulates none")
        for pct in sorted(asked):
            if not span[0] <= pct <= span[1]:
                raise CommandRefused(
                    f"the program sets {pct:g} %; {thermostat.name} can do "
                    f"{span[0]:g} to {span[1]:g} %"
                )

    def _known(self, instrument: str) -> None:
        """What an instrument can do is asked from it after each connect."""
        if not self._bench.instruments[instrument].ranges:
            raise CommandRefused(f"{instrument} is offline", remedy="daq doctor LAB")

    def _shared(self, station: Station, program: Program) -> None:
        """What those who share its chamber must agree on, where nobody is to wait for it."""
        thermostat = station.conductor.thermostat
        if thermostat is None or thermostat.sharing != "refuse":
            return
        for other in self._bench.stations.values():
            run = other.conductor.run
            if other is station or run is None or other.conductor.thermostat is not thermostat:
                continue
            for asked, unit in ((temperatures, "degC"), (humidities, "%")):
                mine, theirs = asked(program), asked(run.engine.program)
                if mine and theirs and len(mine | theirs) > 1:
                    raise CommandRefused(
                        f"{thermostat.name} is shared with {other.name}, whose program sets "
                        f"{_listed(theirs, unit)}; this one sets {_listed(mine, unit)}",
                        remedy="wait for it, or write `sharing: wait` in the lab file",
                    )


def _sensor(station: Station, condition: Condition) -> None:
    sensors, name = station.sensors, condition.sensor
    if name not in sensors.names:
        raise CommandRefused(
            f"`{condition.text}`: {station.name} has no sensor {name!r}",
            remedy=f"`sensors` of the station has: {_names(sensors.names)}",
        )
    measured = sensors.unit_of(name)
    if measured and condition.unit and measured != condition.unit:
        raise CommandRefused(
            f"`{condition.text}`: the sensor measures {measured}, not {condition.unit}"
        )


def _pace(station: Station, program: Program) -> None:
    if why := too_slow(program, station.home.period_s):
        remedy = "shorten `period` of its bus, or give a hold without one a `current`"
        raise CommandRefused(f"{station.name}: {why}", remedy=remedy)
    if why := too_fine(program, station.output.instrument.fastest_s):
        remedy = "make the profile coarser, or use a cycler that is read faster"
        raise CommandRefused(f"{station.name}: {why}", remedy=remedy)


def temperatures(program: Program) -> set[float]:
    """The chamber temperatures that a program asks for, degC."""
    return {step.soak.temperature_degC for step in program.steps if step.soak}


def humidities(program: Program) -> set[float]:
    """The relative humidities that a program asks for, %."""
    asked = {step.soak.humidity_pct for step in program.steps if step.soak}
    return {value for value in asked if not isnan(value)}


def _listed(values: set[float], unit: str) -> str:
    return ", ".join(f"{value:g} {unit}" for value in sorted(values))


def _names(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"
