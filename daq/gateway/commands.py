"""MQTT -> control: takes commands from the broker, forwards them, publishes the replies.

A command that has arrived is forwarded even if the broker goes away a moment later: a stop is a
stop. A `stop` or `pause` never waits behind anything else: it has its own place in the queue, it
is forwarded on a connection of its own, and no number of other commands holds it up.

Commands are forwarded as they were published: who sent them is for control to find out. What is
refused here is counted, and reported to control for its audit log.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict

import aiomqtt

from daq.access.envelope import EnvelopeRefused, parse
from daq.access.refusals import Refusal, Refusals
from daq.access.roles import OFF_VERBS
from daq.clock import monotonic
from daq.control.requests import Forwarded, Request
from daq.errors import DaqError
from daq.gateway.batches import Outgoing
from daq.gateway.messages import ReplyMessage
from daq.gateway.stopline import Echoes
from daq.gateway.throttle import CLIENT_RATE_HZ, LANE_LENGTH, Bucket, Lanes, Throttle
from daq.gateway.topics import Topics
from daq.gateway.uplink import NoAnswer
from daq.jsontext import LARGEST
from daq.logs import get_logger
from daq.model import Command, Reply

log = get_logger()

MOST_WAITING = 1000
MOST_IN_PROGRESS = 32
ANSWER_TIMEOUT_S = 30.0
REPORT_S = 0.5
OFF_RATE_HZ, OFF_BURST = 200.0, 100.0
"""Of stops and pauses, of everybody together: control can take that many without noticing."""
REFUSALS_ANSWERED_HZ, REFUSALS_BURST = 50.0, 100.0
"""Of stops, of pauses, and of all others together."""

Ask = Callable[[Request, float], Awaitable[Reply]]
"""Asks control and waits that many seconds; raises DaqError (not done) or NoAnswer (unknown)."""
Publish = Callable[[Outgoing], Awaitable[None]]


def is_urgent(topic: str) -> bool:
    """Whether what comes on this topic overtakes everything else."""
    return topic.rpartition("/")[2] in OFF_VERBS


class CommandQueue(asyncio.Queue[aiomqtt.Message]):
    """Incoming messages, urgent ones first; a full queue drops ordinary ones only.

    It sits where the MQTT client puts messages as it reads them, because nothing later in the
    chain could let a stop overtake.
    """

    def _init(self, maxsize: int) -> None:
        self._urgent: deque[aiomqtt.Message] = deque(maxlen=maxsize or None)
        self._ordinary: deque[aiomqtt.Message] = deque()

    def _put(self, item: aiomqtt.Message) -> None:
        (self._urgent if is_urgent(item.topic.value) else self._ordinary).append(item)

    def _get(self) -> aiomqtt.Message:
        return (self._urgent or self._ordinary).popleft()

    def qsize(self) -> int:
        """Messages that wait."""
        return len(self._urgent) + len(self._ordinary)

    def empty(self) -> bool:
        """Whether nothing waits."""
        return self.qsize() == 0

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Add a message; an urgent one takes the place of an ordinary one when it is full.

        What is too long to be read waits without its tail: a thousand of them must not fill the
        memory, and they are refused for their length all the same.
        """
        if len(item.payload) > LARGEST:
            item.payload = bytes(item.payload[: LARGEST + 1])
        if is_urgent(item.topic.value) and self.full() and self._ordinary:
            self._ordinary.pop()
        super().put_nowait(item)


class CommandDesk:
    """Takes messages from the command topics; lives longer than any connection.

    Args:
        ask: the way to the control process.
        publish: publishes a reply, on whatever connection there is then.
        publish_off: the same for a stop or a pause, where there is a faster way.
    """

    def __init__(
        self, topics: Topics, ask: Ask, publish: Publish, publish_off: Publish | None = None
    ) -> None:
        self._topics = topics
        self._ask = ask
        self._publish = publish
        self._publish_off = publish_off or publish
        self._tasks: set[asyncio.Task[None]] = set()
        self._ordinary_in_progress = 0
        self._throttle = Throttle()
        self._off_bucket = Bucket(OFF_RATE_HZ, OFF_BURST)
        self._off_waiting: Lanes[tuple[Forwarded, Command]] = Lanes()
        self._off_served: asyncio.Task[None] | None = None
        self._answered: dict[str, Bucket] = {}
        self._echoes = Echoes()
        self._refusals = Refusals()
        self._reporting: asyncio.Task[None] | None = None

    def take_off(self, message: aiomqtt.Message) -> None:
        """Begin to serve one message of the connection that is for stops alone."""
        self.take(message, on_stop_line=True)

    def take(self, message: aiomqtt.Message, *, on_stop_line: bool = False) -> None:
        """Begin to serve one message. Never blocks."""
        payload, topic = message.payload, message.topic.value
        if not payload:
            return  # somebody cleared a retained command
        verb = self._topics.verb(topic)
        if verb in OFF_VERBS and self._echoes.is_echo(topic, payload, on_stop_line=on_stop_line):
            return
        try:
            if verb not in OFF_VERBS and not self._throttle.may_read(monotonic()):
                raise EnvelopeRefused("too many commands; send it again")
            command = parse(verb, payload, retained=message.retain, now_utc_s=time.time())
            self._begin(Forwarded(verb, payload), command)
        except EnvelopeRefused as refusal:
            self._refuse(verb, refusal)

    async def close(self, timeout_s: float) -> None:
        """Let what is in progress be forwarded; give up after the time."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in self._tasks:
            task.cancel()
        if self._reporting:
            self._reporting.cancel()

    def _begin(self, forwarded: Forwarded, command: Command) -> None:
        if command.verb in OFF_VERBS:
            self._begin_off(forwarded, command)
            return
        asker = {"client": command.client, "id": command.id}
        if not self._throttle.may_ask(command.client, monotonic()):
            raise EnvelopeRefused(
                f"too many commands: more than {CLIENT_RATE_HZ:g} a second; send it again", **asker
            )
        if self._ordinary_in_progress >= MOST_IN_PROGRESS:
            raise EnvelopeRefused("too many commands at once; send it again", **asker)
        self._spawn(self._serve(forwarded, command))

    def _begin_off(self, forwarded: Forwarded, command: Command) -> None:
        if self._off_served is None and self._off_bucket.take(monotonic()):
            self._spawn(self._serve(forwarded, command))
            return
        if not self._off_waiting.put(command.client, (forwarded, command)):
            raise EnvelopeRefused(
                f"{LANE_LENGTH} of yours are waiting already", client=command.client, id=command.id
            )
        if self._off_served is None:
            self._off_served = self._spawn(self._serve_off())

    async def _serve_off(self) -> None:
        """More stops than the rate: one client after another."""
        while (waiting := self._off_waiting.take()) is not None:
            while not self._off_bucket.take(monotonic()):  # noqa: ASYNC110
                await asyncio.sleep(1.0 / OFF_RATE_HZ)
            self._spawn(self._serve(*waiting))
        self._off_served = None

    def _refuse(self, verb: str, refusal: EnvelopeRefused) -> None:
        self._refusals.note(Refusal(refusal.client, verb, str(refusal)), monotonic())
        if self._reporting is None:
            self._reporting = asyncio.ensure_future(self._report())
        if refusal.id and self._may_answer(verb):
            self._spawn(self._answer_refusal(verb, refusal))

    def _may_answer(self, verb: str) -> bool:
        """Whether a refusal is answered; that of a stop is, under any flood of others."""
        kind = verb if verb in OFF_VERBS else ""
        bucket = self._answered.setdefault(kind, Bucket(REFUSALS_ANSWERED_HZ, REFUSALS_BURST))
        return bucket.take(monotonic())

    async def _report(self) -> None:
        """Tell control what was refused here; it keeps the audit log."""
        while True:
            for refusal in self._refusals.due(monotonic()):
                log.warning("command_refused", **asdict(refusal))
                with suppress(DaqError):
                    await self._ask(refusal, ANSWER_TIMEOUT_S)
            await asyncio.sleep(REPORT_S)

    async def _answer_refusal(self, verb: str, refusal: EnvelopeRefused) -> None:
        reply = Reply(refusal.id, "refused", refusal.message)
        await self._reply(Command(verb, refusal.id, refusal.client), reply)

    async def _serve(self, forwarded: Forwarded, command: Command) -> None:
        ordinary = command.verb not in OFF_VERBS
        self._ordinary_in_progress += ordinary
        try:
            # Forwarding does not wait for the broker to take the first reply.
            accepted = self._spawn(self._reply(command, Reply(command.id, "accepted")))
            reply = await self._forward(forwarded, command)
            await asyncio.wait([accepted])
            await self._reply(command, reply)
        finally:
            self._ordinary_in_progress -= ordinary

    async def _forward(self, forwarded: Forwarded, command: Command) -> Reply:
        try:
            return await self._ask(forwarded, ANSWER_TIMEOUT_S)
        except NoAnswer:
            # It may have been carried out, so "refused" would be a lie.
            reason = "control has not answered yet; send the same id again to learn the outcome"
            return Reply(command.id, "accepted", reason)
        except DaqError as error:
            return Reply(command.id, "refused", str(error))

    async def _reply(self, command: Command, reply: Reply) -> None:
        message = ReplyMessage.model_construct(
            id=command.id,
            client=command.client,
            verb=command.verb,
            station=command.station,
            state=reply.state,
            reason=reply.reason,
            data=dict(reply.data),
            utc_s=time.time(),
        )
        topic = self._topics.reply(command.client, command.id)
        publish = self._publish_off if command.verb in OFF_VERBS else self._publish
        try:
            await publish(Outgoing(topic, message.payload()))
        except aiomqtt.MqttError as error:
            # The client asks again with the same id and gets the stored answer.
            log.warning("reply_lost", id=command.id, client=command.client, reason=str(error))

    def _spawn(self, work: Awaitable[None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
