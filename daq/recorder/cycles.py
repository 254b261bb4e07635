"""The table of cycles that people look at first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daq.journal import JournalReader
from daq.recorder.source import open_source

_NEGLIGIBLE = 1e-3  # of the largest cycle: what an open output seems to leak is no cycle


@dataclass(frozen=True, slots=True)
class Cycle:
    """One cycle of a run; NaN where the cycle did not (yet) charge or discharge.

    Attributes:
        coulombic_efficiency: charge taken out over charge put in, 1.0 = all of it.
    """

    cycle: int
    charge_Ah: float
    discharge_Ah: float
    coulombic_efficiency: float
    end_of_charge_V: float
    end_of_discharge_V: float


def cycle_table(origin: JournalReader | Path, run: str = "") -> list[Cycle]:
    """The cycles of a run that moved charge.

    Args:
        origin: the run's closed HDF5 file, or the journal.
        run: id of the run; not needed for a file.

    Raises:
        InputError: there is no such run, or no such file.
    """
    cycles = [_cycle(row) for row in open_source(origin, run).cycles()]
    moved = [cycle.charge_Ah + cycle.discharge_Ah for cycle in cycles]
    floor = _NEGLIGIBLE * max(moved, default=0.0)
    return [cycle for cycle, charge_Ah in zip(cycles, moved, strict=True) if charge_Ah > floor]


def _cycle(row: Any) -> Cycle:
    return Cycle(
        int(row["cycle_number"]),
        float(row["capacity_charge"]),
        float(row["capacity_discharge"]),
        float(row["coulomb_efficiency"]) / 100,
        float(row["end_of_charge_V"]),
        float(row["end_of_discharge_V"]),
    )
