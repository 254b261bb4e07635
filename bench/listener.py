"""An MQTT client in a process of its own, as a lab's data collector is: counts rows of samples.

    python -m bench.listener mqtt://127.0.0.1:1883

Counts until its standard input ends, then prints the number of rows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen
from urllib.parse import urlsplit

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

TOPIC = "daq/bench/+/samples"


def main(url: str) -> None:
    """See the module's docstring."""
    rows = 0
    parts = urlsplit(url)
    client = mqtt.Client(CallbackAPIVersion.VERSION2)

    def count(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        nonlocal rows
        rows += len(json.loads(message.payload)["rows"])

    def subscribed(*_: object) -> None:
        print("listening", flush=True)

    client.on_message = count
    client.on_subscribe = subscribed
    client.connect(parts.hostname or "", parts.port or 1883)
    client.subscribe(TOPIC, qos=1)
    client.loop_start()
    sys.stdin.read()
    client.loop_stop()
    print(rows, flush=True)


class Listener:
    """The process, seen from the bench.

    Attributes:
        rows: how many rows of samples arrived; known at the end.
    """

    def __init__(self, process: Popen[str]) -> None:
        self.process = process
        self.rows = 0


@contextmanager
def listening(url: str) -> Iterator[Listener]:
    """Listen for the length of a `with`."""
    command = [sys.executable, "-m", "bench.listener", url]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        listener = Listener(process)
        try:
            yield listener
        finally:
            listener.rows = int(process.communicate()[0] or 0)


if __name__ == "__main__":
    main(sys.argv[1])
