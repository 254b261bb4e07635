"""How far the gateway has got, across restarts, flaps, gaps and bad disks."""

import sqlite3
import time
from itertools import pairwise

import pytest

from daq.errors import DaqError
from daq.gateway import cursor as module
from daq.gateway.cursor import Cursor, Gap


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gateway.cursor"


@pytest.fixture
def cursor(path):
    cursor = Cursor(path)
    yield cursor
    cursor.close()


def test_a_session_number_is_never_used_twice(path):
    numbers = []
    for _ in range(3):
        cursor = Cursor(path)
        numbers += [cursor.next_session(), cursor.next_session()]
        cursor.close()
    assert numbers == sorted(set(numbers))


def test_not_even_when_the_file_is_lost_or_the_clock_goes_back(path, monkeypatch):
    first = Cursor(path)
    number = first.next_session()
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert first.next_session() == number + 1
    first.close()
    monkeypatch.undo()
    path.unlink()
    monkeypatch.setattr(time, "time", lambda: number + 5.0)
    second = Cursor(path)
    assert second.next_session() > number + 1
    second.close()


def test_what_was_missed_is_a_gap_and_live_goes_on_behind_it(cursor):
    cursor.advance(10)
    cursor.miss(25)
    assert cursor.live == 25
    assert cursor.oldest_gap() == Gap(10, 25)
    backlog = cursor.backlog()
    assert (backlog.entries, backlog.first_seq, backlog.last_seq) == (15, 11, 25)


def test_nothing_missed_is_no_gap(cursor):
    cursor.advance(10)
    cursor.miss(10)
    assert cursor.oldest_gap() is None
    assert cursor.backlog() is None


def test_gaps_are_filled_oldest_first_and_end(cursor):
    cursor.miss(10)
    cursor.advance(20)
    cursor.miss(30)
    assert not cursor.fill(Gap(0, 10), 4)
    assert cursor.oldest_gap() == Gap(4, 10)
    assert cursor.fill(Gap(4, 10), 10)
    assert cursor.oldest_gap() == Gap(20, 30)


def test_a_restart_in_the_middle_of_a_back_fill_goes_on_there(path):
    first = Cursor(path)
    first.advance(5)
    first.miss(100)
    first.fill(Gap(5, 100), 40)
    first.close()
    second = Cursor(path)
    assert (second.live, second.oldest_gap()) == (100, Gap(40, 100))
    second.close()


def test_a_broker_that_comes_and_goes_makes_one_gap_not_many(cursor):
    for head in range(10, 1000, 10):
        cursor.miss(head)
    assert cursor.oldest_gap() == Gap(0, 990)


def test_a_gap_that_grows_while_it_is_filled_loses_nothing(cursor):
    cursor.miss(10)
    gap = cursor.oldest_gap()
    cursor.miss(30)
    assert not cursor.fill(gap, 10)
    assert cursor.oldest_gap() == Gap(10, 30)


def test_another_journal_is_published_from_its_beginning(cursor):
    cursor.miss(50)
    cursor.advance(80)
    cursor.miss(7)
    assert (cursor.live, cursor.oldest_gap()) == (7, Gap(0, 7))


def test_two_gateways_cannot_hold_one_cursor(cursor, path):
    with pytest.raises(DaqError, match="another gateway"):
        Cursor(path, patience_s=0.05)


def test_gaps_never_become_so_many_that_they_fill_the_memory(cursor, monkeypatch):
    monkeypatch.setattr(module, "MOST_GAPS", 20)
    for number in range(0, 200, 2):
        cursor.advance(number + 1)
        cursor.miss(number + 2)
    oldest = cursor.oldest_gap()
    assert oldest == Gap(1, 2)
    seen = 0
    while gap := cursor.oldest_gap():
        assert gap.after < gap.last
        cursor.fill(gap, gap.last)
        seen += 1
    assert seen == 20


# Bad disks.


def numbers_in(path):
    again = Cursor(path)
    found = again.live, again.oldest_gap()
    again.close()
    return found


def write_something(path):
    cursor = Cursor(path)
    cursor.advance(5)
    cursor.miss(100)
    cursor.close()


@pytest.mark.parametrize(
    "harm",
    [
        lambda whole: b"not a database at all, but long enough to look at" * 100,
        lambda whole: whole[:100] + b"\xff" * (len(whole) - 100),
        lambda whole: whole[:1000],
    ],
    ids=["rubbish", "pages", "cut"],
)
def test_a_file_that_cannot_be_read_is_put_aside_and_everything_comes_again(path, harm):
    write_something(path)
    path.write_bytes(harm(path.read_bytes()))
    cursor = Cursor(path)
    assert (cursor.live, cursor.oldest_gap()) == (0, None)
    cursor.miss(100)  # as the live tail does at once: the whole journal
    assert cursor.oldest_gap() == Gap(0, 100)
    cursor.fill(Gap(0, 100), 40)
    cursor.close()
    assert path.with_name("gateway.cursor.unreadable").exists()
    assert numbers_in(path) == (100, Gap(40, 100))


def test_an_empty_file_is_a_new_one(path):
    path.touch()
    assert numbers_in(path) == (0, None)


class FailingDisk:
    """Stands where the database is opened; fails on command."""

    def __init__(self, monkeypatch):
        self.full = False
        self._write = module._write
        monkeypatch.setattr(module, "_write", self.write)
        monkeypatch.setattr(module, "RETRY_S", 0.0)

    def write(self, *arguments):
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        self._write(*arguments)


def test_a_full_disk_stops_no_publishing_and_is_made_up_for(path, monkeypatch):
    disk = FailingDisk(monkeypatch)
    cursor = Cursor(path)
    cursor.advance(5)
    disk.full = True
    before = cursor.next_session()
    cursor.miss(50)
    cursor.fill(Gap(5, 50), 20)
    cursor.advance(60)
    assert (cursor.live, cursor.oldest_gap()) == (60, Gap(20, 50))
    assert cursor.next_session() > before
    disk.full = False
    cursor.advance(61)
    cursor.close()
    assert numbers_in(path) == (61, Gap(20, 50))


def test_a_kill_while_the_disk_is_full_repeats_and_loses_nothing(path, monkeypatch):
    disk = FailingDisk(monkeypatch)
    cursor = Cursor(path)
    cursor.advance(5)
    disk.full = True
    cursor.advance(60)
    cursor.close()
    assert numbers_in(path) == (5, None)


def test_a_folder_that_cannot_be_written_is_read_and_gone_on_from(path, monkeypatch):
    write_something(path)

    def refuse(self):
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(module._File, "_open", refuse)
    cursor = Cursor(path)
    assert (cursor.live, cursor.oldest_gap()) == (100, Gap(5, 100))
    sessions = [cursor.next_session() for _ in range(3)]
    assert all(before < after for before, after in pairwise(sessions))
    cursor.close()


def test_a_folder_that_is_not_there_stops_nothing(tmp_path):
    cursor = Cursor(tmp_path / "gone" / "gateway.cursor")
    cursor.miss(7)
    assert cursor.oldest_gap() == Gap(0, 7)
    cursor.close()
