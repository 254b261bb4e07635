"""The bench file: every mistake is one line with the key it is under."""

import copy
import sys

import pytest

from simulators import bench_file, cells
from simulators.bench import Bench
from simulators.bench_file import Address, BenchError

GOOD = {
    "clock": {"factor": 100},
    "seed": 7,
    "cells": {"cell-1": {"model": "nmc", "capacity": 2.5, "soc": 0.1, "formed": False}},
    "chambers": {"room": {"temperature": 23.0}},
    "instruments": {
        "aps1": {
            "dialect": "keysight_aps",
            "listen": "tcp://127.0.0.1:0",
            "channels": {1: "cell-1"},
            "options": {"model": "N6974A"},
        },
        "mk53": {
            "dialect": "binder",
            "listen": "modbus+rtu+tcp://127.0.0.1:0",
            "chamber": "room",
            "cells": ["cell-1"],
        },
    },
    "faults": [{"instrument": "aps1", "at": 5, "kind": "late", "delay": 1, "for": 3}],
    "control": "tcp://127.0.0.1:0",
}
APS = "instruments.aps1"


def changed(path: str, value) -> dict:
    """The good file with one value put in its place; ... removes it."""
    content = copy.deepcopy(GOOD)
    *way, last = path.split("/")
    target = content
    for step in way:
        target = target[int(step) if step.isdigit() and isinstance(target, list) else step]
    key = int(last) if last.isdigit() else last
    if value is ...:
        del target[key]
    else:
        target[key] = value
    return content


def test_a_good_file_makes_a_bench():
    bench = Bench(bench_file.checked(GOOD))
    assert set(bench.ports) == {"aps1", "mk53"}
    assert bench.positions["cell-1"].truth()["soc"] == 0.1


def test_a_cell_named_by_a_chamber_stands_in_it():
    bench = Bench(bench_file.checked(GOOD))
    assert bench.positions["cell-1"].circuit.chamber is bench.chambers["room"]


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ("clok", {}, "clok"),
        ("clock/factr", 1, "clock.factr"),
        ("clock/factor", 0, "clock.factor"),
        ("clock/factor", "fast", "clock.factor"),
        ("cells", [], "cells"),
        ("cells/cell-1/model", ..., "cells.cell-1.model"),
        ("cells/cell-1/model", ["nmc"], "cells.cell-1.model"),
        ("cells/cell-1/model", "lead", "cells.cell-1.model"),
        ("cells/cell-1/capacity", ..., "cells.cell-1.capacity"),
        ("cells/cell-1/capacity", -1, "cells.cell-1.capacity"),
        ("cells/cell-1/soc", 2, "cells.cell-1.soc"),
        ("cells/cell-1/formed", 0, "cells.cell-1.formed"),
        ("cells/cell-1/colour", "red", "cells.cell-1.colour"),
        ("chambers/room/temperature", "warm", "chambers.room.temperature"),
        ("instruments", {}, "instruments"),
        ("instruments/aps1/dialect", ..., f"{APS}.dialect"),
        ("instruments/aps1/dialect", "keysigt", f"{APS}.dialect"),
        ("instruments/aps1/dialect", "cell", f"{APS}.dialect"),
        ("instruments/aps1/dialect", "../etc", f"{APS}.dialect"),
        ("instruments/aps1/listen", ..., f"{APS}.listen"),
        ("instruments/aps1/listen", "127.0.0.1:5025", f"{APS}.listen"),
        ("instruments/aps1/listen", "tcp://127.0.0.1:99999", f"{APS}.listen"),
        ("instruments/aps1/listen", "tcp://somewhere:5025", f"{APS}.listen"),
        ("instruments/aps1/listen", "modbus+tcp://127.0.0.1:0", f"{APS}.listen"),
        ("instruments/mk53/listen", "tcp://127.0.0.1:0", "instruments.mk53.listen"),
        ("instruments/mk53/chamber", "hall", "instruments.mk53.chamber"),
        ("instruments/mk53/cells", ["cell-9"], "instruments.mk53.cells[0]"),
        ("instruments/aps1/channels", {1: "cell-9"}, f"{APS}.channels.1"),
        ("instruments/aps1/channels", {1: ["cell-1"]}, f"{APS}.channels.1"),
        ("instruments/aps1/channels", {"one": "cell-1"}, f"{APS}.channels.one"),
        ("instruments/aps1/options", {"model": "X"}, f"{APS}.options"),
        ("instruments/aps1/options", [], f"{APS}.options"),
        ("faults", {}, "faults"),
        ("faults/0/kind", "fire", "faults[0]"),
        ("faults/0/kind", ..., "faults[0].kind"),
        ("faults/0/instrument", "aps9", "faults[0].instrument"),
        ("faults/0/at", -1, "faults[0].at"),
        ("faults/0/why", "fun", "faults[0].why"),
    ],
)
def test_a_mistake_is_named_by_its_key(path, value, key):
    with pytest.raises(BenchError) as refusal:
        Bench(bench_file.checked(changed(path, value)))
    assert refusal.value.key == key
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("raw", "why"), [(b"", "it is empty"), (b"\x89PNG", "it is not UTF-8 text")]
)
def test_a_file_that_is_no_text_or_has_none_is_refused_in_words(raw, why, tmp_path):
    path = tmp_path / "bench.yaml"
    path.write_bytes(raw)
    with pytest.raises(BenchError) as refusal:
        bench_file.read(path)
    assert str(refusal.value) == why


@pytest.mark.parametrize("content", [None, [], "bench", 3])
def test_a_file_that_is_no_mapping_is_refused(content):
    with pytest.raises(BenchError, match="must be a mapping"):
        bench_file.checked(content)


def test_a_file_that_is_no_yaml_is_one_line(tmp_path):
    path = tmp_path / "bench.yaml"
    path.write_text("cells: [\n")
    with pytest.raises(BenchError) as refusal:
        bench_file.read(path)
    assert "line 2" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp://127.0.0.1:5025", Address("tcp", "127.0.0.1", 5025)),
        ("tcp://localhost:0", Address("tcp", "127.0.0.1", 0)),
        ("pty:./out/pico.pty", Address("pty", path="./out/pico.pty")),
        ("modbus+rtu:/tmp/mk", Address("modbus+rtu", path="/tmp/mk")),
        ("modbus+tcp://127.0.0.2:502", Address("modbus+tcp", "127.0.0.2", 502)),
        ("modbus+rtu+tcp://127.0.0.1:1", Address("modbus+rtu+tcp", "127.0.0.1", 1)),
    ],
)
def test_addresses_are_read(text, address):
    assert bench_file.address("listen", text) == address
    assert address.loopback


def test_an_address_of_the_lab_is_no_loopback():
    assert not bench_file.address("listen", "tcp://10.0.0.21:5025").loopback


def test_the_demo_bench_is_a_good_file():
    from pathlib import Path

    demo = Path(__file__).parents[2] / "config" / "demo-bench.yaml"
    assert len(Bench(bench_file.read(demo)).ports) == 6


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ({"model": "spm", "capacity": 2.5, "formed": True}, "cells.c.formed"),
        ({"model": "spme", "capacity": 2.5, "fade_per_cycle": 1e-4}, "cells.c.fade_per_cycle"),
        ({"model": "nmc", "capacity": 2.5, "parameters": "Chen2020"}, "cells.c.parameters"),
        ({"model": "spm", "capacity": 0}, "cells.c.capacity"),
        ({"model": "dfn", "capacity": 2.5}, "cells.c.model"),
        ({"model": ["spm"], "capacity": 2.5}, "cells.c.model"),
    ],
)
def test_a_cell_has_only_what_its_model_knows(entry, key):
    with pytest.raises(BenchError) as refused:
        cells.from_file("cells.c", entry, "seed")
    assert refused.value.key == key


def test_without_pybamm_a_cell_of_it_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "simulators.pybamm_cell", raising=False)
    monkeypatch.setitem(sys.modules, "pybamm", None)
    with pytest.raises(BenchError, match=r"battery-daq\[pybamm\]"):
        cells.from_file("cells.c", {"model": "spm", "capacity": 2.5}, "seed")
