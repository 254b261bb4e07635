"""The audit log: whole as it was written, and telling where it was touched."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.access.audit import NOTHING, Head, Row, digest, entry_of, faults, parse_head
from daq.cli import run
from daq.errors import InputError
from daq.journal import Journal, JournalReader
from daq.model import Event, EventKind
from tests.system.daemon import write_lab

KINDS = [EventKind.SESSION_STARTED, EventKind.COMMAND, EventKind.TRIP, EventKind.REFUSED]


def event(number: int, kind: EventKind = EventKind.COMMAND, **data: object) -> Event:
    document = {"client": f"ana-{number}", "role": "operator", "verb": "stop", "state": "done"}
    return Event(kind, 1e9 + number, "A1", "run-1", data=document | data)


def write(path: Path, events: list[Event]) -> Head:
    journal = Journal(path, group_s=0.01)
    for one in events:
        journal.append(one)
    assert journal.sync().wait(20.0)
    head = journal.audited
    journal.close()
    return head


def found(path: Path, *published: Head) -> list[str]:
    with JournalReader(path) as reader:
        return list(faults(reader.audit(), reader.audited_events(), published))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def ten(path: Path) -> Path:
    """A journal with ten entries, and other events between them."""
    events = [event(number, KINDS[number % 4]) for number in range(10)]
    events[3:3] = [Event(EventKind.NOTE, 1.0, data={"text": "x"})] * 3
    assert write(path, events).number == 10
    return path


def touch(path: Path, statement: str, *arguments: object) -> None:
    database = sqlite3.connect(path)
    with database:
        database.execute(statement, arguments)
    database.close()


def test_a_log_that_nobody_touched_is_whole(ten: Path) -> None:
    assert found(ten) == []
    with JournalReader(ten) as reader:
        rows = list(reader.audit())
    assert [row.number for row in rows] == list(range(1, 11))
    first = json.loads(rows[1].entry)
    assert (first["actor"], first["role"], first["kind"]) == ("ana-1", "operator", "command")
    assert rows[0].sha256 == digest(NOTHING, rows[0].entry)


def test_it_goes_on_where_it_was_after_a_restart(ten: Path) -> None:
    assert write(ten, [event(10)]).number == 11
    assert found(ten) == []


def test_only_what_somebody_did_is_in_it(path: Path) -> None:
    assert write(path, [Event(EventKind.STEP_STARTED, 1.0), Event(EventKind.ALARM, 1.0)]) == Head()
    assert found(path) == []


def test_an_entry_is_in_the_transaction_of_its_event(path: Path, monkeypatch) -> None:
    journal = Journal(path, group_s=0.01)
    real, failing = Journal._chain, [True]

    def chain(self, item):
        real(self, item)
        if failing.pop() if failing else False:
            raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Journal, "_chain", chain)
    journal.append(event(1))
    journal.append(event(2))
    assert journal.sync().wait(20.0)
    journal.close()
    assert found(path) == []
    with JournalReader(path) as reader:
        assert [row.number for row in reader.audit()] == [1, 2]


@pytest.mark.fault("F80")
@pytest.mark.parametrize("number", range(1, 11))
@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE audit SET entry = replace(entry, 'done', 'refused') WHERE number = {n}", "{n}"),
        ("UPDATE audit SET entry = entry || ' ' WHERE number = {n}", "{n}"),
        ("UPDATE audit SET sha256 = replace(sha256, '1', '2') || '' WHERE number = {n}", "{n}"),
        ("UPDATE audit SET number = -number WHERE number = {n}", ""),
        ("DELETE FROM audit WHERE number = {n}", ""),
        ("UPDATE event SET data = replace(data, 'ana', 'ben') WHERE seq = (SELECT "
         "json_extract(entry, '$.seq') FROM audit WHERE number = {n})", "{n}"),
        ("DELETE FROM event WHERE seq = (SELECT json_extract(entry, '$.seq') FROM audit "
         "WHERE number = {n})", "{n}"),
    ],
)  # fmt: skip
def test_what_was_touched_is_found_and_named(ten: Path, statement, says, number) -> None:
    touch(ten, statement.format(n=number))
    (first, *_) = found(ten)
    assert says.format(n=number) in first


@pytest.mark.fault("F80")
def test_what_was_moved_or_put_in_is_found(ten: Path) -> None:
    touch(ten, "UPDATE audit SET number = 100 WHERE number = 4")
    touch(ten, "UPDATE audit SET number = 4 WHERE number = 5")
    touch(ten, "UPDATE audit SET number = 5 WHERE number = 100")
    assert found(ten)[0].startswith("entry 4 does not continue")


@pytest.mark.fault("F80")
def test_a_tail_that_was_cut_off_is_told_by_the_events_and_by_the_published_head(path) -> None:
    head = write(path, [event(number) for number in range(6)])
    touch(path, "DELETE FROM audit WHERE number > 4")
    assert found(path)[0] == "event 5 (command) has no entry"
    touch(path, "DELETE FROM event WHERE seq > 4")
    assert found(path) == []  # cut off cleanly: nobody inside can tell
    assert found(path, head) == ["entry 6 was published and is not there: the log ends with 4"]


@pytest.mark.fault("F80")
def test_a_whole_new_chain_is_told_by_the_published_head(ten: Path) -> None:
    with JournalReader(ten) as reader:
        published = [Head(row.number, row.sha256) for row in reader.audit()][6]
        rows = list(reader.audit())
    head = Head()
    for row in rows:
        entry = row.entry.replace("ana-2", "eve-2")
        head = head.next(entry)
        touch(ten, "UPDATE audit SET entry = ?, sha256 = ? WHERE number = ?", entry, head.sha256,
              row.number)  # fmt: skip
    touch(ten, "UPDATE event SET data = replace(data, 'ana-2', 'eve-2')")
    assert found(ten) == []
    assert found(ten, published) == ["entry 7 is not the one that was published"]
    assert parse_head(str(published)) == published


@pytest.mark.parametrize(
    "text", ["", "7", "x:" + NOTHING, "7:abc", "-1:" + NOTHING, "²:" + NOTHING]
)
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a head"):
        parse_head(text)


@pytest.mark.parametrize("entry", ["", "[]", "{}", '{"seq": null}', '{"seq": "x"}'])
def test_an_entry_that_is_none_is_a_fault_though_its_sum_is_right(entry: str) -> None:
    head = Head().next(entry)
    assert list(faults([Row(1, entry, head.sha256)], {})) == [
        "entry 1 is not what the journal has as its event"
    ]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_single_byte_can_be_changed_unseen(data: st.DataObject) -> None:
    head, rows, events = Head(), [], {}
    for number in range(1, 5):
        one = Event(EventKind.TRIP, float(number), "A1", data={"by": "x"}, seq=number)
        entry = entry_of(one, number, number)
        head = head.next(entry)
        rows.append(Row(number, entry, head.sha256))
        events[number] = one
    assert list(faults(rows, events, [head])) == []
    at = data.draw(st.integers(0, 3))
    row = rows[at]
    field = data.draw(st.sampled_from(["entry", "sha256"]))
    text = getattr(row, field)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != text[place]))
    changed = text[:place] + other + text[place + 1 :]
    rows[at] = Row(row.number, **({"entry": row.entry, "sha256": row.sha256} | {field: changed}))
    assert list(faults(rows, events, [head]))


# On the command line.


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    limits = {
        "voltage": ["2 V", "4 V"],
        "current": ["-1 A", "1 A"],
        "temperature": ["0 degC", "60 degC"],
    }
    document = {
        "lab": "test",
        "data": "data",
        "instruments": {
            "aps": {"driver": "keysight_aps", "resource": "TCPIP::127.0.0.1::1::SOCKET"}
        },
        "stations": {"A1": {"cycler": "aps", "limits": limits}},
    }
    (tmp_path / "data").mkdir()
    return write_lab(tmp_path, document)


@pytest.mark.fault("F80")
def test_verify_says_whole_or_names_the_entry_with_exit_code_1(lab: Path, capsys) -> None:
    head = write(lab.parent / "data/journal.sqlite", [event(1), event(2)])
    arguments = ["audit", "verify", "--lab", str(lab)]
    assert run([*arguments, "--head", str(head)]) == 0
    assert str(head) in capsys.readouterr().out
    touch(lab.parent / "data/journal.sqlite", "UPDATE audit SET entry = '{}' WHERE number = 2")
    assert run(arguments) == 1
    assert "entry 2" in capsys.readouterr().err
    assert run([*arguments, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_show_prints_who_did_what(lab: Path, capsys) -> None:
    write(lab.parent / "data/journal.sqlite", [event(1), event(2, EventKind.TRIP, by="guard")])
    assert run(["audit", "show", "--lab", str(lab)]) == 0
    assert "ana-1" in capsys.readouterr().out
    assert run(["audit", "show", "--last", "1", "--json", "--lab", str(lab)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert json.loads(row["entry"])["number"] == 2
