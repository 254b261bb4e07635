"""Stations that share a chamber: one owner of its setpoint, and nobody blocks anybody."""

from __future__ import annotations

import pytest

from daq.model import EventKind
from simulators.client import running_bench
from tests.system.daemon import Daemon, bench_file, lab_file, wait_until, write_lab

FACTOR = 500.0


def soak(degC: int, rest: str) -> str:
    return f"""
protocol: soak-{degC}
version: 1.0.0
safety: {{voltage: [2.4 V, 4.25 V], temperature: [0 degC, 50 degC]}}
steps:
  - chamber: {degC} degC
    soak: {{within: 1 K, for: 1 min, at_most: 12 h}}
  - rest: {rest}
"""


@pytest.fixture(params=["wait", "refuse"])
def sharing(request) -> str:
    return request.param


@pytest.fixture
def daemon(tmp_path, sharing):
    with running_bench(bench_file(2, FACTOR)) as bench:
        document = lab_file(bench, FACTOR)
        document["instruments"]["mk56"]["sharing"] = sharing
        made = Daemon(write_lab(tmp_path, document))
        made.start()
        yield made
        made.stop()


@pytest.mark.parametrize("sharing", ["wait"], indirect=True)
def test_a_program_that_wants_another_temperature_waits_until_the_first_is_done(daemon):
    first = daemon.run(soak(30, "30 min"), "A1", "c1")
    daemon.wait_for("A1", step=2)
    second = daemon.run(soak(40, "1 min"), "A2", "c2")
    seen = daemon.wait_for("A2", mode="waiting")
    assert seen["why"] == "mk56 is in use by A1"
    assert seen["chamber_degC"] == pytest.approx(30.0, abs=1.5)

    def order() -> list[str]:
        return [event.run for event in daemon.events(EventKind.RUN_ENDED)]

    wait_until(lambda: len(order()) == 2, "both ran to their end")
    assert order() == [first, second]
    waits = [event for event in daemon.events(EventKind.NOTE) if event.station == "A2"]
    assert len(waits) == 1  # told once, however often it was asked


@pytest.mark.parametrize("sharing", ["wait"], indirect=True)
def test_programs_that_want_the_same_temperature_do_not_wait_for_each_other(daemon):
    daemon.run(soak(30, "1 h"), "A1", "c1")
    daemon.run(soak(30, "1 h"), "A2", "c2")
    daemon.wait_for("A1", step=2)
    daemon.wait_for("A2", step=2)


@pytest.mark.parametrize("sharing", ["refuse"], indirect=True)
def test_where_the_lab_file_says_refuse_such_a_program_is_not_even_started(daemon):
    daemon.run(soak(30, "12 h"), "A1", "c1")
    arguments = {"name": "t.yaml", "cell": "c2"}
    refused = daemon.call("start", "A2", text=soak(40, "1 h"), **arguments)
    assert refused.state == "refused"
    assert "whose program sets 30 degC; this one sets 40 degC" in refused.reason
    assert daemon.call("start", "A2", text=soak(30, "1 h"), **arguments).state == "done"
