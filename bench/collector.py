"""An MQTT client that keeps account of every sequence number, as a careful data collector would."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion


class Collector:
    """Subscribes to everything of a lab, on a thread of its own.

    Attributes:
        rows: Rows and events that came on `history`.
        repeated: Entries that had come before.
        disordered: Entries of history that came after a later one of their station.
        unlinked: Messages whose `previous_seq` is not what came before.
        live: (this machine's monotonic clock, age in seconds) of each live batch.
    """

    def __init__(self, port: int, lab: str) -> None:
        self.rows = self.repeated = self.disordered = self.unlinked = 0
        self.live: deque[tuple[float, float]] = deque(maxlen=200_000)
        self.backlog: Any = None
        self.online = False
        self._seen = bytearray()
        self._last: dict[tuple[str, bool], int] = {}
        self._newest: dict[str, int] = {}
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(f"daq/{lab}/#", 1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._subscribed.wait(30.0)

    def close(self) -> None:
        """Leave the broker."""
        self._client.disconnect()
        self._client.loop_stop()

    def missing(self, last: int) -> int:
        """How many of the numbers 1 to `last` have not come."""
        return last - sum(self._seen[1 : last + 1])

    def _take(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        topic = message.topic
        if topic.endswith("/samples"):
            batch = json.loads(message.payload)
            self.live.append((time.monotonic(), time.time() - batch["rows"][-1][3]))
            self._batch(topic, batch)
        elif topic.endswith("/history"):
            document = json.loads(message.payload)
            if document["kind"] == "samples":
                self._batch(topic, document)
            else:
                self._event(topic, document["event"])
        elif topic.endswith("/events"):
            self._event(topic, json.loads(message.payload))
        elif topic.endswith("/status"):
            status = json.loads(message.payload)
            self.online, self.backlog = status["online"], status.get("backlog")

    def _batch(self, topic: str, batch: dict[str, Any]) -> None:
        self._link((topic, False), batch["previous_seq"], batch["rows"][-1][0])
        for row in batch["rows"]:
            self._mark(topic, row[0])

    def _event(self, topic: str, event: dict[str, Any]) -> None:
        self._link((topic, True), event["previous_seq"], event["seq"])
        self._mark(topic, event["seq"])

    def _link(self, chain: tuple[str, bool], previous: int | None, last: int) -> None:
        self.unlinked += previous is not None and previous != self._last.get(chain)
        self._last[chain] = last

    def _mark(self, topic: str, seq: int) -> None:
        if seq >= len(self._seen):
            self._seen.extend(bytes(max(1_000_000, seq - len(self._seen) + 1)))
        if self._seen[seq]:
            self.repeated += 1
        elif topic.endswith("/history"):
            self.disordered += seq < self._newest.get(topic, 0)
        self._seen[seq] = 1
        if topic.endswith("/history"):
            self.rows += 1
            self._newest[topic] = max(seq, self._newest.get(topic, 0))
