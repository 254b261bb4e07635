"""The protocol file as it is written: each mistake is one error with its place and a remedy."""

from __future__ import annotations

from typing import Any

import pytest

from daq.errors import InputError
from daq.model import Cell
from daq.protocol.compile import compile_protocol
from daq.protocol.condition import Quantity
from daq.protocol.source import load_protocol, parse_protocol
from daq.protocol.steps import KINDS
from daq.protocol.until import Clause, parse_clause
from daq.units import RATE, VOLTAGE, Amount
from tests.unit.marked import refusal

HEAD = "protocol: p\nversion: 1.0.0\n"
PROTOCOL = """\
protocol: formation
version: 1.0.0
parameters: {v_max: 4.2 V, n: 2}
record: {every: 10 s, voltage: 5 mV, current: 1 %}
safety: {voltage: [2.4 V, 4.25 V], temperature: [10 degC, 45 degC], charge: 115 %}
steps:
  - chamber: 25 degC
    soak: {within: 0.5 K, for: 30 min, at_most: 4 h}
  - rest: 12 h
  - repeat: $n
    steps:
      - charge: C/20
        until: voltage >= $v_max
        at_most: 25 h
      - hold: $v_max
        current: C/20
        until: [current <= C/50, time >= 2 h]
        at_most: 4 h
      - discharge: 500 mA
        until: voltage <= 2.5 V
        at_most: 25 h
  - cccv: {charge: C/2, voltage: 4.2 V}
    until: current <= C/50
    at_most: 5 h
  - eis: {from: 10 kHz, to: 10 mHz, per_decade: 10, amplitude: 5 mV}
"""


def edit(old: str, new: str) -> str:
    assert old in PROTOCOL
    return PROTOCOL.replace(old, new, 1)


def test_every_kind_of_step_is_read() -> None:
    model = parse_protocol(PROTOCOL).model
    assert [step.kind for step in model.steps] == ["chamber", "rest", "repeat", "cccv", "eis"]
    assert set(KINDS) == {
        *("rest", "charge", "discharge", "hold", "cccv", "pulse", "ramp", "profile"),
        *("capacity", "chamber", "eis", "operator", "set", "include", "repeat"),
        *("if", "goto", "end"),
    }


@pytest.mark.fault("F69")
@pytest.mark.parametrize(
    ("old", "new", "said", "remedy"),
    [
        ("charge: C/20", "§chrage: C/20", "there is no step 'chrage'", "did you mean 'charge'?"),
        ("charge: C/20", "charge: §20", "20 has no unit: a C-rate or a current", '"C/20"'),
        ("charge: C/20", "charge: §4.2 V", "'4.2 V' is a voltage; a C-rate", '"500 mA"'),
        ("charge: C/20", "charge: §0 A", "0 A is out of range", "more than 0 A"),
        ("charge: C/20", "charge: §-1 A", "-1 A is out of range", "more than 0 A"),
        ("at_most: 25 h", "§atmost: 25 h", "unknown key 'atmost'", "did you mean 'at_most'?"),
        ("at_most: 25 h", "at_most: §25", "25 has no unit: a time", '"30 min"'),
        ("at_most: 25 h", "at_most: §25 A", "'25 A' is a current; a time", '"30 min"'),
        ("at_most: 25 h", "at_most: §0 h", "0 h is out of range", "more than 0 s"),
        ("at_most: 25 h", "at_most: §999999 h", "999999 h is out of range", "at most"),
        ("at_most: 25 h", "§at_most:", "the key 'at_most' has no value", "delete the line"),
        ("voltage >= $v", "§voltage > $v", "'>' is not allowed here", "write >= or <="),
        ("voltage >= $v", "§voltage == $v", "'==' is not allowed here", "write >= or <="),
        ("voltage >= $v", "§voltge >= $v", "there is no quantity 'voltge'", "'voltage'?"),
        ("voltage >= $v_max", "§4.2 V", "'4.2 V' is not an end condition", "voltage >= 4.2 V"),
        ("voltage >= $v_max", "§voltage >= 4.2", "4.2 has no unit: a voltage", '"4.2 V"'),
        ("voltage >= $v_max", "§voltage >= 4.2 A", "'4.2 A' is a current", '"4.2 V"'),
        ("voltage >= $v_max", "§[]", "the list of end conditions is empty", "voltage >= 4.2 V"),
        ("time >= 2 h]", "§time >= 2]", "2 has no unit: a time", '"30 min"'),
        ("voltage >= $v_max", "§voltage >= $v_mx", "there is no parameter $v_mx", "'v_max'?"),
        ("repeat: $n", "repeat: §0", "repeat: 0 should be greater", ""),
        ("repeat: $n", "repeat: §2.5", "repeat: 2.5 must be a whole number", ""),
        ("repeat: $n", "repeat: §true", "repeat: True must be a whole number", ""),
        ("repeat: $n", "repeat: §two", "repeat: 'two' must be a whole number", ""),
        ("rest: 12 h", "rest: 12 h\n    §charge: C/2", "two steps", "begin each with a dash"),
        ("rest: 12 h", "§5", "5 is not a step", "write it like `- rest: 30 min`"),
        ("rest: 12 h", "rest: 12 h\n    §at_most: 1 h", "unknown key 'at_most'", "known: label"),
        ("chamber: 25 degC", "chamber: §25", "25 has no unit: a temperature", '"25 degC"'),
        ("chamber: 25 degC", "chamber: §25 K/x", "'K/x' is not a unit", '"25 degC"'),
        ("within: 0.5 K", "within: §0.5 degC", "'0.5 degC' is a temperature;", '"0.5 K"'),
        ("for: 30 min", "§fr: 30 min", "unknown key 'fr'", "did you mean 'for'?"),
        ("{charge: C/2,", "§{", "cccv needs a charge or a discharge current", "{charge: C/2"),
        (
            "{charge: C/2,",
            "§{charge: C/2, discharge: C/2,",
            "cccv needs a charge or a discharge current",
            "{charge: C/2",
        ),
        ("{charge: C/2,", "{charge: §2 W,", "'2 W' is a power; a C-rate", '"C/20"'),
        ("amplitude: 5 mV", "amplitude: §5 mW", "'5 mW' is a power; a voltage", '"4.2 V"'),
        ("amplitude: 5 mV", "amplitude: §5 V", "5 V is out of range", "at most 1 V"),
        ("per_decade: 10", "per_decade: §0", "per_decade: 0 should be greater", ""),
        ("current: 1 %", "current: §1", "1 has no unit: a current or a C-rate", '"80 %"'),
        ("115 %", "§115", "115 has no unit: a percentage or a charge", '"80 %"'),
        ("[2.4 V, 4.25 V]", "[2.4 V, §4.25 mA]", "'4.25 mA' is a current", '"4.2 V"'),
        ("[2.4 V, 4.25 V]", "§[4.25 V, 2.4 V]", "is an empty span", "lower end first"),
        ("version: 1.0.0", "version: §1.0", "1.0 must be text: put it in quotes", ""),
        ("version: 1.0.0", "version: §first", "'first' is not a version", "write it like 1.0.0"),
        ("protocol: formation", "protocol: §../etc", "'../etc' is not a name", "letters"),
        ("v_max: 4.2 V", "v_max: §{a: 1}", "parameter 'v_max' is not a plain value", "v_max:"),
        ("v_max: 4.2 V", "v_max: §$n", "parameter 'v_max' is not a plain value", "v_max:"),
        ("v_max: 4.2 V", "v_max: 4.2 V, §v_max: 4.1 V", "'v_max' is given twice", "keep one"),
        ("steps:\n  - ch", "§stps:\n  - ch", "unknown key 'stps'", "did you mean 'steps'?"),
        ("charge: C/20", "charge: §&rate C/20", "anchors (&rate) are not allowed", "write it"),
        ("  - rest: 12 h", "§\t- rest: 12 h", "there is a tab", "use spaces"),
    ],
)
def test_a_mistake_is_one_error_with_its_place_and_a_remedy(
    old: str, new: str, said: str, remedy: str
) -> None:
    error = refusal(parse_protocol, edit(old, new))
    assert said in error.message
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("step", "missing", "example"),
    [
        ("charge: C/5\n    until: time >= 1 h", "at_most", "`at_most: 25 h`"),
        ("charge: C/5\n    at_most: 2 h", "until", "`until: voltage >= 4.2 V`"),
        ("hold: 4 V\n    until: time >= 1 h", "at_most", "`at_most: 25 h`"),
        ("cccv: {charge: C/5, voltage: 4 V}\n    at_most: 2 h", "until", "`until: "),
        ("discharge: 2 W\n    until: time >= 1 h", "at_most", "`at_most: 25 h`"),
        ("repeat: 2", "steps", "`steps: [{rest: 30 min}]`"),
        ("eis: {to: 1 Hz, amplitude: 5 mV}", "from", "`from: 10 kHz`"),
    ],
)
def test_what_is_missing_is_shown_at_the_step_that_lacks_it(
    step: str, missing: str, example: str
) -> None:
    error = refusal(parse_protocol, f"{HEAD}steps:\n  - §{step}\n")
    assert error.message == f"the key {missing!r} is missing"
    assert example in error.remedy


@pytest.mark.parametrize("steps", ["steps: []", "steps: {rest: 1 h}", "steps: 5"])
def test_a_protocol_has_a_list_of_at_least_one_step(steps: str) -> None:
    with pytest.raises(InputError, match=r"<protocol>:3:8: steps: "):
        parse_protocol(f"{HEAD}{steps}\n")


def test_the_nearest_step_is_found_even_when_its_name_is_not_the_first_key() -> None:
    marked = f"{HEAD}steps:\n  - until: time >= 1 h\n    §dischrge: C/2\n    at_most: 2 h\n"
    assert "did you mean 'discharge'?" in refusal(parse_protocol, marked).remedy


def test_of_several_mistakes_the_first_in_the_file_is_shown() -> None:
    text = edit("charge: C/20", "charge: 20").replace("version: 1.0.0", "version: 1.0")
    with pytest.raises(InputError, match=r"<protocol>:2:10: version: 1.0 must be text"):
        parse_protocol(text)


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("voltage >= 4.2 V", Clause(Quantity.VOLTAGE, True, Amount(4.2, VOLTAGE), "")),
        ("  current<=C/50 ", Clause(Quantity.CURRENT, False, Amount(0.02, RATE), "")),
    ],
)
def test_spaces_in_an_end_condition_do_not_matter(text: str, clause: Clause) -> None:
    found = parse_clause(text)
    assert (found.quantity, found.at_least, found.amount) == (
        clause.quantity,
        clause.at_least,
        clause.amount,
    )


# Parameters.


def test_a_parameter_is_put_in_wherever_it_is_named() -> None:
    source = parse_protocol(PROTOCOL)
    assert source.parameters == {"v_max": "4.2 V", "n": 2}
    program = compile_protocol(source, Cell("c", 2.5), [], None, {"v_max": "4.1 V", "n": "3"})
    texts = [step.text for step in program.steps]
    assert "charge C/20 until voltage >= 4.1 V" in texts
    assert "hold 4.1 V until current <= C/50 or time >= 2 h" in texts


def test_the_text_and_its_hash_do_not_change_with_the_parameters() -> None:
    source = parse_protocol(PROTOCOL)
    assert source.text == PROTOCOL
    program = compile_protocol(source, Cell("c", 2.5), [], None, {"v_max": "4.1 V"})
    assert program.sha256 == source.sha256


def test_an_unknown_override_is_answered_with_the_nearest_parameter() -> None:
    source = parse_protocol(PROTOCOL)
    with pytest.raises(InputError, match="has no parameter 'vmax'.*did you mean 'v_max'"):
        compile_protocol(source, Cell("c", 2.5), [], None, {"vmax": "4.1 V"})


def test_an_override_that_does_not_fit_is_shown_where_it_is_used() -> None:
    source = parse_protocol(PROTOCOL, "p.yaml")
    with pytest.raises(InputError, match=r"p\.yaml:13:16: '4.1 A' is a current; a voltage"):
        compile_protocol(source, Cell("c", 2.5), [], None, {"v_max": "4.1 A"})


def test_a_file_is_read_from_disk(tmp_path: Any) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(PROTOCOL)
    assert load_protocol(file).document.file == str(file)
