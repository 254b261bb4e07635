"""What the gateway's tests are made of: brokers, an ear on MQTT, a fake control, the process."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from math import nan
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from daq.gateway.broker import find_mosquitto
from daq.journal import Journal, Kept
from daq.model import Event, Record
from simulators.line import Line

LAB = "bench-3"
PATIENCE_S = 30.0  # nothing here takes a second; the machine may be busy


def wait_until(condition, what, timeout_s=PATIENCE_S):
    """Poll; the first true value of the condition."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {timeout_s:g} s: {what() if callable(what) else what}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def require(kind):
    """Skip what cannot be tested here; in CI everything must be there."""
    if kind == "mosquitto" and not find_mosquitto():
        if os.environ.get("CI") == "true":
            pytest.fail("mosquitto is not installed, and in CI it must be")
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")


class BrokerProcess:
    """A real broker on loopback that forgets everything when it is killed."""

    def __init__(self, kind, folder):
        self.port = free_port()
        self._config = folder / "broker.conf"
        self.configure("allow_anonymous true")
        self._command = {
            "mosquitto": [find_mosquitto(), "-c", str(self._config)],
            "embedded": [sys.executable, "-m", "daq.gateway.embedded", str(self.port)],
        }[kind]
        self._process = None
        self.start()

    @property
    def url(self):
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self._process.pid

    def configure(self, *words):
        """What else mosquitto is told, from its next start on."""
        # As root it would become somebody who may not read the files of a test.
        own = (f"listener {self.port} 127.0.0.1", "log_type none", "max_queued_messages 0")
        self._config.write_text("\n".join((*own, "user root", *words)) + "\n")

    def start(self):
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        wait_until(lambda: listens(self.port), "the broker listens")

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()


class Ear:
    """Hears everything of the lab; `heard` is (topic below the lab, retained, message)."""

    def __init__(self, port, lab=LAB):
        self.heard = []
        self.slow_s = 0.0  # what it needs for each message
        self._lab = lab
        self._subscribed = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda c, *_: c.subscribe("daq/#", 1)
        self._client.on_disconnect = lambda *_: self._subscribed.clear()
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._hear
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.wait_subscribed()

    def wait_subscribed(self):
        assert self._subscribed.wait(PATIENCE_S)

    def _hear(self, client, userdata, message):
        time.sleep(self.slow_s)
        topic = message.topic.removeprefix(f"daq/{self._lab}/")
        text = message.payload
        if not topic.startswith("cmd/"):
            self.heard.append((topic, message.retain, json.loads(text)))

    def on(self, topic):
        return [message for where, _, message in list(self.heard) if where == topic]

    def wait_for(self, topic, condition=lambda _: True):
        found = wait_until(lambda: [m for m in self.on(topic) if condition(m)], topic)
        return found[0]

    def publish(self, topic, payload, retain=False):
        text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        info = self._client.publish(f"daq/{self._lab}/{topic}", text, qos=1, retain=retain)
        info.wait_for_publish(PATIENCE_S)

    def command(self, verb, **changes):
        """Send a command; its id."""
        now = time.time()
        basic = {"id": uuid.uuid4().hex, "client": "ana", "station": "A1"}
        message = basic | {"issued": now, "expires": now + 30} | changes
        retain = message.pop("retain", False)
        self.publish(f"cmd/{verb}", message, retain)
        return message["id"]

    def replies(self, command_id):
        return self.on(f"reply/ana/{command_id}")

    def final_reply(self, command_id):
        return self.wait_for(f"reply/ana/{command_id}", lambda m: m["state"] != "accepted")

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


class FakeControl:
    """Speaks the lines of the control socket; answers `done` unless told to hold a verb."""

    def __init__(self, data):
        self.requests = []
        self.reports = []  # what the gateway itself had to say
        self.reported = []
        self.held = set()
        self.data = {"start": {"run": "run-9"}, "stop": {"stopped": ["A1"]}}
        self._answers = {}
        self._waiting = []  # (writer, request) of held verbs
        self._path = data / "control.sock"
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)

    def _run(self):
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self):
        self._stop = asyncio.Event()
        async with await asyncio.start_unix_server(self._answer, self._path):
            self._ready.set()
            await self._stop.wait()

    async def _answer(self, reader, writer):
        while line := await reader.readline():
            request = json.loads(line)
            if request.get("verb") == "report":
                self.reports.append(request["arguments"])
                self._write(writer, request)
                continue
            if "refused" in request:
                self.reported.append(request["refused"])
                writer.write(b'{"id": "", "state": "done", "reason": "", "data": {}}\n')
                continue
            request = _inside(request)
            self.requests.append(request)
            if request["verb"] in self.held:
                self._waiting.append((writer, request))
            else:
                self._write(writer, request)
        writer.close()

    def _write(self, writer, request):
        writer.write(json.dumps(self._reply(request)).encode() + b"\n")

    def release(self):
        """Answer what was held."""
        self.held = set()
        waiting, self._waiting = self._waiting, []
        for writer, request in waiting:
            self._loop.call_soon_threadsafe(self._write, writer, request)

    def _reply(self, request):
        # As control does: the same id again gets the stored answer.
        data = {**self.data.get(request["verb"], {}), "served": len(self.requests)}
        answer = {"id": request["id"], "state": "done", "reason": "", "data": data}
        return self._answers.setdefault(request["id"], answer)

    def verbs(self):
        return [request["verb"] for request in list(self.requests)]

    def close(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


def _inside(forwarded):
    """The command in what the gateway forwards; nobody's signature is looked at."""
    document = json.loads(forwarded["payload"])
    if "signed" in document:
        document = json.loads(document["signed"])
    envelope = ("id", "client", "station", "issued", "expires")
    arguments = {key: value for key, value in document.items() if key not in envelope}
    rest = {key: document.get(key, "") for key in envelope}
    return {"verb": forwarded["verb"], **rest, "arguments": arguments}


class GatewayProcess:
    """`python -m daq.gateway` as control would start it."""

    def __init__(self, data, *words):
        self._command = [sys.executable, "-m", "daq.gateway", "--lab", LAB, "--data", str(data)]
        self._command += words
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(self._command, stdin=subprocess.PIPE)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def end(self):
        """Close its standard input, as the end of control does; its exit code."""
        self.process.stdin.close()
        return self.process.wait(PATIENCE_S)

    def suspend(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)


class Bench:
    """A journal that a test writes, and everything that listens to it.

    With `through_line` the gateway has a line of its own to the broker, that can be cut; what
    listens has not, and so hears everything that reaches the broker.
    """

    def __init__(self, data, kind, *, through_line=False):
        self.data = data
        self.journal = Journal(data / "journal.sqlite", group_s=0.02)
        self.broker = BrokerProcess(kind, data)
        self.control = FakeControl(data)
        self.ear = Ear(self.broker.port)
        self.line = Line(self.broker.port) if through_line else None
        port = self.line.port if self.line else self.broker.port
        self.gateway = GatewayProcess(data, "--broker", f"mqtt://127.0.0.1:{port}")
        self.count = 0
        self.heard_before = set()

    def online(self, session=0):
        """Wait for a birth with a session above the given one, and for all gaps to be filled."""
        return self.ear.wait_for(
            "status", lambda m: m["online"] and m["session"] > session and not m["backlog"]
        )

    def record(self, count=1, station="A1", run="run-1"):
        """Append records and wait until they are on disk."""
        for number in range(count):
            self.count += 1
            self.journal.append(a_record(self.count, station, run))
            if number % 1000 == 999:  # the journal drops what comes faster than it can write
                assert self.journal.sync().wait(PATIENCE_S)
        assert self.journal.sync().wait(PATIENCE_S)

    def happen(self, kind, station="A1", run="run-1", **data):
        """Append an event and wait until it is on disk."""
        self.journal.append(Event(kind, time.time(), station, run, data=data))
        assert self.journal.sync().wait(PATIENCE_S)

    def keep_state(self, station="A1", **changes):
        """Say what the station does now."""
        document = {"station": station, "mode": "running", "voltage_V": nan} | changes
        self.journal.keep(Kept.STATE, station, document)
        assert self.journal.sync().wait(PATIENCE_S)

    def forget(self):
        """Begin a new test with nothing heard and nothing asked."""
        self.heard_before |= heard_numbers(self.ear)
        self.ear.heard.clear()
        self.control.requests.clear()

    def restart_broker(self):
        """Bring the broker back, and let the ear be there before the gateway publishes."""
        self.gateway.suspend()
        self.broker.start()
        self.ear.wait_subscribed()
        self.gateway.resume()

    def wait_complete(self):
        """Wait until every entry of the journal has been heard."""
        wanted = set(range(1, self.journal.committed + 1)) - self.heard_before
        wait_until(lambda: heard_numbers(self.ear) >= wanted, "every entry heard")

    def close(self):
        self.ear.close()
        self.gateway.kill()
        if self.line:
            self.line.close()
        self.broker.kill()
        self.control.close()
        self.journal.close()


def a_record(number, station="A1", run="run-1"):
    """A record whose values tell which one it is."""
    return Record(
        station=station, run=run, test_time_s=float(number), step_time_s=0.0, utc_s=1e9 + number,
        voltage_V=3.0 + number / 1e6, current_A=1.0, temperature_degC=25.0, chamber_degC=nan,
        cycle=1, step=1, step_count=1, step_record=number, charge_Ah=0.0, discharge_Ah=0.0,
        charge_Wh=0.0, discharge_Wh=0.0,
    )  # fmt: skip


def rows(messages):
    """Rows of batches as dicts, in the order heard."""
    return [
        dict(zip(message["columns"], row, strict=True))
        for message in messages
        for row in message.get("rows", [])
    ]


def heard_rows(ear, what):
    """Rows heard on `samples` or `history` of any station, in the order heard."""
    return rows([m for topic, _, m in list(ear.heard) if topic.endswith(f"/{what}")])


def heard_numbers(ear):
    """Sequence numbers of everything heard, live or back-filled."""
    found = {row["seq"] for what in ("samples", "history") for row in heard_rows(ear, what)}
    for topic, _, message in list(ear.heard):
        if topic.endswith("events"):
            found.add(message["seq"])
        elif topic.endswith("history") and message["kind"] == "event":
            found.add(message["event"]["seq"])
    return found


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{pid}/stat").exists() or _state(pid) != "Z"


def _state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
