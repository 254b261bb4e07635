"""Inputs and relays, transaction by transaction."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from daq.errors import InstrumentRefused, NoReply, ReadbackMismatch
from drivers.modbus_inputs import ModbusInputs, ModbusInputsOptions
from drivers.modbus_outputs import ModbusOutputs, ModbusOutputsOptions
from drivers.modbus_relays import ModbusRelays, ModbusRelaysOptions
from tests.exchange.scripted import ScriptedRegisters, reads_coils, reads_inputs, writes_coil


def inputs(*script, **options) -> ModbusInputs:
    return ModbusInputs(ScriptedRegisters(*script), ModbusInputsOptions(**options))


def faults(driver: ModbusInputs) -> dict[int, str]:
    return {channel: reading.fault for channel, reading in driver.read().items()}


def test_a_closed_contact_is_no_fault_and_an_open_one_is() -> None:
    driver = inputs(reads_inputs(0, True, False, True), inputs=3)
    assert faults(driver) == {1: "", 2: "input 2 is open", 3: ""}


def test_a_name_says_what_stands_there() -> None:
    driver = inputs(reads_inputs(0, True, False), inputs=2, names={2: "door"})
    assert faults(driver) == {1: "", 2: "door (input 2) is open"}


def test_an_inverted_contact_is_bad_when_it_is_closed() -> None:
    script = reads_inputs(0, False, True), reads_inputs(0, True, True)
    driver = inputs(*script, inputs=2, inverted=[1], names={1: "smoke"})
    assert faults(driver) == {1: "", 2: ""}
    assert faults(driver) == {1: "smoke (input 1) is closed", 2: ""}


def test_inputs_may_be_kept_among_the_coils_and_begin_anywhere() -> None:
    driver = inputs(reads_coils(0x20, False), inputs=1, address=0x20, function="coils")
    assert faults(driver) == {1: "input 1 is open"}


def test_a_module_that_has_fewer_inputs_is_not_taken_for_this_one() -> None:
    refusal = InstrumentRefused("exception 2: it has no such address")
    driver = inputs(reads_inputs(0, error=refusal))
    with pytest.raises(InstrumentRefused):
        driver.identify()


def test_a_module_that_is_silent_tells_no_state() -> None:
    with pytest.raises(NoReply):
        inputs(reads_inputs(0, error=NoReply("silence"))).read()


@pytest.mark.parametrize(
    "options",
    [
        {"inputs": 4, "names": {5: "door"}},
        {"inputs": 4, "inverted": [0]},
        {"function": "registers"},
    ],
)
def test_options_that_name_what_is_not_there_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ModbusInputsOptions.model_validate(options)


def relays(*script) -> ModbusRelays:
    line = ScriptedRegisters(*script)
    return ModbusRelays(line, ModbusRelaysOptions(relays=2, address=0x10))


def test_a_relay_is_opened_and_its_coil_read_back() -> None:
    driver = relays(writes_coil(0x11, False), reads_coils(0x10, True, False))
    driver.off(2)
    driver.line.finished()


def test_a_relay_that_stays_closed_is_noticed() -> None:
    driver = relays(writes_coil(0x10, False), reads_coils(0x10, True, False))
    with pytest.raises(ReadbackMismatch, match="relay 1 is still closed"):
        driver.off(1)


def test_a_reading_says_which_relays_are_closed() -> None:
    readings = relays(reads_coils(0x10, True, False)).read()
    assert [reading.output_on for reading in readings.values()] == [True, False]


def test_the_sentinel_gets_the_frame_that_opens_a_relay_and_its_echo() -> None:
    (exchange,) = relays().off_exchanges(2)
    assert exchange.send.startswith(bytes.fromhex("01 05 0011 0000"))


def outputs(*script) -> ModbusOutputs:
    line = ScriptedRegisters(*script)
    return ModbusOutputs(line, ModbusOutputsOptions(outputs=2, address=0x10))


@pytest.mark.parametrize("on", [True, False])
def test_an_output_is_switched_and_its_coil_read_back(on: bool) -> None:
    driver = outputs(writes_coil(0x11, on), reads_coils(0x10, False, on))
    driver.switch(2, on)
    driver.line.finished()


@pytest.mark.parametrize("on", [True, False])
def test_an_output_that_stays_as_it_was_is_noticed(on: bool) -> None:
    driver = outputs(writes_coil(0x10, on), reads_coils(0x10, not on, False))
    with pytest.raises(ReadbackMismatch, match=f"reads {'off' if on else 'on'}"):
        driver.switch(1, on)


def test_off_is_the_safe_state_which_may_be_on() -> None:
    driver = outputs(
        writes_coil(0x10, False),
        reads_coils(0x10, False, False),
        writes_coil(0x11, True),
        reads_coils(0x10, False, True),
    )
    driver.safe = {1: False, 2: True}
    driver.off(1)
    driver.off(2)
    driver.line.finished()


def test_the_sentinel_gets_the_frame_of_the_safe_state() -> None:
    driver = outputs()
    driver.safe = {1: False, 2: True}
    frames = [driver.off_exchanges(channel)[0].send for channel in (1, 2)]
    assert frames[0].startswith(bytes.fromhex("01 05 0010 0000"))
    assert frames[1].startswith(bytes.fromhex("01 05 0011 FF00"))


@pytest.mark.parametrize("channel", [0, 3])
def test_an_output_that_is_not_there_never_reaches_the_wire(channel: int) -> None:
    with pytest.raises(InstrumentRefused, match="no output"):
        outputs().switch(channel, True)
