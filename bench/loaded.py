"""(e) The same 64 channels while others take the processors, the disk and the broker.

Four processes that only count, one that waits for its writes on the disk of the journal, and ten
thousand commands a second at the broker. Trips are provoked as in (a), and again and again a
`stop` is sent over MQTT by a client that nobody knows, and timed.

The daemon runs with the niceness of its service, and the simulator before everybody: it stands for
boxes that have processors of their own. Neither happens where that is not permitted.
"""

from __future__ import annotations

import json
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from bench.daemon import Daemon, running_daemon
from bench.everything import CHANNELS, SETTLE_S, TRIPS_A_SECOND, reactions
from bench.load import hard_life
from bench.processes import outside
from bench.trips import Provoker
from bench.window import Figures, spread, watch

STOPPED = "S64"
"""The station that the timed commands are about; its cycler takes no part in the trips."""
AS_THE_SERVICE = -10
"""How nice docs/examples/battery-daq.service lets the daemon be."""
BETWEEN_S = 0.05
GIVE_UP_S = 5.0
VALID_S = 20.0


def run(seconds: float, channels: int = CHANNELS) -> Figures:
    """Run for so long."""
    with running_daemon(channels, niceness=AS_THE_SERVICE) as daemon:
        daemon.start_all()
        outside(daemon.bench.process.pid)
        time.sleep(SETTLE_S)
        provoker = Provoker(daemon, TRIPS_A_SECOND, cyclers=daemon.cyclers[:-1])
        stops: list[float] = []
        with hard_life(daemon.folder, daemon.broker()), _stopping(daemon, stops):
            window = watch(daemon, lambda: provoker.run(seconds))
        daemon.call("stop", "*")
    return {
        **reactions(provoker.trips),
        "stop_ms": spread([1000 * took_s for took_s in stops], 50, 99, 99.9),
        "stops": len(stops),
        "stops_lost": sum(took_s >= GIVE_UP_S for took_s in stops),
        **window.figures(),
    }


class _stopping:  # noqa: N801 - used like a function
    """Sends a stop again and again, and notes how long each took to be done."""

    def __init__(self, daemon: Daemon, took_s: list[float]) -> None:
        self._url = daemon.broker()
        self._took_s = took_s
        self._replies: SimpleQueue[str] = SimpleQueue()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        parts = urlsplit(self._url)
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.on_message = self._heard
        client.connect(parts.hostname or "", parts.port or 1883)
        client.subscribe("daq/bench/reply/bench/+", qos=1)
        client.loop_start()
        number = 0
        while not self._ended.wait(BETWEEN_S):
            number += 1
            self._took_s.append(self._stop(client, f"stop-{number}"))
        client.loop_stop()

    def _heard(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        reply = json.loads(message.payload)
        if reply["state"] != "accepted":
            self._replies.put(reply["id"])

    def _stop(self, client: mqtt.Client, name: str) -> float:
        began = time.monotonic()
        now_s = time.time()
        command = {"id": name, "client": "bench", "station": STOPPED}
        command |= {"issued": now_s, "expires": now_s + VALID_S}
        client.publish("daq/bench/cmd/stop", json.dumps(command), qos=1)
        while (left := began + GIVE_UP_S - time.monotonic()) > 0:
            try:
                if self._replies.get(timeout=left) == name:
                    break
            except Empty:
                break
        return time.monotonic() - began
