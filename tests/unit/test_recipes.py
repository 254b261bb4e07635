"""What the sentinel is told, and when an instrument counts as known."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from daq.bus.line import Endpoint
from daq.control.recipes import Recipes
from tests.unit.fakes import FakeCycler, FakeLogger, instrument


@pytest.fixture
def recipes(tmp_path):
    return Recipes(tmp_path / "recipes.json", Path("/lab/lab.yaml"), {"tcp:1": 2, "tcp:2": 3})


def read(recipes):
    return json.loads(recipes.path.read_text())


def test_an_instrument_is_known_once_the_file_is_written_and_not_before(recipes):
    recipes.connected(instrument(FakeCycler()))
    assert not recipes.known("aps1")
    recipes.write()
    assert recipes.known("aps1")
    assert read(recipes)["instruments"]["aps1"]["port"] == 5025
    assert read(recipes)["buses"] == {"2": "tcp:1", "3": "tcp:2"}


def test_a_file_that_cannot_be_written_leaves_it_unknown(recipes, tmp_path):
    recipes.path = tmp_path / "gone" / "recipes.json"
    recipes.connected(instrument(FakeCycler()))
    with pytest.raises(OSError, match="gone"):
        recipes.write()
    assert not recipes.known("aps1")


def test_the_file_is_replaced_as_a_whole_and_only_when_something_changed(recipes):
    recipes.connected(instrument(FakeCycler()))
    recipes.write()
    first = recipes.path.stat().st_ino
    recipes.connected(instrument(FakeCycler()))
    recipes.write()
    assert recipes.path.stat().st_ino == first
    moved = FakeCycler()
    moved.line.leads_to = Endpoint("tcp", "10.0.0.9", 5025)
    recipes.connected(instrument(moved))
    recipes.write()
    assert recipes.path.stat().st_ino != first
    assert read(recipes)["instruments"]["aps1"]["address"] == "10.0.0.9"
    assert not list(recipes.path.parent.glob("*.tmp"))


def test_what_only_measures_needs_no_recipe(recipes):
    recipes.connected(instrument(FakeLogger(), "tc"))
    recipes.write_now()
    assert read(recipes)["instruments"] == {}


def test_what_bytes_cannot_reach_is_switched_off_by_a_program_with_the_lab_s_file(recipes):
    driver = FakeCycler()
    driver.line.leads_to = None
    recipes.connected(instrument(driver))
    recipes.write()
    command = read(recipes)["instruments"]["aps1"]["command"]
    assert command == [sys.executable, "-m", "daq.control.off", "/lab/lab.yaml", "aps1"]
