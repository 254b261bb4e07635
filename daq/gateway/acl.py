"""What a mosquitto on the network is configured with: who may connect, read and write what.

It is one more wall, not the wall: what a client may command is decided by its key, in control.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from daq.access.envelope import VERBS
from daq.access.roles import at_least, needed
from daq.gateway.topics import Topics
from daq.model import Role

PORT = 8883


def configuration(folder: Path, port: int = PORT) -> str:
    """mosquitto.conf: one TLS listener; clients are who their certificates say."""
    return f"""\
# mosquitto.conf of a broker on the network: TLS, client certificates, an access list.
# The common name of a certificate is the client's name: that of its key, or the daemon's client id.
listener {port}
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
allow_anonymous false
acl_file {folder}/acl
# After a restart everything is published again; a command must never come late.
persistence false
max_inflight_messages 100
max_queued_messages 10000
max_packet_size 1048576
set_tcp_nodelay true
"""


def access_list(topics: Topics, daemon: str, clients: Mapping[str, Role]) -> str:
    """The acl file.

    Args:
        topics: the lab's.
        daemon: common name of the daemon's certificate.
        clients: common name of a client -> its role.
    """
    lines = [f"# Of lab {topics.lab}. Whoever is not named here may do nothing.", ""]
    lines += [f"user {daemon}", *_of_daemon(topics)]
    for name, role in clients.items():
        lines += ["", f"user {name}", *_of_client(topics, name, role)]
    return "\n".join(lines) + "\n"


def _of_daemon(topics: Topics) -> Iterator[str]:
    yield f"topic read {topics.commands}"
    yield f"topic readwrite {topics.status}"
    yield f"topic write {topics.reply('+', '+')}"
    for topic in _published(topics):
        yield f"topic write {topic}"


def _of_client(topics: Topics, name: str, role: Role) -> Iterator[str]:
    yield f"topic read {topics.status}"
    yield f"topic read {topics.reply(name, '+')}"
    for topic in _published(topics):
        yield f"topic read {topic}"
    for verb in VERBS:
        if at_least(role, needed(verb)):
            yield f"topic write {topics.command(verb)}"


def _published(topics: Topics) -> Iterator[str]:
    for what in ("events", "history", "alarms"):
        yield f"daq/{topics.lab}/{what}"
    for what in ("state", "samples", "events", "history"):
        yield f"daq/{topics.lab}/+/{what}"
