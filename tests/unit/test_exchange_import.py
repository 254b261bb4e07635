"""Protocols of PyBaMM, unicycler and tomato: what becomes of each step, and what is refused."""

from __future__ import annotations

import json

import pytest

from daq.errors import InputError
from tests.unit.exchanging import Came

# aurora-unicycler.


def unicycler(*method: dict, **more) -> Came:
    document = {"record": {"time_s": 10}, "sample": {"capacity_mAh": 50}, "method": method} | more
    return Came(json.dumps(document), "unicycler")


def test_a_unicycler_current_flows_the_way_of_its_sign_and_the_rate_wins():
    came = unicycler(
        {"step": "constant_current", "rate_C": "C/5", "current_mA": -3, "until_voltage_V": 4.2},
        {
            "step": "constant_current",
            "current_mA": "-10",
            "until_time_s": 600,
            "until_voltage_V": 3,
        },
        {"step": "constant_current", "rate_C": "D/2", "until_voltage_V": 3},
    )
    assert came.steps == [
        {"charge": "C/5", "until": "voltage >= 4.2 V", "at_most": "450 min"},
        {"discharge": "10 mA", "until": ["voltage <= 3 V", "time >= 10 min"], "at_most": "12 min"},
        {"discharge": "C/2", "until": "voltage <= 3 V", "at_most": "3 h"},
    ]
    assert came.result.mistake is None


def test_a_unicycler_hold_ends_by_the_magnitude_of_its_current():
    came = unicycler({"step": "constant_voltage", "voltage_V": 3.0, "until_rate_C": -0.05})
    assert came.steps == [{"hold": "3 V", "until": "current <= C/20", "at_most": "30 h"}]


def test_a_unicycler_spectrum_has_its_peak_and_ours_its_rms():
    came = unicycler(
        {
            "step": "impedance_spectroscopy",
            "amplitude_V": 0.01,
            "start_frequency_Hz": 1e4,
            "end_frequency_Hz": 0.01,
            "points_per_decade": 6,
        }
    )
    assert came.steps[0]["eis"]["amplitude"] == "7.07107 mV"
    assert came.steps[0]["eis"]["per_decade"] == 6


def test_a_unicycler_loop_counts_all_passes_and_goes_to_a_tag_or_a_number():
    rest = {"step": "open_circuit_voltage", "until_time_s": 60}
    by_tag = unicycler(
        rest, {"step": "tag", "tag": "x"}, rest, {"step": "loop", "loop_to": "x", "cycle_count": 3}
    )
    by_number = unicycler(rest, rest, {"step": "loop", "loop_to": 2, "cycle_count": 3})
    for came in (by_tag, by_number):
        assert came.steps == [{"rest": "1 min"}, {"repeat": 3, "steps": [{"rest": "1 min"}]}]


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ({"step": "constant_current", "rate_C": 1}, "nothing ends this step"),
        ({"step": "constant_current", "until_time_s": 5}, "neither rate_C nor current_mA"),
        ({"step": "constant_current", "rate_C": "X/2", "until_time_s": 5}, "not a C-rate"),
        ({"step": "constant_current", "rate_C": 1, "until_tme_s": 5}, "until_time_s"),
        ({"step": "dance"}, "no step 'dance'"),
        ({"step": "open_circuit_voltage", "until_time_s": -1}, "needs until_time_s"),
        ({"step": "open_circuit_voltage", "until_time_s": "1e999"}, "not a number"),
        ({"step": "loop", "loop_to": "nowhere", "cycle_count": 2}, "no tag 'nowhere'"),
        ({"step": "loop", "loop_to": 5, "cycle_count": 2}, "goes forwards"),
        ({"step": "voltage_scan", "start_voltage_V": 3, "end_voltage_V": 3}, "two different"),
    ],
)
def test_what_unicycler_means_wrongly_is_refused_with_its_line(step, why):
    came = unicycler({"step": "open_circuit_voltage", "until_time_s": 1}, step)
    assert came.text is None
    (refused,) = came.refused
    assert refused.startswith("source:1:")
    assert why in refused


def test_averaging_of_a_spectrum_is_a_change_that_must_be_allowed():
    step = {
        "step": "impedance_spectroscopy", "amplitude_mA": 1, "start_frequency_Hz": 100,
        "end_frequency_Hz": 1, "measures_per_point": 3,
    }  # fmt: skip
    document = json.dumps({"record": {"time_s": 1}, "method": [step]})
    assert "--approximate" in Came(document, "unicycler").refused[0]
    (changed,) = Came(document, "unicycler", approximate=True).changed
    assert "measures each point once" in changed


def test_the_safety_of_unicycler_is_ours_and_its_delay_is_left_behind():
    came = unicycler(
        {"step": "open_circuit_voltage", "until_time_s": 1},
        safety={"max_voltage_V": 4.3, "max_current_mA": 60, "min_current_mA": -60, "delay_s": 1},
    )
    assert came.data["safety"] == {"voltage": ["-2000 V", "4.3 V"], "current": ["-60 mA", "60 mA"]}
    assert "delay_s" in came.findings.left[0].text


# PyBaMM.


def test_pybamm_lines_become_steps_with_their_own_words_above_them():
    came = Came(
        "# formation\n"
        "Charge at C/10 for 10 minutes or until 2 V\n"
        '"Hold at 4.2 V until 50mA",\n'
        "Discharge at 2 W until 2.5 V (10 second period)\n",
        "pybamm",
    )
    assert came.steps == [
        {"charge": "C/10", "until": ["voltage >= 2 V", "time >= 10 min"], "at_most": "12 min"},
        {"hold": "4.2 V", "until": "current <= 50 mA", "at_most": "24 h"},
        {
            "discharge": "2 W",
            "until": "voltage <= 2.5 V",
            "at_most": "24 h",
            "record": {"every": "10 s"},
        },
    ]
    assert "# Hold at 4.2 V until 50mA" in came.text


def test_pybamm_tuples_are_cycles_and_products_are_loops():
    came = Came(
        '[("Discharge at 1C until 2.5 V", "Charge at 1C until 4.2 V")] * 3\n'
        '+ ["Rest for 1 hour"] + [("Discharge at C/3 until 2.5 V", "Charge at C/3 until 4.2 V")]',
        "pybamm",
    )
    assert [step.get("repeat") for step in came.steps] == [3, None, 1]
    assert len(came.steps[0]["steps"]) == 2


def test_a_sum_of_many_lists_is_as_good_as_one():
    came = Came(" + ".join(['["Rest for 1 hour"] * 2'] * 200), "pybamm")
    assert len(came.steps) == 200


def test_a_pybamm_experiment_gives_period_and_temperature():
    came = Came(
        'pybamm.Experiment(["Rest for 1 hour"] * 2, period="5 minutes", temperature=308.15)',
        "pybamm",
    )
    assert came.data["record"] == {"every": "5 min"}
    assert came.steps == [
        {"chamber": "35 degC"},
        {"repeat": 2, "steps": [{"rest": "1 h"}]},
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Charge at 1 A until C/3", "current cannot end a step that holds a current"),
        ("Rest for 1 hour or until 3 V", "without > or <"),
        ("Hold at 4.2 V until >0.1 A", "compares its magnitude"),
        ("Charge at 4.2 V for 1 hour", "a current, power, resistance or C-rate is expected"),
        ("Hold at 1 A for 1 hour", "a voltage is expected"),
        ("Charge at 5 Ohm for 1 hour", "charge through a resistance"),
        ("Charge at 1 A", "neither `for` nor `until`"),
        ("Discharge at 1 A until >4 V", "--approximate"),
        ("Charge at C/0 for 1 hour", "out of range"),
        ("Run US06", "not a step"),
    ],
)
def test_what_pybamm_text_cannot_mean_here_is_refused_with_its_line(text, why):
    came = Came(f"Rest for 1 hour\n{text}\n", "pybamm")
    (refused,) = came.refused
    assert refused.startswith("source:2:1")
    assert why in refused


@pytest.mark.parametrize(
    "text",
    [
        "[__import__('os').system('true')]",
        "[open('/etc/passwd').read()]",
        '["Rest for 1 s" for _ in range(3)]',
        "[" * 150 + "]" * 150,
        "(" * 60 + '"Rest for 1 s",' + ")," * 60,
        '["Rest for 1 s"] * 10**9',
        '["Rest for 1 s"] * -1',
        '["Rest for 1 s"] * True',
        "[" + "-" * 5000 + "1]",
        "pybamm.Experiment()",
        "os.Experiment(['Rest for 1 s'])",
        '[{"Rest for 1 s"}]',
        "[" + "'Rest for 1 s'+" * 3000 + "'x']",
    ],
)
def test_python_that_is_no_list_of_steps_is_refused_and_never_run(text):
    with pytest.raises(InputError):
        Came(text, "pybamm")


def test_the_end_of_a_whole_experiment_is_refused_with_how_to_write_it():
    came = Came('Experiment(["Rest for 1 hour"], termination="80% capacity")', "pybamm")
    assert "cycle.discharge <= 80 % of cycle 1" in came.refused[0]


def config(*steps: dict, **more) -> Came:
    return Came(json.dumps({"cycles": [list(steps)], **more}), "pybamm-config")


def test_a_pybamm_config_is_positive_in_a_discharge():
    ends = [{"type": "voltage", "value": 2.5}]
    came = config(
        {"type": "c-rate", "value": 0.5, "terminations": ends},
        {"type": "current", "value": -1.5, "duration": 60},
    )
    cycle = came.steps[0]["steps"]
    assert cycle[0] == {"discharge": "C/2", "until": "voltage <= 2.5 V", "at_most": "4 h"}
    assert cycle[1]["charge"] == "1.5 A"


def test_equal_cycles_of_a_config_are_one_loop():
    cycle = [{"type": "current", "value": 1, "duration": 60}, {"type": "rest", "duration": 60}]
    other = [{"type": "current", "value": -1, "duration": 60}, {"type": "rest", "duration": 60}]
    came = Came(json.dumps({"cycles": [cycle] * 5 + [other] + [cycle]}), "pybamm-config")
    assert [step.get("repeat") for step in came.steps] == [5, None, None, None, None]


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ({"type": "current", "value": [[0, 1], [1, 2]]}, "a profile"),
        ({"type": "current", "value": "I_app"}, "input parameter"),
        ({"type": "current", "value": 0}, "missing or zero"),
        ({"type": "rest", "duration": 1, "start_time": "2026-01-01T00:00:00"}, "calendar"),
        ({"type": "rest", "duration": 1, "skip_ok": False}, "--approximate"),
        ({"type": "custom", "value": 1}, "no step 'custom'"),
        ({"type": "rest", "duration": "1 parsec"}, "not a duration"),
        ({"type": "rest", "duration": 1, "mood": "good"}, "unknown key"),
        (
            {"type": "voltage", "value": 4, "terminations": [{"type": "Ah", "value": 1}]},
            "needs a type",
        ),
    ],
)
def test_what_a_config_cannot_mean_here_is_refused(step, why):
    came = config({"type": "rest", "duration": 60}, step)
    assert why in came.refused[0]


@pytest.mark.parametrize(
    ("first", "second", "goes_on"),
    [
        ("Charge at 1C until 4.2 V", "Hold at 4.2 V until C/50", True),
        ("Charge at 1C until 4 V", "Hold at 4.2 V until C/50", True),
        ("Charge at 1C until 4.2 V", "Hold at 3.9 V until C/50", False),
        ("Discharge at 1C until 3 V", "Hold at 3 V until C/50", True),
        ("Discharge at 1C until 3 V", "Hold at 3.5 V until C/50", False),
    ],
)
def test_a_hold_that_would_turn_back_is_refused_unless_there_is_a_rest_before_it(
    first, second, goes_on
):
    """Ours never turns back right after a charge or a discharge."""
    came = Came(f"{first}\n{second}\n", "pybamm")
    assert (came.text is not None) == goes_on
    assert all("would go back" in line for line in came.refused)
    assert Came(f"{first}\nRest for 1 s\n{second}\n", "pybamm").text is not None


def test_a_hold_after_a_timed_charge_is_told_that_it_only_goes_on():
    came = Came("Charge at 1C for 1 hour\nHold at 4 V until C/50\n", "pybamm")
    assert "goes on that way only" in came.findings.left[0].text


# tomato.


def tomato(*method: dict, version: str = "0.2", **sample) -> Came:
    document = {"version": version, "sample": {"name": "x", **sample}, "method": method}
    return Came(json.dumps(document), "tomato")


def early(technique: str, **more) -> dict:
    return {"device": "MPG2", "technique": technique, **more}


def test_a_tomato_payload_of_the_first_kind():
    came = tomato(
        early("open_circuit_voltage", time=60, record_every_dt=10),
        early(
            "constant_current", time=600, current="2D", limit_voltage_min=3.0, exit_on_limit=True
        ),
        early("constant_voltage", time=600, voltage=3.0, limit_current_min="C/50", I_range="1 mA"),
        early("loop", goto=1, n_gotos=4),
        capacity=0.05,
    )
    assert came.steps[0] == {"rest": "1 min"}
    assert came.steps[1]["repeat"] == 5
    first, second = came.steps[1]["steps"]
    assert first["discharge"] == "2C"
    assert first["until"] == [{"when": "voltage <= 3 V", "end": "run"}, "time >= 10 min"]
    assert second["until"] == ["current <= C/50", "time >= 10 min"]
    assert [note.text for note in came.findings.left] == ["I_range: the instrument's own"]


def test_a_tomato_payload_in_yaml_with_words_for_durations():
    came = Came(
        'version: "2.2"\n'
        "user: {identifier: ana}\n"
        "sample: {identifier: cell-7}\n"
        "method:\n"
        "  - {component_role: cycler, technique_name: constant_current, task_name: chg,\n"
        "     max_duration: 3 h, sampling_interval: 10 s, task_params: {current: 0.5}}\n",
        "tomato",
    )
    assert came.data["protocol"] == "cell-7"
    assert came.steps == [{"charge": "500 mA", "until": "time >= 3 h", "at_most": "190 min"}]
    assert "chg" in came.text


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (early("sweep_voltage", voltage=4), "no counterpart of the technique 'sweep_voltage'"),
        (early("constant_current", time=1, current=1, is_delta=True), "is_delta"),
        (early("constant_current", time=1, current=1, n_cycles=2), "n_cycles"),
        (early("constant_current", time=1, current=[1, 2]), "several steps in one technique"),
        (early("constant_current", time=1, current=1, limit_voltage_min=3), "--approximate"),
        (early("constant_current", time=1, current=1, limit_current_max=3), "itself holds"),
        (early("constant_voltage", time=1, voltage=4, limit_current_max=3), "fall of a current"),
        (early("constant_current", time=1, current=1, volume=11), "unknown key 'volume'"),
        (early("constant_current", current=1, limit_voltage_max=4), "--capacity"),
        (early("constant_current", current="C/5"), "nothing ends this step"),
        (early("loop", goto=9, n_gotos=1), "goes forwards"),
    ],
)
def test_what_tomato_can_say_and_we_cannot_is_refused_with_its_line(step, why):
    came = tomato(early("open_circuit_voltage", time=60), step)
    (refused,) = came.refused
    assert refused.startswith("source:1:")
    assert why in refused


def test_two_tasks_at_once_are_refused():
    came = tomato(
        {"component_role": "a", "technique_name": "open_circuit_voltage", "max_duration": 1,
         "sampling_interval": 1, "start_with_task_name": "b"},
        version="2.1",
    )  # fmt: skip
    assert "two tasks at once" in came.refused[0]


@pytest.mark.parametrize("key", ["samplefile", "methodfile"])
def test_a_payload_does_not_reach_for_other_files(key):
    with pytest.raises(InputError, match="names another file"):
        Came(json.dumps({"version": "2.2", key: "../../etc/passwd"}), "tomato")


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("{", "unicycler"),
        ("[]", "unicycler"),
        ('{"method": 1}', "unicycler"),
        ('{"method": [1]}', "unicycler"),
        ('{"method": []}', "unicycler"),
        ('{"cycles": 3}', "pybamm-config"),
        ('{"cycles": [3]}', "pybamm-config"),
        ('{"cycles": [[3]]}', "pybamm-config"),
        ('{"cycles": ' + "[" * 100, "pybamm-config"),
        ("", "pybamm"),
        ("\xff\xfe", "pybamm"),
        ("version: '9.9'\n", "tomato"),
        ("&a b: *a\n", "tomato"),
    ],
)
def test_a_file_that_is_none_of_its_kind_is_refused(text, source):
    with pytest.raises(InputError):
        Came(text.encode("latin-1"), source)
