"""The chamber: lag, overshoot, door and safety thermostat."""

import pytest

from simulators.chamber import ChamberModel
from simulators.clock import ManualClock


def watched(clock: ManualClock, chamber: ChamberModel, minutes: int) -> list[float]:
    seen = []
    for _ in range(minutes):
        clock.advance(60.0)
        chamber.advance()
        seen.append(chamber.temperature_degC)
    return seen


def started(setpoint_degC: float) -> tuple[ManualClock, ChamberModel]:
    clock = ManualClock()
    chamber = ChamberModel(clock, 23.0)
    chamber.set(setpoint_degC)
    chamber.start()
    return clock, chamber


@pytest.mark.parametrize("setpoint_degC", [-20.0, 25.0, 60.0])
def test_the_air_takes_minutes_overshoots_a_little_and_settles(setpoint_degC):
    clock, chamber = started(setpoint_degC)
    seen = watched(clock, chamber, 180)
    distance = setpoint_degC - 23.0
    assert abs(seen[0] - 23.0) < 0.8 * abs(distance)
    overshoot = max((t - setpoint_degC) * (1 if distance > 0 else -1) for t in seen)
    assert 0.0 < overshoot < 0.15 * abs(distance) + 0.1
    assert all(abs(t - setpoint_degC) < 0.2 for t in seen[90:])


def test_a_setpoint_alone_moves_nothing():
    clock = ManualClock()
    chamber = ChamberModel(clock, 23.0)
    chamber.set(60.0)
    assert watched(clock, chamber, 60)[-1] == pytest.approx(23.0)


def test_a_stopped_chamber_drifts_back_to_the_room():
    clock, chamber = started(60.0)
    watched(clock, chamber, 120)
    chamber.stop()
    seen = watched(clock, chamber, 600)
    assert 40.0 < seen[5]
    assert seen[-1] == pytest.approx(23.0, abs=0.5)


def test_an_open_door_keeps_the_chamber_from_its_setpoint():
    clock, chamber = started(60.0)
    watched(clock, chamber, 120)
    chamber.door_open = True
    assert watched(clock, chamber, 30)[-1] < 55.0


def test_the_safety_thermostat_cuts_the_heater_and_stays_tripped_until_acknowledged():
    clock = ManualClock()
    chamber = ChamberModel(clock, 23.0, limit_degC=50.0)
    chamber.set(60.0)
    chamber.start()
    seen = watched(clock, chamber, 600)
    assert max(seen) < 60.0
    assert seen[-1] < 30.0
    assert chamber.over_temperature is True
    chamber.acknowledge()
    assert chamber.over_temperature is False


def test_one_long_look_is_as_good_as_many():
    ends = []
    for minutes in (1, 100):
        clock, chamber = started(45.0)
        for _ in range(minutes):
            clock.advance(6000.0 / minutes)
            chamber.advance()
        ends.append(chamber.temperature_degC)
    assert ends[0] == pytest.approx(ends[1], abs=0.02)


def test_warm_air_is_drier():
    clock, chamber = started(60.0)
    before = chamber.humidity_pct
    watched(clock, chamber, 120)
    assert 0.0 < chamber.humidity_pct < 0.3 * before


def test_a_regulated_humidity_goes_to_its_setpoint_while_the_chamber_runs():
    clock, chamber = started(30.0)
    chamber.set_humidity(70.0)
    watched(clock, chamber, 60)
    regulated_pct = chamber.humidity_pct
    assert regulated_pct == pytest.approx(70.0, abs=0.5)
    chamber.set_humidity(None)
    watched(clock, chamber, 1)
    as_it_comes_pct = chamber.humidity_pct
    assert as_it_comes_pct < 45.0  # warm air
