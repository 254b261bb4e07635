"""A subscriber that takes nothing any more, at the embedded broker: it may not hold up a stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import paho.mqtt.client as mqtt
import pytest

from tests.system.gateway_bench import free_port, wait_until

STOP = "daq/bench/cmd/stop"
DATA = "daq/bench/A1/samples"
PATIENCE_S = 3.0
SOON_S = 1.0
BROKER = f"from daq.gateway import embedded; embedded.PATIENCE_S = {PATIENCE_S}; embedded.main()"
DISPLAY = """
import sys, paho.mqtt.client as mqtt
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.on_connect = lambda client, *_: client.subscribe("daq/#", 1)
client.on_subscribe = lambda *_: print("subscribed", flush=True)
client.connect("127.0.0.1", int(sys.argv[1]))
client.loop_forever()
"""


@contextmanager
def running(*words):
    """A child process; its first line says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def port():
    with running("-c", BROKER, str(number := free_port())):
        yield number


@pytest.fixture
def client(port):
    """Makes clients with a thread each; they end with the test."""
    made = []

    def make(topic=None, heard=None):
        one = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        ready = threading.Event()
        one.on_connect = lambda *_: one.subscribe(topic, 1) if topic else ready.set()
        one.on_subscribe = lambda *_: ready.set()
        one.on_message = lambda *words: heard.append(words[-1].payload)
        one.connect("127.0.0.1", port)
        one.loop_start()
        made.append(one)
        assert ready.wait(30.0)
        return one

    yield make
    for one in made:
        one.disconnect()
        one.loop_stop()


@pytest.fixture
def hung(port):
    """A display that hears everything, until it is stopped."""
    with running("-c", DISPLAY, str(port)) as process:
        os.kill(process.pid, signal.SIGSTOP)
        yield process


def acknowledged(publisher, count, payload=b"x" * 20_000):
    """A list that grows with every one of so many messages that the broker has taken."""
    done = []
    publisher.on_publish = lambda *_: done.append(time.monotonic())
    for _ in range(count):
        publisher.publish(DATA, payload, 1)
    return done


def test_a_hung_display_holds_up_data_but_no_stop(client, hung):
    heard = []
    client(STOP, heard)
    operator = client()
    done = acknowledged(client(), 1000)
    wait_until(lambda: len(done) > 250, "the display has as much before it as it may")
    for number in range(5):
        sent_s = time.monotonic()
        operator.publish(STOP, b"%d" % number, 1)
        wait_until(lambda n=number: len(heard) > n, "the stop is heard")
        assert time.monotonic() - sent_s < SOON_S
        time.sleep(0.2)
    assert heard == [b"0", b"1", b"2", b"3", b"4"]
    assert len(done) < 1000  # the data do wait
    # And they go on, once nothing was taken for so long.
    wait_until(lambda: len(done) == 1000, "the display was sent away")


def test_a_flood_of_commands_sends_a_hung_display_away_and_loses_none(client, hung):
    heard = []
    client("daq/bench/cmd/+", heard)
    flood = client()
    for number in range(3000):
        flood.publish("daq/bench/cmd/status", b"%d" % number, 1)
    wait_until(lambda: len(heard) == 3000, lambda: f"{len(heard)} were heard")
    assert heard == [b"%d" % number for number in range(3000)]


def test_a_slow_display_is_waited_for_and_misses_nothing(client):
    heard = []

    class Slow(list):
        def append(self, payload):
            time.sleep(0.01)  # 300 messages take longer than anything is waited for at once
            heard.append(payload)

    client("daq/#", Slow())
    done = acknowledged(client(), 900, b"x")
    wait_until(lambda: len(heard) == 900, lambda: f"{len(heard)} were heard")
    assert len(done) == 900
