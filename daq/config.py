"""A lab file -> a `Lab`: frozen, in SI, checked as a whole. The only door to a lab file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from os.path import normpath
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from daq.bus.line import LineSettings
from daq.bus.resource import Resource, is_loopback, parse_resource
from daq.cellfile import CellModel, CellsFileModel, described
from daq.checks import Checks
from daq.driver import AnyDriver, DriverOptions, Range, find_driver
from daq.errors import InputError
from daq.filemodel import nearest, validate, validate_part
from daq.labchecks import check
from daq.labfile import (
    AccessModel,
    AlarmsModel,
    InstrumentModel,
    LabFileModel,
    MqttModel,
    NameplateModel,
    OffsetsModel,
    OutputModel,
    Sharing,
    StationModel,
    UpsModel,
)
from daq.model import EVERYWHERE, Cell, ChannelRef, Limits, Role
from daq.yamlfile import Document, Where, read

ValueT = TypeVar("ValueT")


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


def load_lab(path: Path | str) -> Lab:
    """Read and check a lab file.

    Raises:
        InputError: the first thing that is wrong, with its place.
    """
    document = read(Path(path))
    file = validate(LabFileModel, document)
    folder = Path(path).resolve().parent
    lab = Lab(
        name=file.lab,
        file=Path(path).resolve(),
        text=document.text,
        sha256=document.sha256,
        data=(folder / file.data).resolve(),
        protocols=(folder / file.protocols).resolve(),
        clock_factor=file.clock.factor,
        mqtt=_mqtt(file.mqtt, file.lab, folder),
        access=_access(file.access, folder),
        resume=ResumePolicy(file.resume.automatic, file.resume.within, file.resume.voltage),
        visa_backend=file.visa.backend,
        restarts_crashes=file.restarts.crashes,
        restarts_within_s=file.restarts.within,
        ups=_ups(file.ups, folder) if file.ups else None,
        alarms=_alarms(file.alarms),
        instruments=_frozen(
            (name, _instrument(name, model, document, folder))
            for name, model in file.instruments.items()
        ),
        stations=_frozen((name, _station(name, model)) for name, model in file.stations.items()),
        cells=_frozen(
            (name, described(name, model, origin={"source": "lab file"}))
            for name, model in _cells(file, folder).items()
        ),
    )
    check(lab, document)
    return lab


def _frozen(items: Iterable[tuple[str, ValueT]]) -> Mapping[str, ValueT]:
    return MappingProxyType(dict(items))


def _mqtt(model: MqttModel, lab: str, folder: Path) -> MqttConfig:
    url = re.fullmatch(r"(mqtts?)://([^/:]+)(?::(\d+))?/?", model.broker)
    tls = bool(url) and model.broker.startswith("mqtts:")

    def path(name: str | None) -> Path | None:
        return None if name is None else (folder / name).resolve()

    return MqttConfig(
        broker="url" if url else model.broker,
        host=url[2] if url else "",
        port=int((url[3] if url else None) or (8883 if tls else 1883)),
        tls=tls,
        client_id=model.client_id or f"daq-{lab}",
        username=model.username,
        password_file=path(model.password_file),
        ca_file=path(model.ca_file),
        cert_file=path(model.cert_file),
        key_file=path(model.key_file),
    )


def _alarms(model: AlarmsModel) -> AlarmsConfig:
    found = model.detect
    detect = DetectConfig(
        found.short, found.self_discharge, found.warming, found.fade, found.availability
    )
    return AlarmsConfig(model.runbooks, tuple(model.command), detect)


def _ups(model: UpsModel, folder: Path) -> UpsConfig:
    return UpsConfig((folder / model.on_battery).resolve(), model.at_most)


def _access(model: AccessModel, folder: Path) -> AccessConfig:
    anonymous = Role.NOBODY if model.anonymous == "nobody" else Role(model.anonymous)
    # not resolved: a link would be followed, and a secret must not be one
    keys = Path(normpath(folder / model.keys_file)) if model.keys_file else None
    return AccessConfig(keys, anonymous)


def _instrument(
    name: str, model: InstrumentModel, document: Document, folder: Path
) -> InstrumentConfig:
    where: Where = ("instruments", name)
    driver = _placed(lambda: find_driver(model.driver), document, (*where, "driver"))
    return InstrumentConfig(
        name=name,
        driver=model.driver,
        driver_class=driver,
        resource=_placed(lambda: _resource(model.resource, folder), document, (*where, "resource")),
        settings=_settings(driver.settings, model),
        period_s=model.period,
        options=validate_part(driver.Options, document, (*where, "options"), model.options),
        nameplate=_nameplate(model.nameplate),
        sharing=Sharing(model.sharing),
        calibrated=model.calibrated,
        calibration_due=model.calibration_due,
        channel_offsets=MappingProxyType(
            {int(channel): _offsets(found) for channel, found in model.channel_offsets.items()}
        ),
    )


def _nameplate(model: NameplateModel) -> Range:
    return Range(
        voltage_V=model.voltage or EVERYWHERE,
        current_A=model.current or EVERYWHERE,
        temperature_degC=model.temperature or EVERYWHERE,
        frequency_Hz=model.frequency or EVERYWHERE,
    )


def _placed(make: Callable[[], ValueT], document: Document, where: Where) -> ValueT:
    """Call something that knows no place, and give its error one."""
    try:
        return make()
    except InputError as error:
        place = document.place(where, value=True)
        raise InputError(error.message, place=place, remedy=error.remedy) from error


def _resource(text: str, folder: Path) -> Resource:
    resource = parse_resource(text)
    if not resource.device.startswith("."):
        return resource
    # not resolved: the symlink of a simulated port is made anew with each bench
    return parse_resource(text.replace(resource.device, normpath(folder / resource.device)))


def _settings(defaults: LineSettings, model: InstrumentModel) -> LineSettings:
    given = {"timeout_s": model.timeout, "baud": model.baud, "unit": model.unit}
    return replace(defaults, **{key: value for key, value in given.items() if value is not None})


def _offsets(model: OffsetsModel) -> Mapping[str, float]:
    named = {
        "voltage_V": model.voltage,
        "current_A": model.current,
        "temperature_K": model.temperature,
    }
    return MappingProxyType({key: value for key, value in named.items() if value is not None})


def _station(name: str, model: StationModel) -> StationConfig:
    limits = model.limits
    hard = Limits(
        limits.voltage,
        limits.current,
        limits.temperature,
        charging_degC=limits.charging_temperature or EVERYWHERE,
        discharging_degC=limits.discharging_temperature or EVERYWHERE,
    )
    interlocks = model.interlocks
    if interlocks is None:
        interlocks = [model.chamber] if model.chamber else []
    return StationConfig(
        name=name,
        cycler=_ref(model.cycler),
        eis=_ref(model.eis) if model.eis else None,
        chamber=_ref(model.chamber) if model.chamber else None,
        temperature=_ref(model.temperature) if model.temperature else None,
        voltage_check=_ref(model.voltage_check) if model.voltage_check else None,
        interlocks=tuple(_ref(text) for text in interlocks),
        relay=_ref(model.relay) if model.relay else None,
        group=model.group or (str(_ref(model.chamber)) if model.chamber else ""),
        group_trips=frozenset({"K1", *model.group_trips}),
        checks=model.checks.checks(Checks()),
        limits=hard,
        reaction_s=model.reaction,
        watchdog_s=model.watchdog,
        idle_record_s=model.idle_record,
        sensors=_frozen((name, _ref(text)) for name, text in model.sensors.items()),
        outputs=_frozen((name, _output(found)) for name, found in model.outputs.items()),
    )


def _output(model: OutputModel | str) -> OutputConfig:
    if isinstance(model, str):
        return OutputConfig(_ref(model))
    return OutputConfig(_ref(model.channel), model.safe == "on")


def _ref(text: str) -> ChannelRef:
    instrument, _, channel = text.partition(".")
    return ChannelRef(instrument, int(channel or 1))


def _cells(file: LabFileModel, folder: Path) -> Mapping[str, CellModel]:
    if isinstance(file.cells, str):
        return load_cells(folder / file.cells)
    return file.cells


def load_cells(path: Path) -> Mapping[str, CellModel]:
    """Read a file of cells.

    Raises:
        InputError: the first thing that is wrong, with its place.
    """
    return validate(CellsFileModel, read(path)).cells
