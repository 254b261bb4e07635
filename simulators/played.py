"""A cell in a chamber that is played instead of served: what `daq dry-run` asks for a cell model.

No sockets and no clock: whoever plays says how much time passes, and may go back to where it was.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

from simulators.cell import Cell
from simulators.chamber import ChamberModel

_START_DEGC = 25.0
_LONGEST_S = 120.0  # with current, where the state of charge hardly moves
_LONGEST_REST_S = 1800.0
_MOVING_AIR_S = 10.0  # while the chamber is on its way
_TAPERING = 4  # pieces of a step in which the current changes; in each it is constant
_ARRIVED_K = 1e-3
_FAR_V = 1e3  # stands for a voltage that nothing limits


class _Clock:
    """Time as the player lets it pass."""

    factor = 1.0

    def __init__(self) -> None:
        self.at_s = 0.0

    def now(self) -> float:
        return self.at_s

    def real(self) -> float:
        return self.at_s


@dataclass(frozen=True, slots=True)
class _Saved:
    at_s: float
    cell: Cell
    chamber: ChamberModel
    current_A: float
    demand: tuple[float, float, float] | None


class PlayedCell:
    """A cell with a cycler on it, in a chamber.

    Args:
        chemistry: A key of `simulators.chemistry.CHEMISTRIES`.
        capacity_Ah: Reversible capacity once formed.
        soc: State of charge at the start, 0 to 1.
        formed: Whether the SEI is complete.
        more: As `simulators.cell.Cell` takes it.
    """

    def __init__(
        self, chemistry: str, capacity_Ah: float, soc: float, *, formed: bool = True, **more: Any
    ) -> None:
        self._clock = _Clock()
        self._cell = Cell(
            chemistry, capacity_Ah, soc, formed=formed, temperature_degC=_START_DEGC, **more
        )
        self._chamber = ChamberModel(self._clock, _START_DEGC)
        self._demand: tuple[float, float, float] | None = None
        self.current_A = 0.0

    @property
    def voltage_V(self) -> float:
        """At the terminals."""
        return self._cell.voltage_V(self.current_A)

    @property
    def temperature_degC(self) -> float:
        """Of the cell."""
        return self._cell.temperature_degC

    @property
    def chamber_degC(self) -> float:
        """Of the chamber's air."""
        return self._chamber.temperature_degC

    @property
    def soc(self) -> float:
        """State of charge, 1 is full."""
        return self._cell.soc

    @property
    def longest_s(self) -> float:
        """How long may pass at once."""
        if not self._chamber.settled(_ARRIVED_K):
            return _MOVING_AIR_S
        if self.current_A == 0.0:
            return _LONGEST_REST_S
        return self._cell.longest_step_s(self.current_A, _LONGEST_S)

    def drive(self, voltage_V: float, charge_A: float, discharge_A: float) -> None:
        """Regulate towards a voltage within a current each way."""
        self._demand = (min(max(voltage_V, -_FAR_V), _FAR_V), charge_A, discharge_A)
        self.current_A = self._wanted_A(0.0)

    def off(self) -> None:
        """No current."""
        self._demand, self.current_A = None, 0.0

    def set_chamber(self, degC: float) -> None:
        """Ask the chamber for a temperature."""
        self._chamber.set(degC)
        self._chamber.start()

    def advance(self, seconds: float) -> None:
        """Let time pass, with a current that ends at the voltage, or at its limit."""
        self._clock.at_s += seconds
        self._chamber.advance()
        self._cell.ambient_degC = self._chamber.temperature_degC
        pieces = _TAPERING if self._tapers else 1
        for _ in range(pieces):
            self.current_A = self._wanted_A(seconds / pieces)
            self._cell.step(seconds / pieces, self.current_A)

    @property
    def _tapers(self) -> bool:
        """Whether the voltage is held, so that the current follows."""
        if self._demand is None:
            return False
        _, charge_A, discharge_A = self._demand
        return -discharge_A < self.current_A < charge_A

    def _wanted_A(self, seconds: float) -> float:
        if self._demand is None:
            return 0.0
        voltage_V, charge_A, discharge_A = self._demand
        return self._cell.current_for(voltage_V, seconds, -discharge_A, charge_A, self.current_A)

    def save(self) -> Any:
        """Its state, for `restore`; any number of times."""
        return _Saved(
            self._clock.at_s, copy(self._cell), copy(self._chamber), self.current_A, self._demand
        )

    def restore(self, saved: Any) -> None:
        """Go back."""
        self._clock.at_s = saved.at_s
        self._cell, self._chamber = copy(saved.cell), copy(saved.chamber)
        self.current_A, self._demand = saved.current_A, saved.demand


def nmc(capacity_Ah: float, soc: float, *, formed: bool = True) -> PlayedCell:
    """NMC 811 against graphite."""
    return PlayedCell("nmc", capacity_Ah, soc, formed=formed)


def lfp(capacity_Ah: float, soc: float, *, formed: bool = True) -> PlayedCell:
    """LFP against graphite."""
    return PlayedCell("lfp", capacity_Ah, soc, formed=formed)
