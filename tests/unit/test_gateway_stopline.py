"""Two connections bring each stop: one copy is served, whichever comes first or alone."""

from __future__ import annotations

import pytest

from daq.gateway.stopline import ECHO_S, MOST_REMEMBERED, Echoes

STOP = ("daq/lab/cmd/stop", b'{"id": "1"}')


@pytest.fixture
def now(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("daq.gateway.stopline.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("first", [True, False])
def test_of_two_copies_the_second_is_the_echo(now, first):
    echoes = Echoes()
    assert not echoes.is_echo(*STOP, on_stop_line=first)
    assert echoes.is_echo(*STOP, on_stop_line=not first)


def test_what_a_client_sends_again_is_served_again(now):
    echoes = Echoes()
    for _ in range(3):
        assert not echoes.is_echo(*STOP, on_stop_line=True)
        assert echoes.is_echo(*STOP, on_stop_line=False)


def test_what_came_over_one_alone_hides_no_later_one_for_long(now):
    echoes = Echoes()
    assert not echoes.is_echo(*STOP, on_stop_line=False)
    now[0] += ECHO_S
    assert not echoes.is_echo(*STOP, on_stop_line=True)


def test_a_pause_is_no_echo_of_a_stop(now):
    echoes = Echoes()
    assert not echoes.is_echo("daq/lab/cmd/stop", b"x", on_stop_line=True)
    assert not echoes.is_echo("daq/lab/cmd/pause", b"x", on_stop_line=False)


def test_a_flood_of_stops_does_not_grow_it(now):
    echoes = Echoes()
    for number in range(5 * MOST_REMEMBERED):
        echoes.is_echo("daq/lab/cmd/stop", b"%d" % number, on_stop_line=True)
    assert len(echoes._seen) == MOST_REMEMBERED
