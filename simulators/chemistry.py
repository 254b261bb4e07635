"""Open-circuit voltage of two lithium-ion chemistries, from published fits.

Graphite and NMC 811: C.-H. Chen et al., J. Electrochem. Soc. 167 (2020) 080534 (LG M50, equations
8 and 9; stoichiometry windows from its table VII). LFP: A. Afshar, arXiv:1709.03970 (2017). The
lithium-poor end of each cell is the graphite's, so it falls off steeply below 0 % as real cells do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import exp, tanh

_LOWEST_SOC = -0.02
_PIECES = 2400


def graphite_V(x: float) -> float:
    """Graphite against lithium at stoichiometry `x`."""
    return (
        1.9793 * exp(-39.3631 * x)
        + 0.2482
        - 0.0909 * tanh(29.8538 * (x - 0.1234))
        - 0.04478 * tanh(14.9159 * (x - 0.2769))
        - 0.0205 * tanh(30.4444 * (x - 0.6103))
    )


def nmc_V(y: float) -> float:
    """NMC 811 against lithium at stoichiometry `y`."""
    return (
        -0.8090 * y
        + 4.4875
        - 0.0428 * tanh(18.5138 * (y - 0.5542))
        - 17.7326 * tanh(15.7890 * (y - 0.3117))
        + 17.5842 * tanh(15.9308 * (y - 0.3120))
    )


def lfp_V(y: float) -> float:
    """LFP against lithium at stoichiometry `y`."""
    return 3.4077 - 0.020269 * y + 0.5 * exp(-150.0 * y) - 0.9 * exp(-30.0 * (1.0 - y))


@dataclass(frozen=True, slots=True)
class Chemistry:
    """A full cell: its electrodes, their windows, and typical losses of a 1 Ah cell.

    Attributes:
        positive_V: Potential of the positive electrode.
        y0: Its stoichiometry at 0 % state of charge.
        y100: The same at 100 %.
        x0: Stoichiometry of the graphite at 0 %.
        x100: The same at 100 %.
        series_ohm_Ah: Series resistance times capacity (it scales with electrode area).
        interface_ohm_Ah: The same for the two interface arcs, film first.
        diffusion_ohm_Ah: The same for the whole diffusion ladder.
        top_soc: Where the fit of the positive electrode ends to make sense.
    """

    positive_V: Callable[[float], float]
    y0: float
    y100: float
    x0: float
    x100: float
    series_ohm_Ah: float
    interface_ohm_Ah: tuple[float, float]
    diffusion_ohm_Ah: float
    top_soc: float

    def open_circuit_V(self, soc: float) -> float:
        """Equilibrium voltage at a state of charge (0 to 1)."""
        y = self.y0 + soc * (self.y100 - self.y0)
        x = self.x0 + soc * (self.x100 - self.x0)
        return self.positive_V(y) - graphite_V(x)


CHEMISTRIES = {
    "nmc": Chemistry(nmc_V, 0.9084, 0.2661, 0.0279, 0.9014, 0.045, (0.015, 0.025), 0.060, 1.25),
    "lfp": Chemistry(lfp_V, 0.95, 0.0055, 0.0250, 0.863, 0.030, (0.010, 0.020), 0.050, 1.005),
}


class OpenCircuit:
    """A chemistry as a table of straight pieces, which goes on straight beyond its ends.

    Straight pieces make the cell's voltage piecewise affine in current, so a constant-voltage
    step is solved exactly, and the slope used by the spectrum is the one the time domain sees.
    """

    def __init__(self, chemistry: Chemistry) -> None:
        width = (chemistry.top_soc - _LOWEST_SOC) / _PIECES
        volts = [chemistry.open_circuit_V(_LOWEST_SOC + i * width) for i in range(_PIECES + 1)]
        self._width = width
        self._volts = volts
        self._slopes = [(b - a) / width for a, b in zip(volts, volts[1:], strict=False)]

    def piece(self, soc: float) -> tuple[float, float]:
        """Return (volts at `soc`, slope in volts per unit of state of charge)."""
        offset = soc - _LOWEST_SOC
        index = min(max(int(offset / self._width), 0), _PIECES - 1)
        slope = self._slopes[index]
        return self._volts[index] + (offset - index * self._width) * slope, slope

    def soc_at(self, volts: float) -> float:
        """Return the state of charge with this equilibrium voltage."""
        index = min(max(bisect_right(self._volts, volts) - 1, 0), _PIECES - 1)
        beyond = (volts - self._volts[index]) / self._slopes[index]
        return _LOWEST_SOC + index * self._width + beyond


@cache
def open_circuit(name: str) -> OpenCircuit:
    """Return the shared table of a chemistry.

    Raises:
        KeyError: No such chemistry.
    """
    return OpenCircuit(CHEMISTRIES[name])
