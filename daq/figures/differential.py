"""dQ/dV and dV/dQ of a step at constant current (incremental capacity, differential voltage).

Both have their smoothing told with them, because a peak is as high as its smoothing lets it be.

dQ/dV sorts the charge into bins of voltage (each stretch between two records spreads its charge
evenly over the voltages that it crosses) and smooths the bins with a Gaussian. The area below the
curve is the charge that the step moved, exactly, whatever the bins are; a noisy voltage that goes
back and forth does no harm. This is the level evaluation of X. Feng et al., eTransportation 3
(2020) 100051. dV/dQ samples voltage over charge evenly, smooths it in the same way, and takes
central differences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from daq.figures.moved import Floats

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


def dqdv(charge_Ah: Floats, voltage_V: Floats, smoothing: Smoothing | None = None) -> Curve:
    """Incremental capacity over voltage.

    Args:
        charge_Ah: moved since the start of the step, not falling (an amount, whatever the sign
            of the current), shape (n,).
        voltage_V: of the cell.
        smoothing: None takes the default.

    Returns:
        At the middles of the bins; `EMPTY` when nothing was moved over any voltage.
    """
    chosen = smoothing or Smoothing()
    charge, volts = _finite(charge_Ah, voltage_V)
    if len(charge) < 2 or np.ptp(volts) < chosen.bin_V or charge[-1] <= charge[0]:
        return EMPTY
    margin = _REACH * chosen.sigma_V + chosen.bin_V
    low = chosen.bin_V * np.floor((volts.min() - margin) / chosen.bin_V)
    bins = int(np.ceil((volts.max() + margin - low) / chosen.bin_V))
    edges = low + chosen.bin_V * np.arange(bins + 1)
    per_V = np.diff(_charge_below(edges, charge, volts)) / chosen.bin_V
    smooth = np.convolve(per_V, _gaussian(chosen.sigma_V / chosen.bin_V), mode="same")
    return Curve((edges[1:] + edges[:-1]) / 2, smooth, chosen.of_dqdv)


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


def dvdq(charge_Ah: Floats, voltage_V: Floats, smoothing: Smoothing | None = None) -> Curve:
    """Differential voltage over charge; arguments as for `dqdv`.

    Returns:
        `EMPTY` when nothing was moved. V/Ah is negative while a discharge goes on.
    """
    chosen = smoothing or Smoothing()
    charge, volts = _finite(charge_Ah, voltage_V)
    if len(charge) < 2 or charge[-1] <= charge[0]:
        return EMPTY
    first, whole = float(charge[0]), float(charge[-1] - charge[0])
    even = first + whole * np.arange(chosen.parts + 1) / chosen.parts
    smooth = _smooth(np.interp(even, charge, volts), chosen.sigma * chosen.parts)
    return Curve(even - charge[0], np.gradient(smooth, even), chosen.of_dvdq)


def _finite(charge: Floats, volts: Floats) -> tuple[Floats, Floats]:
    known = np.isfinite(charge) & np.isfinite(volts)
    return charge[known], volts[known]


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
