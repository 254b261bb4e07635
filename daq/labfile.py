"""The lab file as it is written: pydantic models of every key. `labreader` makes a Lab of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from daq import units
from daq.cellfile import CalendarDate, CellModel
from daq.filemodel import FileModel, Name, Word, text_of
from daq.quantities import (
    ChecksModel,
    CurrentSpan,
    Duration,
    FrequencySpan,
    Quantity,
    TemperatureSpan,
    VoltageSpan,
)

CHANNEL_REF_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]*(\.[1-9][0-9]{0,3})?$"
INSTRUMENT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
"""No dot: `aps1.2` is channel 2 of `aps1`."""

BROKER_PATTERN = r"^(auto|embedded|none|mqtts?://[^/@\s:]+(:[0-9]{1,5})?/?)$"
"""No user or password in the URL: secrets stay out of files that travel with the data."""

InstrumentName = Annotated[
    str, text_of(INSTRUMENT_PATTERN, "an instrument's name", "use letters, digits, '_' and '-'")
]
Ref = Annotated[
    str,
    text_of(CHANNEL_REF_PATTERN, "a channel", "write it like aps1 or aps1.2"),
    Field(examples=["aps1", "aps1.2"]),
]
ChannelNumber = Annotated[str, text_of(r"^[1-9][0-9]{0,3}$", "a channel's number", "1 and up")]
Broker = Annotated[
    str, text_of(BROKER_PATTERN, "a broker", "write auto, none, or mqtts://host:8883")
]
TripName = Annotated[
    str, text_of(r"^[A-Z][0-9]$", "a check", "write it like T1"), Field(examples=["T1", "T3"])
]
Timeout = Annotated[float, Quantity((units.TIME,), above=0.0, most=1.0)]
"""A thread that waits longer for one reply looks hung to the sentinel."""


class ClockModel(FileModel):
    """How fast lab time runs."""

    factor: float = Field(default=1.0, ge=1.0, le=100_000.0)
    """Times real time; above 1 only where every instrument is on this machine."""


class MqttModel(FileModel):
    """The broker that the gateway talks to."""

    broker: Broker = Field(default="auto", examples=["mqtts://host:8883"])
    """`auto`: mosquitto if installed, else the embedded broker; `embedded`; `none`; or a URL."""
    client_id: Name | None = None
    """Default: `daq-<lab>`."""
    username: str | None = None
    """User at the broker."""
    password_file: str | None = None
    """File with the password alone in it, readable by its owner only."""
    ca_file: str | None = None
    """Certificate authority that signed the broker's certificate."""
    cert_file: str | None = None
    """Client certificate."""
    key_file: str | None = None
    """Key of the client certificate."""


class AccessModel(FileModel):
    """Who may give commands over MQTT. On the daemon's own machine its owner may do everything."""

    keys_file: str | None = Field(default=None, examples=["keys.yaml"])
    """File of the clients' keys, beside this one, made by `daq key add`."""
    anonymous: Literal["viewer", "operator", "nobody"] = "viewer"
    """What a command without a signature may do on a loopback broker (`viewer`: look, and switch
    OFF); on any other broker every command must be signed."""


class ResumeModel(FileModel):
    """What becomes of a run that a crash or a restart of the daemon has interrupted."""

    automatic: bool = True
    """Whether it may go on by itself; false: it waits for its operator."""
    within: Duration = 900.0
    """Longest time that the daemon may have been away (real time)."""
    voltage: Annotated[float, Quantity((units.VOLTAGE,), above=0.0)] = 0.02
    """How far from the expected relaxation the cell's voltage may be."""


class VisaModel(FileModel):
    """Which VISA library opens VISA resources."""

    backend: str = Field(default="@py", examples=["@py", "@ivi"])
    """`@py` (pyvisa-py), `@ivi` (the vendor's), or the path of a library."""


class OffsetsModel(FileModel):
    """What a calibration found one channel to be off by; recorded with every run, not applied."""

    voltage: Annotated[float, Quantity((units.VOLTAGE,))] | None = None
    """Reading minus truth."""
    current: Annotated[float, Quantity((units.CURRENT,))] | None = None
    """Reading minus truth."""
    temperature: Annotated[float, Quantity((units.TEMPERATURE_CHANGE,))] | None = None
    """Reading minus truth."""


class Sharing(StrEnum):
    """What a program does that wants another temperature than a shared chamber has."""

    REFUSE = "refuse"
    WAIT = "wait"


class NameplateModel(FileModel):
    """What an instrument can do, as its nameplate or its manual says.

    For `daq check`, which asks no instrument; where the instrument tells its own range, both hold.
    """

    voltage: VoltageSpan | None = None
    """Cyclers: voltages that can be set."""
    current: CurrentSpan | None = None
    """Cyclers: currents that can be set; a discharge is negative."""
    temperature: TemperatureSpan | None = None
    """Chambers: temperatures that can be set."""
    frequency: FrequencySpan | None = None
    """Potentiostats: the lowest and the highest frequency of a spectrum."""


class InstrumentModel(FileModel):
    """A physical box at one address, served by one driver."""

    driver: str = Field(examples=["keysight_aps"])
    """A name from `daq drivers`, or `module:Class`."""
    resource: str = Field(examples=["TCPIP::10.0.0.21::5025::SOCKET"])
    """Its address; a relative path of a device is relative to this file."""
    unit: int | None = Field(default=None, ge=0, le=255)
    """Modbus unit id; default: the driver's."""
    timeout: Timeout | None = None
    """Longest wait for a reply, at most 1 s; default: the driver's."""
    period: Duration = 1.0
    """How often it is read (real time); equal for all instruments of one bus."""
    baud: int | None = Field(default=None, ge=300, le=4_000_000)
    """Serial lines; default: the driver's."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The driver's own options."""
    nameplate: NameplateModel = NameplateModel()
    """What it can do; default: what its driver knows without asking it."""
    sharing: Literal["refuse", "wait"] = "refuse"
    """Chambers: what a program does that wants another temperature than it has."""
    calibrated: CalendarDate | None = None
    """When it was last calibrated."""
    calibration_due: CalendarDate | None = None
    """When it must be calibrated again."""
    channel_offsets: dict[ChannelNumber, OffsetsModel] = Field(
        default_factory=dict[str, OffsetsModel]
    )
    """Channel number -> what the calibration found."""


class RestartsModel(FileModel):
    """When a daemon that crashes again and again stays down, with every output OFF."""

    crashes: int = Field(default=2, ge=1, le=1_000_000)
    """So many crashes..."""
    within: Duration = 60.0
    """...within this time (real time)."""


class UpsModel(FileModel):
    """An uninterruptible power supply, as its own program (NUT, apcupsd) reports it."""

    on_battery: str = Field(examples=["/run/ups/on-battery"])
    """This file exists while the supply runs on its battery; made and removed by a hook of that
    program. Relative to this file."""
    at_most: Duration = 60.0
    """On battery for longer, every run is paused (real time)."""


class DetectModel(FileModel):
    """When a change of a cell, or of its data, is worth an alarm. Nothing is switched by these."""

    short: Annotated[float, Quantity((units.VOLTAGE,), above=0.0)] = 0.03
    """Internal short: the voltage falls by this at once, under an unchanged current."""
    self_discharge: Annotated[float, Quantity((units.VOLTAGE,), above=0.0)] = 0.01
    """Soft short: an hour into a rest, the voltage falls by this in an hour."""
    warming: Annotated[float, Quantity((units.TEMPERATURE_CHANGE,), above=0.0)] = 1.0
    """Before a runaway: the cell warms up by this in a minute more than its chamber."""
    fade: Annotated[float, Quantity((units.FRACTION,), above=0.0)] = 0.002
    """This much of the capacity is lost in a cycle, over the last 10 to 30."""
    availability: Annotated[float, Quantity((units.FRACTION,), above=0.0, most=1.0)] = 0.99
    """Fewer than this of the samples of the last hour of a run were valid."""


class AlarmsModel(FileModel):
    """What alarms point to, who is called, and when the detectors speak."""

    runbooks: str = Field(default="docs/runbooks/", examples=["https://wiki.lab/runbooks/"])
    """What the name of a runbook's page is put behind: a folder or an address."""
    command: list[str] = Field(default_factory=list[str], examples=[["/usr/local/bin/page-us"]])
    """A program that is started for every alarm that calls somebody; it reads the alarm as JSON."""
    detect: DetectModel = DetectModel()
    """Rates of change."""


class HardLimitsModel(FileModel):
    """A station's hard limits: nothing may exceed them, whatever a protocol says."""

    voltage: VoltageSpan = Field(examples=[["2.0 V", "4.35 V"]])
    """Of the cell."""
    current: CurrentSpan = Field(examples=[["-10 A", "10 A"]])
    """Discharge is negative, charge positive."""
    temperature: TemperatureSpan = Field(examples=[["0 degC", "60 degC"]])
    """Of the cell."""
    charging_temperature: TemperatureSpan | None = None
    """Of the cell, while it may be charged; never below 0 degC, whatever is said."""
    discharging_temperature: TemperatureSpan | None = None
    """Of the cell, while it may be discharged."""


class OutputModel(FileModel):
    """A digital output of a station, where its safe state is not OFF."""

    channel: Ref
    """The channel that is switched."""
    safe: Literal["on", "off"] = "off"
    """What it is while nothing runs, and after a trip: a fan may have to go on."""


Output = Annotated[
    Annotated[OutputModel, Tag("<mapping>")] | Annotated[Ref, Tag("<channel>")],
    Discriminator(lambda value: "<channel>" if isinstance(value, str) else "<mapping>"),
]


class StationModel(FileModel):
    """A test position."""

    cycler: Ref
    """The channel that charges and discharges the cell."""
    eis: Ref | None = None
    """The channel that measures impedance."""
    chamber: Ref | None = None
    """The chamber that the cell sits in."""
    temperature: Ref | None = None
    """The channel that reads the cell's temperature; default: the cycler's own, else the
    chamber's."""
    voltage_check: Ref | None = None
    """An independent channel that measures the cell's voltage (check V3)."""
    interlocks: list[Ref] | None = None
    """Channels that must not tell a fault: door, gas, smoke, emergency stop (check K1); default:
    the chamber."""
    relay: Ref | None = None
    """The channel of a relay in the cell's circuit, switched OFF where the cycler does not obey."""
    sensors: dict[Word, Ref] = Field(
        default_factory=dict[str, str], examples=[{"top": "logger.3", "can": "logger.4"}]
    )
    """Auxiliary sensors: name -> channel; programs ask for them as `sensor.NAME`."""
    outputs: dict[Name, Output] = Field(
        default_factory=dict[str, Any], examples=[{"stirrer": "io.3"}]
    )
    """Digital outputs that programs switch: name -> channel, or `{channel: io.4, safe: on}`."""
    group: Name | None = None
    """Stations that trip together; default: those that share the chamber."""
    group_trips: list[TripName] = Field(default_factory=list[str], examples=[["T1", "T3"]])
    """Checks whose trip here trips the whole group; K1 always does."""
    checks: ChecksModel = ChecksModel()
    """Thresholds of the guard's checks."""
    limits: HardLimitsModel = Field(
        examples=[
            {
                "voltage": ["2.0 V", "4.35 V"],
                "current": ["-10 A", "10 A"],
                "temperature": ["0 degC", "60 degC"],
            }
        ]
    )
    """Hard limits of this position."""
    reaction: Duration = 1.0
    """Longest time from a sample to OFF on the wire (real time)."""
    watchdog: Duration = 4.0
    """Silence after which the cycler opens its output on its own (real time)."""
    idle_record: Duration = 10.0
    """How often an idle station is recorded for the live view (real time)."""


class LabFileModel(FileModel):
    """A lab: one file, one daemon."""

    lab: Name = Field(examples=["bench-3"])
    """Its name; the second word of every MQTT topic."""
    data: str = "data"
    """Folder of journal and results, relative to this file."""
    protocols: str = "protocols"
    """Folder of the protocols that may be started by name, relative to this file."""
    clock: ClockModel = ClockModel()
    """Lab time."""
    mqtt: MqttModel = MqttModel()
    """Broker."""
    access: AccessModel = AccessModel()
    """Keys and roles."""
    resume: ResumeModel = ResumeModel()
    """Interrupted runs."""
    visa: VisaModel = VisaModel()
    """VISA library."""
    restarts: RestartsModel = RestartsModel()
    """When a daemon that crashes again and again stays down."""
    alarms: AlarmsModel = AlarmsModel()
    """Alarms."""
    ups: UpsModel | None = None
    """The power supply's own word that the mains has failed."""
    instruments: dict[InstrumentName, InstrumentModel] = Field(
        min_length=1,
        examples=[
            {"aps1": {"driver": "keysight_aps", "resource": "TCPIP::10.0.0.21::5025::SOCKET"}}
        ],
    )
    """Name -> instrument."""
    stations: dict[Name, StationModel]
    """Name -> test position."""
    cells: Annotated[
        Annotated[dict[Name, CellModel], Tag("<inline>")] | Annotated[str, Tag("<file>")],
        Discriminator(lambda value: "<file>" if isinstance(value, str) else "<inline>"),
    ] = Field(default_factory=dict[str, CellModel])
    """Cell id -> cell, or the name of a file with such a mapping."""
