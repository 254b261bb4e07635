"""From a lab file to buses, instruments and stations, wired to each other. Opens nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from daq.bus.bus import Bus
from daq.bus.heartbeat import FIRST_BUS_SLOT, Heartbeat
from daq.bus.resource import make_line
from daq.clock import LabClock
from daq.config import InstrumentConfig, Lab, StationConfig
from daq.control.alarms import Alarms
from daq.control.guard import Freshness, Guard
from daq.control.instrument import Instrument, InstrumentSpec, Listener
from daq.control.loop import Loop
from daq.control.output import CyclerOutput
from daq.control.sensors import SensorRef, Sensors, freshness_s
from daq.control.station import Station
from daq.control.sweeper import Sweeper
from daq.control.switches import Outputs, Switchboard
from daq.control.thermostat import Thermostat
from daq.control.wiring import Wiring
from daq.driver import Chamber, Cycler, Potentiostat, Switch
from daq.errors import InstrumentError
from daq.journal import Journal
from daq.model import ChannelRef, Identity

SLACK_PERIODS = 5
GOLDEN_RATIO = 0.618034
"""Its multiples, taken modulo 1, lie evenly apart however many there are."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that control owns."""

    instruments: Mapping[str, Instrument]
    buses: Mapping[str, Bus]
    loops: Mapping[str, Loop]
    slots: Mapping[str, int]
    stations: Mapping[str, Station]
    thermostats: Mapping[str, Thermostat]
    sweepers: Mapping[str, Sweeper]
    switchboards: Mapping[str, Switchboard]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the parts of a bench are given.

    Attributes:
        identities: who was at each instrument's address when it was last seen.
        may_energise: asked with a station's name; says why not.
        connected: told of every link that came up, on its bus thread.
    """

    clock: LabClock
    journal: Journal
    alarms: Alarms
    heartbeat: Heartbeat
    listener: Listener
    identities: Mapping[str, Identity]
    may_energise: Callable[[str], str]
    connected: Callable[[Instrument], None]


def chambers(lab: Lab) -> list[str]:
    """Names of the instruments that are chambers."""
    return [
        name for name, config in lab.instruments.items() if issubclass(config.driver_class, Chamber)
    ]


def assemble(lab: Lab, given: Surroundings) -> Bench:
    """Make every part of the bench.

    Raises:
        InputError: the VISA backend is not there.
    """
    instruments = {
        name: _instrument(config, lab.visa_backend, given)
        for name, config in lab.instruments.items()
    }
    builder = _Builder(lab, given, instruments)
    return builder.bench()


def _instrument(config: InstrumentConfig, backend: str, given: Surroundings) -> Instrument:
    line = make_line(config.resource, config.settings, backend)
    spec = InstrumentSpec(
        config.name,
        config.driver,
        config.resource.text,
        config.period_s,
        str(config.calibrated or ""),
        str(config.calibration_due or ""),
        config.nameplate,
    )
    driver = config.driver_class(line, config.options)
    return Instrument(spec, line, driver, given.listener, given.identities.get(config.name))


class _Builder:
    def __init__(self, lab: Lab, given: Surroundings, instruments: dict[str, Instrument]) -> None:
        self._lab = lab
        self._given = given
        self._instruments = instruments
        self._buses: dict[str, Bus] = {}
        self._loops: dict[str, Loop] = {}
        self._slots: dict[str, int] = {}
        self._bus_of: dict[str, Bus] = {}
        self._switchboards: dict[str, Switchboard] = {}

    def bench(self) -> Bench:
        # Buses first, because stations need their home; then loops, because they need stations.
        for number, (key, members) in enumerate(self._lab.buses().items()):
            self._add_bus(key, members, FIRST_BUS_SLOT + number)
        thermostats = {
            name: Thermostat(found, self._bus_of[name], self._lab.instruments[name].sharing.value)
            for name, found in self._instruments.items()
            if isinstance(found.driver, Chamber)
        }
        sweepers = {
            name: Sweeper(found, self._bus_of[name])
            for name, found in self._instruments.items()
            if isinstance(found.driver, Potentiostat)
        }
        for name, found in self._instruments.items():
            if isinstance(found.driver, Switch):
                self._add_switchboard(name, found, found.driver)
        stations = {
            name: self._station(config, thermostats, sweepers)
            for name, config in self._lab.stations.items()
        }
        self._group(stations)
        for key, members in self._lab.buses().items():
            self._add_loop(key, members, stations, thermostats, sweepers)
        return Bench(
            self._instruments,
            self._buses,
            self._loops,
            self._slots,
            stations,
            thermostats,
            sweepers,
            self._switchboards,
        )

    def _add_switchboard(self, name: str, found: Instrument, driver: Switch[Any]) -> None:
        driver.safe = self._lab.safe_states(name)
        safe = self._lab.outputs_of(name)
        self._switchboards[name] = Switchboard(found, self._bus_of[name], safe)

    def _add_bus(self, key: str, members: tuple[InstrumentConfig, ...], slot: int) -> None:
        heartbeat = self._given.heartbeat
        bus = Bus(
            key,
            min(member.period_s for member in members),
            tick=lambda: self._loops[key].tick(),
            between=lambda: self._loops[key].between(),
            beat=lambda: heartbeat.beat(slot),
            crashed=lambda error: self._loops[key].crashed(error),
            phase=slot * GOLDEN_RATIO % 1.0,
        )
        for member in members:  # many exchanges in one pass are no hang, one without end is
            self._instruments[member.name].line.exchanged = bus.exchanged
        self._buses[key], self._slots[key] = bus, slot
        self._bus_of |= {member.name: bus for member in members}

    def _add_loop(
        self,
        key: str,
        members: tuple[InstrumentConfig, ...],
        stations: Mapping[str, Station],
        thermostats: Mapping[str, Thermostat],
        sweepers: Mapping[str, Sweeper],
    ) -> None:
        names = {member.name for member in members}
        judged_by: dict[ChannelRef, list[Station]] = {}
        for station in stations.values():
            for ref in station.sources:
                if ref.instrument in names:
                    judged_by.setdefault(ref, []).append(station)
        self._loops[key] = Loop(
            [self._instruments[member.name] for member in members],
            bus=self._buses[key],
            judged_by=judged_by,
            home_of=[item for item in stations.values() if item.home is self._buses[key]],
            thermostats=thermostats,
            sweepers=sweepers,
            switchboards=self._switchboards,
            clock=self._given.clock,
            connected=self._given.connected,
        )

    def _station(
        self,
        config: StationConfig,
        thermostats: Mapping[str, Thermostat],
        sweepers: Mapping[str, Sweeper],
    ) -> Station:
        wiring = self._wiring(config)
        guard = self._guard(config, wiring)
        output = CyclerOutput(
            self._instruments[config.cycler.instrument],
            config.cycler.channel,
            watchdog_s=config.watchdog_s,
            rule=guard.output,
            may_energise=lambda: self._given.may_energise(config.name),
        )
        return Station(
            wiring,
            home=self._bus_of[config.cycler.instrument],
            output=output,
            guard=guard,
            clock=self._given.clock,
            journal=self._given.journal,
            alarms=self._given.alarms,
            thermostat=thermostats.get(config.chamber.instrument) if config.chamber else None,
            sweeper=sweepers.get(config.eis.instrument) if config.eis else None,
            relay=self._relay(config.relay) if config.relay else None,
            outputs=Outputs(config.outputs, self._switchboards),
            sensors=self._sensors(config),
        )

    def _sensors(self, config: StationConfig) -> Sensors:
        wired = {name: self._sensor(ref) for name, ref in config.sensors.items()}
        return Sensors(wired, self._sensor(config.chamber) if config.chamber else None)

    def _sensor(self, ref: ChannelRef) -> SensorRef:
        return SensorRef(ref, freshness_s(self._bus_of[ref.instrument].period_s))

    def _group(self, stations: Mapping[str, Station]) -> None:
        for name, station in stations.items():
            group = self._lab.stations[name].group
            station.group = [
                other
                for other_name, other in stations.items()
                if group and other is not station and self._lab.stations[other_name].group == group
            ]

    def _relay(self, ref: ChannelRef) -> Callable[[], None]:
        """What opens a relay: on its own bus, ahead of everything queued there."""
        instrument, bus = self._instruments[ref.instrument], self._bus_of[ref.instrument]

        def switch_off() -> None:
            if instrument.online or instrument.reopen_now():
                try:
                    instrument.driver.off(ref.channel)
                except InstrumentError as error:
                    instrument.failed(error)

        return lambda: bus.urge(switch_off)

    def _wiring(self, config: StationConfig) -> Wiring:
        cycler = self._lab.instruments[config.cycler.instrument].driver_class
        own = issubclass(cycler, Cycler) and cycler.measures_temperature
        thermometer = config.temperature or (config.cycler if own else config.chamber)
        return Wiring(
            config.name,
            config.cycler,
            thermometer,
            config.chamber,
            config.eis,
            config.limits,
            config.idle_record_s,
            config.voltage_check,
            config.interlocks,
            config.group_trips,
            config.checks,
        )

    def _guard(self, config: StationConfig, wiring: Wiring) -> Guard:
        period_s = self._bus_of[config.cycler.instrument].period_s
        return Guard(
            config.limits,
            range_A=max(abs(bound) for bound in config.limits.current_A),
            slack_s=SLACK_PERIODS * period_s * self._given.clock.factor,
            cycler=Freshness(str(config.cycler), period_s),
            thermometer=self._freshness(wiring.thermometer),
            at_cell=wiring.thermometer != wiring.chamber and wiring.chamber is not None,
            back_check=self._freshness(wiring.voltage_check),
            interlocks=[found for ref in wiring.interlocks if (found := self._freshness(ref))],
            checks=config.checks,
        )

    def _freshness(self, source: ChannelRef | None) -> Freshness | None:
        if source is None:
            return None
        return Freshness(str(source), self._bus_of[source.instrument].period_s)
