"""What a rig asks of a cell, whatever the cell is made of."""

from __future__ import annotations

from typing import Protocol

from simulators.ledger import Slice


class CellModel(Protocol):
    """A cell that is moved step by step, at one constant current a step; charge positive.

    Attributes:
        soc: State of charge, 0 to 1; may be set.
        temperature_degC: Of the cell; may be set.
        ambient_degC: Of what surrounds it; the rig sets it.
        heat_W: Of a reaction that nobody wants; a test sets it.
    """

    soc: float
    temperature_degC: float
    ambient_degC: float
    heat_W: float
    capacity_Ah: float

    @property
    def open_circuit_V(self) -> float:
        """Equilibrium voltage."""
        ...

    @property
    def longest_rest_s(self) -> float:
        """Longest step without current."""
        ...

    def longest_step_s(self, current_A: float) -> float:
        """Longest step over which neither charge nor voltage moves far at this current."""
        ...

    def voltage_V(self, current_A: float) -> float:
        """Terminal voltage now, at this current."""
        ...

    def current_for(
        self, voltage_V: float, seconds: float, low_A: float, high_A: float, guess_A: float = 0.0
    ) -> float:
        """Constant current that ends a step of `seconds` at `voltage_V`, or the nearer limit."""
        ...

    def step(self, seconds: float, current_A: float) -> Slice:
        """Let `seconds` pass at a constant current."""
        ...

    def impedance(self, frequency_Hz: float) -> complex:
        """Small-signal impedance in ohm."""
        ...
