"""The guard hands each of its rules what that rule needs to know, and nothing else."""

from __future__ import annotations

from daq.checks import NOTHING_SET, Checks
from daq.control.guard import Freshness, Guard
from daq.model import Counters, Limits, Setpoint
from tests.unit.guard.samples import CHARGE, sample
from tests.unit.guard.test_edges import LIVELY
from tests.unit.guard.test_steps import FULL, step

HARD = Limits((2.0, 4.35), (-10.0, 10.0), (-20.0, 60.0))


def guard(cycle: int = 0, counters: Counters | None = None, checks: Checks = NOTHING_SET) -> Guard:
    """A guard in the first step of a run, at a cycler that charges."""
    cycler, thermometer = Freshness("aps1.1", 0.1), Freshness("tc1.1", 1.0)
    watched = Guard(HARD, range_A=10.0, slack_s=0.5, cycler=cycler, thermometer=thermometer)
    watched.begin(
        2.5, checks, at_most_s=1e6, cycles=9, cycle=cycle, counters=counters or Counters(),
        snapshot={},
    )  # fmt: skip
    watched.enter(HARD, 0.0, 1e6)
    watched.output.command(CHARGE, -100.0)
    return watched


def test_the_temperature_knows_that_the_cell_is_charged():
    trip = guard().check_temperature(sample(temperature_degC=-5.0))
    assert trip is not None
    assert trip.message == "temperature -5 degC is below the limit of 0 degC"


def test_the_efficiency_goes_on_from_the_cycle_and_the_counters_of_the_run():
    before = Counters(5.0, 5.0, 20.0, 18.0)
    watched = guard(cycle=3, counters=before)
    after = Counters(7.0, 7.0, 28.0, 18.8)
    assert watched.efficiency.judge(3, after, 2.5) is None
    caution = watched.efficiency.judge(4, after, 2.5)
    assert caution is not None
    assert caution.message == "cycle 3 gave back 10.0% of the energy it was given"


def test_a_step_is_too_short_by_the_capacity_of_the_cell_of_the_run():
    for moved_Ah, held in ((0.012, True), (0.013, False)):  # half a percent of 2.5 Ah
        watched = guard()
        watched.step_minimum.began(3.7, 0.0)
        why = watched.step_minimum.judge(
            step(CHARGE, FULL), FULL.text, voltage_V=4.2, lasted_s=60.0, net_Ah=moved_Ah
        )
        assert bool(why) is held


def test_a_reading_is_not_its_own_witness():
    watched = guard()
    watched.output.command(Setpoint(4.21, 2.5, 2.5), -100.0)  # no current that must be tracked
    for n in range(400):  # the voltage was lively and stands; nothing else ever moved
        one = sample(float(n), voltage_V=3.7 + (LIVELY[n] if n < 100 else 0.0), current_A=1.0)
        assert watched.check_cycler(one) is None
