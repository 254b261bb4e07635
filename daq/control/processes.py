"""How the other three processes are started."""

from __future__ import annotations

import os

from daq.config import Lab, MqttConfig
from daq.control.children import Child


def sentinel(lab: Lab) -> Child:
    """The dead man's switch; watches this very process."""
    data = lab.data
    files = (str(data / "heartbeat"), str(data / "recipes.json"))
    return Child("sentinel", ["-m", "daq.sentinel", *files, str(os.getpid()), str(data)])


def others(lab: Lab) -> list[Child]:
    """The readers of the journal: the recorder, and the gateway unless the lab wants none."""
    return [_recorder(lab), *([_gateway(lab)] if lab.mqtt.broker != "none" else [])]


def _recorder(lab: Lab) -> Child:
    data = lab.data
    arguments = ["-m", "daq.recorder", "--journal", str(data / "journal.sqlite")]
    arguments += ["--out", str(data / "runs"), "--cursor", str(data / "recorder.cursor")]
    return Child("recorder", [*arguments, "--logs", str(data / "logs")], yields=True)


def _gateway(lab: Lab) -> Child:
    arguments = ["-m", "daq.gateway", "--lab", lab.name, "--data", str(lab.data)]
    arguments += ["--broker", _broker(lab.mqtt), "--client-id", lab.mqtt.client_id]
    return Child("gateway", [*arguments, *_credentials(lab.mqtt)])


def _broker(mqtt: MqttConfig) -> str:
    if mqtt.broker != "url":
        return mqtt.broker
    return f"{'mqtts' if mqtt.tls else 'mqtt'}://{mqtt.host}:{mqtt.port}"


def _credentials(mqtt: MqttConfig) -> list[str]:
    given = {
        "--username": mqtt.username,
        "--password-file": mqtt.password_file,
        "--ca-file": mqtt.ca_file,
        "--cert-file": mqtt.cert_file,
        "--key-file": mqtt.key_file,
    }
    return [word for option, value in given.items() if value for word in (option, str(value))]
