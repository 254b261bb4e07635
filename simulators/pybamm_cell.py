"""A cell that is a model of PyBaMM (V. Sulzer et al., J. Open Res. Softw. 9 (2021) 14).

The single particle models, without and with electrolyte (SPM, SPMe), have no algebraic equations:
a state is enough to know the voltage at any current. PyBaMM's own solver moves the state; the
voltage, the equilibrium and the linearised model behind the impedance are its own expressions.

The cell has the temperature of its surroundings, and what `heat_W` adds to it; it does not warm
itself. Its termination events are left out: what it is charged to is the cycler's business.
"""

from __future__ import annotations

from math import exp, inf, pi
from typing import Any

import casadi  # pyright: ignore[reportMissingImports]
import numpy as np
import pybamm  # pyright: ignore[reportMissingImports]

from simulators.ledger import Slice

MODELS = {"spm": "SPM", "spme": "SPMe"}

pybamm.set_logging_level("ERROR")  # it warns of inputs that are given later

_ZERO_K = 273.15
_CURRENT, _AMBIENT = "Current function [A]", "Ambient temperature [K]"
_PARALLEL = "Number of electrodes connected in parallel to make a cell"

_HEAT_J_PER_K_AH = 16.0  # a 45 g cell of 2.5 Ah at 0.9 J/(g K)
_COOLING_S = 400.0  # natural convection around an 18650

_STEP_SOC = 0.004
_STEP_V = 0.02
_LONGEST_STEP_S = 20.0
_CLOSE_V = 1e-5  # a regulator is not better
_LOOKS = 60
_LEAST = 0.05  # of the slope that was seen last


class PybammCell:
    """One cell; moved by `step`; see `simulators.cell_model`.

    Args:
        model: A key of `MODELS`.
        parameters: Name of a parameter set of PyBaMM, such as "Chen2020".
        capacity_Ah: Nominal; the cell of the parameter set is made larger or smaller to have it.
        soc: State of charge at the start, 0 to 1, between the set's voltages of 0 and 100 %.
        temperature_degC: Of cell and surroundings at the start.

    Raises:
        KeyError: No such model.
        ValueError: No such parameter set, or a number that no cell has.
    """

    def __init__(
        self,
        model: str,
        parameters: str,
        capacity_Ah: float,
        soc: float = 0.5,
        *,
        temperature_degC: float = 25.0,
    ) -> None:
        if not 0.0 < capacity_Ah < 1e5 or not 0.0 <= soc <= 1.0:
            raise ValueError("capacity must be above 0 Ah and soc within 0 to 1")
        self._model = MODELS[model]
        self._parameters = _parameters(parameters, capacity_Ah)
        self._sized_Ah = capacity_Ah
        self.temperature_degC = self.ambient_degC = temperature_degC
        self.heat_W = 0.0
        self.throughput_Ah = 0.0
        self.capacity_Ah = _capacity_Ah(self._parameters)
        self._start(soc)

    def _start(self, soc: float) -> None:
        """Build the model in equilibrium at a state of charge."""
        model = getattr(pybamm.lithium_ion, self._model)()
        model.events = []
        simulation = pybamm.Simulation(
            model, parameter_values=self._parameters.copy(), solver=pybamm.IDAKLUSolver()
        )
        simulation.build(initial_soc=soc, inputs=self._inputs(0.0))
        self._built, self._solver = simulation.built_model, simulation.solver
        self._functions = _Functions(self._built)
        first = self._built.concatenated_initial_conditions
        self._y = np.ravel(np.asarray(first.evaluate(0, inputs=self._inputs(0.0))))
        self._solution: Any = None
        self._tried: dict[tuple[float, float], Any] = {}
        self._soc = soc
        self._equilibrium_V = self._functions.voltages(self._y, 0.0, self._kelvin)[1]
        self._slope_ohm = self.series_ohm

    @property
    def soc(self) -> float:
        """State of charge: counted, because nothing in these models takes lithium away."""
        return self._soc

    @soc.setter
    def soc(self, value: float) -> None:
        self._start(min(max(value, 0.0), 1.0))

    @property
    def _kelvin(self) -> float:
        return self.temperature_degC + _ZERO_K

    def _inputs(self, current_A: float) -> dict[str, float]:
        """PyBaMM counts discharging as positive."""
        return {_CURRENT: -current_A, _AMBIENT: self._kelvin}

    @property
    def open_circuit_V(self) -> float:
        """Equilibrium voltage."""
        return self._equilibrium_V

    @property
    def series_ohm(self) -> float:
        """Resistance without any lag, at the present state."""
        return self.impedance(inf).real

    @property
    def longest_rest_s(self) -> float:
        """Longest step without current."""
        return 60.0

    def longest_step_s(self, current_A: float) -> float:
        """Longest step over which neither charge nor voltage moves far at this current."""
        soc_per_s = abs(current_A) / (3600.0 * self.capacity_Ah)
        return min(_LONGEST_STEP_S, min(_STEP_SOC, _STEP_V) / (soc_per_s + 1e-12))

    def voltage_V(self, current_A: float) -> float:
        """Terminal voltage now, at this current."""
        return self._functions.voltages(self._y, current_A, self._kelvin)[0]

    def current_for(
        self, voltage_V: float, seconds: float, low_A: float, high_A: float, guess_A: float = 0.0
    ) -> float:
        """Constant current that ends a step of `seconds` at `voltage_V`, or the nearer limit.

        Each look costs a solution, so it begins at the guess, with the slope that was seen last:
        secants, kept within a bracket because voltage grows with current.
        """
        low, high = low_A, high_A
        current = min(max(guess_A, low), high)
        error = self._voltage_after(seconds, current) - voltage_V
        for _ in range(_LOOKS):
            low, high = (low, current) if error > 0.0 else (current, high)
            if abs(error) < _CLOSE_V or high - low < 1e-9:
                break
            before, error_before = current, error
            current = self._towards(current, error, low, high)
            if current in (low, high) and current not in (low_A, high_A):
                current = (low + high) / 2.0  # it was there before: the slope is not to be trusted
            error = self._voltage_after(seconds, current) - voltage_V
            self._learn(current - before, error - error_before)
        return current

    def _towards(self, current_A: float, error_V: float, low_A: float, high_A: float) -> float:
        """Where the error would be nothing; at an end if beyond, in the middle where unknown."""
        if abs(error_V) == inf:
            return (low_A + high_A) / 2.0
        return min(max(current_A - error_V / self._slope_ohm, low_A), high_A)

    def _learn(self, change_A: float, change_V: float) -> None:
        """Take the slope between two looks; one that no cell has is not believed."""
        if change_A and _LEAST < change_V / change_A / self._slope_ohm < 1.0 / _LEAST:
            self._slope_ohm = change_V / change_A

    def _voltage_after(self, seconds: float, current_A: float) -> float:
        if seconds <= 0.0:
            return self.voltage_V(current_A)
        found = self._try(seconds, current_A)
        if found is None:
            return inf if current_A > 0.0 else -inf
        return self._functions.voltages(found.y[:, -1], current_A, self._kelvin)[0]

    def _try(self, seconds: float, current_A: float) -> Any:
        """PyBaMM's solution of a step; None where the model has no state at its end."""
        key = seconds, current_A
        if key not in self._tried:
            try:
                self._tried[key] = self._solver.step(
                    self._solution, self._built, seconds, inputs=self._inputs(current_A), save=False
                )
            except pybamm.SolverError:
                self._tried[key] = None
        return self._tried[key]

    def step(self, seconds: float, current_A: float) -> Slice:
        """Let `seconds` pass at a constant current.

        Raises:
            ValueError: The model has no state at the end of the step: an electrode is empty.
        """
        start_V = self.voltage_V(current_A)
        if seconds <= 0.0:
            return Slice(0.0, current_A, start_V, start_V, 0.0, self.temperature_degC)
        found = self._try(seconds, current_A)
        if found is None:
            raise ValueError(f"{self._model} cannot carry {current_A:g} A for {seconds:g} s")
        energy_J = current_A * self._integral_Vs(found, seconds, start_V, current_A)
        self._solution, self._y = found, np.asarray(found.y[:, -1])
        self._tried = {}
        self._count(seconds, current_A)
        self._warm(seconds)
        end_V, self._equilibrium_V = self._functions.voltages(self._y, current_A, self._kelvin)
        return Slice(seconds, current_A, start_V, end_V, energy_J, self.temperature_degC)

    def _integral_Vs(self, found: Any, seconds: float, start_V: float, current_A: float) -> float:
        """Of the voltage over the step, between the solver's own points."""
        time_s = np.asarray(found.t) - float(found.t[-1]) + seconds
        volts = [self._functions.voltages(y, current_A, self._kelvin)[0] for y in found.y.T]
        time_s, volts_V = np.append(0.0, time_s), np.append(start_V, volts)
        return float((np.diff(time_s) * (volts_V[1:] + volts_V[:-1]) / 2.0).sum())

    def _count(self, seconds: float, current_A: float) -> None:
        charge_Ah = current_A * seconds / 3600.0
        self._soc += charge_Ah / self.capacity_Ah
        self.throughput_Ah += abs(charge_Ah)

    def _warm(self, seconds: float) -> None:
        final = self.ambient_degC + self.heat_W * _COOLING_S / (_HEAT_J_PER_K_AH * self._sized_Ah)
        self.temperature_degC += (final - self.temperature_degC) * (1 - exp(-seconds / _COOLING_S))

    def impedance(self, frequency_Hz: float) -> complex:
        """Small-signal impedance in ohm, of the linearised model at its present state.

        These models have no double layer: no arc of charge transfer, its resistance is in series.
        """
        by_state, by_current, volts_by_state, volts_by_current = self._functions.linear(
            self._y, self._kelvin
        )
        if frequency_Hz == inf:
            return complex(volts_by_current)
        shifted = 2j * pi * frequency_Hz * np.eye(len(by_state)) - by_state
        lagging = volts_by_state @ np.linalg.solve(shifted, by_current)
        return complex(lagging.item() + volts_by_current)


class _Functions:
    """The model's expressions as functions of state, current (charge positive) and temperature."""

    def __init__(self, built: Any) -> None:
        time, current = casadi.MX.sym("t"), casadi.MX.sym("I")
        state, kelvin = casadi.MX.sym("y", built.len_rhs_and_alg), casadi.MX.sym("T")
        inputs = {_CURRENT: -current, _AMBIENT: kelvin}

        def expression(name: str) -> Any:
            return built.get_processed_variable(name).to_casadi(time, state, inputs=inputs)

        volts, equilibrium = expression("Voltage [V]"), expression("Bulk open-circuit voltage [V]")
        moves = built.concatenated_rhs.to_casadi(time, state, inputs=inputs)
        arguments = [time, state, current, kelvin]
        self._voltages = casadi.Function("voltages", arguments, [volts, equilibrium])
        slopes = [casadi.jacobian(what, by) for what in (moves, volts) for by in (state, current)]
        self._linear = casadi.Function("linear", arguments, slopes)

    def voltages(self, state: Any, current_A: float, kelvin: float) -> tuple[float, float]:
        """(terminal, equilibrium) in volts."""
        volts, equilibrium = self._voltages(0.0, state, current_A, kelvin)
        return float(volts), float(equilibrium)

    def linear(self, state: Any, kelvin: float) -> tuple[Any, Any, Any, float]:
        """Derivatives at rest: of the state's speed, then of the voltage; by state, by current."""
        found = [np.array(part) for part in self._linear(0.0, state, 0.0, kelvin)]
        return found[0], found[1], found[2], float(found[3].item())


def _parameters(name: str, capacity_Ah: float) -> Any:
    known = list(pybamm.parameter_sets)
    if name not in known:
        raise ValueError(f"PyBaMM has no parameters {name!r}; it has {', '.join(sorted(known))}")
    values = pybamm.ParameterValues(name)
    size = capacity_Ah / values["Nominal cell capacity [A.h]"]
    values[_PARALLEL] = values[_PARALLEL] * size
    values["Nominal cell capacity [A.h]"] = capacity_Ah
    values[_CURRENT] = values[_AMBIENT] = "[input]"
    return values


def _capacity_Ah(values: Any) -> float:
    """Between the voltages of 0 and 100 %."""
    empty, full, _, _ = pybamm.lithium_ion.get_min_max_stoichiometries(values)
    electrode_Ah = values.evaluate(pybamm.LithiumIonParameters().n.Q_init)
    return float(electrode_Ah * (full - empty))
