"""A chamber that stations share: one owner of its setpoint.

Stations ask; the chamber's own bus thread writes. A request for another temperature than the one
that other stations use is not carried out: the station waits (or, where the lab file says
`sharing: refuse`, its program was not started at all).
"""

from __future__ import annotations

from math import isnan, nan
from typing import Any, cast

from daq.bus.bus import Bus
from daq.control.claims import Claims
from daq.control.instrument import Instrument
from daq.driver import Chamber
from daq.errors import InstrumentError


class Thermostat:
    """The setpoint of one chamber.

    Args:
        instrument: the chamber.
        bus: the bus it is on.
        sharing: "wait" or "refuse", from the lab file.
    """

    def __init__(self, instrument: Instrument, bus: Bus, sharing: str) -> None:
        self.name = instrument.name
        self.sharing = sharing
        self.wanted_degC = nan
        self._written_degC = nan
        self._instrument = instrument
        self._bus = bus
        self._claims = Claims(instrument.name)

    def request(self, station: str, degC: float) -> str:
        """Ask for a temperature; empty when granted, else who is in the way."""
        if opposed := self._claims.claim(station, degC):
            return opposed
        if degC != self.wanted_degC:
            self.wanted_degC = degC
            self._bus.post(self.serve)
        return ""

    def release(self, station: str) -> None:
        """The station's run no longer needs the chamber; its temperature stays."""
        self._claims.release(station)

    def serve(self) -> None:
        """Write what is wanted, until it was read back once. On the chamber's bus thread."""
        wanted_degC = self.wanted_degC  # another thread may want another before this is written
        if isnan(wanted_degC) or wanted_degC == self._written_degC or not self._instrument.online:
            return
        try:
            cast(Chamber[Any], self._instrument.driver).set_temperature(wanted_degC)
        except InstrumentError as error:
            self._instrument.failed(error)
            return
        self._written_degC = wanted_degC

    def lost(self) -> None:
        """The link was lost: the chamber may have forgotten its setpoint."""
        self._written_degC = nan
