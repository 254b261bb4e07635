"""The one place that switches a cycler channel.

ON only ever happens in `regulate`, after the instrument's own limits and watchdog and the
setpoint were written and read back. OFF is tried at once, and owed until it is verified.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, cast

from daq.clock import monotonic
from daq.control.guard import FAR_FRACTION, SETPOINT_FRACTION, Output
from daq.control.instrument import Instrument
from daq.driver import Cycler
from daq.errors import BadReply, InstrumentError, LinkDown, NotEnergised
from daq.model import Limits, Protection, Setpoint

OFF_ATTEMPTS = 2


class CyclerOutput:
    """A cycler channel's output, on its home bus thread.

    Args:
        instrument: the cycler.
        channel: its channel.
        watchdog_s: the instrument's own watchdog, real seconds.
        rule: the guard's view of what was commanded.
        may_energise: says why not; empty when nothing speaks against it. Asked last, just
            before ON.

    Attributes:
        on: what was last commanded and confirmed.
        owed: OFF was commanded and has not been verified yet.
        on_since_s: when the instrument last confirmed to be ON.
    """

    def __init__(
        self,
        instrument: Instrument,
        channel: int,
        *,
        watchdog_s: float,
        rule: Output,
        may_energise: Callable[[], str],
    ) -> None:
        self.instrument = instrument
        self.channel = channel
        self.on = False
        self.owed = False
        self.owed_since_s = 0.0
        self.on_since_s = -inf
        self._watchdog_s = watchdog_s
        self._rule = rule
        self._may_energise = may_energise
        self._protection: Protection | None = None

    @property
    def driver(self) -> Cycler[Any]:
        """The cycler's driver; the lab file was checked for its kind."""
        return cast(Cycler[Any], self.instrument.driver)

    def regulate(self, setpoint: Setpoint, limits: Limits) -> None:
        """Write limits and setpoint, read both back, and energise if the output is OFF.

        Raises:
            InstrumentError: it is not regulating; the caller trips.
            NotEnergised: `may_energise` spoke against it; the run waits, OFF.
        """
        if not self.instrument.online:
            raise LinkDown(f"{self.instrument.name} is offline")
        self._protect(limits)
        self._ask_leave()
        self._rule.command(setpoint, monotonic())
        self.driver.apply(self.channel, setpoint)
        if not self.on:
            self._ask_leave()
            self.on = True  # before the command leaves: if it fails half way, assume ON
            self.driver.on(self.channel)
            self.on_since_s = monotonic()

    def off(self) -> bool:
        """OFF now; whether it was verified. If not, it is owed (see `pay`)."""
        self._rule.command(None, monotonic())
        if not self.owed:
            self.owed, self.owed_since_s = True, monotonic()
        self.instrument.in_a_hurry = True
        return any(self._try_off() for _ in range(OFF_ATTEMPTS))

    def pay(self) -> bool:
        """Try again an OFF that is owed; whether none is owed any more."""
        return not self.owed or self._try_off()

    def _try_off(self) -> bool:
        if not self.instrument.online and not self.instrument.reopen_now():
            return False
        try:
            self.driver.off(self.channel)
        except InstrumentError as error:
            self.instrument.failed(error)
            return False
        except Exception as error:  # noqa: BLE001 - a bug must not end the insisting on OFF
            self.instrument.failed(BadReply(f"{type(error).__name__}: {error}"))
            return False
        self.on = self.owed = self.instrument.in_a_hurry = False
        return True

    def protect(self, limits: Limits) -> None:
        """Write the instrument's limits and read them back, with the output OFF at the end.

        Raises:
            InstrumentError: a limit did not take.
        """
        if not self.instrument.online:
            raise LinkDown(f"{self.instrument.name} is offline")
        self._protect(limits)
        self.driver.off(self.channel)  # its watchdog rests again, with nothing to guard

    def _protect(self, limits: Limits) -> None:
        # Just past the limits, where the guard itself needs one sample only: the instrument is
        # the layer beneath the guard, not a second opinion on the limit.
        low, high = limits.voltage_V
        sink, source = limits.current_A
        protection = Protection(
            (low - abs(low) * FAR_FRACTION, high + abs(high) * FAR_FRACTION),
            (sink * SETPOINT_FRACTION, source * SETPOINT_FRACTION),
            self._watchdog_s,
        )
        if not self.on or protection != self._protection:
            self._protection = None
            self.driver.protect(self.channel, protection)
            self._protection = protection

    def _ask_leave(self) -> None:
        if why := "an OFF is not verified yet" if self.owed else self._may_energise():
            raise NotEnergised(f"not energised: {why}")
