"""Driver classes that a lab file can name; nothing ever opens them."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from daq.bus.line import LineSettings
from daq.driver import Chamber, Cycler, DriverOptions, Logger, Potentiostat, Switch


class ACycler(Cycler):
    """One that has defaults of its own."""

    settings = LineSettings(timeout_s=0.2, baud=115200)


class ASlowCycler(Cycler):
    """One that wants to be left alone between messages, and needs two of them for a reading."""

    settings = LineSettings(timeout_s=0.2, gap_s=0.05)
    read_messages = 2


class ACounter(ASlowCycler):
    """One that is asked for more counters than readings."""

    count_messages = 3


class AChamber(Chamber):
    """One with options."""

    class AOptions(DriverOptions):
        speed: int = Field(default=1, ge=0, le=9)

    Options: ClassVar[type[DriverOptions]] = AOptions


class APotentiostat(Potentiostat):
    """One that sweeps."""


class ALogger(Logger):
    """One that only measures."""


class ASwitch(Switch):
    """One that has outputs."""
