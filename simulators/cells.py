"""The cell that an entry of a bench file asks for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from simulators import bench_file
from simulators.bench_file import BenchError
from simulators.cell import Cell
from simulators.cell_model import CellModel
from simulators.chamber import AMBIENT_DEGC
from simulators.chemistry import CHEMISTRIES

PYBAMM = ("spm", "spme")
"""Models that PyBaMM computes; see `pybamm_cell`."""

_OWN, _THEIRS = ("formed", "fade_per_cycle"), ("parameters",)


def from_file(key: str, entry: Mapping[str, Any], seed: str) -> CellModel:
    """Make a cell.

    Args:
        key: Of the entry, for messages.
        entry: As the bench file has it.
        seed: Makes the cell a little unlike its siblings (PyBaMM's cells are all alike).

    Raises:
        BenchError: A value that cannot be, or PyBaMM is not installed.
    """
    model = bench_file.need(key, entry, "model")
    if model not in (*CHEMISTRIES, *PYBAMM):
        known = ", ".join((*CHEMISTRIES, *PYBAMM))
        raise BenchError(f"{key}.model", f"{model!r} is none of {known}")
    for name in _OWN if model in PYBAMM else _THEIRS:
        if name in entry:
            raise BenchError(f"{key}.{name}", f"is not for a cell of model {model}")
    capacity_Ah = bench_file.number(
        f"{key}.capacity", bench_file.need(key, entry, "capacity"), 1e-6, 1e4
    )
    soc = bench_file.number(f"{key}.soc", entry.get("soc", 0.5), 0.0, 1.0)
    degC = entry.get("temperature", AMBIENT_DEGC)
    degC = bench_file.number(f"{key}.temperature", degC, -60.0, 150.0)
    if model in PYBAMM:
        return _of_pybamm(key, entry, capacity_Ah, soc, degC)
    fade = entry.get("fade_per_cycle", 2e-4)
    return Cell(
        model,
        capacity_Ah,
        soc,
        formed=bench_file.flag(f"{key}.formed", entry.get("formed", True)),
        temperature_degC=degC,
        fade_per_cycle=bench_file.number(f"{key}.fade_per_cycle", fade, 0.0, 0.5),
        seed=seed,
    )


def _of_pybamm(
    key: str, entry: Mapping[str, Any], capacity_Ah: float, soc: float, degC: float
) -> CellModel:
    model, parameters = entry["model"], entry.get("parameters", "Chen2020")
    try:
        module = importlib.import_module("simulators.pybamm_cell")
    except ImportError as missing:
        why = f"{model} needs PyBaMM ({missing}): pip install 'battery-daq[pybamm]'"
        raise BenchError(f"{key}.model", why) from missing
    try:
        return module.PybammCell(model, parameters, capacity_Ah, soc, temperature_degC=degC)
    except ValueError as problem:
        raise BenchError(f"{key}.parameters", str(problem)) from problem
