"""Scripted faults: what leaves, what arrives, when it begins and when it ends."""

import math

import pytest

from simulators.clock import ManualClock
from simulators.faults import KINDS, Faults
from simulators.wire import Out, Perturb

REPLY = [Out(b"+3.700000E+00\n")]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def box() -> Perturb:
    return Perturb()


@pytest.fixture
def faults(clock, box) -> Faults:
    return Faults(clock, box)


def test_without_a_fault_everything_passes(faults):
    assert faults.shape(REPLY) == REPLY
    assert faults.hears()
    assert not faults.refusing
    assert faults.hangup() is None


def test_a_silent_instrument_hears_and_does_not_answer(faults):
    faults.add("silence")
    assert faults.hears()
    assert faults.shape(REPLY) == []


def test_an_unplugged_instrument_neither_hears_nor_answers(faults):
    faults.add("unplugged")
    assert not faults.hears()
    assert faults.shape(REPLY) == []


def test_a_late_answer_is_whole(faults):
    faults.add("late", delay=2.5)
    assert faults.shape([Out(b"1\n", 0.5)]) == [Out(b"1\n", 3.0)]


def test_half_a_line_has_no_end(faults):
    faults.add("half")
    assert faults.shape(REPLY) == [Out(b"+3.7000")]


def test_garbage_keeps_length_and_line_end(faults):
    faults.add("garbage")
    (out,) = faults.shape(REPLY)
    assert len(out.data) == len(REPLY[0].data)
    assert out.data.endswith(b"\n")
    assert out.data != REPLY[0].data
    assert out.data.count(b"\n") == 1


def test_garbage_is_the_same_for_the_same_seed(clock):
    noise = []
    for seed in (1, 1, 2):
        faults = Faults(clock, None, seed)
        faults.add("garbage")
        noise.append(faults.shape(REPLY))
    assert noise[0] == noise[1] != noise[2]


def test_a_duplicated_answer_leaves_twice(faults):
    faults.add("duplicate")
    assert faults.shape(REPLY) == REPLY * 2


def test_a_slow_answer_trickles_byte_by_byte(faults):
    faults.add("slow", bytes_per_s=2.0)
    assert faults.shape([Out(b"ab\n")]) == [Out(b"a", 0.5), Out(b"b", 1.0), Out(b"\n", 1.5)]


def test_a_count_ends_a_fault_after_so_many_answers(faults):
    faults.add("silence", count=1)
    assert faults.shape(REPLY) == []
    assert faults.shape(REPLY) == REPLY


def test_a_count_counts_answers_and_not_messages(faults):
    faults.add("silence", count=1)
    assert faults.shape(REPLY * 2) == REPLY


def test_a_fault_begins_and_ends_on_real_time():
    clock = ManualClock(factor=1000.0)
    faults = Faults(clock, None)
    faults.add("silence", after=1.0, lasts=2.0)
    seen = []
    for _ in range(4):
        seen.append(len(faults.shape(REPLY)))
        clock.advance(1000.0)
    assert seen == [1, 0, 0, 1]


def test_two_faults_add_up(faults):
    faults.add("half")
    faults.add("late", delay=1.0)
    assert faults.shape(REPLY) == [Out(b"+3.7000", 1.0)]


@pytest.mark.parametrize("kind", ["close", "reset"])
def test_a_hangup_without_length_strikes_once(faults, kind):
    faults.add(kind)
    assert faults.hangup() == kind
    assert faults.hangup() is None


def test_a_hangup_with_length_strikes_whoever_comes_back(faults, clock):
    faults.add("close", lasts=2.0)
    assert [faults.hangup(), faults.hangup()] == ["close", "close"]
    clock.advance(2.0)
    assert faults.hangup() is None


def test_a_refusal_ends_with_its_time(faults, clock):
    faults.add("refuse", lasts=1.0)
    assert faults.refusing
    clock.advance(1.0)
    assert not faults.refusing


def test_a_reading_that_is_not_a_number_is_so_for_its_quantity_only(faults, box):
    faults.add("nan", quantity="voltage_V")
    assert math.isnan(box.value("voltage_V", 3.7))
    assert box.value("current_A", 1.0) == 1.0


def test_a_stuck_reading_keeps_its_first_value_and_is_freed_again(faults, box, clock):
    faults.add("stuck", lasts=5.0)
    assert [box.value("voltage_V", v) for v in (3.7, 3.8, 3.9)] == [3.7, 3.7, 3.7]
    clock.advance(5.0)
    faults.advance()
    assert box.value("voltage_V", 4.0) == 4.0
    faults.add("stuck")
    assert [box.value("voltage_V", v) for v in (4.1, 4.2)] == [4.1, 4.1]


def test_a_shifted_reading_is_off_by_so_much_until_its_time_is_over(faults, box, clock):
    faults.add("offset", quantity="voltage_V", by=-0.5, lasts=5.0)
    assert box.value("voltage_V", 3.7) == pytest.approx(3.2)
    assert box.value("current_A", 1.0) == 1.0
    clock.advance(5.0)
    faults.advance()
    assert box.value("voltage_V", 3.7) == 3.7


def test_orders_are_ignored_until_the_fault_is_cleared(faults, box):
    faults.add("ignored_off")
    faults.add("ignored_set")
    assert (box.ignores_off, box.ignores_set) == (True, True)
    faults.clear()
    assert (box.ignores_off, box.ignores_set) == (False, False)


def test_clearing_ends_what_was_only_planned(faults, clock):
    faults.add("close", after=1.0)
    faults.add("silence", after=1.0)
    faults.clear()
    clock.advance(2.0)
    assert faults.hangup() is None
    assert faults.shape(REPLY) == REPLY


@pytest.mark.parametrize(
    ("kind", "options", "why"),
    [
        ("fire", {}, "unknown fault kind 'fire'"),
        ("late", {"delai": 1.0}, "unknown fault option 'delai'"),
        ("late", {"delay": -1.0}, "delay must be"),
        ("slow", {"bytes_per_s": 0}, "bytes_per_s must be"),
        ("nan", {"quantity": 3}, "quantity must be"),
        ("half", {"count": True}, "count must be"),
        ("half", {"count": 1.5}, "count must be"),
    ],
)
def test_a_fault_that_cannot_be_is_refused(faults, kind, options, why):
    with pytest.raises(ValueError, match=why):
        faults.add(kind, **options)


def test_a_fault_of_the_box_needs_a_dialect_that_can_show_it(clock):
    with pytest.raises(ValueError, match="cannot show the fault 'stuck'"):
        Faults(clock, None).add("stuck")


def test_every_kind_can_be_planned(faults):
    for kind in KINDS:
        faults.add(kind, lasts=1.0)
