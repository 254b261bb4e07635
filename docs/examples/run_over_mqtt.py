"""Start a run over MQTT, follow it, wait for its end; Ctrl-C stops it.

    python run_over_mqtt.py mqtt://127.0.0.1:1883 demo A1 formation.yaml CELL-001 --key script-1.key
    python run_over_mqtt.py mqtt://127.0.0.1:1883 demo A1 --stop

Needs only `pip install "paho-mqtt>=2"`, and a key to start anything: `daq key add script-1 --role
operator` writes it. Exit code: 0 the run completed (or was stopped, with
--stop), 1 it ended in another way, 2 the daemon refused, 3 nobody answered.
"""

import argparse
import contextlib
import hashlib
import hmac
import json
import os
import queue
import sys
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt

ANSWER_S = 30.0


class RefusedError(Exception):
    """The daemon will not do it, and says why."""


class Station:
    """One station of a lab, over MQTT."""

    def __init__(self, url, lab, station, key=None, username=None, password=None, ca_file=None):
        self.lab, self.station = lab, station
        self.client, self.secret = key or (f"script-{os.getpid()}", None)
        self.received = queue.Queue()  # (topic, message), put there by paho's thread
        self.outcomes = {}  # run -> how it ended
        self.mqtt = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self.mqtt.on_connect = self._on_connect
        self.mqtt.on_subscribe = lambda *_: self.received.put(("subscribed", {}))
        self.mqtt.on_message = self._on_message
        if username:
            self.mqtt.username_pw_set(username, password)
        address = urlsplit(url)
        port = address.port or 1883
        if address.scheme == "mqtts":
            self.mqtt.tls_set(ca_file)
            port = address.port or 8883
        self.mqtt.connect(address.hostname, port, keepalive=20)
        self.mqtt.loop_start()  # reconnects by itself
        self._wait_for("subscribed")

    def _on_connect(self, client, userdata, flags, reason, properties):
        # At every connect: the broker may have been restarted and know nothing of us.
        topic = f"daq/{self.lab}/{self.station}"
        wanted = [f"{topic}/state", f"{topic}/events", f"{topic}/history"]
        wanted.append(f"daq/{self.lab}/reply/{self.client}/+")
        client.subscribe([(name, 1) for name in wanted])

    def _on_message(self, client, userdata, message):
        self.received.put((message.topic, json.loads(message.payload)))

    def command(self, verb, **arguments):
        """Send a command and wait for its last reply; the reply's data."""
        now = time.time()
        command_id = uuid.uuid4().hex  # the same id again would not be carried out twice
        message = {
            "id": command_id,
            "client": self.client,
            "station": self.station,
            "issued": now,
            "expires": now + ANSWER_S,
            **arguments,
        }
        topic = f"daq/{self.lab}/cmd/{verb}"
        self.mqtt.publish(topic, self._signed(topic, json.dumps(message)), qos=1)
        while True:
            reply = self._wait_for(f"daq/{self.lab}/reply/{self.client}/{command_id}")
            if reply["state"] == "refused":
                raise RefusedError(reply["reason"])
            if reply["state"] == "done":
                return reply["data"]

    def _signed(self, topic, text):
        """What is published: the command, and the proof that it is ours."""
        if self.secret is None:
            return text
        signature = hmac.new(self.secret, f"{topic}\n{text}".encode(), hashlib.sha256).hexdigest()
        return json.dumps({"client": self.client, "signed": text, "signature": signature})

    def wait_for_end(self, run, show):
        """Follow a run; how it ended. `show` gets every state of it."""
        running, patience = False, time.monotonic() + ANSWER_S
        while run not in self.outcomes:
            try:
                topic, message = self._take(ANSWER_S)
            except queue.Empty:
                continue  # a long rest, or the broker is away: it will be back
            if not topic.endswith("/state"):
                continue
            if message.get("run") == run:
                running = True
                show(message)
            elif running or time.monotonic() > patience:
                # Over; if the event was lost with a connection, the journal knows the outcome.
                return self._late_outcome(run)
        return self.outcomes[run]

    def _late_outcome(self, run):
        deadline = time.monotonic() + 5.0
        while run not in self.outcomes and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                self._take(0.5)
        return self.outcomes.get(run, "ended")

    def _take(self, timeout_s):
        topic, message = self.received.get(timeout=timeout_s)
        event = message.get("event") if topic.endswith("/history") else message
        if event and event.get("kind") == "run_ended":  # live, or back-filled after an outage
            self.outcomes[event["run"]] = event["data"]["outcome"]
        return topic, message

    def _wait_for(self, wanted):
        deadline = time.monotonic() + ANSWER_S
        while True:
            try:
                topic, message = self._take(max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"nothing came on {wanted}") from None
            if topic == wanted:
                return message

    def close(self):
        """Leave the broker."""
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


def read_key(path):
    """A client's name and secret, from its file."""
    name, secret = path.read_text().split()
    return name, bytes.fromhex(secret)


def show(state):
    """One line of progress."""
    voltage, current = state.get("voltage_V"), state.get("current_A")
    values = f"{voltage:.4f} V {current:+.3f} A" if None not in (voltage, current) else ""
    print(
        f"{state['mode']:8} step {state.get('step')} {state.get('step_kind')} {values}", flush=True
    )


def run_protocol(station, protocol, cell):
    """Start a run, wait for its end, stop it on Ctrl-C; how it ended."""
    path = Path(protocol)
    run = station.command("start", cell=cell, text=path.read_text(), name=path.name)["run"]
    print(f"started {run}", flush=True)
    try:
        return station.wait_for_end(run, show)
    except KeyboardInterrupt:
        station.command("stop", reason="Ctrl-C")
        return station.wait_for_end(run, show)


def main():
    """Entry point; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("broker", help="mqtt://host:1883 or mqtts://host:8883")
    parser.add_argument("lab")
    parser.add_argument("station")
    parser.add_argument("protocol", nargs="?", help="file")
    parser.add_argument("cell", nargs="?", help="id of the cell")
    parser.add_argument("--stop", action="store_true", help="only stop what runs there")
    parser.add_argument("--key", type=Path, help="our key, as `daq key add` wrote it")
    parser.add_argument("--ca-file", help="who signed the broker's certificate")
    parser.add_argument("--username")
    parser.add_argument("--password-file", type=Path)
    options = parser.parse_args()
    if not options.stop and not options.cell:
        parser.error("a protocol and a cell are needed, or --stop")
    password = options.password_file.read_text().strip() if options.password_file else None
    key = read_key(options.key) if options.key else None
    login = (options.username, password, options.ca_file)
    try:
        station = Station(options.broker, options.lab, options.station, key, *login)
    except (OSError, TimeoutError) as error:
        print(f"no broker at {options.broker}: {error}", file=sys.stderr)
        return 3
    try:
        if options.stop:
            print("stopped", station.command("stop", reason="asked by a script")["stopped"])
            return 0
        outcome = run_protocol(station, options.protocol, options.cell)
        print(outcome)
        return 0 if outcome == "completed" else 1
    except RefusedError as refusal:
        print(f"refused: {refusal}", file=sys.stderr)
        return 2
    except TimeoutError as error:
        print(error, file=sys.stderr)
        return 3
    finally:
        station.close()


if __name__ == "__main__":
    sys.exit(main())
