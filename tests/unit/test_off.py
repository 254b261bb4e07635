"""Switching off without a daemon: whatever fails, everything else is switched off all the same."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from daq.control import off
from daq.errors import InputError, LinkDown, NoReply, ReadbackMismatch
from tests.unit.fakes import FakeCycler, FakeLogger


class Four(FakeCycler):
    """A cycler of four channels."""

    def __init__(self):
        super().__init__()
        self.channels = (1, 2, 3, 4)
        self.switched = []
        self.stuck = set()

    def off(self, channel):
        self._tell("off")
        if channel in self.stuck:
            raise ReadbackMismatch(f"channel {channel} is still on")
        self.switched.append(channel)


@pytest.fixture
def lab(monkeypatch):
    drivers = {"aps1": Four(), "aps2": FakeCycler(), "tc": FakeLogger()}
    monkeypatch.setattr(off, "make_line", lambda resource, settings, backend: resource)
    monkeypatch.setattr(off, "load_lab", lambda path: lab)
    lab = SimpleNamespace(
        drivers=drivers,
        visa_backend="@py",
        safe_states=lambda name: {},
        instruments={
            name: SimpleNamespace(
                resource=driver.line,
                settings=None,
                options=None,
                driver_class=lambda line, options, found=driver: found,
            )
            for name, driver in drivers.items()
        },
    )
    return lab


def test_every_channel_of_every_instrument_is_switched_off(lab):
    assert off.switch_lab_off(lab) == {"aps1": "", "aps2": "", "tc": ""}
    assert lab.drivers["aps1"].switched == [1, 2, 3, 4]
    assert lab.drivers["aps2"].told == ["identify", "setup", "off"]
    assert not lab.drivers["aps1"].line.is_open


def test_what_only_measures_is_not_opened(lab):
    off.switch_lab_off(lab)
    assert lab.drivers["tc"].line.opened == 0


def test_a_channel_that_does_not_confirm_does_not_keep_the_next_ones_on(lab):
    lab.drivers["aps1"].stuck = {2}
    assert "channel 2 is still on" in off.switch_lab_off(lab)["aps1"]
    assert lab.drivers["aps1"].switched == [1, 3, 4]


def test_an_instrument_that_cannot_be_set_up_is_switched_off_all_the_same(lab):
    lab.drivers["aps2"].faults["setup"] = NoReply("confused")
    assert off.switch_lab_off(lab)["aps2"] == ""
    assert lab.drivers["aps2"].told[-1] == "off"


@pytest.mark.parametrize("error", [LinkDown("unplugged"), InputError("no such backend")])
def test_an_instrument_that_cannot_be_opened_does_not_keep_the_others_on(error, lab):
    lab.drivers["aps1"].line.refuses = error
    results = off.switch_lab_off(lab)
    assert str(error) in results["aps1"]
    assert results["aps2"] == ""


def test_only_those_that_are_named_are_touched(lab):
    assert off.switch_lab_off(lab, ["aps2"]) == {"aps2": ""}
    assert lab.drivers["aps1"].told == []


def test_a_name_that_the_lab_does_not_know_is_refused_before_anything_is_opened(lab):
    with pytest.raises(InputError, match="aps7"):
        off.switch_lab_off(lab, ["aps2", "aps7"])
    assert lab.drivers["aps2"].told == []


def test_the_exit_code_says_whether_everything_was_verified(lab, capsys):
    assert off.main(["lab.yaml"]) == 0
    assert "aps1: OFF, verified" in capsys.readouterr().out
    lab.drivers["aps1"].stuck = {1}
    assert off.main(["lab.yaml"]) == 1
    assert off.main(["lab.yaml", "aps7"]) == 2
    assert off.main([]) == 2
