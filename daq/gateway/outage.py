"""How it goes with the broker: when to try again, and what somebody must be told.

A loss is logged once when it begins and once when it ends. What a person must look at is one
sentence at a time, and control makes an alarm of it: the gateway cannot write the journal, and
its own way to people is the one that is broken.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from daq.clock import monotonic
from daq.errors import DaqError
from daq.logs import get_logger
from daq.model import Command, Reply

log = get_logger()

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 3.0
"""With the time that a connect takes: live again within 10 s of the broker's return."""
LONGEST_PAUSE_REFUSED_S = 60.0
"""Somebody must change a password or a certificate first; brokers lock out who tries too often."""
LONGEST_PAUSE_THROWN_OUT_S = 8.0
"""Two clients with one id throw each other out for ever: at least they shall do it slowly."""
GOOD_AFTER_S = 5.0
"""A connection that lasted this long was a good one: the next pause is short again."""
AWAY_S = 180.0
MOST_LOSSES, WINDOW_S = 4, 60.0
"""So many connections lost within the window: it comes and goes."""
CALM_S = 60.0
"""A connection that has lasted this long ends that."""
LOOK_S = 1.0
ANSWER_S = 10.0
SERVER_UNAVAILABLE = frozenset({3, 136})  # of MQTT 3.1.1 and 5
CAUSE = "broker-away"
_ONLY_LOST = (ssl.SSLEOFError, ssl.SSLZeroReturnError)

Ask = Callable[[Command, float], Awaitable[Reply]]


class Outage:
    """Judges one broker, from what becomes of the connections to it.

    Args:
        client_id: ours; another client with the same one throws us out.
        now: a clock in seconds.
    """

    def __init__(self, client_id: str, *, now: Callable[[], float] = monotonic) -> None:
        self._client_id = client_id
        self._now = now
        self._url = ""
        self._reason = ""
        self._gone_since_s: float | None = now()
        self._told = False
        self._connected_s = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._refused = False
        self._failed_between = False
        self._losses: deque[float] = deque(maxlen=MOST_LOSSES)
        self._thrown_out = 0
        self._flaps = False

    @property
    def _is_thrown_out(self) -> bool:
        return self._thrown_out >= MOST_LOSSES - 1

    def connected(self, url: str) -> None:
        """The broker has let us in."""
        now_s = self._now()
        # Lost and let in again at once: the broker is well, and has ended the connection itself.
        self._thrown_out = 0 if self._failed_between else self._thrown_out
        away_s = now_s - self._gone_since_s if self._told and self._gone_since_s is not None else 0
        log.info("broker_connected", url=url, away_s=round(away_s, 1))
        self._url, self._connected_s = url, now_s
        self._gone_since_s = None
        self._told = self._refused = self._failed_between = False

    def failed(self, url: str, error: BaseException) -> None:
        """A connection was lost, or could not be made."""
        now_s = self._now()
        self._url, self._reason = url, str(error) or type(error).__name__
        self._refused = _is_refusal(error)
        if self._gone_since_s is None:
            self._lost(now_s)
        else:
            self._failed_between = True
            self._lengthen_pause()
        if not self._told:
            self._told = True
            log.warning("broker_gone", url=url, reason=self._reason)

    def _lost(self, now_s: float) -> None:
        lasted_s = now_s - self._connected_s
        self._gone_since_s = now_s
        self._thrown_out = self._thrown_out + 1 if lasted_s < CALM_S else 0
        if lasted_s > GOOD_AFTER_S and not self._is_thrown_out:
            self._pause_s = FIRST_PAUSE_S
        else:
            self._lengthen_pause()
        self._losses.append(now_s)
        if len(self._losses) == MOST_LOSSES and now_s - self._losses[0] < WINDOW_S:
            self._flaps = True

    def _lengthen_pause(self) -> None:
        longest_s = LONGEST_PAUSE_THROWN_OUT_S if self._is_thrown_out else LONGEST_PAUSE_S
        longest_s = LONGEST_PAUSE_REFUSED_S if self._refused else longest_s
        self._pause_s = min(2 * self._pause_s, longest_s)

    def pause_s(self) -> float:
        """How long to wait before the next attempt."""
        # Jitter: the gateways of a lab must not all come back in the same instant.
        return self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311

    def trouble(self) -> str | None:
        """What somebody must look at; empty when all is well, None when that is not known yet."""
        gone = self._gone_since_s is not None
        calm_s = self._now() - self._connected_s
        if not gone and calm_s >= CALM_S:
            self._flaps, self._thrown_out = False, 0
            self._losses.clear()
        if self._refused:
            return f"the broker at {self._url} refuses us: {self._reason}"
        if self._flaps and self._is_thrown_out:
            return (
                f"the broker at {self._url} lets us in and ends the connection again and again: "
                f"does another client use the id {self._client_id}?"
            )
        if self._flaps:
            return f"the connection to the broker at {self._url} is lost again and again"
        if self._gone_since_s is None:
            return ""
        if self._now() - self._gone_since_s < AWAY_S:
            return None
        return f"the broker{f' at {self._url}' if self._url else ''} is away"


class Informant:
    """Tells control what is wrong with the broker, and when it no longer is.

    Args:
        ask: the way to control.
    """

    def __init__(self, outage: Outage, ask: Ask) -> None:
        self._outage = outage
        self._ask = ask
        self._known: str | None = None  # an earlier gateway may have said something
        self._logged = ""

    async def run(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Tell what is new; what control could not be told is told again the next time."""
        trouble = self._outage.trouble()
        if trouble is None or trouble == self._known:
            return
        if trouble and trouble != self._logged:
            log.error("broker_trouble", trouble=trouble)
        self._logged = trouble
        try:
            reply = await self._ask(_report(trouble), ANSWER_S)
        except DaqError:
            return  # control is not there, or busy
        if reply.state == "refused":
            log.error("report_refused", reason=reply.reason)
        self._known = trouble


def _report(trouble: str) -> Command:
    now_s = time.time()
    return Command(
        "report",
        uuid.uuid4().hex,
        "gateway",
        issued_utc_s=now_s,
        expires_utc_s=now_s + ANSWER_S,
        arguments={"cause": CAUSE, "message": trouble, "over": not trouble},
    )


def _is_refusal(error: BaseException) -> bool:
    """Whether it was the login that failed: a bad password, a certificate."""
    if isinstance(error, aiomqtt.exceptions.MqttConnectError):
        code = error.rc.value if isinstance(error.rc, ReasonCode) else error.rc
        return code not in SERVER_UNAVAILABLE
    # The client raises its own error in place of the one of TLS, which stays as its context.
    cause = error.__context__
    return isinstance(cause, ssl.SSLError) and not isinstance(cause, _ONLY_LOST)
