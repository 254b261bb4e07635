"""The scanner's driver, byte for byte, as the pages of its programming guide give it."""

from __future__ import annotations

from math import isnan

import pytest

from daq.errors import BadReply, InstrumentRefused, ReadbackMismatch
from drivers.keysight_daq970a import KeysightDaq970a, KeysightDaq970aOptions
from tests.exchange.scripted import Answer, ScriptedText

IDN = ("*IDN?", "Keysight Technologies,DAQ970A,MY12345678,A.02.04-00.16-11.29-00.02-02-01")
NO_ERROR = ("SYST:ERR?", '+0,"No error"')


def accepted(*commands: str) -> list[tuple[str, Answer]]:
    return [step for command in commands for step in ((command, None), NO_ERROR)]


CONFIGURED = accepted(
    "CONF:TEMP TC,K,1,DEF,(@101,102)",
    "CONF:TEMP FRTD,85,1,DEF,(@104)",
    "CONF:VOLT:DC AUTO,DEF,(@103)",
    "UNIT:TEMP C,(@101,102,104)",
    "ROUT:SCAN (@101,102,103,104)",
    "TRIG:SOUR TIM",
    "TRIG:TIM 0.5",
    "TRIG:COUN INF",
    "FORM:READ:TIME OFF",
    "FORM:READ:ALAR OFF",
    "FORM:READ:UNIT OFF",
    "FORM:READ:CHAN ON",
)
SETUP: list[tuple[str, Answer]] = [
    ("ABOR", None),
    NO_ERROR,
    *CONFIGURED,
    ("ROUT:SCAN:SIZE?", "+4"),
    *accepted("INIT"),
]


def scanner(*script: tuple[str, Answer]) -> tuple[KeysightDaq970a, ScriptedText]:
    line = ScriptedText(*script)
    options = KeysightDaq970aOptions(
        thermocouples={"K": (101, 102)}, rtds=(104,), voltages=(103,), interval="500 ms"
    )
    return KeysightDaq970a(line, options), line


def test_everything_is_configured_before_the_scan_list_and_the_scan_comes_last() -> None:
    driver, line = scanner(IDN, *SETUP)
    driver.identify()
    driver.setup()
    line.finished()


def test_a_block_is_taken_apart_and_the_latest_value_of_each_channel_counts() -> None:
    text = "+2.38400000E+01,101,+3.70000000E+00,103,+2.39100000E+01,101"
    driver, line = scanner(("R?", f"#2{len(text)}{text}"))
    found = driver.read()
    assert found[101].temperature_degC == 23.91
    assert found[103].voltage_V == 3.7
    assert set(found) == {101, 103}
    line.finished()


def test_an_empty_block_is_no_reading() -> None:
    driver, _ = scanner(("R?", "#10"))
    assert driver.read() == {}


def test_overload_is_no_measurement() -> None:
    text = "+9.90000000E+37,102"
    driver, _ = scanner(("R?", f"#2{len(text)}{text}"))
    assert isnan(driver.read()[102].temperature_degC)


@pytest.mark.fault("F05")
@pytest.mark.parametrize(
    "block",
    [
        "",
        "#",
        "#3",
        "+2.38400000E+01",
        "#219+2.38400000E+01,10",  # cut short
        "#215+2.38400000E+01",  # a value without its channel
        "#219+2.38400000E+01,999",  # not scanned
        "#213 nan        ,1",
        "#205nan,1",
    ],
)
def test_what_is_no_whole_block_of_ours_is_refused(block: str) -> None:
    driver, _ = scanner(("R?", block))
    with pytest.raises(BadReply):
        driver.read()


def test_a_setting_that_is_refused_is_said_in_the_instruments_words() -> None:
    driver, _ = scanner(
        ("ABOR", None),
        NO_ERROR,
        ("CONF:TEMP TC,K,1,DEF,(@101,102)", None),
        ("SYST:ERR?", '-222,"Data out of range"'),
    )
    with pytest.raises(InstrumentRefused, match=r"CONF:TEMP .*Data out of range"):
        driver.setup()


@pytest.mark.parametrize("size", ["+3", "", "four"])
def test_a_scan_list_that_did_not_take_is_noticed(size: str) -> None:
    driver, _ = scanner(("ABOR", None), NO_ERROR, *CONFIGURED, ("ROUT:SCAN:SIZE?", size))
    with pytest.raises(ReadbackMismatch, match="4 channels"):
        driver.setup()


@pytest.mark.parametrize("idn", ["", "Keysight Technologies,N6974A,MY1,A", "a,34970A"])
def test_another_instrument_is_not_taken_for_a_scanner(idn: str) -> None:
    driver, _ = scanner(("*IDN?", idn))
    with pytest.raises(BadReply, match="not a DAQ970A"):
        driver.identify()


@pytest.mark.parametrize("model", ["34970A", "34972A", "34980A", "DAQ973A"])
def test_its_sisters_are_known(model: str) -> None:
    driver, _ = scanner(("*IDN?", f"HEWLETT-PACKARD,{model},0,13-2-2"))
    assert driver.identify().model == model
