"""A lithium-ion cell in the time and the frequency domain, from one set of parameters.

Open-circuit voltage, a series resistance, two RC pairs (film and charge transfer), a ladder of RC
pairs for diffusion, one lump of heat, and two ways to lose lithium: the SEI of the first cycles
and a slow fade ever after. Current is constant within a step, so every state moves by an exact
exponential and a step may be long. `impedance` sums the very same elements, which is why a pulse
and a spectrum give the same resistances.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from math import exp, expm1, pi

from simulators.chemistry import CHEMISTRIES, OpenCircuit, open_circuit
from simulators.ledger import Slice

_GAS_J_PER_MOL_K = 8.314
_REFERENCE_K = 298.15
# Activation energies, J/mol: electrolyte, interfaces, diffusion. Typical of the literature.
_SERIES_J, _INTERFACE_J, _DIFFUSION_J = 15e3, 40e3, 30e3

_INTERFACE_S = (0.002, 0.3)  # film near 80 Hz, charge transfer near 0.5 Hz
# Warburg element: two RC pairs a decade with R growing as the root of tau give its 45 degrees
# between 1 mHz and 1 Hz; the slowest pair ends it as a finite diffusion length does.
_LADDER_S = tuple(10.0 ** (k / 2.0) for k in range(7))
_LADDER_SHARE = tuple(tau**0.5 / sum(t**0.5 for t in _LADDER_S) for tau in _LADDER_S)
_TAUS_S = _INTERFACE_S + _LADDER_S

_HEAT_J_PER_K_AH = 16.0  # a 45 g cell of 2.5 Ah at 0.9 J/(g K)
_COOLING_S = 400.0  # natural convection around an 18650

_SEI_SHARE = 0.155  # irreversible capacity of an unformed cell, of nominal
_SEI_UPTAKE = 0.32  # share of the very first charge current that feeds it
_SEI_RESISTANCE = 0.35  # growth of the film arc by a complete SEI
_SIDE_REACTION = 4e-4  # share of every charge current lost for good: efficiency 99.96 %

_STEP_SOC = 0.004
_STEP_V = 0.02
_LONGEST_STEP_S = 20.0
_NEWTON_LIMIT = 60
_SAME_DEGC, _SAME_SOC = 0.02, 5e-4  # resistances are not worth refreshing within this


class Cell:
    """One cell; moved by `step`, deterministic for a seed.

    Args:
        chemistry: A key of `CHEMISTRIES`.
        capacity_Ah: Reversible capacity once formed.
        soc: State of charge at the start, 0 to 1.
        formed: Whether the SEI is complete.
        temperature_degC: Of cell and surroundings at the start.
        fade_per_cycle: Share of capacity lost per full equivalent cycle.
        seed: Makes this cell a little unlike its siblings; None makes it exactly nominal.

    Raises:
        KeyError: Unknown chemistry.
        ValueError: A number that no cell has.
    """

    def __init__(
        self,
        chemistry: str,
        capacity_Ah: float,
        soc: float = 0.5,
        *,
        formed: bool = True,
        temperature_degC: float = 23.0,
        fade_per_cycle: float = 2e-4,
        seed: int | str | None = None,
    ) -> None:
        if not 0.0 < capacity_Ah < 1e5 or not 0.0 <= soc <= 1.0:
            raise ValueError("capacity must be above 0 Ah and soc within 0 to 1")
        kind = CHEMISTRIES[chemistry]
        spread = _spread(seed)
        self.soc = soc
        self.temperature_degC = self.ambient_degC = temperature_degC
        self.heat_W = 0.0  # of a reaction that nobody wants
        self.throughput_Ah = 0.0
        self._fresh_Ah = capacity_Ah * spread(0.004)
        self._fade = fade_per_cycle
        self._sei_Ah = _SEI_SHARE * self._fresh_Ah if formed else 0.0
        self._sei_full_Ah = _SEI_SHARE * self._fresh_Ah
        self._sei_uptake = _SEI_UPTAKE * spread(0.03)
        self._ocv: OpenCircuit = open_circuit(chemistry)
        area = 1.0 / self._fresh_Ah
        self._series_ohm = kind.series_ohm_Ah * area * spread(0.03)
        self._interface_ohm = tuple(r * area * spread(0.03) for r in kind.interface_ohm_Ah)
        self._diffusion_ohm = kind.diffusion_ohm_Ah * area * spread(0.03)
        self._polarisation_V = [0.0] * len(_TAUS_S)
        self._gone_s = -1.0
        self._gone_parts: list[float] = []
        self._refreshed = (float("inf"), 0.0)
        self._refresh()

    @property
    def open_circuit_V(self) -> float:
        """Equilibrium voltage."""
        return self._ocv.piece(self.soc)[0]

    @property
    def series_ohm(self) -> float:
        """Resistance without any lag, at the present temperature and state of charge."""
        return self._r0

    @property
    def arcs(self) -> list[tuple[float, float]]:
        """The RC pairs as (ohm, seconds): two interfaces, then the diffusion ladder."""
        return list(zip(self._r, _TAUS_S, strict=True))

    @property
    def longest_rest_s(self) -> float:
        """Longest step without current."""
        return 60.0

    def longest_step_s(self, current_A: float, most_s: float = _LONGEST_STEP_S) -> float:
        """Longest step over which neither charge nor voltage moves far at this current."""
        soc_per_s = abs(current_A) / (3600.0 * self.capacity_Ah)
        slope = self._ocv.piece(self.soc)[1]
        return min(most_s, min(_STEP_SOC, _STEP_V / slope) / (soc_per_s + 1e-12))

    def voltage_V(self, current_A: float) -> float:
        """Terminal voltage now, at this current."""
        return self.open_circuit_V + current_A * self._r0 + sum(self._polarisation_V)

    def current_for(
        self, voltage_V: float, seconds: float, low_A: float, high_A: float, guess_A: float = 0.0
    ) -> float:
        """Constant current that ends a step of `seconds` at `voltage_V`, or the nearer limit.

        The model is affine in current but for the open-circuit table, so this is Newton on straight
        pieces; brackets stop it from hopping between them. A guess at the limit that holds costs
        one evaluation.
        """
        offset, ohm = self._affine(seconds)
        offset -= voltage_V
        low, high = low_A, high_A
        current = min(max(guess_A, low), high)
        for _ in range(_NEWTON_LIMIT):
            per_A = self._soc_per_A(current, seconds)
            volts, slope = self._ocv.piece(self.soc + per_A * current)
            error = volts + ohm * current + offset
            if error > 0.0:
                high = current
            else:
                low = current
            wanted = min(max(current - error / (ohm + slope * per_A), low_A), high_A)
            if abs(wanted - current) < 1e-9:
                return wanted
            current = wanted if low <= wanted <= high else (low + high) / 2.0
        return current

    def _affine(self, seconds: float) -> tuple[float, float]:
        """(volts, ohm) such that polarisation and resistance end a step at volts + ohm * current.

        Voltage in equilibrium is not in it.
        """
        volts, ohm = 0.0, self._r0
        for polarisation_V, r, gone in zip(
            self._polarisation_V, self._r, self._gone(seconds), strict=True
        ):
            volts += polarisation_V * (1.0 - gone)
            ohm += r * gone
        return volts, ohm

    def _gone(self, seconds: float) -> list[float]:
        """How far each RC pair gets towards its end in a step: 1 - exp(-seconds / tau)."""
        if seconds != self._gone_s:
            self._gone_s = seconds
            self._gone_parts = [-expm1(-seconds / tau) for tau in _TAUS_S]
        return self._gone_parts

    def step(self, seconds: float, current_A: float) -> Slice:
        """Let `seconds` pass at a constant current."""
        start_ocv = self.open_circuit_V
        over_V = current_A * self._r0
        start_V = start_ocv + over_V + sum(self._polarisation_V)
        lagging_Vs = self._polarise(seconds, current_A)
        change = self._soc_per_A(current_A, seconds) * current_A
        middle_ocv = self._ocv.piece(self.soc + change / 2.0)[0]
        self._count(seconds, current_A, change)
        end_ocv = self.open_circuit_V
        end_V = end_ocv + over_V + sum(self._polarisation_V)
        loss_Vs = seconds * over_V + lagging_Vs
        rest_Vs = seconds * (start_ocv + 4.0 * middle_ocv + end_ocv) / 6.0
        self._warm(seconds, current_A * loss_Vs)
        self._refresh()
        energy_J = current_A * (rest_Vs + loss_Vs)
        return Slice(seconds, current_A, start_V, end_V, energy_J, self.temperature_degC)

    def impedance(self, frequency_Hz: float) -> complex:
        """Small-signal impedance in ohm, charge slope of the open-circuit voltage included.

        The same elements that `step` moves; nothing is fitted or added.
        """
        s = 2j * pi * frequency_Hz
        arcs = sum(r / (1.0 + s * tau) for r, tau in zip(self._r, _TAUS_S, strict=True))
        storage = self._ocv.piece(self.soc)[1] / (3600.0 * self.capacity_Ah * s)
        return self._r0 + arcs + storage

    def _polarise(self, seconds: float, current_A: float) -> float:
        """Move the RC pairs; return the integral of their voltage over the step.

        In a new list, as every state of a cell is replaced and none changed in place: a copy of a
        cell goes its own way.
        """
        integral = 0.0
        volts = self._polarisation_V = list(self._polarisation_V)
        for k, gone in enumerate(self._gone(seconds)):
            final = current_A * self._r[k]
            change = (final - volts[k]) * gone
            integral += final * seconds - change * _TAUS_S[k]
            volts[k] += change
        return integral

    def _soc_per_A(self, current_A: float, seconds: float) -> float:
        kept = 1.0 - self._loss_share() if current_A > 0.0 else 1.0
        return kept * seconds / (3600.0 * self.capacity_Ah)

    def _loss_share(self) -> float:
        left = 1.0 - self._sei_Ah / self._sei_full_Ah
        return self._sei_uptake * left + _SIDE_REACTION

    def _count(self, seconds: float, current_A: float, soc_change: float) -> None:
        charge_Ah = current_A * seconds / 3600.0
        self.soc += soc_change
        self.throughput_Ah += abs(charge_Ah)
        if charge_Ah > 0.0:
            uptake = -expm1(-self._sei_uptake * charge_Ah / self._sei_full_Ah)
            self._sei_Ah += (self._sei_full_Ah - self._sei_Ah) * uptake

    def _warm(self, seconds: float, loss_J: float) -> None:
        """Move the temperature; the loss of a step is spread evenly over it."""
        if seconds <= 0.0:
            return
        loss_W = max(0.0, loss_J / seconds) + self.heat_W
        final = self.ambient_degC + loss_W * _COOLING_S / (_HEAT_J_PER_K_AH * self._fresh_Ah)
        self.temperature_degC += (final - self.temperature_degC) * -expm1(-seconds / _COOLING_S)

    def _refresh(self) -> None:
        """Set resistances and capacity for the present state, once that has moved noticeably."""
        degC, soc = self._refreshed
        if abs(self.temperature_degC - degC) < _SAME_DEGC and abs(self.soc - soc) < _SAME_SOC:
            return
        self._refreshed = self.temperature_degC, self.soc
        cycles = self.throughput_Ah / (2.0 * self._fresh_Ah)
        self.capacity_Ah = self._fresh_Ah * exp(-self._fade * cycles)
        series, interface, diffusion = self._arrhenius()
        empty = exp(-max(self.soc, 0.0) / 0.08)
        film = 1.0 + _SEI_RESISTANCE * (self._sei_Ah / self._sei_full_Ah)
        ladder = self._diffusion_ohm * diffusion
        self._r0 = self._series_ohm * series * (1.0 + 0.15 * empty)
        self._r = [
            self._interface_ohm[0] * interface * film,
            self._interface_ohm[1] * interface * (1.0 + empty),
            *(ladder * share for share in _LADDER_SHARE),
        ]

    def _arrhenius(self) -> tuple[float, float, float]:
        """Growth of the three kinds of resistance against 25 degC."""
        inverse_K = 1.0 / (self.temperature_degC + 273.15) - 1.0 / _REFERENCE_K
        warmth = inverse_K / _GAS_J_PER_MOL_K
        return exp(_SERIES_J * warmth), exp(_INTERFACE_J * warmth), exp(_DIFFUSION_J * warmth)


def _spread(seed: int | str | None) -> Callable[[float], float]:
    """Factors around 1 of a given width; always 1 without a seed."""
    if seed is None:
        return lambda width: 1.0
    dice = random.Random(f"cell {seed}")
    return lambda width: max(0.5, dice.gauss(1.0, width))
