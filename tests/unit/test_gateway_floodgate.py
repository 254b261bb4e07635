"""A flood of commands is left at the broker for a moment, and for a moment only."""

from __future__ import annotations

import asyncio

import aiomqtt
import pytest

from daq.gateway import floodgate
from daq.gateway.floodgate import BURST, FloodGate
from daq.gateway.throttle import READ_RATE_HZ

COMMANDS, STOP = "daq/lab/cmd/+", "daq/lab/cmd/stop"


class Subscriptions:
    """A client that notes what it is subscribed to, in order."""

    def __init__(self) -> None:
        self.now = {COMMANDS}
        self.past: list[set[str]] = []
        self.answers = True

    async def subscribe(self, topic, qos=0, **_):
        topics = [topic] if isinstance(topic, str) else [name for name, _ in topic]
        await self._change(self.now | set(topics))

    async def unsubscribe(self, topic, **_):
        topics = [topic] if isinstance(topic, str) else topic
        await self._change(self.now - set(topics))

    async def _change(self, topics):
        await asyncio.sleep(0)
        if not self.answers:
            raise aiomqtt.MqttError("timed out")
        self.now = topics
        self.past.append(topics)


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(floodgate, "monotonic", lambda: now[0])
    monkeypatch.setattr(floodgate, "CLOSED_S", 0.01)
    return now


@pytest.fixture
def client():
    return Subscriptions()


async def running(gate):
    task = asyncio.ensure_future(gate.run())
    await asyncio.sleep(0)
    return task


async def until(true):
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - a test looks from outside
            await asyncio.sleep(0.001)


async def ended(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 20)


async def test_as_many_as_are_looked_at_are_let_in_for_ever(client, clock):
    gate = FloodGate(client, COMMANDS)
    task = await running(gate)
    for _ in range(3000):
        gate.note()
        clock[0] += 1.0 / READ_RATE_HZ
    await asyncio.sleep(0.05)
    assert client.past == []
    await ended(task)


async def test_a_flood_is_shut_out_and_let_in_again_while_a_stop_can_always_come(client, clock):
    gate = FloodGate(client, COMMANDS, [STOP])
    task = await running(gate)
    for _ in range(int(BURST) + 1):
        gate.note()
    await until(lambda: len(client.past) == 4)
    assert client.past == [{COMMANDS, STOP}, {STOP}, {COMMANDS, STOP}, {COMMANDS}]
    await ended(task)


async def test_it_is_shut_out_again_when_it_goes_on_and_told_of_once(client, clock, monkeypatch):
    told = []
    monkeypatch.setattr(floodgate.log, "warning", lambda event, **_: told.append(event))
    gate = FloodGate(client, COMMANDS)
    task = await running(gate)
    for closings in (1, 2, 3):
        for _ in range(int(BURST) + 1):
            gate.note()
        await until(lambda closings=closings: len(client.past) == 2 * closings)
        clock[0] += 1.0
        await asyncio.sleep(0.01)
    assert client.past == [set(), {COMMANDS}] * 3
    assert told == ["flood_of_commands"]
    await ended(task)


async def test_a_broker_that_does_not_answer_ends_the_connection(client, clock):
    client.answers = False
    gate = FloodGate(client, COMMANDS)
    task = await running(gate)
    for _ in range(int(BURST) + 1):
        gate.note()
    with pytest.raises(aiomqtt.MqttError):
        await asyncio.wait_for(task, 20)


async def test_a_cancellation_that_the_client_swallows_is_honoured(client, clock):
    class Swallowing(Subscriptions):
        async def unsubscribe(self, topic, **_):
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                self.past.append(set())

    swallowing = Swallowing()
    gate = FloodGate(swallowing, COMMANDS)
    task = await running(gate)
    for _ in range(int(BURST) + 1):
        gate.note()
    await asyncio.sleep(0.01)
    await ended(task)
    assert swallowing.past == [set()]
