"""Where the broker is: a URL that was given, or a broker of our own (`auto`).

Our own broker is mosquitto if it is installed, else the embedded one; a child process that
listens on loopback only, is started again when it dies, and ends with the gateway, whatever ends
the gateway (see daq/gateway/lifeline.py). It keeps nothing on disk: retained messages are
published again on every connect, and the buffer of an outage is the journal.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import urlsplit

from daq.control import priority
from daq.errors import InputError
from daq.logs import get_logger

log = get_logger()

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 10.0
END_TIMEOUT_S = 2.0
PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0

# A subscriber that cannot keep up has this much room in the broker before it loses messages.
_MOSQUITTO_CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages 100
max_queued_messages 10000
set_tcp_nodelay true
connection_messages false
log_dest stderr
log_type error
log_type warning
"""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens."""

    host: str
    port: int
    tls: bool = False

    @property
    def url(self) -> str:
        """As it is written in a lab file."""
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"


def parse_url(text: str) -> Address:
    """The address in `mqtt://host:1883` or `mqtts://host:8883`.

    Raises:
        InputError: it is something else, or has a user or a password in it.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InputError(f"not the address of a broker: {error}") from error
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path.strip("/"):
        raise InputError("not the address of a broker", remedy="write mqtts://host:8883")
    if parts.username or parts.password:
        raise InputError("a password does not belong in an address", remedy="use --password-file")
    tls = parts.scheme == "mqtts"
    return Address(parts.hostname, port or (8883 if tls else 1883), tls)


class Broker(Protocol):
    """What the gateway needs to know of a broker."""

    async def address(self) -> Address:
        """Where to connect to; waits until that is known."""
        ...


class GivenBroker:
    """A broker that somebody else runs."""

    def __init__(self, address: Address, data: Path) -> None:
        self._address = address
        write_note(data, address, "external", None)

    async def address(self) -> Address:
        """Where it is said to be."""
        return self._address


class OwnBroker:
    """A broker that runs as our child for as long as `run` does.

    Args:
        data: folder of `broker.json` and of mosquitto's configuration.
        port: where to listen; 0 for the port of last time, or any free one.
        program: path of mosquitto; empty for the embedded broker.
    """

    def __init__(self, data: Path, port: int, program: str) -> None:
        self._data = data
        self._asked_port = port
        self._program = program
        self._known: asyncio.Future[Address] = asyncio.get_running_loop().create_future()

    @property
    def kind(self) -> str:
        """`mosquitto` or `embedded`."""
        return "mosquitto" if self._program else "embedded"

    async def address(self) -> Address:
        """Where it listens, once it does for the first time."""
        return await asyncio.shield(self._known)

    async def run(self) -> None:
        """Keep it running until cancelled; a pause before each new start."""
        port = self._asked_port or _last_port(self._data) or _free_port()
        pause_s = PAUSE_S
        while True:
            if await self._run_once(port):
                pause_s = PAUSE_S
            elif not self._asked_port:
                port = _free_port()  # somebody else has taken the one of last time
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _run_once(self, port: int) -> bool:
        """Start it and wait for its end; whether it has listened in between."""
        child = await asyncio.create_subprocess_exec(
            *self._command(port),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C at the terminal is not meant for it
        )
        priority.give(child.pid)  # a stop that comes by MQTT comes through it
        try:
            listens = await self._wait_until_it_listens(child, port)
            if listens:
                self._tell(Address(LOOPBACK, port))
            code = await child.wait()
            log.error("broker_ended", kind=self.kind, port=port, code=code)
            return listens
        finally:
            await _end(child)

    def _tell(self, address: Address) -> None:
        if not self._known.done():
            self._known.set_result(address)
        elif self._known.result() != address:
            self._known = asyncio.get_running_loop().create_future()
            self._known.set_result(address)

    def _command(self, port: int) -> Sequence[str]:
        if not self._program:
            return sys.executable, "-m", "daq.gateway.embedded", str(port)
        config = self._data / "mosquitto.conf"
        config.write_text(_MOSQUITTO_CONFIG.format(port=port))
        tether = (sys.executable, "-m", "daq.gateway.tether")
        return *tether, self._program, "-c", str(config)

    async def _wait_until_it_listens(self, child: asyncio.subprocess.Process, port: int) -> bool:
        """Whether our child (and not somebody else's program) listens on the port."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                # The embedded broker says its number when it listens, mosquitto's tether before.
                line = await cast("asyncio.StreamReader", child.stdout).readline()
                if self._program:
                    await _until_it_listens(child, port)
        except TimeoutError:
            return False
        # A child that cannot have the port dies at once; give it the time to be seen dead.
        await asyncio.sleep(0.05)
        if not line.strip() or child.returncode is not None:
            return False
        pid = int(line)
        write_note(self._data, Address(LOOPBACK, port), self.kind, pid)
        log.info("broker_started", kind=self.kind, url=Address(LOOPBACK, port).url, pid=pid)
        return True


def find_mosquitto() -> str:
    """Path of mosquitto; empty when it is not installed.

    Distributions put it where an ordinary user's PATH does not look.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
    return shutil.which("mosquitto", path=path) or ""


def write_note(data: Path, address: Address, kind: str, pid: int | None) -> None:
    """Say in `<data>/broker.json` where the broker is, for every tool on this machine."""
    note = data / "broker.json"
    draft = note.with_suffix(".json.new")
    try:
        draft.write_text(json.dumps({"url": address.url, "kind": kind, "pid": pid}) + "\n")
        draft.replace(note)
    except OSError as error:  # a full disk is no reason to publish nothing
        log.error("broker_not_noted", path=str(note), error=str(error))


def _last_port(data: Path) -> int:
    """The port of last time if it is free, so that clients find the broker again; else 0."""
    try:
        note = json.loads((data / "broker.json").read_text())
        address = parse_url(note["url"])
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
        InputError,
    ):
        return 0
    ours = note.get("kind") != "external" and address.host == LOOPBACK
    return address.port if ours and _is_free(address.port) else 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


async def _until_it_listens(child: asyncio.subprocess.Process, port: int) -> None:
    while child.returncode is None and not await _listens(port):  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True


async def _end(child: asyncio.subprocess.Process) -> None:
    """Let go of its standard input, which ends it; kill it when it does not go."""
    if child.stdin:
        child.stdin.close()
    try:
        async with asyncio.timeout(END_TIMEOUT_S):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()
