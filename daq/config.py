"""A lab, as its file describes it: frozen, in SI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from daq.bus.line import LineSettings
from daq.bus.resource import Resource, is_loopback
from daq.checks import Checks
from daq.driver import AnyDriver, DriverOptions, Range
from daq.errors import InputError
from daq.filemodel import nearest
from daq.labfile import Sharing
from daq.model import Cell, ChannelRef, Limits, Role


@dataclass(frozen=True, slots=True)
class InstrumentConfig:
    """A physical box at one address.

    Attributes:
        settings: of its line: the driver's defaults with the lab file's changes.
        period_s: tick of its bus, real time.
        nameplate: what it can do, as the lab file says; everything where it says nothing.
        sharing: chambers only.
        channel_offsets: channel -> quantity -> reading minus truth; recorded, not applied.
    """

    name: str
    driver: str
    driver_class: type[AnyDriver]
    resource: Resource
    settings: LineSettings
    period_s: float
    options: DriverOptions
    nameplate: Range
    sharing: Sharing
    calibrated: date | None
    calibration_due: date | None
    channel_offsets: Mapping[int, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class OutputConfig:
    """A digital output; `safe_on`: what it is while nothing runs."""

    channel: ChannelRef
    safe_on: bool = False


@dataclass(frozen=True, slots=True)
class StationConfig:
    """A test position.

    Attributes:
        temperature: channel that reads the cell's temperature; None: the cycler's own if it
            has one, else the chamber's.
        voltage_check: independent measurement of the cell's voltage.
        interlocks: channels that must not tell a fault.
        relay: channel that opens the cell's circuit where the cycler does not.
        sensors: name -> channel of an auxiliary sensor.
        outputs: name -> digital output that programs switch.
        group: stations that trip together; empty: none.
        group_trips: checks whose trip here trips the group.
        checks: the guard's thresholds.
        reaction_s, watchdog_s, idle_record_s: real time.
    """

    name: str
    cycler: ChannelRef
    eis: ChannelRef | None
    chamber: ChannelRef | None
    temperature: ChannelRef | None
    voltage_check: ChannelRef | None
    interlocks: tuple[ChannelRef, ...]
    relay: ChannelRef | None
    group: str
    group_trips: frozenset[str]
    checks: Checks
    limits: Limits
    reaction_s: float
    watchdog_s: float
    idle_record_s: float
    sensors: Mapping[str, ChannelRef]
    outputs: Mapping[str, OutputConfig]

    @property
    def channels(self) -> tuple[ChannelRef, ...]:
        """Every channel that belongs to this position, the cycler's first."""
        named = (self.cycler, self.eis, self.chamber, self.temperature, self.voltage_check)
        return tuple(dict.fromkeys(ref for ref in named if ref is not None))


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """Where the gateway goes. `broker` is "auto", "none" or "url"; files are absolute paths."""

    broker: str
    host: str
    port: int
    tls: bool
    client_id: str
    username: str | None
    password_file: Path | None
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None

    @property
    def is_loopback(self) -> bool:
        """Whether the broker is on this machine: our own, or at a loopback address."""
        return self.broker != "url" or is_loopback(self.host)

    @property
    def has_login(self) -> bool:
        """Whether the broker will know who we are."""
        certificate = self.cert_file and self.key_file
        return bool(certificate or (self.username and self.password_file))


@dataclass(frozen=True, slots=True)
class AccessConfig:
    """Who may give commands over MQTT; `keys` is an absolute path, None: there are no keys."""

    keys: Path | None
    anonymous: Role


@dataclass(frozen=True, slots=True)
class UpsConfig:
    """A power supply: `on_battery` (an absolute path) exists while it runs on its battery."""

    on_battery: Path
    at_most_s: float


@dataclass(frozen=True, slots=True)
class ResumePolicy:
    """When an interrupted run may go on by itself.

    Attributes:
        within_s: longest time that the daemon may have been away, real time.
        voltage_V: how far from the expected relaxation the cell's voltage may be.
    """

    automatic: bool = True
    within_s: float = 900.0
    voltage_V: float = 0.02


@dataclass(frozen=True, slots=True)
class DetectConfig:
    """When the detectors of alarms speak.

    Attributes:
        self_discharge_V: in an hour of rest.
        fade, availability: shares.
    """

    short_V: float
    self_discharge_V: float
    warming_K_min: float
    fade: float
    availability: float


@dataclass(frozen=True, slots=True)
class AlarmsConfig:
    """What alarms point to, and the program that is started for those that call somebody."""

    runbooks: str
    command: tuple[str, ...]
    detect: DetectConfig


@dataclass(frozen=True, slots=True)
class Lab:
    """One lab file, checked.

    Attributes:
        text, sha256: of the file as it was read; they travel with every run.
        data: absolute path of the folder of journal and results.
        protocols: absolute path of the folder of protocols that may be started by name.
        restarts_crashes, restarts_within_s: so many crashes in this (real) time, and it stays down.
    """

    name: str
    file: Path
    text: str
    sha256: str
    data: Path
    protocols: Path
    clock_factor: float
    mqtt: MqttConfig
    access: AccessConfig
    resume: ResumePolicy
    visa_backend: str
    restarts_crashes: int
    restarts_within_s: float
    ups: UpsConfig | None
    alarms: AlarmsConfig
    instruments: Mapping[str, InstrumentConfig]
    stations: Mapping[str, StationConfig]
    cells: Mapping[str, Cell]

    def buses(self) -> dict[str, tuple[InstrumentConfig, ...]]:
        """Instruments by the bus that owns their line."""
        grouped: dict[str, tuple[InstrumentConfig, ...]] = {}
        for instrument in self.instruments.values():
            key = instrument.resource.bus_key
            grouped[key] = (*grouped.get(key, ()), instrument)
        return grouped

    def outputs_of(self, instrument: str) -> dict[int, bool]:
        """Channels of an instrument that are digital outputs; true where on is the safe state."""
        return {
            output.channel.channel: output.safe_on
            for station in self.stations.values()
            for output in station.outputs.values()
            if output.channel.instrument == instrument
        }

    def safe_states(self, instrument: str) -> dict[int, bool]:
        """Channels of a module that this lab uses -> whether each is safe when it is on.

        Its outputs, and relays of cells' circuits, which are safe when they are open.
        """
        relays = (station.relay for station in self.stations.values())
        opened = {ref.channel: False for ref in relays if ref and ref.instrument == instrument}
        return opened | self.outputs_of(instrument)

    def cell(self, cell_id: str) -> Cell:
        """A cell by its id.

        Raises:
            InputError: the lab knows no such cell.
        """
        if cell_id not in self.cells:
            raise InputError(
                f"lab {self.name} knows no cell {cell_id!r}", remedy=nearest(cell_id, self.cells)
            )
        return self.cells[cell_id]
