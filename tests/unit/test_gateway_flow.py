"""What waits for what inside the gateway: stops, slow brokers, gaps, answers that never come."""

import asyncio
import json
import sqlite3
import threading
from math import nan

import aiomqtt
import pytest

from daq.access.envelope import EnvelopeRefused, parse
from daq.clock import monotonic
from daq.control.client import SOCKET_NAME
from daq.errors import DaqError
from daq.gateway import publish
from daq.gateway.commands import REFUSALS_BURST, CommandDesk, CommandQueue
from daq.gateway.cursor import Cursor
from daq.gateway.publish import BackFill, LiveTail, in_thread
from daq.gateway.topics import Topics
from daq.gateway.uplink import NoAnswer, Uplink
from daq.journal import Journal, JournalReader
from daq.jsontext import LARGEST
from daq.model import Command, Record, Reply

TOPICS = Topics("bench-3")
NOW = 1_800_000_000.0


def message(verb, mid=0, payload=b"{}"):
    return aiomqtt.Message(f"daq/bench-3/cmd/{verb}", payload, 1, False, mid, None)


def drained(queue):
    return [queue.get_nowait().mid for _ in range(queue.qsize())]


async def test_a_stop_overtakes_the_commands_that_came_before_it():
    queue = CommandQueue(10)
    for number, verb in enumerate(("start", "status", "stop", "start", "stop")):
        queue.put_nowait(message(verb, number))
    assert drained(queue) == [2, 4, 0, 1, 3]


async def test_a_full_queue_has_room_for_a_stop_and_for_nothing_else():
    queue = CommandQueue(3)
    for number in range(3):
        queue.put_nowait(message("start", number))
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait(message("start", 3))
    queue.put_nowait(message("stop", 4))
    assert drained(queue) == [4, 0, 1]


async def test_what_is_too_long_waits_without_its_tail_and_is_refused_for_its_length():
    queue = CommandQueue(3)
    queue.put_nowait(message("start", payload=b"x" * LARGEST))
    queue.put_nowait(message("start", payload=b"x" * 5_000_000))
    fits, cut = queue.get_nowait().payload, queue.get_nowait().payload
    assert (len(fits), len(cut)) == (LARGEST, LARGEST + 1)
    with pytest.raises(EnvelopeRefused, match=f"more than {LARGEST} bytes"):
        parse("start", cut, retained=False, now_utc_s=NOW)


async def test_a_queue_wakes_whoever_waits_for_it():
    queue = CommandQueue(3)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put_nowait(message("stop", 7))
    assert (await waiting).mid == 7


async def test_a_stop_is_forwarded_even_if_the_broker_is_gone_again(monkeypatch):
    monkeypatch.setattr("daq.gateway.commands.time.time", lambda: NOW)
    asked = asyncio.Event()

    async def ask(command, timeout_s):
        asked.set()
        return Reply("a", "done")

    async def publish_on_nothing(outgoing):
        raise aiomqtt.MqttError("not connected")

    desk = CommandDesk(TOPICS, ask, publish_on_nothing)
    body = {"id": "a", "client": "b", "station": "*", "issued": NOW, "expires": NOW + 9}
    desk.take(message("stop", payload=json.dumps(body).encode()))
    await asyncio.wait_for(asked.wait(), 10)
    await desk.close(10)


async def test_an_answer_that_never_comes_is_not_called_a_refusal(monkeypatch):
    monkeypatch.setattr("daq.gateway.commands.time.time", lambda: NOW)
    replies = []

    async def ask(command, timeout_s):
        raise NoAnswer("the line broke")

    async def keep(outgoing):
        replies.append(json.loads(outgoing.payload))

    desk = CommandDesk(TOPICS, ask, keep)
    body = {"id": "a", "client": "b", "station": "A1", "issued": NOW, "expires": NOW + 9}
    desk.take(message("stop", payload=json.dumps(body).encode()))
    await desk.close(10)
    assert [reply["state"] for reply in replies] == ["accepted", "accepted"]
    assert "same id" in replies[-1]["reason"]


async def test_who_sends_a_bad_stop_learns_it_while_others_flood_with_bad_commands(monkeypatch):
    monkeypatch.setattr("daq.gateway.commands.time.time", lambda: NOW)
    monkeypatch.setattr("daq.gateway.commands.monotonic", lambda: 100.0)
    replies = []

    async def ask(request, timeout_s):
        return Reply("", "done")

    async def keep(outgoing):
        replies.append(json.loads(outgoing.payload))

    desk = CommandDesk(TOPICS, ask, keep)
    for number in range(500):
        for verb in ("start", "pause"):
            bad = {"id": f"{verb}-{number}", "client": "flood"}
            desk.take(message(verb, payload=json.dumps(bad).encode()))
    desk.take(message("stop", payload=json.dumps({"id": "mine", "client": "ana"}).encode()))
    await asyncio.sleep(0)
    await desk.close(10)
    (mine,) = (reply for reply in replies if reply["id"] == "mine")
    assert mine["state"] == "refused"
    assert "Field required" in mine["reason"]
    assert len(replies) == 2 * REFUSALS_BURST + 1  # a flood does not make us flood


STOP = Command("stop", "a", "b", "A1", NOW, NOW + 9)


async def test_nobody_at_the_socket_is_a_refusal_and_not_a_doubt(tmp_path):
    with pytest.raises(DaqError) as caught:
        await Uplink(tmp_path).ask(STOP, 10)
    assert not isinstance(caught.value, NoAnswer)


@pytest.mark.parametrize("behaviour", ["silent", "closes"])
async def test_a_command_that_was_sent_and_not_answered_is_a_doubt(tmp_path, behaviour):
    async def serve(reader, writer):
        await reader.readline()
        if behaviour == "silent":
            await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / SOCKET_NAME):
        with pytest.raises(NoAnswer):
            await Uplink(tmp_path).ask(STOP, 0.2 if behaviour == "silent" else 10)


# Live tail and back-fill, with a broker that is a list.


class Published:
    def __init__(self):
        self.messages = []
        self.open = asyncio.Event()
        self.open.set()

    async def publish_all(self, messages):
        await self.open.wait()
        self.messages += [(m.topic, json.loads(m.payload)) for m in messages]

    def numbers(self, what):
        found = [body["rows"] for topic, body in self.messages if topic.endswith(what)]
        return [row[0] for batch in found for row in batch]


def record(number):
    return Record(
        "A1", "r", float(number), 0.0, 0.0, 3.7, 1.0, 25.0, nan, 1, 1, 1, number, 0.0, 0.0, 0.0, 0.0
    )


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite", group_s=0.01)
    yield journal
    journal.close()


def write(journal, count):
    for number in range(count):
        journal.append(record(number))
    assert journal.sync().wait(10)


class Flow:
    """A live tail and a back-fill over one journal."""

    def __init__(self, path, published, rate_hz=1e9):
        self.readers = [JournalReader(path), JournalReader(path)]
        self.cursor = Cursor(path.with_name("gateway.cursor"))
        missed = asyncio.Event()
        how = {"announce": self._announce, "missed": missed}
        tail, fill = self.readers
        self.tail = LiveTail(tail, self.cursor, published, TOPICS, **how)
        self.fill = BackFill(fill, self.cursor, published, TOPICS, rate_hz=rate_hz, **how)

    async def _announce(self):
        pass

    async def __aenter__(self):
        self.tasks = [asyncio.create_task(part.run()) for part in (self.tail, self.fill)]
        return self

    async def __aexit__(self, *_):
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        for part in (*self.readers, self.cursor):
            part.close()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - any condition, not one event
            await asyncio.sleep(0.01)


async def test_a_tail_that_is_too_far_behind_jumps_to_now_and_leaves_a_gap(journal, monkeypatch):
    monkeypatch.setattr(publish, "MOST_BEHIND", 100)
    published = Published()
    async with Flow(journal.path, published) as flow:
        write(journal, 10)
        await until(lambda: flow.cursor.live == 10)
        published.open.clear()  # the broker takes nothing for a while
        write(journal, 1)
        await asyncio.sleep(0.3)
        write(journal, 500)
        published.open.set()
        await until(lambda: flow.cursor.live == 511 and flow.cursor.oldest_gap() is None)
        write(journal, 1)
        await until(lambda: 512 in published.numbers("samples"))
    assert sorted(published.numbers("samples") + published.numbers("history")) == list(
        range(1, 513)
    )
    last = [body for topic, body in published.messages if topic.endswith("samples")][-1]
    assert last["previous_seq"] is None


async def test_a_cursor_does_not_move_before_the_broker_has_acknowledged(journal):
    published = Published()
    async with Flow(journal.path, published) as flow:
        write(journal, 1)
        await until(lambda: flow.cursor.live == 1 and published.messages)
        published.open.clear()
        write(journal, 10)
        await asyncio.sleep(0.3)
        assert (flow.cursor.live, flow.cursor.oldest_gap()) == (1, None)
        published.open.set()
        await until(lambda: flow.cursor.live == 11)


async def test_the_back_fill_keeps_to_its_rate(journal):
    write(journal, 2000)
    published = Published()
    began_s = monotonic()
    async with Flow(journal.path, published, rate_hz=2000.0) as flow:
        await until(lambda: flow.cursor.live and flow.cursor.oldest_gap() is None)
    assert monotonic() - began_s >= 0.7  # four pages, the last not waited for
    assert published.numbers("history") == list(range(1, 2001))


async def test_entries_that_were_pruned_do_not_hold_a_gap_open(journal):
    write(journal, 5)
    with sqlite3.connect(journal.path) as database:
        database.execute("DELETE FROM record WHERE seq <= 3")
    database.close()
    published = Published()
    flow = Flow(journal.path, published)
    flow.cursor.miss(3)
    flow.cursor.advance(4)
    async with flow:
        await until(lambda: flow.cursor.live == 5 and flow.cursor.oldest_gap() is None)
    assert published.numbers("history") == [5]


async def test_nobody_closes_a_database_under_a_thread_that_reads_it():
    go, finished = threading.Event(), []

    def read():
        go.wait(10)
        finished.append(True)

    task = asyncio.create_task(in_thread(read))
    await asyncio.sleep(0.05)
    task.cancel()
    asyncio.get_running_loop().call_later(0.1, go.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert finished
