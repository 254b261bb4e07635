"""What a disk may say after a bad day: the journal, and what the sentinel reads."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from math import isfinite
from pathlib import Path

from daq import sentinel
from daq.bus.heartbeat import SLOTS
from daq.control.crashes import recent_crashes
from daq.errors import JournalError
from daq.gateway.broker import _last_port
from daq.journal import Journal, JournalReader
from daq.model import Event, EventKind, Record, RunInfo
from tests.fuzz.text_targets import FOLDER

ENTRIES = 40
_EDIT = struct.Struct(">HBB")


def _make_journal() -> bytes:
    """A small healthy journal: two runs, records, events, kept documents."""
    path = FOLDER / "healthy.sqlite"
    journal = Journal(path, group_s=0.01)
    for run in ("r1", "r2"):
        journal.save_run(RunInfo(run, "A1", "c1", "p", 1.0, {"cell": {"id": "c1"}}))
        for number in range(ENTRIES):
            t = float(number)
            measured, counted = (3.7, 1.0, 25.0, 24.0), (1, 1, 1, 1, 0.1, 0.2, 0.3, 0.4)
            journal.append(Record("A1", run, t, t, 1e9 + t, *measured, *counted))
            if number % 10 == 0:
                journal.append(Event(EventKind.NOTE, 1e9, "A1", run, t, {"text": "x" * number}))
        journal.keep("checkpoint", run, {"engine": {"step": 1}})
    journal.close(20.0)
    return path.read_bytes()


HEALTHY = _make_journal()
DAMAGED = FOLDER / "damaged.sqlite"


def journal(data: bytes) -> None:
    """The input is a list of edits of a healthy journal: where, how long, and the new bytes."""
    DAMAGED.write_bytes(edited(HEALTHY, data))
    for end in ("-wal", "-shm", "-journal"):
        Path(f"{DAMAGED}{end}").unlink(missing_ok=True)
    with suppress(JournalError):
        with JournalReader(DAMAGED) as reader:
            for read in (
                reader.head, reader.last_event, reader.runs, reader.events,
                lambda: reader.entries(0, 100), lambda: reader.run("r1"),
                lambda: list(reader.record_rows("r1", batch=10)),
                lambda: reader.kept("checkpoint"),
            ):  # fmt: skip
                with suppress(JournalError):
                    read()


def edited(content: bytes, data: bytes) -> bytes:
    """Each edit: 2 bytes where (times 4 and more), 1 byte how many, then those; 0: cut off here."""
    changed = bytearray(content)
    while len(data) >= _EDIT.size:
        where, fine, count = _EDIT.unpack_from(data)
        at = (where * 4 + fine % 4) % len(content)
        new, data = data[_EDIT.size : _EDIT.size + count], data[_EDIT.size + count :]
        if not count:
            del changed[at:]
        else:
            changed[at : at + len(new)] = new
    return bytes(changed)


NOTES = FOLDER / "notes"


def notes(data: bytes) -> None:
    """What the daemon noted for its next start: crashes, the broker's address, the last beat."""
    NOTES.mkdir(exist_ok=True)
    for name in ("crashes.json", "broker.json", "heartbeat"):
        (NOTES / name).write_bytes(data)
    found = recent_crashes(NOTES, 60.0, 1000.0)
    assert all(0.0 <= 1000.0 - moment < 60.0 for moment in found)
    assert 0 <= _last_port(NOTES) < 65536


HEARTBEAT = FOLDER / "heartbeat"
RECIPES = FOLDER / "recipes.json"


def sentinel_files(data: bytes) -> None:
    """Heartbeats of any bits, recipes of any text: the sentinel goes on, or says why it acts."""
    beats, _, recipes = data.partition(b"\n")
    HEARTBEAT.write_bytes(beats[: SLOTS * 8].ljust(SLOTS * 8, b"\0"))
    RECIPES.write_bytes(recipes)
    watch = sentinel.Watch(HEARTBEAT, RECIPES, os.getpid())
    try:
        watch.beat()
        watch.reload()
        watch.retired()
        assert isinstance(watch.why_act(), str)
        _judge_beats(watch, beats)
        for name, recipe in watch.instruments.items():
            assert isinstance(name, str)
            assert isinstance(recipe, dict)
    finally:
        if watch._process is not None:
            os.close(watch._process)


def _judge_beats(watch: sentinel.Watch, beats: bytes) -> None:
    """A loop's stamp that no clock of ours can have written is not a sign of life."""
    if len(beats) < 16 or watch.retired():
        return
    (stamp,) = struct.unpack_from("<d", beats, 8)
    if not isfinite(stamp) or stamp > sentinel.now() + 60.0:
        assert watch.why_act()
