"""What makes a daemon's life hard: processes that take the processors, a slow disk, a flood.

    python -m bench.load hog
    python -m bench.load disk FOLDER
    python -m bench.load flood mqtt://127.0.0.1:1883 10000

Each works until its standard input ends; the flood then prints how many commands it has sent.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from urllib.parse import urlsplit

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

BLOCK = 8 << 20
BLOCKS = 16
TOPIC = "daq/bench/cmd/{verb}"
VERBS = ("status", "pause", "resume", "clear", "nonsense", "pause")
"""A third of the flood comes on the topic of what switches OFF, too."""
AT_ONCE_S = 0.01
HOGS = 4
FLOOD_HZ = 10_000.0


def hog(ended: threading.Event) -> None:
    """Take a processor."""
    while not ended.is_set():
        for _ in range(100_000):
            pass


def disk(ended: threading.Event, folder: Path) -> None:
    """Keep the disk of a folder busy: large blocks, each waited for."""
    block = os.urandom(BLOCK)
    path = folder / "busy"
    with path.open("wb") as file:
        while not ended.is_set():
            file.seek(BLOCK * (int(time.monotonic() * 10) % BLOCKS))
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
    path.unlink()


def flood(ended: threading.Event, url: str, rate_hz: float) -> int:
    """Unsigned commands, as fast as they are asked for; how many were sent."""
    parts, sent = urlsplit(url), 0
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.max_queued_messages_set(100_000)
    client.connect(parts.hostname or "", parts.port or 1883)
    client.loop_start()
    began = time.monotonic()
    while not ended.wait(AT_ONCE_S):
        due = int((time.monotonic() - began) * rate_hz)
        while sent < due:
            sent += 1
            command = {"id": f"flood-{sent}", "client": "flood", "station": "S1"}
            topic = TOPIC.format(verb=VERBS[sent % len(VERBS)])
            client.publish(topic, json.dumps(command), qos=0)
    client.loop_stop()
    return sent


@contextmanager
def hard_life(folder: Path, url: str) -> Iterator[None]:
    """All of it at once, each in a process of its own, for the length of a `with`."""
    with _working(*[["hog"]] * HOGS, ["disk", str(folder)], ["flood", url, str(FLOOD_HZ)]):
        yield


@contextmanager
def flooded(url: str) -> Iterator[None]:
    """The flood alone, for the length of a `with`."""
    with _working(["flood", url, str(FLOOD_HZ)]):
        yield


@contextmanager
def _working(*works: list[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for words in works:
            command = [sys.executable, "-m", "bench.load", *words]
            process = stack.enter_context(Popen(command, stdin=PIPE, stdout=PIPE, text=True))
            stack.callback(process.communicate)
        yield


def main(words: list[str]) -> None:
    """See the module's docstring."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    if words[0] == "hog":
        hog(ended)
    elif words[0] == "disk":
        disk(ended, Path(words[1]))
    else:
        print(flood(ended, words[1], float(words[2])))


if __name__ == "__main__":
    main(sys.argv[1:])
