"""An equivalent circuit fitted to an impedance spectrum, and whether the spectrum is one at all.

The fit is impedance.py's (M. D. Murbach et al., J. Open Source Softw. 5 (2020) 2349): complex
nonlinear least squares, weighted by the modulus. The uncertainties are standard errors from its
covariance matrix, scaled by what the fit leaves over.

The Kramers-Kronig test is the linear one of M. Schönleber et al., Electrochim. Acta 131 (2014)
20: a chain of RC pairs can follow every spectrum of a linear, stable system, and none else. Their
way of choosing the number of pairs is not used: it stops too early where diffusion ends a spectrum.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from daq.errors import DaqError, InputError
from daq.figures import circuits
from daq.figures.circuits import DEFAULT, Circuit, Impedance
from daq.figures.moved import Floats

_STARTS = 2  # fits from the best beginnings; the best of them counts
_LEAST_POINTS = 6

SOUND_PCT = 1.0
"""Largest residual of the Kramers-Kronig test that is still taken for noise."""

PAIRS_A_DECADE = 3
"""Fewer cannot follow a sound spectrum, more begin to follow a bad one."""


class NoFit(DaqError):  # noqa: N818 - named like the other errors
    """A spectrum that this circuit cannot be fitted to."""


class NoLibrary(InputError):
    """The optional package that fits is not installed."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a circuit; `std_error` is one standard error, NaN where it has none."""

    name: str
    unit: str
    value: float
    std_error: float


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted circuit.

    Attributes:
        frequency_Hz: of the points that were fitted.
        fitted_ohm: what the circuit says there.
        residual_real_pct, residual_imag_pct: measured less fitted, of the modulus measured.
        rms_pct: root of the mean square of both residuals together.
    """

    circuit: str
    parameters: tuple[Parameter, ...]
    frequency_Hz: Floats
    fitted_ohm: Impedance
    residual_real_pct: Floats
    residual_imag_pct: Floats
    rms_pct: float

    def __getitem__(self, name: str) -> Parameter:
        """A parameter by its name, such as `R1` or `CPE1_0`."""
        return next(parameter for parameter in self.parameters if parameter.name == name)


@dataclass(frozen=True, slots=True)
class Consistency:
    """What the Kramers-Kronig test left over.

    Attributes:
        pairs: RC pairs that were used.
        residual_real_pct, residual_imag_pct: as in `Fit`; those of a sound spectrum are noise.
        rms_pct: as in `Fit`.
    """

    pairs: int
    residual_real_pct: Floats
    residual_imag_pct: Floats
    rms_pct: float

    @property
    def worst_pct(self) -> float:
        """The largest residual."""
        return float(np.abs([self.residual_real_pct, self.residual_imag_pct]).max())

    @property
    def sound(self) -> bool:
        """Whether no residual is above `SOUND_PCT`."""
        return self.worst_pct <= SOUND_PCT


def fit(frequency_Hz: Floats, z_ohm: Impedance, circuit: str = DEFAULT) -> Fit:
    """Fit a circuit.

    Args:
        frequency_Hz: of the points, in any order.
        z_ohm: as measured: capacitive is negative.
        circuit: see `circuits`.

    Raises:
        InputError: the circuit is none.
        NoLibrary: impedance.py is not installed.
        NoFit: fewer points than parameters, or no solution.
    """
    parsed, text = circuits.parse(circuit), circuit.replace(" ", "")
    library = _library()
    known = np.isfinite(z_ohm) & (frequency_Hz > 0) & (np.abs(z_ohm) > 0)
    frequency_Hz, z_ohm = frequency_Hz[known], z_ohm[known]
    described = _parameters(library, parsed)
    if 2 * len(z_ohm) <= len(described):
        raise NoFit(f"{len(z_ohm)} points cannot tell {len(described)} parameters of {text}")
    tried = [
        _solve(library, text, start, frequency_Hz, z_ohm)
        for start in circuits.starts(parsed, frequency_Hz, z_ohm, _STARTS)
    ]
    solved = [one for one in tried if one is not None]
    if not solved:
        raise NoFit(f"no fit of {text} converged")
    values, errors, fitted = min(solved, key=lambda one: _rms_pct(_residual_pct(z_ohm, one[2])))
    left = _residual_pct(z_ohm, fitted)
    found = zip(described, values.tolist(), errors.tolist(), strict=True)
    parameters = tuple(Parameter(*one, value, error) for one, value, error in found)
    return Fit(text, parameters, frequency_Hz, fitted, left.real, left.imag, _rms_pct(left))


def _library() -> Any:
    try:
        return importlib.import_module("impedance.models.circuits.fitting")
    except ImportError as missing:
        raise NoLibrary(
            "fitting a circuit needs impedance.py", remedy="pip install 'battery-daq[eis]'"
        ) from missing


def _parameters(library: Any, parsed: Circuit) -> list[tuple[str, str]]:
    """(name, unit) of each parameter, in impedance.py's order."""
    found: list[tuple[str, str]] = []
    for name in circuits.elements(parsed):
        units: list[str] = library.check_and_eval(circuits.kind(name)).units
        named = [name] if len(units) == 1 else [f"{name}_{n}" for n in range(len(units))]
        found += zip(named, map(_unit, units), strict=True)
    return found


def _unit(text: str) -> str:
    spelled = {"Ohm": "ohm", "sec": "s", "Ohm sec^-1/2": "ohm s^-1/2", "Ohm^-1 sec^a": "s^a/ohm"}
    return spelled.get(text, text)


def _solve(
    library: Any, text: str, start: Floats, frequency_Hz: Floats, z_ohm: Impedance
) -> tuple[Floats, Floats, Impedance] | None:
    """(values, standard errors, fitted impedance) from one beginning."""
    try:
        values, errors = library.circuit_fit(
            frequency_Hz, z_ohm, text, start.tolist(), weight_by_modulus=True, x_scale="jac",
            maxfev=2000, ftol=1e-10,
        )  # fmt: skip
    except (RuntimeError, ValueError):  # not converged, or out of its bounds
        return None
    both = np.asarray(library.wrapCircuit(text, {})(frequency_Hz, *values))
    half = len(frequency_Hz)
    errors = np.where(np.isfinite(errors), errors, np.nan)
    return np.asarray(values), errors, both[:half] + 1j * both[half:]


def _residual_pct(measured: Impedance, fitted: Impedance) -> Impedance:
    return 100 * (measured - fitted) / np.abs(measured)


def _rms_pct(residual: Impedance) -> float:
    return float(np.sqrt(np.mean(np.abs(residual) ** 2) / 2))


def consistency(frequency_Hz: Floats, z_ohm: Impedance) -> Consistency:
    """The linear Kramers-Kronig test, with `PAIRS_A_DECADE` RC pairs.

    Raises:
        NoFit: too few points to tell anything.
    """
    known = np.isfinite(z_ohm) & (frequency_Hz > 0) & (np.abs(z_ohm) > 0)
    frequency_Hz, z_ohm = frequency_Hz[known], z_ohm[known]
    if len(z_ohm) < _LEAST_POINTS:
        raise NoFit(f"{len(z_ohm)} points are too few for a Kramers-Kronig test")
    decades = float(np.log10(frequency_Hz.max() / frequency_Hz.min()))
    pairs = min(int(PAIRS_A_DECADE * decades) + 1, len(z_ohm) - 2)
    left = _residual_pct(z_ohm, _follow(frequency_Hz, z_ohm, pairs))
    return Consistency(pairs, left.real, left.imag, _rms_pct(left))


def _follow(frequency_Hz: Floats, z_ohm: Impedance, pairs: int) -> Impedance:
    """How near a resistance, a chain of RC pairs, a capacitance and an inductance come."""
    jw = 2j * np.pi * frequency_Hz[:, None]
    taus = circuits.time_constants(frequency_Hz, pairs)
    shapes = np.concatenate([np.ones_like(jw), 1 / (1 + jw * taus), jw, 1 / jw], axis=1)
    weighted = shapes / np.abs(z_ohm)[:, None]
    wanted = z_ohm / np.abs(z_ohm)
    scale = np.linalg.norm(weighted, axis=0)  # farads and henries beside ohms
    algebra: Any = np.linalg  # its types are only partly known
    weights = algebra.lstsq(
        np.concatenate([weighted.real, weighted.imag]) / scale,
        np.concatenate([wanted.real, wanted.imag]),
    )[0]
    return shapes @ (weights / scale)
