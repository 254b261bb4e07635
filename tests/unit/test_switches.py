"""Digital outputs: written until read back, safe when nobody wants them otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from daq.config import OutputConfig
from daq.control.sensors import SensorRef, Sensors
from daq.control.switches import Outputs, Switchboard
from daq.driver import Switch
from daq.errors import NoReply, ReadbackMismatch
from daq.model import ChannelRef, Reading, Sample
from tests.unit.fakes import HandBus, Told, TurnedClock, instrument


class FakeSwitch(Told, Switch[Any]):
    """A module that does as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.state = {1: True, 2: False}

    def read(self):
        self._tell("read")
        return {channel: Reading(output_on=on) for channel, on in self.state.items()}

    def switch(self, channel: int, on: bool) -> None:
        self._tell(f"{channel} {'on' if on else 'off'}")
        self.state[channel] = on


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = TurnedClock()
    clock.put_into(monkeypatch)
    return clock


@pytest.fixture
def bus():
    return HandBus()


@pytest.fixture
def module():
    return FakeSwitch()


@pytest.fixture
def board(bus, module):
    box = instrument(module, "io")
    assert box.ready()
    return Switchboard(box, bus, {1: False, 2: True})


@pytest.fixture
def outputs(board):
    wired = {
        "stirrer": OutputConfig(ChannelRef("io", 1)),
        "fan": OutputConfig(ChannelRef("io", 2), True),
    }
    return Outputs(wired, {"io": board})


def test_from_the_first_moment_each_is_in_its_safe_state(board, module):
    board.serve()
    assert module.state == {1: False, 2: True}


def test_a_state_is_written_once_and_granted_when_it_was_read_back(outputs, board, bus, module):
    board.serve()
    assert "being switched on" in outputs.request([("stirrer", True)])
    assert not outputs.failing
    bus.run()
    assert outputs.request([("stirrer", True)]) == ""
    for _ in range(3):
        board.serve()
    assert module.count("1 on") == 1


def test_one_that_does_not_obey_is_told_with_its_reason_and_tried_again(
    outputs, board, bus, module
):
    board.serve()
    module.faults["1 on"] = ReadbackMismatch("output 1 reads off all the same")
    outputs.request([("stirrer", True)])
    bus.run()
    assert "cannot be switched on: output 1 reads off" in outputs.request([("stirrer", True)])
    assert outputs.failing
    assert "io.1" in board.failing
    assert board.online  # a refusal is no fault of the link
    module.faults.clear()
    bus.run()
    assert outputs.request([("stirrer", True)]) == ""
    assert board.failing == ""


def test_a_link_that_fails_is_dropped_and_after_it_everything_is_written_again(
    outputs, board, bus, module
):
    board.serve()
    module.faults["1 on"] = NoReply("silence")
    outputs.request([("stirrer", True)])
    bus.run()
    assert not board.online
    assert "is offline" in outputs.request([("stirrer", True)])
    module.faults.clear()
    module.state = {1: False, 2: False}  # it lost its supply
    board.lost()
    module.line.is_open = True
    board._instrument.online = True
    board.serve()
    assert module.state == {1: True, 2: True}


def test_what_somebody_else_has_switched_is_switched_again(board, module):
    board.serve()
    module.state[2] = False
    board.see(module.read())
    board.serve()
    assert module.state[2] is True


def test_safe_is_what_the_lab_file_says(outputs, board, bus, module):
    outputs.request([("stirrer", True), ("fan", False)])
    bus.run()
    assert module.state == {1: True, 2: False}
    outputs.make_safe()
    bus.run()
    assert module.state == {1: False, 2: True}
    outputs.request([("stirrer", True)])
    bus.run()
    board.rest()
    assert module.state == {1: False, 2: True}


def test_a_name_that_is_not_there_is_said(outputs):
    assert "no such output" in outputs.request([("lamp", True)])


def test_off_is_the_safe_state_of_the_channel(module):
    module.line.is_open = True
    module.safe = {1: False, 2: True}
    assert module.off_channels == (1, 2)
    module.off(1)
    module.off(2)
    assert module.state == {1: False, 2: True}


# Sensors.

TOP, CAN = ChannelRef("logger", 101), ChannelRef("logger", 102)


def seen(source: ChannelRef, stamp_s: float, **reading: float) -> Sample:
    return Sample(source, stamp_s, stamp_s, stamp_s, Reading(**reading))


def test_a_sensor_is_what_its_channel_measures_and_not_for_ever():
    sensors = Sensors({"top": SensorRef(TOP, 3.0), "can": SensorRef(CAN, 3.0)})
    assert sensors.channels == {TOP, CAN}
    assert sensors.unit_of("top") == ""
    sensors.see(seen(TOP, 10.0, temperature_degC=45.0))
    sensors.see(seen(CAN, 10.0, voltage_V=3.1))
    assert sensors.values(12.9) == {"top": 45.0, "can": 3.1}
    assert sensors.named(12.9) == {"top_degC": 45.0, "can_V": 3.1}
    assert (sensors.unit_of("top"), sensors.unit_of("can")) == ("degC", "V")
    late = sensors.values(13.1)
    assert all(value != value for value in late.values())
    assert sensors.named(13.1) == {}


def test_a_reading_that_is_no_number_is_no_measurement():
    sensors = Sensors({"top": SensorRef(TOP, 3.0)})
    sensors.see(seen(TOP, 10.0, temperature_degC=9.9e37))
    assert sensors.named(10.0) == {}
    sensors.see(seen(TOP, 11.0))
    assert sensors.values(11.0)["top"] != sensors.values(11.0)["top"]


def test_the_humidity_of_the_chamber_is_recorded_with_them():
    mk = ChannelRef("mk56")
    sensors = Sensors({}, SensorRef(mk, 3.0))
    sensors.see(seen(mk, 10.0, temperature_degC=25.0, humidity_pct=44.0))
    assert sensors.named(10.0) == {"humidity_pct": 44.0}
    assert sensors.channels == frozenset()
