"""An MQTT client in a process of its own that stops a station again and again, and times it.

    python -m bench.stops mqtt://127.0.0.1:1883

Works until its standard input ends, then prints each stop as JSON: its id, when it was sent, and
how long it took until it was answered for good, in seconds, or null.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from queue import Empty, SimpleQueue
from subprocess import PIPE, Popen
from typing import Any
from urllib.parse import urlsplit

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from bench.processes import outside

STATION = "S64"
"""What is stopped; its cycler takes no part in the trips."""
BETWEEN_S = 0.05
GIVE_UP_S = 5.0
VALID_S = 20.0


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop, until its answer.

    Attributes:
        name: the command's id.
        sent_utc_s: when it was sent.
        took_s: until it was answered for good; None when it was not.
    """

    name: str
    sent_utc_s: float
    took_s: float | None


class Stopper:
    """Sends stops, one after the other."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._replies: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._heard
        self._client.connect(parts.hostname or "", parts.port or 1883)
        self._client.subscribe("daq/bench/reply/bench/+", qos=1)
        self._client.loop_start()

    def _heard(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self._replies.put(json.loads(message.payload))

    def stop(self, name: str) -> Stop:
        """Send one, and wait until it is done.

        Raises:
            ValueError: it was refused, which is another matter than a slow answer.
        """
        began, now_s = time.monotonic(), time.time()
        command = {"id": name, "client": "bench", "station": STATION}
        command |= {"issued": now_s, "expires": now_s + VALID_S}
        self._client.publish("daq/bench/cmd/stop", json.dumps(command), qos=1)
        while (left := began + GIVE_UP_S - time.monotonic()) > 0:
            try:
                reply = self._replies.get(timeout=left)
            except Empty:
                break
            if reply["id"] == name and reply["state"] == "refused":
                raise ValueError(f"a stop was refused: {reply['reason']}")
            if reply["id"] == name and reply["state"] == "done":
                return Stop(name, now_s, time.monotonic() - began)
        return Stop(name, now_s, None)


def main(url: str) -> None:
    """See the module's docstring."""
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    stopper, stops = Stopper(url), list[Stop]()
    while not over.wait(BETWEEN_S):
        stops.append(stopper.stop(f"stop-{os.getpid()}-{len(stops)}"))
    print(json.dumps([asdict(stop) for stop in stops]), flush=True)


@contextmanager
def stopping(url: str) -> Iterator[list[Stop]]:
    """Stop for the length of a `with`, from what counts as another computer.

    The list is filled when it is left.
    """
    stops: list[Stop] = []
    command = [sys.executable, "-m", "bench.stops", url]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True, start_new_session=True) as process:
        outside(process.pid)
        try:
            yield stops
        finally:
            stops += (Stop(**stop) for stop in json.loads(process.communicate()[0]))


if __name__ == "__main__":
    main(sys.argv[1])
