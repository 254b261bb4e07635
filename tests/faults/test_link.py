"""What happens on the line to an instrument; OFF is what the cell's own ledger says."""

from __future__ import annotations

import socket
import time

import pytest

from bench.trips import reaction
from tests.faults.control import charging
from tests.system.daemon import FAMILIES, on

SAFE_S = 5.0
NOTICED_S = 1.5
MANY = 64
FOREIGN = {"keysight_aps": b"CURR:LIM 1\n", "ea_psb": b"CURR 1\n"}


def families(*faults: str) -> list[object]:
    """Every family of cyclers, marked with these faults."""
    return [
        pytest.param(name, marks=[pytest.mark.fault(fault, family=name) for fault in faults])
        for name in FAMILIES
    ]


@pytest.mark.parametrize("family", families("F01", "F02"))
def test_a_line_that_swallows_everything_is_noticed_at_once_and_the_cell_is_safe(
    family, tmp_path, figure
):
    with charging(tmp_path, family) as control:
        struck = time.monotonic()
        control.bench.fault("aps1", "unplugged")
        control.until(lambda: not on(control.bench), "OFF, by whoever still reaches the output")
        off_s = control.edges[-1]["real_s"] - struck
        figure(f"unplugged to OFF, {family}", off_s, "s")
        assert off_s <= SAFE_S
        control.until(lambda: control.station.latch, "it trips")
        assert control.station.latch is not None
        assert control.station.latch.check == "P1"
        noticed_s = control.faults[0][0] - struck
        figure(f"black hole to noticed, {family}", noticed_s, "s")
        assert noticed_s < NOTICED_S  # no time-out of the operating system is waited for


@pytest.mark.parametrize("family", families("F03"))
def test_after_a_reset_the_step_is_energised_by_the_whole_sequence_again(family, tmp_path):
    with charging(tmp_path, family) as control:
        edges, struck = len(control.edges), time.monotonic()
        control.bench.fault("aps1", "reset")
        control.until(lambda: len(control.edges) >= edges + 2, "OFF, and ON again")
        control.until(lambda: control.flows, "current flows again")
        assert [edge["on"] for edge in control.edges[edges:]] == [False, True]
        tape = control.bench.tape("aps1", since=struck)
        heard = "".join(text for _, way, text in tape if way == "heard")
        anew = heard[heard.index("*IDN?") :]  # one reading may have come between fault and reset
        off, energised = (
            ("OUTP 0", "OUTP 1") if family == "keysight_aps" else ("OUTP OFF", "OUTP ON")
        )
        assert anew.index(off) < anew.index(energised)
        assert energised not in heard[: heard.index("*IDN?")]


@pytest.mark.parametrize("family", families("F18"))
def test_a_setpoint_that_a_second_controller_wrote_is_found_and_the_cell_is_safe(
    family, tmp_path, figure
):
    with charging(tmp_path, family) as control:
        struck = time.monotonic()
        with socket.create_connection(control.bench.endpoint("aps1"), 10.0) as other:
            other.sendall(FOREIGN[family])
            control.until(lambda: control.station.latch, "it is found")
        control.until(lambda: not on(control.bench), "OFF")
        assert control.station.latch is not None
        assert control.station.latch.check in ("C2", "I2")  # read back, or not tracking
        figure(f"foreign setpoint to OFF, {family}", control.edges[-1]["real_s"] - struck, "s")


@pytest.mark.fault("F01", family="binder")
@pytest.mark.fault("F02", family="binder")
def test_a_thermometer_that_is_unplugged_is_off_at_the_cycler(tmp_path, figure):
    with charging(tmp_path, "keysight_aps") as control:
        struck = time.monotonic()
        control.bench.fault("mk56", "unplugged")
        control.until(lambda: not on(control.bench), "OFF")
        assert control.station.latch is not None
        assert control.station.latch.check == "P1"
        assert "mk56" in control.station.latch.message
        figure("thermometer unplugged to OFF", control.edges[-1]["real_s"] - struck, "s")
        assert control.edges[-1]["real_s"] - struck <= SAFE_S


@pytest.mark.fault("F03", family="binder")
def test_a_thermometers_link_that_is_reset_is_back_before_it_matters(tmp_path):
    with charging(tmp_path, "keysight_aps") as control:
        edges, connections = len(control.edges), len(control.connections)
        control.bench.fault("mk56", "reset")
        control.until(lambda: len(control.connections) > connections, "it is connected again")
        assert control.connections[-1][1] == "mk56"
        time.sleep(2.5)  # longer than what is stale would take to trip
        assert control.station.latch is None
        assert len(control.edges) == edges


@pytest.mark.fault("F23", family="keysight_aps")
def test_sixty_four_silent_instruments_do_not_slow_the_one_that_must_be_off(tmp_path, figure):
    with charging(tmp_path, "keysight_aps", stations=MANY + 1, period="200 ms") as control:
        silent = [f"aps{number}" for number in range(2, MANY + 2)]
        control.until(
            lambda: all(control.parts.instruments[name].online for name in silent), "all are online"
        )
        supervised_s = max(stamp for stamp, _ in control.connections) - control.began_s
        figure(f"start of the buses to {MANY + 1} channels supervised", supervised_s, "s")
        assert supervised_s < 20.0
        for name in silent:
            control.bench.fault(name, "silence")
        control.until(
            lambda: {name for _, name, _ in control.faults} >= set(silent), "all are silent"
        )
        struck = time.monotonic()
        control.bench.fault("aps1", "offset", quantity="voltage_V", by=1.0)
        control.until(lambda: not on(control.bench), "OFF")
        assert control.station.latch is not None
        assert control.station.latch.check == "V1"
        took_s = reaction(control.bench.tape("aps1", since=struck - 1.0), struck)
        assert took_s is not None
        figure(f"sample to OFF beside {MANY} silent instruments", 1e3 * took_s, "ms")
        assert took_s < 0.5
