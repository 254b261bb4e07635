"""What a cycler is told for a step: setpoints that stay inside every tier, by construction.

A charge is told to regulate a little above its end voltage, so that the end is seen while the
current still flows, and never above the tightest limit: if nobody is left to end the step, the
instrument itself falls back to constant voltage there.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isfinite

from daq.model import Setpoint, Span
from daq.protocol.condition import Condition, Quantity
from daq.protocol.program import StepKind
from daq.protocol.site import Site

VOLTAGE_MARGIN_V = 0.010
CURRENT_MARGIN = 0.98
"""Part of a current limit that an uncapped hold may use: noise at the limit must not trip."""


def voltages(site: Site) -> Span:
    """What the tiers and the instrument leave, in volt."""
    low, high = site.limits.voltage_V
    return max(low, site.range.voltage_V[0]), min(high, site.range.voltage_V[1])


def currents(site: Site) -> Span:
    """What the tiers and the instrument leave, in ampere; charge positive."""
    low, high = site.limits.current_A
    return max(low, site.range.current_A[0]), min(high, site.range.current_A[1])


def charge(site: Site, current_A: float, ends: Iterable[Condition]) -> Setpoint:
    """Charge at a current."""
    top = voltages(site)[1]
    end = min(_voltages(ends, at_least=True), default=top - 2 * VOLTAGE_MARGIN_V)
    return Setpoint(_bounded(site, min(end + VOLTAGE_MARGIN_V, top)), current_A, 0.0)


def discharge(site: Site, current_A: float, ends: Iterable[Condition]) -> Setpoint:
    """Discharge at a current (a magnitude)."""
    bottom = voltages(site)[0]
    end = max(_voltages(ends, at_least=False), default=bottom + 2 * VOLTAGE_MARGIN_V)
    return Setpoint(_bounded(site, max(end - VOLTAGE_MARGIN_V, bottom)), 0.0, current_A)


def hold(site: Site, voltage_V: float, cap_A: float | None) -> Setpoint:
    """Hold a voltage with as much current as is allowed, or as `cap_A` says.

    After a charge a hold only charges, after a discharge it only discharges: the current tapers
    towards zero and must not cross it, or the end `current <= C/50` would be met on the way.
    """
    low, high = currents(site)
    charge_A, discharge_A = CURRENT_MARGIN * max(high, 0.0), CURRENT_MARGIN * max(-low, 0.0)
    if cap_A is not None:
        charge_A, discharge_A = min(cap_A, high), min(cap_A, -low)
    if site.bounded and not (isfinite(charge_A) and isfinite(discharge_A)):
        site.refuse("nothing limits the current of this hold", (site.key,), "give it `current: 1C`")
    if site.after == StepKind.CHARGE:
        discharge_A = 0.0
    if site.after == StepKind.DISCHARGE:
        charge_A = 0.0
    return Setpoint(voltage_V, charge_A, discharge_A)


def _voltages(ends: Iterable[Condition], *, at_least: bool) -> list[float]:
    """Of the ends that a voltage alone brings; one that is joined with others may be passed.

    Only those of one side: what plays both ways, a profile, may charge although it ends at a low
    voltage. A setpoint at that low voltage would keep the instrument from charging at all.
    """
    return [
        end.value
        for end in ends
        if end.quantity is Quantity.VOLTAGE and end.at_least is at_least and isfinite(end.value)
    ]


def _bounded(site: Site, voltage_V: float) -> float:
    if site.bounded and not isfinite(voltage_V):
        remedy = "give `until` a voltage, or `safety` a voltage span"
        site.refuse(f"nothing limits the voltage of this {site.key}", (site.key,), remedy)
    return voltage_V


def power_current_A(power_W: float, voltage_V: float) -> float:
    """The current that a power needs at a voltage; infinite at none."""
    return power_W / voltage_V if voltage_V > 0.0 else inf
