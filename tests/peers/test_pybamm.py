"""PyBaMM takes what we export, and its experiments come back as they were."""

from __future__ import annotations

import json

import pytest

from tests.peers.exchanged import ours, steps, theirs

EXPERIMENT = """[
    "Rest for 1 hour",
] + [
    (
        "Charge at C/3 for 5 hours or until 4.2 V",
        "Hold at 4.2 V until C/50",
        "Rest for 30 minutes",
        "Discharge at 1 A until 2.5 V",
    ),
] * 3 + [
    ("Discharge at 500 mW for 2 minutes", "Charge at 200 mA for 10 seconds"),
]"""

CONFIG = """
import json, sys
import numpy as np
import pybamm
experiment = pybamm.Experiment(
    [(
        pybamm.step.c_rate(-1 / 3, duration="5 hours", termination="4.2 V"),
        pybamm.step.voltage(4.2, duration=7200, termination="C/50"),
        pybamm.step.rest(duration=1800),
        pybamm.step.current(1, termination="2.5 V", tags="deep"),
        pybamm.step.power(2, termination="2.5 V", duration=60),
    )] * 4,
    period="30 seconds",
    temperature="25oC",
)
"""

SAME = """
import json, sys
import pybamm
def steps(experiment):
    return [[
        (type(s).__name__, float(s.value), s.duration, s.direction, s.temperature,
         [repr(t) for t in s.termination])
        for s in [experiment.steps[n] for n in range(sum(experiment.cycle_lengths))]
    ], experiment.cycle_lengths]
a = steps(pybamm.Experiment(eval(sys.argv[1])))
b = steps(pybamm.Experiment(eval(sys.argv[2])))
print(json.dumps([a, b]))
"""


@pytest.fixture(scope="session")
def pybamm(peer):
    return peer("pybamm")


def test_text_comes_back_as_it_was_and_is_taken(pybamm):
    text = theirs(ours(EXPERIMENT, "pybamm"), "pybamm")
    before, after = pybamm.json(SAME, EXPERIMENT, text)
    assert after == before


def test_text_that_pybamm_takes_line_by_line_is_taken_by_us(pybamm):
    """Both sides understand, or both refuse."""
    lines = [
        "Discharge at 1C for 0.5 hours",
        "Discharge at C/20 for 0.5 hours",
        "Charge at 0.5 C for 45 minutes",
        "Charge at 200 mA for 45 minutes",
        "Discharge at 1W for 0.5 hours",
        "Charge at 200mW for 45 minutes",
        "Discharge at 5 Ohm for 1 hour",
        "Rest for 10 minutes (1 second period)",
        "Hold at 1V for 20 seconds",
        "Charge at 1 C until 4.1V",
        "Hold at 4.1 V until 50mA",
        "Hold at 3V until C/50",
        "Discharge at C/3 for 2 hours or until 2.5 V",
        "Charge at 1 A",
        "Sing at 1 A for 1 hour",
        "Charge at 1 A for 2 parsecs",
        "Charge at 1 kg for 1 hour",
    ]
    code = """
import json, sys, pybamm
taken = []
for line in json.loads(sys.argv[1]):
    try:
        step = pybamm.step.string(line)
        taken.append([float(step.value), step.duration])
    except Exception:
        taken.append(None)
print(json.dumps(taken))
"""
    from daq.errors import InputError, Place
    from daq.protocol.exchange.pybamm_step import parse

    for line, theirs_ in zip(lines, pybamm.json(code, json.dumps(lines)), strict=True):
        try:
            said = parse(line, Place("x", 1, 1))
        except InputError:
            assert theirs_ is None, line
            continue
        assert theirs_ is not None, line
        assert said.value == pytest.approx(theirs_[0], rel=1e-12), line
        assert said.time_s is None or said.time_s == theirs_[1], line


def test_a_config_comes_back_with_the_same_steps(pybamm):
    config = pybamm.json(CONFIG + "print(json.dumps(experiment.to_config()))")
    text = ours(json.dumps(config), "pybamm-config")
    assert steps(text)[0] == {"chamber": "25 degC"}
    assert steps(text)[1]["repeat"] == 4
    back = theirs(text, "pybamm-config")
    again = pybamm.json(
        "import json, sys, pybamm\n"
        "made = pybamm.Experiment.from_config(json.loads(sys.argv[1]))\n"
        "print(json.dumps(made.to_config()))",
        back,
    )
    assert config.pop("temperature") == 298.15
    assert meaning(again) == meaning(config, temperature=298.15)
    assert len(again["cycles"]) == 4


def meaning(config: dict, **common: float) -> list:
    return [[common | _meaning(step) for step in cycle] for cycle in config["cycles"]]


def _meaning(step: dict) -> dict:
    kept = {key: step[key] for key in ("type", "value", "temperature") if key in step}
    kept["ends"] = sorted((end["type"], end["value"]) for end in step.get("terminations", []))
    duration = step.get("duration")
    kept["duration"] = 18000.0 if duration == "5 hours" else duration
    return kept
