"""Refusals: the first told at once, a million as a few, and nothing that grows."""

from __future__ import annotations

from daq.access.refusals import LONGEST_INTERVAL_S, MOST_KINDS, OTHERS, Refusal, Refusals


def told(refusals, now_s):
    return [(found.client, found.count) for found in refusals.due(now_s)]


def test_the_first_is_told_at_once_and_what_follows_with_its_count():
    refusals = Refusals()
    refusals.note(Refusal("eve", "start", "unsigned"), 0.0)
    assert told(refusals, 0.0) == [("eve", 1)]
    for _ in range(1000):
        refusals.note(Refusal("eve", "start", "unsigned"), 0.1)
    assert told(refusals, 0.5) == []
    assert told(refusals, 1.0) == [("eve", 1000)]


def test_what_ended_is_forgotten_and_told_at_once_when_it_comes_back():
    refusals = Refusals()
    refusals.note(Refusal("eve", "start", "unsigned"), 0.0)
    assert told(refusals, 0.0)
    assert told(refusals, 1.0) == []  # quiet, but not for long enough
    assert told(refusals, 9.0) == []
    refusals.note(Refusal("eve", "start", "unsigned"), 9.0)
    assert told(refusals, 9.0) == [("eve", 1)]


def test_a_day_of_a_flood_under_ever_new_names_is_bounded():
    refusals, entries, count = Refusals(), 0, 0
    for second in range(86_400):
        for number in range(3):
            refusals.note(Refusal(f"eve-{second}-{number}", "start", "unsigned", 3333), second)
        assert len(refusals._kinds) <= MOST_KINDS + 1
        for found in refusals.due(second):
            entries += 1
            count += found.count
    count += sum(found.count for found in refusals.rest())
    assert count == 86_400 * 3 * 3333  # not one is missing
    assert entries < 10_000
    assert LONGEST_INTERVAL_S == 600.0


def test_too_many_kinds_become_one():
    refusals = Refusals()
    for number in range(MOST_KINDS + 5):
        refusals.note(Refusal(f"eve-{number}", "start", "unsigned"), 0.0)
    found = list(refusals.due(0.0))
    assert len(found) == MOST_KINDS + 1
    assert (found[-1].reason, found[-1].count) == (OTHERS.reason, 5)
    assert list(refusals.rest()) == []


def test_a_text_is_cut():
    refusals = Refusals()
    refusals.note(Refusal("e" * 1000, "s" * 1000, "r" * 1000), 0.0)
    (found,) = refusals.due(0.0)
    assert (len(found.client), len(found.verb), len(found.reason)) == (64, 64, 200)
