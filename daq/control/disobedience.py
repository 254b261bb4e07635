"""A cycler that does not obey: OFF again, somebody is paged, the lab's relay opens the circuit.

Two ways to see it. An OFF is owed: it was sent, and is not verified. Or it was verified, and later
the output is ON or current flows all the same. Lives on the station's home bus thread.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from daq.control.alarms import Alarms, Cause
from daq.control.guard import Guard
from daq.control.output import CyclerOutput
from daq.control.wiring import Wiring
from daq.logs import get_logger
from daq.model import Sample, Trip

OWED_ALARM_S = 2.0
"""An OFF that is not verified for so long pages somebody."""
RELAY_AGAIN_S = 2.0
FLOWS = frozenset({"I1", "C2"})
"""The checks that say that an output is ON although it must not be."""


class Disobedience:
    """What one station does about a cycler that does not obey.

    Args:
        relay: opens the circuit; None where the lab has no relay.
        note: told, in words, what has to be in the journal.
    """

    def __init__(
        self,
        wiring: Wiring,
        *,
        output: CyclerOutput,
        guard: Guard,
        alarms: Alarms,
        relay: Callable[[], None] | None,
        note: Callable[[str], None],
    ) -> None:
        self.relay = relay
        self._wiring = wiring
        self._output = output
        self._guard = guard
        self._alarms = alarms
        self._note = note
        self._relay_at_s = -inf
        self._alarmed_owed = False
        self._alarmed_on = False
        self._log = get_logger(station=wiring.name)

    def insist(self, trip: Trip | None, sample: Sample) -> None:
        """Cut off already: if it is ON or current flows all the same, OFF again, and page once.

        Args:
            trip: what the guard says of the sample; the first rule that spoke.
            sample: of the cycler, after a trip.
        """
        if trip is None or trip.check not in FLOWS:
            trip = self._guard.output.check(sample)
        if trip is None or self._output.owed:  # `watch` repeats what is owed
            return
        self._output.off()
        self._open_relay(sample.stamp_s)
        if not self._alarmed_on:
            self._alarmed_on = True
            self._page(Cause.CURRENT_WHILE_OFF, f"after a trip: {trip.message}")

    def watch(self, now_s: float) -> None:
        """Repeat an OFF that is owed, and page when it is owed for long; every tick."""
        output = self._output
        owed = output.owed
        if owed:
            output.pay()
        if not (owed or self._alarmed_owed):  # a stop, or a new connection, may have paid it
            return
        late = output.owed and now_s - output.owed_since_s > OWED_ALARM_S
        if late and not self._alarmed_owed:
            message = f"OFF of {self._wiring.cycler} is not verified"
            self._page(Cause.OFF_NOT_VERIFIED, message, output.instrument.name)
        elif self._alarmed_owed and not late:
            self._alarms.end(Cause.OFF_NOT_VERIFIED, station=self._wiring.name)
        self._alarmed_owed = late
        if late:
            self._open_relay(now_s)

    def over(self) -> None:
        """A trip was cleared, OFF was verified: what comes next is new."""
        self._alarms.end(Cause.CURRENT_WHILE_OFF, station=self._wiring.name)
        self._alarmed_on, self._relay_at_s = False, -inf

    def _open_relay(self, now_s: float) -> None:
        """Open the circuit where the lab has a relay, again and again."""
        if self.relay is None or now_s - self._relay_at_s <= RELAY_AGAIN_S:
            return
        if self._relay_at_s == -inf:
            text = "the relay is opened, because the cycler does not obey"
            self._note(text)
            self._log.critical(text)
        self._relay_at_s = now_s
        self.relay()

    def _page(self, cause: Cause, message: str, instrument: str = "") -> None:
        self._alarms.raise_(cause, message, station=self._wiring.name, instrument=instrument)
