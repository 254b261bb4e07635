"""How far the gateway has got, across restarts, flaps and gaps."""

import pytest

from daq.errors import DaqError
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
    assert numbers == [1, 2, 3, 4, 5, 6]


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
