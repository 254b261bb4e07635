"""What a station is wired to, and what must hold there; as its lab file says."""

from __future__ import annotations

from dataclasses import dataclass

from daq.checks import Checks
from daq.model import ChannelRef, Limits


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a station is wired to. `thermometer` is the source of the cell's temperature."""

    name: str
    cycler: ChannelRef
    thermometer: ChannelRef | None
    chamber: ChannelRef | None
    sweeper: ChannelRef | None
    limits: Limits
    idle_record_s: float
    voltage_check: ChannelRef | None = None
    interlocks: tuple[ChannelRef, ...] = ()
    group_trips: frozenset[str] = frozenset({"K1"})
    checks: Checks = Checks()

    @property
    def sources(self) -> frozenset[ChannelRef]:
        """Every channel whose samples this station judges."""
        named = (self.cycler, self.thermometer, self.chamber, self.voltage_check, *self.interlocks)
        return frozenset(ref for ref in named if ref is not None)
