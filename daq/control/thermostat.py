"""A chamber that stations share: one owner of its setpoints.

Stations ask; the chamber's own bus thread writes. A request for another temperature, or another
humidity, than the one that other stations use is not carried out: the station waits (or, where the
lab file says `sharing: refuse`, its program was not started at all).

What stations must agree on is where they want to get to. On the way there, with ramps that began
at different times, the setpoint that is nearest to the target holds.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from math import isnan, nan
from typing import Any, cast

from daq.bus.bus import Bus
from daq.control.claims import Claims
from daq.control.instrument import Instrument
from daq.driver import Chamber
from daq.errors import InstrumentError
from daq.model import Span


@dataclass(frozen=True, slots=True)
class Wish:
    """What a chamber is to be set to; None: as it is."""

    temperature_degC: float | None = None
    humidity_pct: float | None = None


class Thermostat:
    """The setpoints of one chamber.

    Args:
        instrument: the chamber.
        bus: the bus it is on.
        sharing: "wait" or "refuse", from the lab file.
    """

    def __init__(self, instrument: Instrument, bus: Bus, sharing: str) -> None:
        self.name = instrument.name
        self.sharing = sharing
        self.wanted = Wish()
        self._written = Wish()
        self._instrument = instrument
        self._bus = bus
        self._targets = Claims(instrument.name)
        self._humidities = Claims(f"the humidity of {instrument.name}")
        self._wishing = threading.Lock()  # held for microseconds; stations ask from many threads

    @property
    def humidity_pct(self) -> Span | None:
        """Relative humidities that may be asked for; None where the chamber has none."""
        spans = (found.humidity_pct for found in self._instrument.ranges.values())
        return next((span for span in spans if span), None)

    def request(
        self,
        station: str,
        degC: float,
        target_degC: float | None = None,
        humidity_pct: float = nan,
    ) -> str:
        """Ask for a temperature; empty when granted, else who is in the way.

        Args:
            station: who asks.
            degC: the setpoint, now.
            target_degC: where a ramp leads; the setpoint itself if there is none.
            humidity_pct: nan: as it is.
        """
        target_degC = degC if target_degC is None else target_degC
        if opposed := self._claim(station, target_degC, humidity_pct):
            self.release(station)
            return opposed
        with self._wishing:
            before, self.wanted = self.wanted, self._wish(station, degC, target_degC, humidity_pct)
        if self.wanted != before:
            self._bus.post(self.serve)
        return ""

    def _claim(self, station: str, target_degC: float, humidity_pct: float) -> str:
        opposed = self._targets.claim(station, target_degC)
        if not opposed and not isnan(humidity_pct):
            opposed = self._humidities.claim(station, humidity_pct)
        return opposed

    def _wish(self, station: str, degC: float, target_degC: float, humidity_pct: float) -> Wish:
        before = self.wanted
        shared = any(user != station for user in self._targets.users())
        if shared and before.temperature_degC is not None:
            degC = min(before.temperature_degC, degC, key=lambda value: abs(value - target_degC))
        return Wish(degC, before.humidity_pct if isnan(humidity_pct) else humidity_pct)

    def release(self, station: str) -> None:
        """The station's run no longer needs the chamber; what it was set to stays."""
        self._targets.release(station)
        self._humidities.release(station)

    def serve(self) -> None:
        """Write what is wanted, until it was read back once. On the chamber's bus thread."""
        wanted = self.wanted  # another thread may want another before this is written
        if wanted == self._written or not self._instrument.online:
            return
        try:
            self._write(cast(Chamber[Any], self._instrument.driver), wanted)
        except InstrumentError as error:
            self._instrument.failed(error)
            return
        self._written = wanted

    def _write(self, chamber: Chamber[Any], wanted: Wish) -> None:
        """The humidity first: the temperature starts the conditioning."""
        humidity_pct, degC = wanted.humidity_pct, wanted.temperature_degC
        if humidity_pct is not None and humidity_pct != self._written.humidity_pct:
            chamber.set_humidity(humidity_pct)
        if degC is not None:
            chamber.set_temperature(degC)

    def lost(self) -> None:
        """The link was lost: the chamber may have forgotten its setpoints."""
        self._written = Wish()
