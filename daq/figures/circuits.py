"""Equivalent circuits as text, and where a fit of one begins.

A circuit is written as impedance.py writes it: `R0-p(R1,CPE1)-p(R2,CPE2)-CPE3`. Here it is a
series of elements and of arcs, an arc being `p(resistance, capacitance)`, with a Warburg element
behind the resistance if wanted. Nothing else is let through: impedance.py hands the text to
Python's `eval`.

The start of a fit decides where it ends. Once the time constants of the arcs are given, the
impedance is linear in the resistances, so every placement of the time constants is solved by
non-negative least squares, and the nonlinear fit begins at the best ones.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from daq.errors import InputError
from daq.figures.moved import Floats

Impedance = npt.NDArray[np.complex128]

DEFAULT = "R0-p(R1,CPE1)-p(R2,CPE2)-CPE3"
"""Ohmic, two interfaces with distributed time constants, and a diffusion of any slope."""

MOST_ARCS = 3
_EXPONENT, _DIFFUSION_EXPONENT = 0.9, 0.5  # of a constant-phase element, to begin with
_PLACES_A_DECADE = 2
_LEAST_SHARE = 0.01  # of the spectrum's width: a resistance begins with at least this

_ELEMENT = r"(?:R|C|L|CPE|Wo|Ws|W)[0-9]{1,2}"
_ARC = r"p\((R[0-9]{1,2})(?:-((?:Wo|Ws|W)[0-9]{1,2}))?,((?:CPE|C)[0-9]{1,2})\)"
_PART = re.compile(f"{_ARC}|({_ELEMENT})")


@dataclass(frozen=True, slots=True)
class Arc:
    """`p(resistance-diffusion,capacitance)`; the diffusion is mostly empty."""

    resistance: str
    diffusion: str
    capacitance: str


Circuit = tuple[str | Arc, ...]


def parse(text: str) -> Circuit:
    """Read a circuit.

    Raises:
        InputError: it is none, names an element twice, or has more than `MOST_ARCS` arcs.
    """
    parts = text.replace(" ", "")
    found: list[str | Arc] = []
    for part in _split(parts):
        match = _PART.fullmatch(part)
        if not match:
            raise InputError(
                f"{part!r} is no part of a circuit that can be fitted",
                remedy=f"write a series like {DEFAULT}, of R, C, L, CPE, W, Wo, Ws and p(R,C)",
            )
        found.append(match[4] or Arc(match[1], match[2] or "", match[3]))
    names = elements(tuple(found))
    if len(set(names)) < len(names):
        raise InputError(f"an element stands twice in {text!r}", remedy="number them: R1, R2")
    if sum(isinstance(part, Arc) for part in found) > MOST_ARCS:
        raise InputError(f"{text!r} has more than {MOST_ARCS} arcs")
    return tuple(found)


def _split(text: str) -> list[str]:
    """At the dashes that are not within brackets."""
    return re.split(r"-(?![^(]*\))", text)


def elements(circuit: Circuit) -> list[str]:
    """The names of all elements, in the order of the text."""
    return [name for part in circuit for name in _names(part) if name]


def _names(part: str | Arc) -> tuple[str, ...]:
    if isinstance(part, str):
        return (part,)
    return part.resistance, part.diffusion, part.capacitance


def kind(name: str) -> str:
    """Of an element: its name without the number."""
    return name.rstrip("0123456789")


def starts(circuit: Circuit, frequency_Hz: Floats, z_ohm: Impedance, best: int) -> list[Floats]:
    """The best beginnings of a fit: values in the order of the circuit's parameters."""
    arcs = sum(isinstance(part, Arc) for part in circuit)
    tried = [
        (_linear(circuit, taus, frequency_Hz, z_ohm), taus)
        for taus in combinations(_places(frequency_Hz), arcs)
    ]
    tried.sort(key=lambda one: one[0][1])
    made = ((weights, taus) for (weights, _), taus in tried[:best])
    return [_values(circuit, weights, taus, frequency_Hz, z_ohm) for weights, taus in made]


def _places(frequency_Hz: Floats) -> Floats:
    """Time constants to try, slow ones last: within what was measured."""
    decades = float(np.log10(frequency_Hz.max() / frequency_Hz.min()))
    return time_constants(frequency_Hz, max(round(decades * _PLACES_A_DECADE), MOST_ARCS) + 1)


def time_constants(frequency_Hz: Floats, count: int) -> Floats:
    """That many time constants, evenly on a logarithmic scale, slow ones last."""
    high, low = float(frequency_Hz.max()), float(frequency_Hz.min())
    part = np.arange(count) / (count - 1)
    return (low / high) ** -part / (2 * np.pi * high)


def _linear(
    circuit: Circuit, taus: Sequence[float], frequency_Hz: Floats, z_ohm: Impedance
) -> tuple[Floats, float]:
    """(weight of each part, what is left over) with these time constants."""
    optimize: Any = importlib.import_module("scipy.optimize")
    shapes = np.stack(list(_shapes(circuit, taus, frequency_Hz)), axis=1) / np.abs(z_ohm)[:, None]
    measured = z_ohm / np.abs(z_ohm)
    weights, left = optimize.nnls(
        np.concatenate([shapes.real, shapes.imag]),
        np.concatenate([measured.real, measured.imag]),
    )
    return weights, float(left)


def _shapes(circuit: Circuit, taus: Sequence[float], frequency_Hz: Floats) -> Iterator[Impedance]:
    """The impedance of each part for a weight of 1: 1 ohm, or as `_values` has it."""
    jw: Any = 2j * np.pi * frequency_Hz
    left = iter(taus)
    for part in circuit:
        if isinstance(part, Arc):
            yield 1 / (1 + jw * next(left))
        elif kind(part) == "L":
            yield jw
        elif kind(part) == "C":
            yield 1 / jw
        elif kind(part) == "R":
            yield np.ones(len(jw), np.complex128)
        else:  # all kinds of diffusion begin as an endless one
            yield jw**-_DIFFUSION_EXPONENT


def _values(
    circuit: Circuit,
    weights: Floats,
    taus: Sequence[float],
    frequency_Hz: Floats,
    z_ohm: Impedance,
) -> Floats:
    least = _LEAST_SHARE * float(np.ptp(z_ohm.real) or np.abs(z_ohm).max())
    slowest_s = 1 / (2 * np.pi * float(frequency_Hz.min()))
    left = iter(taus)
    values: list[float] = []
    for part, weight in zip(circuit, weights.tolist(), strict=True):
        if isinstance(part, Arc):
            values += _arc_values(part, max(weight, least), next(left))
        else:
            values += _part_values(part, weight, least, slowest_s)
    return np.array(values)


def _arc_values(arc: Arc, ohm: float, tau_s: float) -> list[float]:
    behind = {"": [], "W": [0.1 * ohm], "Wo": [0.1 * ohm, tau_s], "Ws": [0.1 * ohm, tau_s]}
    capacitance = [tau_s / ohm]
    if kind(arc.capacitance) == "CPE":
        capacitance = [tau_s**_EXPONENT / ohm, _EXPONENT]
    return [ohm, *behind[kind(arc.diffusion)], *capacitance]


def _part_values(part: str, weight: float, least: float, slowest_s: float) -> list[float]:
    what = kind(part)
    if what in ("R", "L"):
        return [weight or (least if what == "R" else 1e-9)]
    weight = weight or least / slowest_s**0.5
    if what == "C":
        return [1 / weight]
    if what == "CPE":
        return [1 / weight, _DIFFUSION_EXPONENT]
    if what == "W":
        return [weight / 2**0.5]
    return [weight * slowest_s**0.5, slowest_s]
