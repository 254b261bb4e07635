"""The guard's checks whose threshold a lab may set: what `checks:` of a station says, in SI.

The other checks (limits, step time, silence, read-back, interlocks) have no switch: they hold
always. docs/safety.md describes all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf


@dataclass(frozen=True, slots=True)
class Checks:
    """Thresholds, each in the unit that its comment names.

    A check is off where its threshold can never be passed: `OFF[name]`.
    """

    V3: float = 0.050  # V between sense and independent measurement; or 2 % if that is more
    I2: float = 2.0  # s that the current may miss its setpoint
    R1: float = 20.0  # times the usual rate of the voltage
    T3: float = 2.0  # K/min; half of it warns
    T4: float = 15.0  # K of the cell above its chamber
    Q1: float = inf  # of the nominal capacity; inf: the protocol's own, or `CHARGE_DEFAULT`
    Q2: float = 1.10  # of the nominal capacity, either way
    E1: float = 0.50  # least energy out per energy in, over a cycle
    S2: float = 10.0  # s that a step lasts at least, if it has far to go
    P2: float = 60.0  # s that a lively reading may stand still
    P4: float = 600.0  # s that a working cell may be exactly as warm as its chamber

    def tighten(self, other: Checks) -> Checks:
        """The stricter of both, check by check."""
        return Checks(
            **{
                name: (max if off == 0.0 else min)(getattr(self, name), getattr(other, name))
                for name, off in OFF.items()
            }
        )

    @property
    def switched_off(self) -> tuple[str, ...]:
        """Which checks are off; Q1 never is: the protocol's own limit, or the default, stands."""
        return tuple(
            name for name, off in OFF.items() if name != "Q1" and getattr(self, name) == off
        )


CHARGE_DEFAULT = 1.05
"""Q1 where neither the protocol nor the lab says anything; an abuse test begins at 1.15."""

OFF: dict[str, float] = {
    field.name: 0.0 if field.name in ("E1", "S2") else inf for field in fields(Checks)
}
"""The threshold that switches a check off; for E1 and S2 more is stricter, for the others less."""

NOTHING_SET = Checks(**OFF)
"""What tightens nothing."""
