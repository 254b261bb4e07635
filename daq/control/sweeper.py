"""A potentiostat that stations share: one sweep at a time, started, polled, aborted.

Its bus thread polls; points and the end go to the station that asked. While a sweep runs that
station's cycler is OFF, and still read and guarded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

from daq.bus.bus import Bus
from daq.control.claims import Claims
from daq.control.instrument import Instrument
from daq.driver import Potentiostat
from daq.errors import InstrumentError
from daq.model import MeasurementState, Spectrum, SpectrumPoint

_OVER = frozenset({MeasurementState.DONE, MeasurementState.FAILED})


class Customer(Protocol):
    """Who asked for a sweep: a station."""

    name: str

    def sweep_points(self, points: Sequence[SpectrumPoint]) -> None:
        """Points that arrived."""
        ...

    def sweep_over(self, state: MeasurementState, message: str) -> None:
        """The sweep has ended."""
        ...


class Sweeper:
    """One potentiostat and the sweep that it runs."""

    def __init__(self, instrument: Instrument, bus: Bus) -> None:
        self.name = instrument.name
        self._instrument = instrument
        self._bus = bus
        self._claims = Claims(instrument.name)
        self._customer: Customer | None = None
        self._direct_A = 0.0

    def direct_A(self, station: str) -> float:
        """The DC current that the potentiostat was told to drive through a station's cell, now.

        Commanded, not measured: a galvanostat holds it, or ends its script.
        """
        customer = self._customer
        return self._direct_A if customer and customer.name == station else 0.0

    @property
    def busy(self) -> bool:
        """Whether a sweep runs (the instrument must not be asked anything else)."""
        return self._customer is not None

    def request(self, customer: Customer, channel: int, spectrum: Spectrum) -> str:
        """Ask for a sweep; empty when it is being started, else who is in the way."""
        wish = object()  # no two agree, so that one station has it; an old one starts nothing
        if opposed := self._claims.claim(customer.name, wish):
            return opposed
        self._bus.post(lambda: self._start(customer, channel, spectrum, wish))
        return ""

    def abort(self, station: str) -> None:
        """End the station's sweep, if it has one, and open its cell. From any thread."""
        if station in self._claims.users():
            self._bus.urge(lambda: self._abort(station))

    def poll(self) -> None:
        """Take what has arrived. On the potentiostat's bus thread, every tick."""
        customer = self._customer
        if customer is None:
            return
        try:
            progress = self._driver.poll()
        except InstrumentError as error:
            self.lost(error)
            return
        if progress.points:
            customer.sweep_points(progress.points)
        if progress.state in _OVER:
            self._end(customer, progress.state, progress.message)

    def lost(self, error: InstrumentError) -> None:
        """The link failed while a sweep ran: it is void."""
        self._instrument.failed(error)
        if self._customer:
            self._end(self._customer, MeasurementState.FAILED, f"the sweep failed: {error}")

    @property
    def _driver(self) -> Potentiostat[Any]:
        return cast(Potentiostat[Any], self._instrument.driver)

    def _start(self, customer: Customer, channel: int, spectrum: Spectrum, wish: object) -> None:
        if self._claims.users().get(customer.name) is not wish:
            return  # aborted before it began
        try:
            if not self._instrument.ready():
                raise InstrumentError(f"{self.name} is offline")
            self._driver.start(channel, spectrum)
        except InstrumentError as error:
            self._instrument.failed(error)
            self._end(customer, MeasurementState.FAILED, f"the sweep did not start: {error}")
            return
        self._direct_A = spectrum.bias_A
        self._customer = customer

    def _abort(self, station: str) -> None:
        customer, self._customer = self._customer, None
        if customer and customer.name == station:
            try:
                self._driver.abort()
            except InstrumentError as error:
                self._instrument.failed(error)
        else:
            self._customer = customer
        self._claims.release(station)

    def _end(self, customer: Customer, state: MeasurementState, message: str) -> None:
        self._customer = None
        self._claims.release(customer.name)
        customer.sweep_over(state, message)
