"""The driver interface: plain blocking code that a scientist can write.

A driver turns one instrument's dialect into the verbs below. It owns no thread, no clock and no
policy: the control loop calls it, one exchange at a time, on the thread that owns the line.
docs/add-a-driver.md is the guide.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict

from daq.bus.line import Exchange, Line, LineSettings
from daq.errors import InputError, InstrumentRefused
from daq.model import (
    EVERYWHERE,
    Counted,
    Identity,
    MeasurementState,
    Protection,
    Reading,
    Setpoint,
    Span,
    Spectrum,
    SpectrumPoint,
)

ENTRY_POINT_GROUP = "daq.drivers"
WATCHDOG = "watchdog"
"""`Reading.fault` of a channel whose own watchdog, and nothing else, has opened the output."""


class DriverOptions(BaseModel):
    """Base of a driver's own options (`options:` of an instrument in a lab file)."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Range:
    """What one channel can do; asked from the instrument where it tells.

    Attributes:
        temperature_degC: for chambers: programmable temperatures.
        frequency_Hz: for potentiostats: (lowest, highest) of a sweep.
        humidity_pct: for chambers: relative humidities that may be asked for; None: it has none.
        galvanostatic_A: for potentiostats: the largest current, its peak, that a galvanostatic
            sweep may have, its DC current included; 0: it cannot do one.
    """

    voltage_V: Span = EVERYWHERE
    current_A: Span = EVERYWHERE
    temperature_degC: Span = EVERYWHERE
    frequency_Hz: Span = EVERYWHERE
    humidity_pct: Span | None = None
    galvanostatic_A: float = 0.0

    def within(self, other: Range) -> Range:
        """What both allow of voltage, current, temperature and frequency; the rest is this one's.

        Two that have nothing in common leave a span whose low end is above its high end: nothing
        lies in it.
        """
        return replace(
            self,
            voltage_V=_common(self.voltage_V, other.voltage_V),
            current_A=_common(self.current_A, other.current_A),
            temperature_degC=_common(self.temperature_degC, other.temperature_degC),
            frequency_Hz=_common(self.frequency_Hz, other.frequency_Hz),
        )


def _common(one: Span, other: Span) -> Span:
    return max(one[0], other[0]), min(one[1], other[1])


@dataclass(frozen=True, slots=True)
class Layers:
    """Which of its own protections an instrument has (`daq doctor` lists what is missing)."""

    overvoltage: bool = False
    undervoltage: bool = False
    overcurrent: bool = False
    watchdog: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """A running sweep: where it stands and the points that arrived since the last poll."""

    state: MeasurementState
    points: Sequence[SpectrumPoint] = ()
    message: str = ""


LineT = TypeVar("LineT", bound=Line)


class Driver(ABC, Generic[LineT]):
    """One instrument. Subclass `Cycler`, `Chamber`, `Potentiostat`, `Switch` or `Logger`.

    Every method may raise any `InstrumentError`; after `NoReply`, `BadReply` and `LinkDown` the
    caller closes the line, opens it again, and calls `identify` and `setup`.

    Attributes:
        settings: defaults of the line; a lab file may override timeout and baud rate.
        Options: the driver's own options, validated before anything is opened.
        read_messages: how many messages a `read` takes. With the line's pause between messages
            that is how fast the instrument can be read, and how late an OFF may come.
        channels: the channel numbers that this instrument has; may be narrowed by `setup`.
    """

    settings: ClassVar[LineSettings] = LineSettings()
    Options: ClassVar[type[DriverOptions]] = DriverOptions
    read_messages: ClassVar[int] = 1

    def __init__(self, line: LineT, options: Any = None) -> None:
        self.line = line
        self.options = options if options is not None else self.Options()
        self.channels: Sequence[int] = (1,)

    @abstractmethod
    def identify(self) -> Identity:
        """Ask who is there. Called first after every open; must not change any state.

        Raises:
            BadReply: something answers, but not an instrument of this family.
        """

    def setup(self) -> None:
        """Bring the instrument to a known state after `identify`. Never energises.

        Ranges, units, error queues: yes. It must leave an output that is on as it finds it
        (the loop decides), unless the dialect forces it OFF.
        """
        return

    @abstractmethod
    def read(self) -> Mapping[int, Reading]:
        """Read all channels in as few exchanges as the dialect allows (best: one)."""

    def range(self, channel: int) -> Range:
        """What the channel can do. Called after `setup`; may ask the instrument."""
        return Range()

    @classmethod
    def known_range(cls, options: Any) -> Range:
        """What its options alone tell of `range`, for `daq check`, which asks no instrument."""
        return Range()

    @abstractmethod
    def off(self, channel: int) -> None:
        """Make the channel safe, and verify it by reading back.

        A cycler opens its output, a potentiostat its cell, a chamber stops conditioning. Safe to
        call at any time, any number of times, in any state. Never energises.

        Raises:
            ReadbackMismatch: it is still on.
        """

    @property
    def off_channels(self) -> Sequence[int]:
        """The channels that are made safe where the daemon is gone."""
        return self.channels

    def off_exchanges(self, channel: int) -> tuple[Exchange, ...]:
        """`off` as raw bytes, for the sentinel; () where bytes alone cannot do it.

        Sent in order; after an answer that does not match, the rest of the channel's is left out.
        Called after `setup`, on the bus thread; must not talk to the instrument.
        """
        return ()


class Cycler(Driver[LineT]):
    """A channel that charges and discharges a cell.

    Attributes:
        layers: the instrument's own protections that `protect` sets.
        measures_temperature: its readings carry the cell's temperature.
        settle_s: time after `on` or `apply` before a current reading is settled.
        count_messages: how many messages `counted` takes; 0 where it is never asked.
    """

    layers: ClassVar[Layers] = Layers()
    measures_temperature: ClassVar[bool] = False
    settle_s: ClassVar[float] = 0.2
    count_messages: ClassVar[int] = 0

    @abstractmethod
    def protect(self, channel: int, protection: Protection) -> None:
        """Write the instrument's own limits and watchdog, and read each of them back.

        Levels beyond what the instrument can be set to are set to its nearest tighter level.

        Raises:
            ReadbackMismatch: a limit did not take.
        """

    @abstractmethod
    def apply(self, channel: int, setpoint: Setpoint) -> None:
        """Write a setpoint and read it back. Does not switch the output.

        Raises:
            ReadbackMismatch: it did not take.
            InstrumentRefused: outside the instrument's range.
        """

    def verify(self, channel: int) -> None:
        """Read back what `protect` and `apply` wrote, or the next part of it. Changes nothing.

        Called every few seconds while the output is on: somebody at the front panel, or a second
        program on the same instrument, is found by this. One exchange or two, like a reading.

        Raises:
            ReadbackMismatch: it reads otherwise than it was written.
        """
        return

    def counted(self, channel: int) -> Counted | None:
        """What its own charge and energy counters read; None where this unit has none.

        Asked at every edge between two steps. Resets nothing: others may read the counters, too.
        """
        return None

    @abstractmethod
    def on(self, channel: int) -> None:
        """Energise. Only after `protect` and `apply`. Verifies that the output is on."""

    @abstractmethod
    def clear(self, channel: int) -> None:
        """Clear a latched protection. Must send OFF and verify it first, and end OFF."""


class Chamber(Driver[LineT]):
    """A thermal chamber; channel 1 is its chamber."""

    @abstractmethod
    def set_temperature(self, degC: float) -> None:
        """Write the setpoint, start conditioning, and read both back."""

    def set_humidity(self, pct: float) -> None:
        """Write the relative humidity to regulate, and read it back. Does not start conditioning.

        Only where `range` tells humidities that may be asked for.
        """
        raise InstrumentRefused(f"{type(self).__name__} regulates no humidity")


class Potentiostat(Driver[LineT]):
    """An instrument that measures impedance spectra; started, polled, aborted, never awaited."""

    @abstractmethod
    def start(self, channel: int, spectrum: Spectrum) -> None:
        """Start a sweep. Returns at once."""

    @abstractmethod
    def poll(self) -> Progress:
        """The points that arrived since the last poll. Never waits for the next one."""

    @abstractmethod
    def abort(self) -> None:
        """End a running sweep and open the cell; does nothing when none runs."""


class Switch(Driver[LineT]):
    """An instrument with digital outputs that programs switch: stirrers, lamps, fans, valves.

    `read` tells the state of each as `output_on`.

    Attributes:
        safe: channel -> whether it is safe when it is on, such as a fan, for those that the lab
            file names. No other channel is ever touched.
    """

    safe: Mapping[int, bool] = MappingProxyType({})

    @property
    def off_channels(self) -> Sequence[int]:
        """Those that the lab uses: a module may have outputs that are somebody else's."""
        return tuple(self.safe)

    @abstractmethod
    def switch(self, channel: int, on: bool) -> None:
        """Switch one output, and read it back.

        Raises:
            ReadbackMismatch: it is not as it was asked to be.
        """

    def off(self, channel: int) -> None:
        """Bring the output to its safe state, which need not be off."""
        self.switch(channel, self.safe.get(channel, False))


class Logger(Driver[LineT]):
    """An instrument that only measures (thermocouples, voltages)."""

    def off(self, channel: int) -> None:
        """Nothing to make safe."""
        return


AnyDriver = Driver[Any]


def installed(group: str = ENTRY_POINT_GROUP) -> dict[str, str]:
    """Name and `module:Class` of everything that an entry-point group announces: the drivers."""
    return {point.name: point.value for point in sorted(entry_points(group=group))}


def find_driver(name: str) -> type[AnyDriver]:
    """The driver class for the name in a lab file: an entry point or `module:Class`.

    Raises:
        InputError: no such driver, or it cannot be imported; names the known ones.
    """
    target, found = find_plugin(ENTRY_POINT_GROUP, name, "driver")
    if not (isinstance(found, type) and issubclass(found, Driver)):
        raise InputError(f"{target} is not a Driver")
    return cast(type[AnyDriver], found)


def find_plugin(group: str, name: str, what: str) -> tuple[str, Any]:
    """Where something is that another package brings, and the object itself.

    Args:
        group: of entry points.
        name: as announced there, or `module:Name`.
        what: it is, for messages.

    Raises:
        InputError: there is none, or it cannot be imported; names the known ones.
    """
    known = installed(group)
    target = name if ":" in name else known.get(name)
    if target is None:
        raise InputError(
            f"no {what} is called {name!r}",
            remedy=f"installed: {', '.join(known) or 'none'}; or give module:Class",
        )
    module, _, attribute = target.partition(":")
    try:
        return target, getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError, SyntaxError) as error:
        # no such module; none to begin with (":X", "..x:X"); one with a mistake in it
        raise InputError(f"{what} {name!r} cannot be loaded: {error}") from error
