"""Charge and energy that were moved: by trapezoids over the real time stamps of the records."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from math import nan

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_SECONDS = 3600.0  # of an hour


@dataclass(frozen=True, slots=True)
class Moved:
    """Charge and energy, into the cell and out of it apart; all >= 0."""

    charge_Ah: float = 0.0
    discharge_Ah: float = 0.0
    charge_Wh: float = 0.0
    discharge_Wh: float = 0.0

    @property
    def net_Ah(self) -> float:
        """Into the cell less out of it."""
        return self.charge_Ah - self.discharge_Ah

    @property
    def cumulative_Ah(self) -> float:
        """Both ways together."""
        return self.charge_Ah + self.discharge_Ah

    @property
    def net_Wh(self) -> float:
        """Into the cell less out of it."""
        return self.charge_Wh - self.discharge_Wh

    @property
    def cumulative_Wh(self) -> float:
        """Both ways together."""
        return self.charge_Wh + self.discharge_Wh

    @property
    def coulombic_efficiency_pct(self) -> float:
        """Charge out over charge in; NaN when none went in."""
        return 100 * ratio(self.discharge_Ah, self.charge_Ah)

    @property
    def energy_efficiency_pct(self) -> float:
        """Energy out over energy in; NaN when none went in."""
        return 100 * ratio(self.discharge_Wh, self.charge_Wh)

    @property
    def charge_mean_V(self) -> float:
        """Voltage of charging, weighted by charge: energy over charge."""
        return ratio(self.charge_Wh, self.charge_Ah)

    @property
    def discharge_mean_V(self) -> float:
        """Voltage of discharging, weighted by charge: energy over charge."""
        return ratio(self.discharge_Wh, self.discharge_Ah)


COUNTERS = tuple(field.name for field in fields(Moved))
"""Names of the four, as the records have them."""


def ratio(part: float, whole: float) -> float:
    """A quotient of two amounts; NaN where there is no whole."""
    return part / whole if whole > 0 else nan


def deviation_pct(found: Moved, expected: Moved) -> float:
    """How far two countings of the same thing are apart: the largest of the four, in percent.

    Each of charge and energy is related to the larger of both directions, because a step that
    only charges has a discharge of nothing and noise. NaN when nothing was moved.
    """
    parts = zip(astuple(found), astuple(expected), strict=True)
    apart = [abs(a - b) for a, b in parts]
    most_Ah = max(expected.charge_Ah, expected.discharge_Ah)
    most_Wh = max(expected.charge_Wh, expected.discharge_Wh)
    return 100 * max(ratio(max(apart[:2]), most_Ah), ratio(max(apart[2:]), most_Wh))


def trapezoids(
    time_s: Floats, voltage_V: Floats, current_A: Floats, unseen: Flags | None = None
) -> Floats:
    """Charge and energy moved up to each record.

    Between two records current and power are straight lines; where the current changes its sign,
    each side of the crossing is counted for itself. A record without voltage or current adds
    nothing, and the stretch around it is integrated from its neighbours.

    Args:
        time_s: stamps that do not fall, shape (n,).
        voltage_V: of the cell.
        current_A: charge positive.
        unseen: for each record, whether nobody saw the stretch that ends with it (the daemon was
            down); such a stretch is not integrated.

    Returns:
        Shape (4, n): `COUNTERS` in Ah and Wh; 0 at the first record.
    """
    out = np.zeros((len(COUNTERS), len(time_s)))
    known = np.flatnonzero(np.isfinite(voltage_V) & np.isfinite(current_A))
    if len(known) < 2:
        return out
    hours = np.diff(time_s[known]) / _SECONDS
    if unseen is not None:
        hours = np.where(_any_between(unseen, known), 0.0, hours)
    amps = current_A[known]
    moved = _signed(hours, amps, voltage_V[known] * amps)
    out[:, known[1:]] = moved
    return np.cumsum(out, axis=1)


def _any_between(marks: Flags, known: npt.NDArray[np.intp]) -> Flags:
    """Whether any record after one known record, up to the next, is marked."""
    count = np.cumsum(marks)[known]
    return np.diff(count) > 0


def _signed(hours: Floats, amps: Floats, watts: Floats) -> Floats:
    """Areas of the stretches, in the order of `COUNTERS`."""
    before, after = amps[:-1], amps[1:]
    crosses = before * after < 0
    # Where the line crosses zero, as a part of the stretch; power is zero at the same moment.
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(crosses, before / (before - after), 1.0)
    up = np.where(crosses, before > 0, before + after > 0)
    charge = _areas(hours, first, up, before, after, crosses)
    energy = _areas(hours, first, up, watts[:-1], watts[1:], crosses)
    return np.stack([charge[0], charge[1], energy[0], energy[1]])


def _areas(
    hours: Floats, first: Floats, up: Flags, start: Floats, end: Floats, crosses: Flags
) -> tuple[Floats, Floats]:
    """(into the cell, out of it) of each stretch; `up`: its first part charges."""
    whole = np.abs(hours * (start + end) / 2)
    one = np.where(crosses, np.abs(hours * first * start / 2), whole)
    other = np.where(crosses, np.abs(hours * (1 - first) * end / 2), 0.0)
    return np.where(up, one, other), np.where(up, other, one)
