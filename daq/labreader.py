"""A lab file -> a `Lab`, checked as a whole: the only door to a lab file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from os.path import normpath
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from daq.bus.line import LineSettings
from daq.bus.resource import Resource, parse_resource
from daq.cellfile import CellModel, CellsFileModel, described
from daq.checks import Checks
from daq.config import (
    AccessConfig,
    AlarmsConfig,
    DetectConfig,
    InstrumentConfig,
    Lab,
    MqttConfig,
    OutputConfig,
    ResumePolicy,
    StationConfig,
    UpsConfig,
)
from daq.driver import Range, find_driver
from daq.errors import InputError
from daq.filemodel import validate, validate_part
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
from daq.model import EVERYWHERE, ChannelRef, Limits, Role
from daq.yamlfile import Document, Where, read

ValueT = TypeVar("ValueT")


def load_lab(path: Path | str) -> Lab:
    """Read and check a lab file.

    Raises:
        InputError: the first thing that is wrong, with its place.
    """
    document = read(Path(path))
    if "protocol" in document.data and "steps" in document.data:
        raise InputError(f"{path} is a protocol, not a lab file")
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
