"""A mosquitto as `daq broker-acl` configures it: TLS, client certificates, who may publish what."""

from __future__ import annotations

import getpass
import json
import shutil
import ssl
import subprocess
import threading
import time

import paho.mqtt.client as mqtt
import pytest

from daq.access.keys import new_key, save_keys
from daq.access.seal import seal
from daq.cli import run
from daq.gateway.broker import find_mosquitto
from daq.journal import Journal
from daq.model import Role
from tests.certificates import make_authority, make_certificate
from tests.system.daemon import write_lab
from tests.system.gateway_bench import (
    PATIENCE_S,
    FakeControl,
    GatewayProcess,
    free_port,
    listens,
    require,
    wait_until,
)

LAB = "bench-3"
NOT_AUTHORIZED = 0x87
CLIENTS = {"viewer-1": Role.VIEWER, "operator-1": Role.OPERATOR, "admin-1": Role.ADMIN}
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


class Lab:
    """A lab file that names a broker on TLS, keys, certificates, and the broker itself."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.keys = {name: new_key(name, role) for name, role in CLIENTS.items()}
        save_keys(folder / "keys.yaml", self.keys)
        make_authority(folder)
        for name in ("server", f"daq-{LAB}", *CLIENTS, "stranger"):
            make_certificate(folder, name)
        lab = write_lab(folder, self._document())
        words = ["broker-acl", str(lab), "--folder", str(folder), "--port", str(self.port)]
        assert run([*words, "--out", str(folder)]) == 0
        with (folder / "mosquitto.conf").open("a") as file:
            file.write(f"user {getpass.getuser()}\n")  # it would give up root and see no file
        self.process = subprocess.Popen([find_mosquitto(), "-c", str(folder / "mosquitto.conf")])
        wait_until(lambda: listens(self.port), "the broker listens")

    def _document(self):
        limits = {"voltage": ["2 V", "4 V"], "current": ["-1 A", "1 A"]}
        return {
            "lab": LAB,
            "mqtt": {
                "broker": f"mqtts://127.0.0.1:{self.port}",
                "ca_file": "ca.pem",
                "cert_file": f"daq-{LAB}.pem",
                "key_file": f"daq-{LAB}.key",
            },
            "access": {"keys_file": "keys.yaml"},
            "instruments": {
                "aps": {"driver": "keysight_aps", "resource": "TCPIP::127.0.0.1::1::SOCKET"}
            },
            "stations": {
                "A1": {"cycler": "aps", "limits": limits | {"temperature": ["0 degC", "60 degC"]}}
            },
        }

    def client(self, name):
        return Client(self, name)


class Client:
    """A client with a certificate, over MQTT 5, which says when a publish is not allowed."""

    def __init__(self, lab, name):
        self.heard, self._codes, self._acked = [], {}, threading.Event()
        self.mqtt = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5, client_id=f"{name}-5"
        )
        context = ssl.create_default_context(cafile=lab.folder / "ca.pem")
        context.load_cert_chain(lab.folder / f"{name}.pem", lab.folder / f"{name}.key")
        self.mqtt.tls_set_context(context)
        self.mqtt.on_publish = self._published
        self.mqtt.on_message = lambda *args: self.heard.append((args[2].topic, args[2].payload))
        self.mqtt.connect("127.0.0.1", lab.port)
        self.mqtt.subscribe("daq/#", 1)
        self.mqtt.loop_start()

    def _published(self, _client, _userdata, mid, code, _properties):
        self._codes[mid] = code.value

    def may_publish(self, topic, payload=b"{}"):
        mid = self.mqtt.publish(f"daq/{LAB}/{topic}", payload, qos=1).mid
        wait_until(lambda: mid in self._codes, "the broker has answered")
        return self._codes[mid] != NOT_AUTHORIZED

    def close(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    require("mosquitto")
    made = Lab(tmp_path_factory.mktemp("acl"))
    yield made
    made.process.terminate()
    made.process.wait(PATIENCE_S)


@pytest.mark.fault("F76")
@pytest.mark.parametrize(
    ("name", "may", "may_not"),
    [
        ("viewer-1", ["cmd/stop", "cmd/pause", "cmd/status"], ["cmd/start", "cmd/forget"]),
        ("operator-1", ["cmd/start", "cmd/clear", "cmd/stop"], ["cmd/forget"]),
        ("admin-1", ["cmd/start", "cmd/forget"], ["cmd/anything"]),
        ("stranger", [], ["cmd/stop", "cmd/start"]),
        (f"daq-{LAB}", ["A1/state", "A1/samples", "events", "reply/x/1"], ["cmd/start"]),
    ],
)
def test_each_client_may_publish_what_its_role_may_command_and_nothing_else(
    lab, name, may, may_not
):
    client = lab.client(name)
    foreign = [] if name.startswith("daq-") else ["status", "A1/state", "events", "reply/x/1"]
    assert [topic for topic in may if not client.may_publish(topic)] == []
    assert [topic for topic in [*may_not, *foreign] if client.may_publish(topic)] == []
    client.close()


def test_nobody_hears_the_replies_or_the_commands_of_another(lab):
    viewer, daemon = lab.client("viewer-1"), lab.client(f"daq-{LAB}")
    time.sleep(0.5)
    assert daemon.may_publish("reply/operator-1/1")
    assert daemon.may_publish("reply/viewer-1/1")
    wait_until(lambda: viewer.heard, "its own reply")
    assert {topic for topic, _ in viewer.heard} == {f"daq/{LAB}/reply/viewer-1/1"}
    viewer.close()
    daemon.close()


@pytest.mark.parametrize("how", ["no certificate", "no TLS"])
def test_who_shows_no_certificate_does_not_even_get_a_connection(lab, how):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    if how == "no certificate":
        client.tls_set_context(ssl.create_default_context(cafile=lab.folder / "ca.pem"))
    codes = []
    client.on_connect = lambda *args: codes.append(args[3])
    try:
        client.connect("127.0.0.1", lab.port)
        client.loop_start()
        time.sleep(1.0)
    except OSError:
        pass
    assert codes == []
    client.loop_stop()


@pytest.mark.fault("F76")
def test_the_gateway_logs_in_and_a_signed_command_comes_through(lab, tmp_path):
    journal, control = Journal(tmp_path / "journal.sqlite"), FakeControl(tmp_path)
    words = ["--ca-file", "ca.pem", "--cert-file", f"daq-{LAB}.pem", "--key-file", f"daq-{LAB}.key"]
    files = [str(lab.folder / word) if "." in word else word for word in words]
    gateway = GatewayProcess(tmp_path, "--broker", f"mqtts://127.0.0.1:{lab.port}", *files)
    client = lab.client("operator-1")
    key, now = lab.keys["operator-1"], time.time()
    message = {"id": "c1", "client": "operator-1", "station": "A1"}
    topic = f"daq/{LAB}/cmd/resume"
    payload = seal("operator-1", key.secret, topic, message | {"issued": now, "expires": now + 20})

    def answered():
        client.may_publish("cmd/resume", payload)
        time.sleep(0.2)
        return [json.loads(p) for t, p in client.heard if t.endswith("/c1")]

    replies = wait_until(answered, "an answer")
    assert replies[0]["state"] == "accepted"
    assert set(control.verbs()) == {"resume"}
    client.close()
    gateway.kill()
    control.close()
    journal.close()
