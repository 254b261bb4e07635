"""dQ/dV and dV/dQ of a step at constant current (incremental capacity, differential voltage).

Both have their smoothing told with them, because a peak is as high as its smoothing lets it be.

dQ/dV sorts the charge into bins of voltage (each stretch between two records spreads its charge
evenly over the voltages that it crosses) and smooths the bins with a Gaussian. The area below the
curve is the charge that the step moved, exactly, whatever the bins are; a noisy voltage that goes
back and forth does no harm. This is the level evaluation of X. Feng et al., eTransportation 3
(2020) 100051. dV/dQ samples voltage over charge evenly, smooths it in the same way, and takes
central differences. Where the step stood still both are broken: the cell relaxed meanwhile, and
each side is a curve of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from daq.figures.moved import Flags, Floats

_REACH = 4  # standard deviations after which a Gaussian is nothing


@dataclass(frozen=True, slots=True)
class Smoothing:
    """How dQ/dV and dV/dQ are smoothed.

    Attributes:
        bin_V: width of the bins of voltage.
        sigma_V: standard deviation of the Gaussian over voltage.
        parts: number of even parts of the step's charge.
        sigma: standard deviation of the Gaussian over charge, as a part of the step's.
    """

    bin_V: float = 0.002
    sigma_V: float = 0.005
    parts: int = 500
    sigma: float = 0.01

    @property
    def of_dqdv(self) -> str:
        """In words, for whoever reads the figure."""
        return (
            f"charge in bins of {1e3 * self.bin_V:g} mV, "
            f"Gaussian of {1e3 * self.sigma_V:g} mV standard deviation"
        )

    @property
    def of_dvdq(self) -> str:
        """In words, for whoever reads the figure."""
        return (
            f"{self.parts} even parts of the step's charge, Gaussian of "
            f"{100 * self.sigma:g} % of it standard deviation, central differences"
        )


@dataclass(frozen=True, slots=True)
class Curve:
    """A differential curve.

    Attributes:
        x: V for dQ/dV; Ah since the start of the step for dV/dQ.
        y: Ah/V (positive for charge and for discharge), or V/Ah.
        smoothing: the method and its parameters, in words.
    """

    x: Floats
    y: Floats
    smoothing: str


EMPTY = Curve(np.empty(0), np.empty(0), "")
"""Where there is no curve to be had."""


def dqdv(
    charge_Ah: Floats,
    voltage_V: Floats,
    smoothing: Smoothing | None = None,
    breaks: Flags | None = None,
) -> Curve:
    """Incremental capacity over voltage.

    Args:
        charge_Ah: moved since the start of the step, not falling (an amount, whatever the sign
            of the current), shape (n,).
        voltage_V: of the cell.
        smoothing: None takes the default.
        breaks: for each record, whether the step stood still before it: the stretch that ends
            there is left out. None: nowhere.

    Returns:
        At the middles of the bins, with a NaN between the two sides of a break: the voltages that
        the step crosses on both sides have a line each, and no false peak. `EMPTY` when nothing
        was moved over any voltage.
    """
    chosen = smoothing or Smoothing()
    pieces = _pieces(charge_Ah, voltage_V, breaks)
    curves = [_levels(*piece, chosen) for piece in pieces]
    return _joined([curve for curve in curves if curve is not None], chosen.of_dqdv)


def _levels(charge: Floats, volts: Floats, chosen: Smoothing) -> tuple[Floats, Floats] | None:
    """(voltage, dQ/dV) between two breaks; None where nothing was moved over any voltage."""
    if len(charge) < 2 or np.ptp(volts) < chosen.bin_V or charge[-1] <= charge[0]:
        return None
    margin = _REACH * chosen.sigma_V + chosen.bin_V
    low = chosen.bin_V * np.floor((volts.min() - margin) / chosen.bin_V)
    bins = int(np.ceil((volts.max() + margin - low) / chosen.bin_V))
    edges = low + chosen.bin_V * np.arange(bins + 1)
    per_V = np.diff(_charge_below(edges, charge, volts)) / chosen.bin_V
    smooth = np.convolve(per_V, _gaussian(chosen.sigma_V / chosen.bin_V), mode="same")
    return (edges[1:] + edges[:-1]) / 2, smooth


def _charge_below(edges: Floats, charge: Floats, volts: Floats) -> Floats:
    """Charge that was moved below each voltage.

    The sum over all stretches of a ramp that is 0 below a stretch's voltages and the stretch's
    charge above them; a stretch at constant voltage is a step.
    """
    moved = np.diff(charge)
    low, high = np.minimum(volts[1:], volts[:-1]), np.maximum(volts[1:], volts[:-1])
    flat = high - low < 1e-9
    slopes = moved[~flat] / (high - low)[~flat]
    at = np.concatenate([low[~flat], high[~flat]])
    order = np.argsort(at, kind="stable")
    at, bends = at[order], np.concatenate([slopes, -slopes])[order]
    ramps = np.zeros(len(edges))
    if len(at):
        slope = np.cumsum(bends)
        corners = np.concatenate([[0.0], np.cumsum(slope[:-1] * np.diff(at))])
        ramps = np.interp(edges, at, corners)
    order = np.argsort(low[flat], kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(moved[flat][order])])
    return ramps + sums[np.searchsorted(low[flat][order], edges)]


def dvdq(
    charge_Ah: Floats,
    voltage_V: Floats,
    smoothing: Smoothing | None = None,
    breaks: Flags | None = None,
) -> Curve:
    """Differential voltage over charge; arguments as for `dqdv`.

    Returns:
        `EMPTY` when nothing was moved. V/Ah is negative while a discharge goes on.
    """
    chosen = smoothing or Smoothing()
    pieces = [piece for piece in _pieces(charge_Ah, voltage_V, breaks) if len(piece[0])]
    first = float(pieces[0][0][0]) if pieces else 0.0
    part_Ah = (float(pieces[-1][0][-1]) - first) / chosen.parts if pieces else 0.0
    if part_Ah <= 0:
        return EMPTY
    curves = [_slope(charge - first, volts, part_Ah, chosen) for charge, volts in pieces]
    return _joined([curve for curve in curves if curve is not None], chosen.of_dvdq)


def _slope(
    charge: Floats, volts: Floats, part_Ah: float, chosen: Smoothing
) -> tuple[Floats, Floats] | None:
    """(charge, dV/dQ) between two breaks; None where less was moved than the smoothing reaches."""
    sigma = chosen.sigma * chosen.parts
    parts = round(float(charge[-1] - charge[0]) / part_Ah) if len(charge) > 1 else 0
    if parts < max(2.0, sigma):
        return None
    even = np.linspace(float(charge[0]), float(charge[-1]), parts + 1)
    smooth = _smooth(np.interp(even, charge, volts), sigma)
    return even, np.gradient(smooth, even)


def _joined(curves: list[tuple[Floats, Floats]], smoothing: str) -> Curve:
    """One after the other, with a NaN between two."""
    if not curves:
        return EMPTY
    gap = np.array([np.nan])
    pieces = [(gap, gap)] * (2 * len(curves) - 1)
    pieces[::2] = curves
    x, y = (np.concatenate(side) for side in zip(*pieces, strict=True))
    return Curve(x, y, smoothing)


def _pieces(charge: Floats, volts: Floats, breaks: Flags | None) -> list[tuple[Floats, Floats]]:
    """The records that have both, cut at the breaks."""
    known = np.isfinite(charge) & np.isfinite(volts)
    flags = np.zeros(len(charge), np.bool_) if breaks is None else breaks
    # A break before a record that is left out is one before the next that is kept.
    cuts = np.flatnonzero(np.diff(np.cumsum(flags)[known])) + 1
    return list(zip(np.split(charge[known], cuts), np.split(volts[known], cuts), strict=True))


def _gaussian(sigma: float) -> Floats:
    reach = max(1, int(np.ceil(_REACH * sigma)))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-9)) ** 2)
    return weights / weights.sum()


def _smooth(values: Floats, sigma: float) -> Floats:
    """Goes on beyond its ends as its point reflection does, so that a straight line stays one."""
    kernel = _gaussian(sigma)
    reach = min(len(kernel) // 2, len(values) - 1)
    kernel = kernel[len(kernel) // 2 - reach : len(kernel) // 2 + reach + 1]
    before = 2 * values[0] - values[reach:0:-1]
    after = 2 * values[-1] - values[-2 : -reach - 2 : -1]
    extended = np.concatenate([before, values, after])
    smooth: Any = np.convolve(extended, kernel / kernel.sum(), mode="valid")
    return smooth
