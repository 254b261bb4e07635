"""One connection to the broker after another: birth, work, last will, back-off.

Each connection is a fresh client with a clean session. What the broker had not acknowledged is
found again through the cursor, not in the memory of a client; and a command that was sent while
nobody listened is not delivered later, when the bench has changed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from daq.gateway.batches import Outgoing
from daq.gateway.broker import Address, Broker
from daq.gateway.certificates import CertificateWatch
from daq.gateway.commands import MOST_WAITING, CommandDesk, CommandQueue
from daq.gateway.cursor import Cursor
from daq.gateway.floodgate import FloodGate
from daq.gateway.messages import Status
from daq.gateway.outage import Informant, Outage
from daq.gateway.publish import BackFill, LiveTail, in_thread
from daq.gateway.stopline import StopLine
from daq.gateway.topics import Topics
from daq.gateway.uplink import Uplink
from daq.journal import JournalReader
from daq.logs import get_logger

log = get_logger()

KEEPALIVE_S = 10
ANSWER_TIMEOUT_S = 3.0
PUBLISH_TIMEOUT_S = 10.0
MOST_IN_FLIGHT = 100
FAREWELL_S = 1.0
SUBSCRIPTION_REFUSED = 0x80  # MQTT 3.1.1, section 3.9.3

_silent = logging.getLogger("daq.gateway.mqtt")
_silent.setLevel(logging.CRITICAL)  # what it has to say reaches us as exceptions


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to the broker."""

    client_id: str
    username: str | None = None
    password: str | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def tls(self) -> ssl.SSLContext:
        """TLS 1.2 or newer, the broker's certificate verified."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


class Gateway:
    """Keeps a connection to the broker and everything that lives on it.

    Args:
        journal: path of the journal; it must exist.
        cursor: how far we have got.
        stop: set before `run` is cancelled.
    """

    def __init__(
        self,
        topics: Topics,
        login: Login,
        broker: Broker,
        journal: Path,
        cursor: Cursor,
        *,
        stop: asyncio.Event,
    ) -> None:
        self._topics = topics
        self._login = login
        self._broker = broker
        self._journal = journal
        self._cursor = cursor
        self._stop = stop
        self._client: aiomqtt.Client | None = None
        self._session = 0
        self._started_utc_s = time.time()
        self._up = asyncio.Event()
        uplink = Uplink(journal.parent)
        self._desk = CommandDesk(topics, uplink.ask, self._publish, self._publish_off)
        self._stop_line = self._line("stop", "-off", gated=False)
        self._pause_line = self._line("pause", "-pause", gated=True)
        self._outage = Outage(login.client_id)
        self._informant = Informant(self._outage, uplink.ask)
        ours = {"our certificate": login.cert_file, "its authority's certificate": login.ca_file}
        self._certificates = CertificateWatch(login.tls, ours, uplink.ask)

    async def run(self) -> None:
        """Connect, and connect again, until cancelled; then take leave of the broker."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._informant.run())
                group.create_task(self._stop_line.run())
                group.create_task(self._pause_line.run())
                group.create_task(self._certificates.run(await self._broker.address()))
                while True:
                    await self._connect_once()
                    await asyncio.sleep(self._outage.pause_s())
        finally:
            await self._desk.close(FAREWELL_S)

    def _line(self, verb: str, ending: str, *, gated: bool) -> StopLine:
        return StopLine(
            self._topics,
            self._broker,
            self._plain_client,
            self._desk.take_off,
            verb=verb,
            ending=ending,
            gated=gated,
            wanted=self._up,
            stop=self._stop,
        )

    async def _connect_once(self) -> None:
        address = await self._broker.address()
        self._session = await in_thread(self._cursor.next_session)
        try:
            async with self._new_client(address) as client:
                self._client = client
                await self._work(client, address)
        except* aiomqtt.MqttError as group:
            self._outage.failed(address.url, first_of(group))
        finally:
            self._client = None
            self._up.clear()

    def _new_client(self, address: Address) -> aiomqtt.Client:
        will = self._offline("connection lost")
        client = self._plain_client(
            address,
            will=aiomqtt.Will(self._topics.status, will.payload(), qos=1, retain=True),
            max_inflight_messages=MOST_IN_FLIGHT,
        )
        client.pending_calls_threshold = 1_000_000  # a page is in flight at once, on purpose
        return client

    def _plain_client(self, address: Address, ending: str = "", **more: Any) -> aiomqtt.Client:
        return aiomqtt.Client(
            address.host,
            address.port,
            identifier=f"{self._login.client_id}{ending}",
            username=self._login.username,
            password=self._login.password,
            tls_context=self._login.tls() if address.tls else None,
            clean_session=True,
            keepalive=KEEPALIVE_S,
            timeout=ANSWER_TIMEOUT_S,
            queue_type=CommandQueue,
            max_queued_incoming_messages=MOST_WAITING,
            logger=_silent,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            **more,
        )

    async def _work(self, client: aiomqtt.Client, address: Address) -> None:
        # Commands first: who sees the birth may send one at once.
        granted = await client.subscribe([(self._topics.commands, 1), (self._topics.status, 1)])
        self._honour_stop()
        self._outage.connected(address.url)
        self._up.set()
        if any(map(_is_refusal, granted)):
            log.error("broker_refuses_commands", topic=self._topics.commands)
        try:
            with (
                JournalReader(self._journal) as for_tail,
                JournalReader(self._journal) as for_back_fill,
            ):
                await self._serve(client, for_tail, for_back_fill)
        except asyncio.CancelledError:
            await self._take_leave()
            raise

    async def _serve(
        self, client: aiomqtt.Client, for_tail: JournalReader, for_back_fill: JournalReader
    ) -> None:
        missed = asyncio.Event()
        tail = LiveTail(
            for_tail, self._cursor, self, self._topics, announce=self._announce, missed=missed
        )
        back_fill = BackFill(
            for_back_fill, self._cursor, self, self._topics, announce=self._announce, missed=missed
        )
        gate = FloodGate(client, self._topics.commands, [self._topics.command("stop")])
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(client, gate, group))
            group.create_task(gate.run())
            group.create_task(tail.run())
            group.create_task(back_fill.run())

    async def _receive(
        self, client: aiomqtt.Client, gate: FloodGate, group: asyncio.TaskGroup
    ) -> None:
        async for message in client.messages:
            if message.topic.value != self._topics.status:
                gate.note()
                self._desk.take(message)
            elif self._is_late_will(message):
                group.create_task(self._announce())

    def _is_late_will(self, message: aiomqtt.Message) -> bool:
        """Whether the will of an earlier connection has just overwritten our birth."""
        try:
            status = Status.model_validate_json(message.payload)
        except ValueError:
            return False
        return not (message.retain or status.online) and status.session < self._session

    # What the parts publish with.

    async def publish_all(self, messages: Iterable[Outgoing]) -> None:
        """Publish in order at QoS 1; returns when the broker has acknowledged every one."""
        async with asyncio.TaskGroup() as group:
            for message in messages:
                group.create_task(self._publish(message))

    async def _publish(self, message: Outgoing) -> None:
        if self._client is None:
            raise aiomqtt.MqttError("not connected")
        await self._client.publish(
            message.topic, message.payload, qos=1, retain=message.retain, timeout=PUBLISH_TIMEOUT_S
        )

    async def _publish_off(self, message: Outgoing) -> None:
        try:
            await self._stop_line.publish(message)
        except aiomqtt.MqttError:
            await self._publish(message)

    async def _announce(self) -> None:
        status = Status(
            online=True,
            session=self._session,
            version=version("battery-daq"),
            pid=os.getpid(),
            started_utc_s=self._started_utc_s,
            backlog=await in_thread(self._cursor.backlog),
        )
        await self._publish(Outgoing(self._topics.status, status.payload(), retain=True))
        self._honour_stop()

    def _honour_stop(self) -> None:
        # The client waits with asyncio.wait_for, which until Python 3.12 swallows a cancellation
        # that arrives together with the result (cpython#86296): then nothing would ever end.
        # Task.cancelling() cannot tell: a task group of 3.11 leaves it raised after a failure.
        if self._stop.is_set():
            raise asyncio.CancelledError

    def _offline(self, reason: str) -> Status:
        return Status(online=False, session=self._session, reason=reason)

    async def _take_leave(self) -> None:
        """A clean disconnect sends no will, so say it ourselves."""
        leave = Outgoing(self._topics.status, self._offline("ended").payload(), retain=True)
        with suppress(aiomqtt.MqttError, TimeoutError):
            await asyncio.wait_for(self._publish(leave), FAREWELL_S)


def _is_refusal(code: int | ReasonCode) -> bool:
    return (code if isinstance(code, int) else code.value) >= SUBSCRIPTION_REFUSED


def first_of(group: BaseExceptionGroup[Exception]) -> BaseException:
    """The first single exception of a group of groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return error  # pyright: ignore[reportUnknownVariableType]
