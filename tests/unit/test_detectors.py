"""The detectors of alarms: at, under and over their limits, and silent on sound cells."""

from __future__ import annotations

import random

import pytest

from daq.control.alarms.detectors import (
    Availability,
    Fade,
    InternalShort,
    Runaway,
    SelfDischarge,
)
from daq.control.alarms.detectors.fade import LEAST, theil_sen
from simulators.cell import Cell

FALL_V, HOUR_V, WARM, LOSS, SHARE = 0.03, 0.01, 1.0, 0.002, 0.99  # the defaults of a lab file
NOISE_V, NOISE_K = 2e-4, 0.05
EVERY_S = 2.0


# Internal short.


def looks(detector, voltages, current_A=0.0, every_s=1.0, at_s=0.0):
    """What a detector says of voltages under one current."""
    return [
        said
        for n, volt in enumerate(voltages)
        if (said := detector.see(at_s + n * every_s, volt, current_A))
    ]


@pytest.mark.parametrize("current_A", [0.0, 2.5, -2.5])
@pytest.mark.parametrize(("fall_V", "is_short"), [(0.029, False), (0.031, True)])
def test_a_fall_at_once_under_the_same_current_is_a_short(fall_V, is_short, current_A):
    said = looks(InternalShort(FALL_V, 2.5), [3.7] * 5 + [3.7 - fall_V] * 5, current_A)
    assert len(said) == int(is_short)
    assert not said or "31 mV" in said[0]


def test_a_single_low_reading_is_noise():
    assert looks(InternalShort(FALL_V, 2.5), [3.7] * 5 + [3.5] + [3.7] * 5) == []


def test_a_fall_that_a_step_of_the_current_explains_is_none():
    detector = InternalShort(FALL_V, 2.5)
    assert looks(detector, [3.7] * 5) == []
    assert looks(detector, [3.5, 3.49, 3.485, 3.483], -2.5, at_s=5.0) == []
    assert looks(detector, [3.65, 3.66, 3.665], 0.0, at_s=9.0) == []


def test_the_knee_at_the_end_of_a_discharge_is_steep_and_no_short():
    knee = [3.0 - 0.002 * 1.35**n for n in range(20)]  # ever steeper: 0.5 V in the last second
    assert knee[-1] < 2.5
    assert looks(InternalShort(FALL_V, 2.5), [3.0] * 5 + knee, -2.5) == []


def test_looks_that_are_far_apart_say_nothing_of_sudden():
    assert looks(InternalShort(FALL_V, 2.5), [3.7] * 5 + [3.5] * 5, every_s=16.0) == []
    assert len(looks(InternalShort(FALL_V, 2.5), [3.7] * 5 + [3.5] * 5, every_s=15.0)) == 1


# Self-discharge.


def rest(detector, per_hour_V, *, after_A=2.5, at_s=0.0, noise=None):
    """An hour of rest after a current."""
    detector.see(at_s, 4.0, after_A)
    said = []
    for second in range(1, 4000, 10):
        hours = second / 3600.0
        volt = 4.0 - per_hour_V * hours + (noise.gauss(0.0, NOISE_V) if noise else 0.0)
        if found := detector.see(at_s + second, volt, 0.0):
            said.append(found)
    return said


@pytest.mark.parametrize(("per_hour_V", "is_wrong"), [(0.0098, False), (0.0102, True)])
def test_a_rest_that_loses_more_than_a_sound_cell_does_is_told_once(per_hour_V, is_wrong):
    said = rest(SelfDischarge(HOUR_V, 2.5), per_hour_V)
    assert len(said) == int(is_wrong)


@pytest.mark.parametrize(("per_hour_V", "is_wrong"), [(0.0055, False), (0.0065, True)])
def test_a_cell_with_a_history_is_judged_by_its_own(per_hour_V, is_wrong):
    """Its rests lose 1 mV an hour; half of the limit more than usual is 6 mV."""
    detector = SelfDischarge(HOUR_V, 2.5)
    for number in range(5):
        assert rest(detector, 0.001, at_s=1e4 * number) == []
    assert len(rest(detector, per_hour_V, at_s=1e5)) == int(is_wrong)


def test_rests_after_a_discharge_do_not_excuse_rests_after_a_charge():
    detector = SelfDischarge(HOUR_V, 2.5)
    for number in range(5):
        assert rest(detector, -0.004, after_A=-2.5, at_s=1e4 * number) == []
    assert len(rest(detector, 0.0102, after_A=2.5, at_s=1e5)) == 1


def test_a_rest_of_half_an_hour_is_not_judged():
    detector = SelfDischarge(HOUR_V, 2.5)
    detector.see(0.0, 4.0, 2.5)
    assert not any(detector.see(float(s), 4.0 - s * 1e-4, 0.0) for s in range(1, 1800))


# Runaway.


def warm(detector, per_min, *, chamber_per_min=0.0, lasts_s=300, noise=None):
    said = ""
    for second in range(lasts_s):
        cell = 25.0 + per_min * second / 60.0 + (noise.gauss(0.0, NOISE_K) if noise else 0.0)
        said = detector.see(float(second), cell, 25.0 + chamber_per_min * second / 60.0)
    return said


@pytest.mark.parametrize(("per_min", "is_wrong"), [(0.98, False), (1.02, True)])
def test_a_cell_that_warms_up_by_itself_is_told(per_min, is_wrong):
    assert bool(warm(Runaway(WARM), per_min)) is is_wrong


@pytest.mark.parametrize(("per_min", "is_wrong"), [(3.9, False), (4.1, True)])
def test_what_the_chamber_does_is_taken_off(per_min, is_wrong):
    assert bool(warm(Runaway(WARM), per_min, chamber_per_min=3.0)) is is_wrong


def test_a_warming_that_is_over_is_over():
    detector = Runaway(WARM)
    assert warm(detector, 2.0)
    said = [detector.see(300.0 + second, 35.0, 25.0) for second in range(200)]
    assert said[0] and not said[-1]


def test_a_short_jump_is_no_warming():
    detector = Runaway(WARM)
    said = [detector.see(float(s), 25.0 + (5.0 if s == 100 else 0.0), 25.0) for s in range(200)]
    assert not any(said)


def test_the_noise_of_a_thermocouple_is_no_warming():
    noise = random.Random(1)
    detector = Runaway(WARM)
    said = [detector.see(float(s), 25.0 + noise.gauss(0.0, NOISE_K), 25.0) for s in range(10_000)]
    assert not any(said)


# Fade.


def fading(loss, cycles=30, noise=None, extra=()):
    detector, said = Fade(LOSS), ""
    for cycle in range(1, cycles + 1):
        capacity = 2.5 * (1.0 - loss) ** cycle
        if cycle in extra:
            capacity *= 0.6  # a discharge that was cut short
        said = detector.see(cycle, capacity + (noise.gauss(0.0, 1e-3) if noise else 0.0))
    return said


@pytest.mark.parametrize(("loss", "is_wrong"), [(0.0019, False), (0.0021, True)])
def test_a_cell_that_fades_faster_than_the_limit_is_told(loss, is_wrong):
    assert bool(fading(loss)) is is_wrong


def test_a_few_discharges_that_were_cut_short_bend_nothing():
    assert fading(0.0002, extra=(3, 28, 29, 30)) == ""
    assert fading(0.0025, extra=(1, 2, 15)) != ""


def test_fewer_capacities_than_ten_say_nothing():
    assert fading(0.02, cycles=LEAST - 1) == ""
    assert fading(0.02, cycles=LEAST) != ""


def test_noise_is_no_fade():
    assert all(fading(0.0002, noise=random.Random(seed)) == "" for seed in range(20))


def test_cycles_of_a_program_that_does_not_count_them_are_counted():
    detector = Fade(LOSS)
    said = [detector.see(0, 2.5 * 0.99**n) for n in range(12)]
    assert said[-1]


def test_the_slope_is_the_median_of_all_slopes():
    assert theil_sen([(0.0, 0.0), (1.0, 1.0), (2.0, 2.0), (3.0, 99.0), (4.0, 4.0)]) == 1.0


# Availability.


def hours(detector, share, lasts_s, *, rate_hz=10, at_s=0.0, before=0):
    said = ""
    for second in range(lasts_s):
        said = detector.see(at_s + second, before + int(share * rate_hz * second))
    return said


@pytest.mark.parametrize(("share", "is_wrong"), [(0.991, False), (0.989, True)])
def test_data_of_which_a_share_is_missing_is_told(share, is_wrong):
    assert bool(hours(Availability(SHARE, 0.1), share, 3600)) is is_wrong


def test_a_run_of_nine_minutes_says_nothing_yet():
    assert hours(Availability(SHARE, 0.1), 0.5, 540) == ""
    assert hours(Availability(SHARE, 0.1), 0.5, 700) != ""


def test_a_gap_is_forgotten_after_an_hour():
    detector = Availability(SHARE, 0.1)
    assert hours(detector, 0.5, 1800)
    assert hours(detector, 1.0, 1800, at_s=1800.0, before=9000) != ""
    assert hours(detector, 1.0, 3700, at_s=3600.0, before=27_000) == ""


def test_what_comes_while_nothing_runs_is_nobodys_data():
    detector = Availability(SHARE, 0.1)
    assert hours(detector, 1.0, 1800) == ""
    detector.pause()
    assert hours(detector, 1.0, 1800, at_s=90_000.0, before=18_000) == ""


# Sound cells.


class Sound:
    """A simulated cell under all detectors, every two seconds, with the noise of a bench."""

    def __init__(self, chemistry="nmc", formed=True, soc=0.0, seed=0):
        self.cell = Cell(chemistry, 2.5, soc, formed=formed, temperature_degC=25.0, seed=seed)
        self.noise = random.Random(seed)
        self.short = InternalShort(FALL_V, 2.5)
        self.rest = SelfDischarge(HOUR_V, 2.5)
        self.runaway = Runaway(WARM)
        self.fade = Fade(LOSS)
        self.time_s = 0.0
        self.said = []

    def run(self, current_A, until_V=None, lasts_s=1e6):
        """Until a voltage or a time; the charge that flowed, Ah."""
        began_s = self.time_s
        while self.time_s - began_s < lasts_s:
            self.cell.step(EVERY_S, current_A)
            self.time_s += EVERY_S
            volt = self.cell.voltage_V(current_A)
            self.see(volt, current_A)
            if until_V and (volt - until_V) * current_A > 0.0:
                break
        return abs(current_A) * (self.time_s - began_s) / 3600.0

    def see(self, volt, current_A):
        seen = self.time_s, volt + self.noise.gauss(0.0, NOISE_V), current_A
        degC = self.cell.temperature_degC + self.noise.gauss(0.0, NOISE_K)
        found = (self.short.see(*seen), self.rest.see(*seen))
        self.said += [one for one in (*found, self.runaway.see(self.time_s, degC, 25.0)) if one]


def test_nothing_is_said_of_a_sound_cell_that_is_formed():
    sound = Sound(formed=False)
    sound.run(0.0, lasts_s=7200)
    sound.run(0.5, until_V=4.2, lasts_s=60_000)
    sound.run(0.0, lasts_s=4000)
    sound.run(-0.5, until_V=2.5, lasts_s=60_000)
    sound.run(0.0, lasts_s=4000)
    assert sound.said == []


@pytest.mark.parametrize("chemistry", ["nmc", "lfp"])
def test_nothing_is_said_of_a_sound_cell_that_is_cycled(chemistry):
    sound = Sound(chemistry, soc=0.1)
    top, bottom = (4.2, 2.7) if chemistry == "nmc" else (3.6, 2.5)
    for cycle in range(1, 13):
        sound.run(2.5, until_V=top, lasts_s=5000)
        sound.run(0.0, lasts_s=3700 if cycle % 4 == 0 else 300)
        capacity = sound.run(-2.5, until_V=bottom, lasts_s=5000)
        sound.run(0.0, lasts_s=3700 if cycle % 4 == 0 else 300)
        if said := sound.fade.see(cycle, capacity):
            sound.said.append(said)
    assert sound.said == []
