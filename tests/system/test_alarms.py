"""Alarms of the whole daemon: one for a dead chamber, acknowledged, hidden in maintenance."""

from __future__ import annotations

from daq.control.client import ControlClient
from daq.model import EventKind
from tests.system.daemon import CHARGE, on, running_daemon, wait_until

STATIONS = 4


def alarms(daemon):
    return daemon.client.call("alarms").data["alarms"]


def test_a_chamber_that_dies_is_one_alarm_for_all_its_stations_and_is_acknowledged(tmp_path):
    with running_daemon(tmp_path, stations=STATIONS) as (bench, daemon):
        names = [f"A{number}" for number in range(1, STATIONS + 1)]
        reply = daemon.call("maintenance", "A1", for_s=3600, reason="a new sensor")
        assert reply.state == "done"
        for number, name in enumerate(names, start=1):
            daemon.run(CHARGE, name, f"c{number}")
        daemon.energised("A1")
        bench.fault("mk56", "silence")
        for name in names:
            daemon.wait_for(name, mode="tripped")

        def root():
            found = [one for one in alarms(daemon) if one["cause"] == "chamber-dead"]
            return found if found and len(found[0]["beneath"]) == STATIONS else []

        (alarm,) = wait_until(root, lambda: str(alarms(daemon)))
        assert [one["cause"] for one in alarms(daemon)] == ["chamber-dead"]
        assert {one["station"] for one in alarm["beneath"]} == set(names)
        assert {one["cause"] for one in alarm["beneath"]} == {"trip-P1"}
        assert not alarm["suppressed"]  # three of four stations are not in maintenance
        assert alarm["runbook"] == "docs/runbooks/chamber-dead.md"
        assert daemon.client.call("status").data["alarms"]["page"] == 1
        assert daemon.station("A1")["maintenance"]["reason"] == "a new sensor"
        for number in range(1, STATIONS + 1):
            wait_until(lambda n=number: not on(bench, f"cell-{n}"), "the output is OFF")

        client = ControlClient(daemon.data)
        assert client.call("ack", alarm=alarm["id"]).state == "refused"
        assert client.call("ack", alarm=alarm["id"], reason="on my way").state == "done"
        assert daemon.client.call("status").data["alarms"]["acknowledged"] == 1
        told = [one.data for one in daemon.events(EventKind.ALARM)]
        assert not any(one["cause"] == "trip-P1" for one in told)
