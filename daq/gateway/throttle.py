"""How many commands are looked at: so that no flood reaches control, and every stop does.

Ordinary commands over the rate are refused. What switches OFF is never refused for its rate: it
waits its turn, one lane a client, and the lanes are served in turn, so that a thousand stops of
one client hold up those of another by one.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Generic, TypeVar

CLIENT_RATE_HZ = 20.0
CLIENT_BURST = 40.0
READ_RATE_HZ = 1000.0
"""Ordinary commands that are read at all, of everybody together; reading one costs 50 us."""
READ_BURST = 1000.0
MOST_CLIENTS = 256
LANE_LENGTH = 16

ItemT = TypeVar("ItemT")


@dataclass(slots=True)
class Bucket:
    """A token bucket: so many at once, then so many a second."""

    rate_Hz: float
    burst: float
    tokens: float = -1.0
    at_s: float = 0.0

    def take(self, now_s: float) -> bool:
        """Whether one more is within the rate."""
        if self.tokens < 0.0:
            self.tokens, self.at_s = self.burst, now_s
        self.tokens = min(self.burst, self.tokens + (now_s - self.at_s) * self.rate_Hz)
        self.at_s = now_s
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class Throttle:
    """The rates of ordinary commands."""

    def __init__(self) -> None:
        self._all = Bucket(READ_RATE_HZ, READ_BURST)
        self._clients: OrderedDict[str, Bucket] = OrderedDict()

    def may_read(self, now_s: float) -> bool:
        """Whether one more command is looked at, whoever sent it."""
        return self._all.take(now_s)

    def may_ask(self, client: str, now_s: float) -> bool:
        """Whether a client is within its rate; the name is what it claims."""
        bucket = self._clients.setdefault(client, Bucket(CLIENT_RATE_HZ, CLIENT_BURST))
        self._clients.move_to_end(client)
        if len(self._clients) > MOST_CLIENTS:
            self._clients.popitem(last=False)
        return bucket.take(now_s)


class Lanes(Generic[ItemT]):
    """What waits, a lane for each client; the lanes are served in turn."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, deque[ItemT]] = OrderedDict()

    def put(self, client: str, item: ItemT) -> bool:
        """Let something wait; False when there is no room for it."""
        lane = self._lanes.get(client)
        if lane is None:
            if len(self._lanes) >= MOST_CLIENTS:
                return False
            lane = self._lanes[client] = deque()
        if len(lane) >= LANE_LENGTH:
            return False
        lane.append(item)
        return True

    def take(self) -> ItemT | None:
        """What is served next; None when nothing waits."""
        if not self._lanes:
            return None
        client, lane = self._lanes.popitem(last=False)
        item = lane.popleft()
        if lane:
            self._lanes[client] = lane  # to the end of the turn
        return item
