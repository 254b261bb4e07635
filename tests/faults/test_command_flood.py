"""Thousands of commands a second, huge topics and payloads, through mosquitto to a busy bench."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import paho.mqtt.client as mqtt
import psutil
import pytest

from daq.model import EventKind
from tests.system.daemon import CHARGE, on, running_daemon, wait_until
from tests.system.gateway_bench import require

FLOODER = Path(__file__).with_name("flooder.py")
RATE_HZ = 10_000.0
ORDER_S = 5.0  # a busy machine; the figures say what it was


class Stopper:
    """A client without a key that stops a station, and measures until it is done."""

    def __init__(self, port: int) -> None:
        self._done: dict[str, threading.Event] = {}
        self.replies: list[dict[str, object]] = []
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client.on_message = self._hear
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("daq/test/reply/ana/+", 1)
        self._client.loop_start()

    def _hear(self, _client, _userdata, message) -> None:
        reply = json.loads(message.payload)
        self.replies.append(reply)
        if reply["state"] == "done":
            self._done[reply["id"]].set()

    def stop(self, station: str) -> float:
        """Seconds from publishing to the reply that OFF is verified."""
        command = {"id": uuid.uuid4().hex, "client": "ana", "station": station}
        now = time.time()
        self._done[command["id"]] = threading.Event()
        began = time.monotonic()
        payload = json.dumps(command | {"issued": now, "expires": now + 20})
        self._client.publish("daq/test/cmd/stop", payload, qos=1)
        assert self._done[command["id"]].wait(30.0), self.replies[-3:]
        return time.monotonic() - began

    def ask(self, verb: str, station: str) -> dict[str, object] | None:
        """What is replied within two seconds, beside `accepted`."""
        command = {"id": uuid.uuid4().hex, "client": "ana", "station": station}
        now = time.time()
        self._done[command["id"]] = threading.Event()
        payload = json.dumps(command | {"issued": now, "expires": now + 20})
        self._client.publish(f"daq/test/cmd/{verb}", payload, qos=1)
        self._done[command["id"]].wait(2.0)
        answers = (reply for reply in self.replies if reply["id"] == command["id"])
        return next((reply for reply in answers if reply["state"] != "accepted"), None)

    def send(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, qos=0)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture(scope="module")
def charging(tmp_path_factory):
    require("mosquitto")
    folder = tmp_path_factory.mktemp("lab")
    with running_daemon(folder, stations=2, mqtt={"broker": "auto"}) as (bench, daemon):
        path = daemon.data / "broker.json"
        wait_until(lambda: path.exists() and json.loads(path.read_text())["pid"], "a broker")
        port = int(json.loads(path.read_text())["url"].rpartition(":")[2])
        daemon.run(CHARGE, "A1", "c1")
        daemon.energised("A1")
        stopper = Stopper(port)
        wait_until(lambda: stopper.stop("A2"), "the gateway listens")
        yield bench, daemon, port, stopper
        stopper.close()


def gateway_of(daemon) -> psutil.Process:
    return psutil.Process(daemon.children()["daq.gateway"])


@pytest.mark.fault("F79")
def test_huge_topics_and_payloads_are_refused_and_nothing_grows(charging, figure):
    bench, daemon, _, stopper = charging
    gateway = gateway_of(daemon)
    before = gateway.memory_info().rss
    for _ in range(20):
        stopper.send("daq/test/cmd/" + "x" * 60_000, b"{}")
        stopper.send("daq/test/cmd/start", b"[" * 500_000)
        stopper.send("daq/test/cmd/start", b'{"text": "' + b"x" * 5_000_000 + b'"}')
    assert stopper.stop("A2") < ORDER_S
    refused = wait_until(lambda: daemon.events(EventKind.REFUSED), "the refusals in the journal")
    assert all(len(json.dumps(dict(event.data))) < 1000 for event in refused)
    assert gateway.is_running()
    grown = (gateway.memory_info().rss - before) / 1e6
    figure("gateway's memory grown by 100 MB of rubbish", grown, "MB")
    assert grown < 60.0
    assert on(bench, "cell-1")


@pytest.mark.fault("F74")
def test_a_stop_is_honoured_under_a_flood_and_the_bench_does_not_notice(charging, seconds, figure):
    bench, daemon, port, stopper = charging
    gateway = gateway_of(daemon)
    before, lasts_s = gateway.memory_info().rss, seconds(8.0)
    missed = sum(bus["missed"] for bus in daemon.client.call("status").data["buses"].values())
    calm = [stopper.stop("A2") for _ in range(10)]
    words = [sys.executable, str(FLOODER), str(port), "test", str(lasts_s), str(RATE_HZ)]
    flood = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    took = []
    while flood.poll() is None:
        took.append(stopper.stop("A2"))
        time.sleep(0.1)
    offered = float(flood.communicate()[0])
    stopper.stop("A1")
    assert not on(bench, "cell-1")
    took.sort()
    figure("commands a second offered", offered, "1/s")
    figure("stops under the flood", len(took), "stops")
    figure("STOP to verified OFF and its reply, calm, median", sorted(calm)[5] * 1e3, "ms")
    figure("STOP to verified OFF and its reply, flooded, median", took[len(took) // 2] * 1e3, "ms")
    figure("STOP to verified OFF and its reply, flooded, slowest", took[-1] * 1e3, "ms")
    figure("gateway's memory grown", (gateway.memory_info().rss - before) / 1e6, "MB")
    assert took[-1] < ORDER_S
    assert gateway.memory_info().rss - before < 100e6
    refused = daemon.events(EventKind.REFUSED)
    figure("commands refused and counted", sum(e.data["count"] for e in refused), "commands")
    figure("entries of the audit log that took", len(refused), "entries")
    assert refused
    assert len(refused) < 200
    now = sum(bus["missed"] for bus in daemon.client.call("status").data["buses"].values())
    figure("ticks of the buses missed meanwhile", now - missed, "ticks")
    assert not list(daemon.data.glob("sentinel-*.jsonl"))
    assert not daemon.events(EventKind.TRIP)


@pytest.mark.fault("F74")
def test_a_stop_is_honoured_under_a_flood_of_pauses(charging, seconds, figure):
    _, _, port, stopper = charging
    words = [sys.executable, str(FLOODER), str(port), "test", str(seconds(6.0)), str(RATE_HZ)]
    flood = subprocess.Popen([*words, "pause"], stdout=subprocess.PIPE, text=True)
    took = []
    while flood.poll() is None:
        took.append(stopper.stop("A2"))
        time.sleep(0.1)
    offered = float(flood.communicate()[0])
    took.sort()
    figure("pauses a second offered", offered, "1/s")
    figure("stops under the flood", len(took), "stops")
    figure("STOP to its reply under a flood of pauses, median", took[len(took) // 2] * 1e3, "ms")
    figure("STOP to its reply under a flood of pauses, slowest", took[-1] * 1e3, "ms")
    assert took[-1] < ORDER_S
    wait_until(lambda: _is_paused(charging), "a pause is heard again once the flood is over")


def _is_paused(charging) -> bool:
    """Whether a pause of nobody in particular is answered."""
    _, _, _, stopper = charging
    return bool(stopper.ask("pause", "A2"))
