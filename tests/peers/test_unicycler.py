"""aurora-unicycler takes what we export, and its protocols come to the same by every road."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.peers.exchanged import ours, steps, theirs

PROTOCOLS = Path(__file__).parents[2] / "protocols"
CAPACITY_AH = 0.05

MAKE = """
import json, sys
from aurora_unicycler.protocol import *
from aurora_unicycler._core import *
made = CyclingProtocol(
    sample=SampleParams(name="cell-7", capacity_mAh=50),
    record=RecordParams(time_s=10, voltage_V=0.01),
    safety=SafetyParams(
        max_voltage_V=4.3, min_voltage_V=2.4, max_current_mA=60, min_current_mA=-60),
    method=[
        OpenCircuitVoltage(until_time_s=3600),
        ConstantCurrent(rate_C=0.1, until_voltage_V=3.0, until_time_s=600),
        Tag(tag="outer"),
        Tag(tag="inner"),
        ConstantCurrent(rate_C="C/5", until_voltage_V=4.2, until_time_s=28800),
        ConstantVoltage(voltage_V=4.2, until_rate_C="C/20", until_time_s=7200),
        ConstantCurrent(current_mA=-10, until_voltage_V=3.0, until_time_s=36000),
        Loop(loop_to="inner", cycle_count=24),
        ConstantCurrent(rate_C="D/10", until_voltage_V=3.0, until_time_s=54000),
        Loop(loop_to="outer", cycle_count=3),
    ],
)
"""

ROADS = {
    "unicycler": "made.to_json()",
    "tomato": "made.to_tomato_mpg2()",
    "biologic": "made.to_biologic_mps()",
}


@pytest.fixture(scope="session")
def unicycler(peer):
    return peer("aurora-unicycler")


@pytest.fixture(scope="session")
def roads(unicycler) -> dict[str, str]:
    """The same protocol, as that package writes it in several formats."""
    texts = ", ".join(f"{name!r}: {call}" for name, call in ROADS.items())
    return unicycler.json(f"{MAKE}\nprint(json.dumps({{{texts}}}))")


@pytest.fixture(scope="session")
def pybamm_strings(unicycler) -> list[str]:
    """A part that PyBaMM's text can say: one end a step."""
    code = (
        MAKE
        + """
part = made.model_copy(deep=True)
part.method = [step for step in part.method if isinstance(step, (Tag, Loop, OpenCircuitVoltage))
    or isinstance(step, ConstantCurrent)]
print(json.dumps(part.to_pybamm_experiment()))
"""
    )
    return unicycler.json(code)


def test_what_it_writes_is_read_with_nothing_refused_and_comes_back_the_same(roads, unicycler):
    text = theirs(ours(roads["unicycler"], "unicycler"), "unicycler", CAPACITY_AH)
    code = """
import json, sys
from aurora_unicycler.protocol import CyclingProtocol
a, b = (CyclingProtocol.from_dict(json.loads(one)).to_dict() for one in sys.argv[1:])
def moves(p): return [s for s in p["method"] if s["step"] != "tag"]
for p in (a, b):
    for step in p["method"]: step.pop("id")
    for step in moves(p): step.pop("loop_to", None)
print(json.dumps([moves(a), moves(b), a["safety"], b["safety"], a["record"], b["record"]]))
"""
    before, after, *rest = unicycler.json(code, roads["unicycler"], text)
    assert after == before
    assert rest[0] == rest[1]
    assert rest[2] == rest[3]


def test_its_loops_are_ours_with_the_same_number_of_passes(roads, unicycler):
    """Written out, by its own reckoning: 2 + 3 x (24 x 3 + 1) steps."""
    text = ours(roads["unicycler"], "unicycler")
    assert count(steps(text)) == 2 + 3 * (24 * 3 + 1)
    code = MAKE + "print(len(made.to_pybamm_experiment()))"
    assert unicycler.json(code) == count(steps(text))


def count(entries: list) -> int:
    return sum(one["repeat"] * count(one["steps"]) if "repeat" in one else 1 for one in entries)


@pytest.mark.parametrize("road", ["tomato", "biologic"])
def test_by_way_of_its_other_formats_the_steps_are_the_same(roads, road):
    """C-rates become currents there: rates of 50 mAh."""
    by_way = steps(ours(roads[road], road))
    direct = steps(ours(roads["unicycler"], "unicycler"))
    if road == "tomato":
        assert by_way == direct
    else:
        rates = {"C/10": "5 mA", "C/5": "10 mA", "C/20": "2.5 mA"}
        assert unordered(by_way) == unordered(replaced(direct, rates))


def replaced(value, words):
    if isinstance(value, dict):
        return {key: replaced(inner, words) for key, inner in value.items()}
    if isinstance(value, list):
        return [replaced(inner, words) for inner in value]
    text = str(value)
    for rate, current in words.items():
        text = text.replace(rate + " ", current + " ") if f"{rate} " in text else text
        text = current.join(text.rsplit(rate, 1)) if text.endswith(rate) else text
    return value if isinstance(value, int) else text


def unordered(value):
    """The ends of a step are alternatives: their order means nothing."""
    if isinstance(value, dict):
        return {
            key: sorted(inner) if key == "until" and isinstance(inner, list) else unordered(inner)
            for key, inner in value.items()
        }
    return [unordered(inner) for inner in value] if isinstance(value, list) else value


def test_its_pybamm_text_comes_to_the_same_steps(pybamm_strings):
    text = ours("\n".join(pybamm_strings), "pybamm")
    assert count(steps(text)) == 2 + 3 * (24 * 2 + 1)
    assert steps(text)[1] == {"charge": "C/10", "until": ["voltage >= 3 V", "time >= 10 min"]}


@pytest.mark.parametrize("path", sorted(PROTOCOLS.glob("*.yaml")), ids=lambda path: path.stem)
def test_it_takes_the_protocols_of_our_library(path, unicycler):
    """Or we say by name what it cannot say."""
    from daq.protocol.exchange.convert import exported
    from daq.protocol.exchange.draft import Task
    from daq.protocol.exchange.findings import Findings
    from daq.protocol.source import load_protocol

    findings = Findings(approximate=True)
    result = exported(load_protocol(path), "unicycler", Task(path.name, findings, 2.5))
    if result.text is None:
        assert all(error.place and error.place.line > 1 for error in findings.refused)
        return
    code = "import json, sys\nfrom aurora_unicycler.protocol import CyclingProtocol\n"
    code += "print(len(CyclingProtocol.from_dict(json.loads(sys.argv[1])).method))"
    assert unicycler.json(code, result.text) == len(json.loads(result.text)["method"])
