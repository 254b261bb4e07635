"""Commands over MQTT, for `--broker URL`: the same verbs, from another machine.

| variable | what |
|---|---|
| `DAQ_KEY_FILE` | the client's key, as `daq key add` wrote it; without it commands are not signed |
| `DAQ_CA_FILE` | who signed the broker's certificate, if the system does not know |
| `DAQ_CERT_FILE`, `DAQ_CERT_KEY_FILE` | client certificate, where the broker asks for one |
"""

from __future__ import annotations

import json
import os
import ssl
import threading
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from daq.access.keys import Key, load_client_key
from daq.access.seal import seal
from daq.cli.output import Silent
from daq.errors import InputError
from daq.model import Command, Reply

_FINAL = frozenset({"done", "refused"})
_VALID_S = 30.0


def send(url: str, lab: str, command: Command, timeout_s: float = 15.0) -> Reply:
    """Publish one command and wait for its final reply.

    Args:
        url: `mqtt://[user:password@]host[:port]` or `mqtts://...`.
        lab: name of the lab.
        command: what to do.
        timeout_s: longest wait.

    Raises:
        Silent: no broker, or no daemon behind it, answers.
        InputError: not a broker URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise InputError(f"{url!r} is not a broker", remedy="write mqtt://host:1883")
    key = (
        load_client_key(Path(os.environ["DAQ_KEY_FILE"])) if "DAQ_KEY_FILE" in os.environ else None
    )
    if key:
        command = replace(command, client=key.client)
    client = paho.Client(CallbackAPIVersion.VERSION2)
    if parts.username:
        client.username_pw_set(parts.username, parts.password)
    if parts.scheme == "mqtts":
        client.tls_set_context(_tls())  # pyright: ignore[reportUnknownMemberType]
    exchange = _Exchange(client, lab, command, key)
    port = parts.port or (8883 if parts.scheme == "mqtts" else 1883)
    try:
        client.connect(parts.hostname, port)
    except OSError as error:
        raise Silent(f"no broker answers at {parts.hostname}:{port}: {error}") from error
    client.loop_start()
    try:
        return exchange.wait(timeout_s)
    finally:
        client.disconnect()
        client.loop_stop()


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=os.environ.get("DAQ_CA_FILE"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate := os.environ.get("DAQ_CERT_FILE"):
        context.load_cert_chain(certificate, os.environ.get("DAQ_CERT_KEY_FILE"))
    return context


class _Exchange:
    def __init__(self, client: paho.Client, lab: str, command: Command, key: Key | None) -> None:
        self._lab = lab
        self._command = command
        self._key = key
        self._reply: Reply | None = None
        self._arrived = threading.Event()
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = self._received

    def wait(self, timeout_s: float) -> Reply:
        if not self._arrived.wait(timeout_s) or self._reply is None:
            raise Silent(
                f"no daemon of lab {self._lab!r} answered within {timeout_s:g} s",
                remedy="is its gateway connected to this broker?",
            )
        return self._reply

    def _connected(self, client: paho.Client, *_: object) -> None:
        command = self._command
        client.subscribe(f"daq/{self._lab}/reply/{command.client}/{command.id}", qos=1)

    def _subscribed(self, client: paho.Client, *_: object) -> None:
        command = self._command
        document = {
            "id": command.id,
            "station": command.station,
            "client": command.client,
            "issued": time.time(),
            "expires": time.time() + _VALID_S,
            **command.arguments,
        }
        topic = f"daq/{self._lab}/cmd/{command.verb}"
        key = self._key
        payload = (
            seal(key.client, key.secret, topic, document) if key else json.dumps(document).encode()
        )
        client.publish(topic, payload, qos=1)

    def _received(self, client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        document = json.loads(message.payload)
        if document.get("state") in _FINAL:
            self._reply = Reply(
                document["id"],
                document["state"],
                document.get("reason") or "",
                document.get("data") or {},
            )
            self._arrived.set()
