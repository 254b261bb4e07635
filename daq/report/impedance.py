"""Pictures of impedance spectra: Nyquist, Bode, and what the fit leaves over."""

from __future__ import annotations

from typing import Any

import numpy as np

from daq.recorder.plot import mark_decades, ohm_scale
from daq.report.curves import beside
from daq.report.style import BLUE, ORANGE, colour, few, new_figure, styled
from daq.report.summary import SpectrumFigures, Summary

MOST_SPECTRA = 6


def spectra_picture(summary: Summary) -> Any:
    """All spectra of a run, points measured and lines fitted; None without spectra."""
    kept: list[SpectrumFigures] = few(summary.spectra, MOST_SPECTRA)
    if not kept:
        return None
    scale, unit = ohm_scale(np.concatenate([one.z_ohm for one in kept]))
    with styled():
        figure = new_figure(10.5, 8.2)
        upper, lower = figure.subfigures(2, 1, height_ratios=(1.35, 1))
        nyquist = upper.subplots()
        modulus, phase = lower.subplots(1, 2, sharex=True)
        for number, one in enumerate(kept):
            _draw(nyquist, modulus, phase, one, scale, colour(number, len(kept)))
        _finish(nyquist, modulus, phase, unit)
        last = kept[-1]
        mark_decades(nyquist, last.frequency_Hz, last.z_ohm.real * scale, -last.z_ohm.imag * scale)
    return figure


def _draw(
    nyquist: Any, modulus: Any, phase: Any, one: SpectrumFigures, scale: float, ink: Any
) -> None:
    points = {"linestyle": "none", "marker": "o", "markersize": 3.6, "color": ink}
    label = f"cycle {one.cycle}, at {one.time_s / 3600:.1f} h"
    nyquist.plot(one.z_ohm.real * scale, -one.z_ohm.imag * scale, label=label, **points)
    modulus.loglog(one.frequency_Hz, np.abs(one.z_ohm) * scale, **points)
    phase.semilogx(one.frequency_Hz, -np.degrees(np.angle(one.z_ohm)), **points)
    if one.fit:
        order = np.argsort(one.fit.frequency_Hz)
        hertz, fitted = one.fit.frequency_Hz[order], one.fit.fitted_ohm[order]
        line = {"color": ink, "linewidth": 1.2}
        nyquist.plot(fitted.real * scale, -fitted.imag * scale, **line)
        modulus.loglog(hertz, np.abs(fitted) * scale, **line)
        phase.semilogx(hertz, -np.degrees(np.angle(fitted)), **line)


def _finish(nyquist: Any, modulus: Any, phase: Any, unit: str) -> None:
    nyquist.set(xlabel=f"Re Z / {unit}", ylabel=f"−Im Z / {unit}")
    nyquist.margins(0.08)
    low, high = nyquist.get_ylim()
    wide = float(np.ptp(nyquist.get_xlim()))
    nyquist.set_ylim(low - 0.03 * wide, max(high, low + 0.45 * wide))  # room for the names below
    nyquist.set_aspect("equal", adjustable="box")
    nyquist.axhline(0, color="#999999", linewidth=0.7, zorder=1)
    nyquist.legend(
        loc="lower left", bbox_to_anchor=(0, 1.02), fontsize=8.5, title_fontsize=8.5,
        title="points: measured, lines: fitted", alignment="left", ncols=2,
    )  # fmt: skip
    modulus.set_ylabel(f"|Z| / {unit}")
    modulus.yaxis.set_minor_formatter("{x:.3g}")
    modulus.yaxis.set_major_formatter("{x:.3g}")
    modulus.set_xlabel("Frequency / Hz")
    phase.set(xlabel="Frequency / Hz", ylabel="−Phase / °")


def residuals_picture(summary: Summary) -> Any:
    """What the last fit leaves over, and the Kramers-Kronig test; None when there is no fit."""
    fitted = [one for one in summary.spectra if one.fit]
    if not fitted:
        return None
    last = fitted[-1]
    with styled():
        figure = new_figure(10.5, 4.2)
        upper, lower = figure.subplots(2, 1, sharex=True, sharey=True)
        if last.fit:
            _residuals(upper, last.fit.frequency_Hz, last.fit, f"fit of {last.fit.circuit}")
        if last.consistency:
            _residuals(lower, last.frequency_Hz, last.consistency, "Kramers-Kronig test")
        lower.set_xlabel("Frequency / Hz")
    return figure


def _residuals(axis: Any, hertz: Any, found: Any, title: str) -> None:
    line = {"linewidth": 0.8, "markersize": 3.6}
    axis.semilogx(hertz, found.residual_real_pct, "o-", color=BLUE, label="real part", **line)
    axis.semilogx(hertz, found.residual_imag_pct, "s--", color=ORANGE, label="imaginary", **line)
    axis.axhline(0, color="#999999", linewidth=0.7, zorder=1)
    axis.set_ylabel("Residual\n/ % of |Z|")
    beside(axis, title)
