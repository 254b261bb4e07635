"""An instrument as the control loop sees it: a driver, its link, and who answered there.

Everything here runs on the thread that owns the line. A link that fails is closed at once (a
late reply would answer the next question) and opened again with a growing pause; after every
open the instrument must identify itself as the one that was there before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Any, Protocol

from daq.bus.line import Line
from daq.clock import monotonic
from daq.driver import AnyDriver, Range
from daq.errors import BadReply, InstrumentError, LinkDown, NoReply, WrongIdentity
from daq.model import Identity, Reading

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
URGENT_PAUSE_S = 0.1
LATEST_READS = 15
SPARE = 1.1
"""Part of the time that a reading takes, for everything else that the thread must do."""
LINK_ERRORS = (LinkDown, NoReply, BadReply)


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """What the lab file says of one instrument, ready to use."""

    name: str
    driver: str
    resource: str
    period_s: float
    calibrated: str = ""
    calibration_due: str = ""
    nameplate: Range = Range()


class Listener(Protocol):
    """Who wants to know about an instrument's link; called on its bus thread."""

    def fault_began(self, instrument: Instrument, error: InstrumentError) -> None:
        """First failure since the link was good; again when another unit turns out to answer."""
        ...

    def fault_ended(self, instrument: Instrument, lasted_s: float) -> None:
        """The link is good again."""
        ...


class Instrument:
    """One instrument on one bus.

    Attributes:
        online: the link is open, identified and set up.
        connections: how often that has happened.
        identity: who answered last; None before the first answer.
        ranges: per channel, asked once after each connect.
        in_a_hurry: an OFF is owed: open again without a growing pause.
    """

    def __init__(
        self,
        spec: InstrumentSpec,
        line: Line,
        driver: AnyDriver,
        listener: Listener,
        expected: Identity | None = None,
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.line = line
        self.driver = driver
        self.online = False
        self.connections = 0
        self.in_a_hurry = False
        self.identity: Identity | None = None
        self.ranges: dict[int, Range] = {}
        self._listener = listener
        self._expected = expected
        self._faulty_since: float | None = None
        self._stranger = False
        self._failed_at = -inf
        self._retry_at = -inf
        self._pause_s = FIRST_PAUSE_S
        self._exchanges_s: deque[float] = deque(maxlen=LATEST_READS)  # pauses left out
        self._read_at_s = -inf

    def ready(self) -> bool:
        """Open the link if it is due; whether it is up now."""
        if not self.online and monotonic() >= self._retry_at:
            self._connect()
        return self.online

    def reopen_now(self) -> bool:
        """Open the link although its pause is not over: an OFF waits for it.

        An opening may take a second, during which nothing else on this bus is guarded.
        """
        self._retry_at = min(self._retry_at, self._failed_at + URGENT_PAUSE_S)
        return self.ready()

    def read(self) -> Mapping[int, Reading]:
        """Read all channels; {} when the link fails, which is noted."""
        began_s = monotonic()
        try:
            readings = self.driver.read()
        except InstrumentError as error:
            self.failed(error)
            return {}
        except Exception:
            self.drop()  # a bug of the driver: nobody knows what the line still carries
            raise
        self._good()
        self._measure(began_s)
        return readings

    def _measure(self, began_s: float) -> None:
        """What the reading took beside the pauses that the line keeps between messages."""
        now_s, gap_s = monotonic(), self.line.settings.gap_s
        first_s = max(0.0, gap_s - (began_s - self._read_at_s))
        pauses_s = first_s + (self.driver.read_messages - 1) * gap_s
        self._exchanges_s.append(max(0.0, now_s - began_s - pauses_s))
        self._read_at_s = now_s

    @property
    def fastest_s(self) -> float:
        """How often it can be read: the pauses of its messages, and what the latest readings took.

        Real seconds; the pauses alone before it was ever read.
        """
        exchanges_s = median(self._exchanges_s) if self._exchanges_s else 0.0
        return SPARE * (self.driver.read_messages * self.line.settings.gap_s + exchanges_s)

    def failed(self, error: InstrumentError) -> None:
        """Note an error; drop the link when it can no longer be trusted."""
        if isinstance(error, (*LINK_ERRORS, WrongIdentity)):
            self.drop()
        self._note(error)

    def _note(self, error: InstrumentError) -> None:
        # Once; and once more when a unit that was unplugged turns out to have been exchanged.
        stranger = isinstance(error, WrongIdentity)
        if self._faulty_since is None:
            self._faulty_since = monotonic()
        elif not stranger or self._stranger:
            return
        self._stranger = stranger
        self._listener.fault_began(self, error)

    def drop(self) -> None:
        """Close the link; the next opening is put off a little longer each time."""
        self.online = False
        self.line.close()
        self._retry_at = monotonic() + (URGENT_PAUSE_S if self.in_a_hurry else self._pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def close(self) -> None:
        """Close the link for good."""
        self.online = False
        self._retry_at = inf
        self.line.close()

    def _connect(self) -> None:
        try:
            self.line.open()
            self._identify()
            self.driver.setup()
            self.ranges = {number: self.driver.range(number) for number in self.driver.channels}
            self.online = True
            self.connections += 1
        except InstrumentError as error:
            self._note(error)
        finally:
            if not self.online:
                self._failed_at = monotonic()
                self.drop()

    def _identify(self) -> None:
        identity = self.driver.identify()
        if self._expected and not identity.same_unit(self._expected):
            raise WrongIdentity(
                f"{self.name}: {identity} answers at {self.spec.resource}, "
                f"where {self._expected} was before",
                remedy=f"if it was exchanged on purpose: daq forget {self.name}",
            )
        self.identity = self._expected = identity

    def forget_identity(self) -> None:
        """Accept whoever answers next (an instrument was exchanged on purpose)."""
        self._expected = None
        self._retry_at = -inf

    def _good(self) -> None:
        # Only a reading is good: a box that identifies and does not read stays one fault.
        if self._faulty_since is None:
            return
        lasted, self._faulty_since = monotonic() - self._faulty_since, None
        self._pause_s = FIRST_PAUSE_S
        self._listener.fault_ended(self, lasted)

    # Used by the sentinel's recipes.

    def recipe(self, command: Callable[[str], list[str]]) -> dict[str, Any]:
        """How to switch this instrument off without any driver; see daq/sentinel.py.

        Args:
            command: makes the argument vector that runs the driver's own `off` in a fresh
                process, for lines that only a vendor library can open.
        """
        endpoint = self.line.endpoint()
        exchanges = [
            [[one.send.hex(), one.expect.hex()] for one in self.driver.off_exchanges(number)]
            for number in self.driver.off_channels
        ]
        if endpoint is None or not all(exchanges):
            return {"kind": "", "exchanges": [], "command": command(self.name)}
        return {
            "kind": endpoint.kind,
            "address": endpoint.address,
            "port": endpoint.port,
            "frame": endpoint.frame,
            "gap_s": self.line.settings.gap_s,
            "exchanges": exchanges,
            "command": [],
        }
