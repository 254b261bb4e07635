"""Maccor, Arbin and BioLogic: excerpts of beep's public samples, and what of them is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from daq.errors import InputError
from daq.protocol.exchange.formats import guess
from tests.unit.exchanging import Came

DATA = Path(__file__).parent / "data" / "exchange"
HPPC = (DATA / "hppc.000").read_bytes()
SEVERSON = (DATA / "severson.sdu").read_bytes()
FORMATION = (DATA / "formation.mps").read_bytes()


@pytest.mark.parametrize(
    ("content", "kind"), [(HPPC, "maccor"), (SEVERSON, "arbin"), (FORMATION, "biologic")]
)
def test_a_vendors_file_is_known_by_what_it_holds(content, kind):
    assert guess(content, "x") == kind


# Maccor.


def maccor(content: bytes = HPPC, **more) -> Came:
    return Came(content, "maccor", **{"capacity_Ah": 1.0, **more})


def test_a_maccor_procedure_leaves_its_loop_where_the_cell_is_empty():
    steps = maccor(approximate=True).steps
    assert [next(iter(step)) for step in steps] == ["cccv", "repeat", "cccv"]
    loop = steps[1]
    assert loop["repeat"] == 20
    assert loop["cycle"] is False  # AdvCycle comes after it
    rest, pulse, _, charge, discharge = loop["steps"]
    assert rest["rest"] == "1 h"
    assert pulse["discharge"] == "1 A"
    assert pulse["until"] == [
        {"when": "voltage <= 2.7 V", "end": "repeat"},
        {"when": "voltage <= 2 V", "end": "run"},
        "time >= 30 s",
    ]
    assert charge["until"][0] == "voltage >= 4.39 V"
    assert discharge["until"][2] == "time >= 18 min"
    assert steps[2]["cccv"] == {"discharge": "333 mA", "voltage": "2.7 V"}


def test_a_maccor_charge_with_a_limit_of_the_voltage_is_a_cccv_bounded_by_its_end_current():
    step = maccor(approximate=True).steps[0]
    assert step["cccv"] == {"charge": "333 mA", "voltage": "4.2 V"}
    assert step["until"] == "current <= 50 mA"
    assert step["at_most"] == "30 h"


def test_maccor_safeguards_on_the_wrong_side_must_be_allowed_and_become_limits():
    exact = maccor()
    assert exact.text is None
    assert all("--approximate" in line for line in exact.refused)
    assert any(
        line.startswith("source:123:1: 'voltage >= 4.4 V' ends a discharge")
        for line in exact.refused
    )
    allowed = maccor(approximate=True)
    assert allowed.steps[0]["limits"] == {"voltage": ["2 V", "4.4 V"]}
    assert len(allowed.changed) == 8


def test_a_maccor_procedure_without_a_capacity_says_what_to_give():
    assert any("--capacity" in line for line in maccor(capacity_Ah=None, approximate=True).refused)
    assert (
        maccor(capacity_Ah=None, longest_s=86400.0, approximate=True).steps[0]["at_most"] == "24 h"
    )


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"<StepType>  Rest  </StepType>", b"<StepType>FastWave</StepType>", "type 'FastWave'"),
        (b"Current </StepMode>", b"Power   </StepMode>", "in the mode 'Power'"),
        (b"<StepValue>1.0</StepValue>", b"<StepValue>|4*CRATE</StepValue>", "not a current"),
        (b"<EndType>Current </EndType>", b"<EndType>T1      </EndType>", "the end 'T1'"),
        (b"<EndType>Loop Cnt</EndType>", b"<EndType>StepTime</EndType>", "Loop Cnt"),
        (b"<Option1>N</Option1>", b"<Option1>Y</Option1>", "Option1 is set"),
        (b"<Value>00:00:30</Value>", b"<Value>soon</Value>", "soon"),
        (b"  Do 1  ", b"  Do 2  ", "a Loop without its Do 1"),
        (b" Loop 1 ", b"AdvCycle", "never closed"),
        (b"<Step>004</Step>", b"<Step>xyz</Step>", "not a step"),
        (b"<SpecialType> </SpecialType>", b"<SpecialType>A</SpecialType>", "special type"),
        (b"<ReportType>Voltage </ReportType>", b"<ReportType>Power</ReportType>", "a report of"),
    ],
)
def test_what_a_maccor_procedure_may_hold_and_we_cannot_say_is_refused(old, new, why):
    assert old in HPPC
    refused = maccor(HPPC.replace(old, new), approximate=True).refused
    assert any(why in line for line in refused), refused


def test_loops_in_loops_in_loops_end_somewhere():
    do = b"<TestStep><StepType>Do 1</StepType></TestStep>"
    content = (
        b"<MaccorTestProcedure><ProcSteps>" + do * 3000 + b"</ProcSteps></MaccorTestProcedure>"
    )
    assert any("12 deep" in line for line in maccor(content).refused)


def test_a_jump_back_in_a_maccor_procedure_is_refused():
    content = HPPC.replace(
        b"<Step>009</Step>\n          <Value>2.7", b"<Step>001</Step>\n          <Value>2.7"
    )
    assert content != HPPC
    assert any("goes back to step 1" in line for line in maccor(content, approximate=True).refused)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<MaccorTestProcedure>",
        b"<a/>",
        b"<MaccorTestProcedure><ProcSteps/></MaccorTestProcedure>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><MaccorTestProcedure>&b;</MaccorTestProcedure>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><MaccorTestProcedure/>',
        b"<a>" * 100 + b"</a>" * 100,
        b"<MaccorTestProcedure><ProcSteps>" + b"<a/>" * 100_001,
        b"<a>" + b"x" * 20_000 + b"</a>",
        b'<?xml version="1.0" encoding="nonsense"?><a/>',
    ],
)
def test_xml_that_is_no_modest_procedure_is_refused(content):
    with pytest.raises(InputError):
        maccor(content)


# Arbin.


def arbin(content: bytes = SEVERSON, **more) -> Came:
    return Came(content, "arbin", **{"capacity_Ah": 1.1, "approximate": True, **more})


def test_an_arbin_schedule_loops_while_the_cycle_count_allows():
    came = arbin()
    assert came.data["safety"] == {"voltage": ["1.8 V", "4 V"], "current": ["-5 A", "10 A"]}
    first, loop = came.steps
    assert first["cccv"] == {"charge": "110 mA", "voltage": "3.6 V"}
    assert first["until"] == ["current <= 22 mA for 1 s", "time >= 15 h"]
    assert loop["repeat"] == 10000
    charge, _, discharge, question, rest = loop["steps"]
    assert "cycle.charge >= 86 mAh" in charge["until"]
    assert discharge["cccv"] == {"discharge": "4.4 A", "voltage": "2 V"}
    assert question == {"if": "cycle.discharge <= 825 mAh", "then": [{"end": "run"}]}
    assert rest["rest"] == "5 min"
    assert came.result.mistake is None


def test_arbin_capacities_count_since_a_reset_which_must_be_allowed():
    refused = arbin(approximate=False).refused
    assert len(refused) == 2
    assert all("since it was last reset" in line for line in refused)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"m_szStepCtrlType=Rest", b"m_szStepCtrlType=Pause", "the control 'Pause'"),
        (b"m_szCtrlValue=3.96", b"m_szCtrlValue=nan", "'nan' is not a number"),
        (b"m_szCtrlValue=15", b"m_szCtrlValue=0", "it sets 0"),
        (b"PV_CHAN_Cycle_Index", b"PV_CHAN_Test_Time", "not the end of a loop"),
        (b"PV_CHAN_CV_StageTime", b"PV_CHAN_Voltage", "PV_CHAN_Voltage"),
        (b"Equation0_szLeft=DV_Time", b"Equation0_szLeft=DV_Mood", "DV_Mood"),
        (b"m_szGotoStep=End Test", b"m_szGotoStep=nowhere", "no step 'nowhere'"),
        (b"=1.800000^4.000000", b"=4^1.8", "upside down"),
        (b"m_szExtDef=\n", b"m_szExtDef=x\n", "m_szExtDef=x"),
        (b"m_bBurstModeEnable=0", b"m_bBurstModeEnable=1", "m_bBurstModeEnable=1"),
    ],
)
def test_what_an_arbin_schedule_may_hold_and_we_cannot_say_is_refused(old, new, why):
    assert old in SEVERSON
    refused = arbin(SEVERSON.replace(old, new)).refused
    assert any(why in line for line in refused), refused


def test_a_safety_limit_of_the_users_own_is_given_up_only_if_it_is_allowed():
    content = SEVERSON + b"[Schedule_UserDefineSafety0]\nm_szSafetyType=Aux_Temperature_1\n"
    assert any("Aux_Temperature_1" in line for line in arbin(content, approximate=False).refused)
    assert any("Aux_Temperature_1" in line for line in arbin(content).changed)


@pytest.mark.parametrize("content", [b"", b"[Schedule]\n", b"[A]\n[A]\n", b"Schedule_Step0"])
def test_a_file_that_is_no_schedule_is_refused(content):
    with pytest.raises(InputError):
        arbin(content)


# BioLogic.


def biologic(content: bytes = FORMATION, **more) -> Came:
    return Came(content, "biologic", **more)


def test_biologic_settings_count_the_passes_after_the_first_and_know_their_capacity():
    came = biologic()
    assert came.result.capacity_Ah == 0.2
    assert came.result.mistake is None
    assert [next(iter(step)) for step in came.steps] == [
        *("rest", "charge", "hold", "rest", "charge", "hold", "rest", "discharge", "repeat"),
        *("charge", "discharge", "hold"),
    ]
    assert came.steps[8]["repeat"] == 2
    assert came.steps[1] == {"charge": "100 mA", "until": "voltage >= 3.7 V", "at_most": "3 h"}
    assert came.steps[2]["until"] == "time >= 1 h"
    assert came.steps[-1] == {"hold": "3.5 V", "until": "time >= 5 min", "at_most": "7 min"}
    assert came.findings.changed == []


def cell(name: str, column: int, text: str) -> bytes:
    """The formation with one cell of its table changed."""
    lines = FORMATION.decode("cp1252").split("\n")
    row = next(n for n, line in enumerate(lines) if line[:20].strip() == name)
    line = lines[row].ljust(20 * 16)
    begin = 20 * (column + 1)
    lines[row] = line[:begin] + text.ljust(20) + line[begin + 20 :]
    return "\n".join(lines).encode("cp1252")


@pytest.mark.parametrize(
    ("name", "column", "text", "why"),
    [
        ("ctrl_type", 1, "CR", "the control 'CR'"),
        ("ctrl1_val", 1, "many", "not a number"),
        ("ctrl1_val_unit", 1, "V", "is not one of A"),
        ("ctrl1_val_vs", 2, "Eoc", "against 'Eoc'"),
        ("ctrl_seq", 10, "12", "goes forwards"),
        ("ctrl_repeat", 10, "-1", "not a count"),
        ("lim1_type", 1, "|dI/dt|", "the limit |dI/dt|"),
        ("lim1_comp", 1, "<", "--approximate"),
        ("lim1_action", 1, "Pause", "the action 'Pause'"),
        ("lim1_value_unit", 0, "fortnights", "not a duration"),
        ("lim_nb", 1, "0", "nothing ends this step"),
        ("charge/discharge", 1, "Sideways", "which way"),
        ("charge/discharge", 2, "Discharge", "after no discharge"),
        ("Apply I/C", 1, "C ^ N", "applied as"),
        ("rec1_type", 1, "Power", "a record by"),
        ("ctrl_seq", 10, "3", ""),
    ],
)
def test_what_biologic_settings_may_hold_and_we_cannot_say_is_refused(name, column, text, why):
    refused = biologic(cell(name, column, text)).refused
    if why:
        assert any(why in line for line in refused), refused
    else:  # a longer loop is a loop
        assert refused == []


def test_a_c_rate_of_biologic_is_one_by_n():
    content = cell("Apply I/C", 1, "C / N").replace(
        b"N                   1.00                1.00",
        b"N                   1.00                15.00",
    )
    assert biologic(content).steps[1]["charge"] == "C/15"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"BT-LAB SETTING FILE", b"SOMETHING ELSE"),
        (b"Modulo Bat", b"Galvano Cycling"),
        (b"Technique : 1", b"Technique : 1\nx\nTechnique : 2"),
        (b"Ns   ", b"Xs   "),
    ],
)
def test_other_settings_are_refused(old, new):
    with pytest.raises(InputError):
        biologic(FORMATION.replace(old, new, 1))
