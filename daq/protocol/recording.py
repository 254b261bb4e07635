"""Which samples are kept."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, nan

from daq.protocol.program import RecordRule

_ROUNDING_S = 1e-6
"""A hundred periods of 0.1 s add up to 9.99999999999998 s."""
_EARLY, _EARLY_SPACINGS = 0.2, 0.5
"""A reply that comes a little sooner than the last one must not be put off to the next: a record
may be so much of `every`, or of the distance of two samples, too early, whichever is less."""


class Keeper:
    """Applies a recording rule: compares each sample with the last one that was kept."""

    __slots__ = (
        "_charge_Ah",
        "_current_A",
        "_seen_s",
        "_temperature_degC",
        "_time_s",
        "_voltage_V",
    )

    def __init__(self) -> None:
        self._time_s = self._seen_s = -inf
        self._voltage_V = self._current_A = self._temperature_degC = self._charge_Ah = nan

    def keep(
        self,
        rule: RecordRule,
        time_s: float,
        voltage_V: float,
        current_A: float,
        temperature_degC: float,
        edge: bool,
        charge_Ah: float = nan,
        step_time_s: float = inf,
    ) -> bool:
        """Whether to keep this sample.

        Args:
            rule: of the step that the sample belongs to.
            time_s: lab clock.
            voltage_V: nan where not measured; so too the next two.
            current_A: charge positive.
            temperature_degC: of the cell.
            edge: it is the first or the last of a step, which are always kept.
            charge_Ah: net charge of the run.
            step_time_s: since the step began.
        """
        every_s = rule.every_s
        if step_time_s <= rule.first_for_s:
            every_s = min(every_s, rule.first_every_s)
        early_s = min(_EARLY * every_s, _EARLY_SPACINGS * (time_s - self._seen_s))
        self._seen_s = time_s
        if not (
            edge
            or time_s - self._time_s >= every_s - max(early_s, _ROUNDING_S)
            or _moved(voltage_V, self._voltage_V, rule.voltage_V)
            or _moved(current_A, self._current_A, rule.current_A)
            or _moved(temperature_degC, self._temperature_degC, rule.temperature_K)
            or _moved(charge_Ah, self._charge_Ah, rule.charge_Ah)
        ):
            return False
        self._time_s = time_s
        self._voltage_V = _measured(voltage_V, self._voltage_V)
        self._current_A = _measured(current_A, self._current_A)
        self._temperature_degC = _measured(temperature_degC, self._temperature_degC)
        self._charge_Ah = _measured(charge_Ah, self._charge_Ah)
        return True

    def snapshot(self) -> dict[str, float | None]:
        """The sample that was kept last; None where nothing is known, for JSON."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value if isfinite(value) else None for name, value in values.items()}

    @classmethod
    def restore(cls, snapshot: Mapping[str, float | None]) -> Keeper:
        """The keeper that `snapshot` was taken of."""
        keeper = cls()
        for name in cls.__slots__:
            value = snapshot.get(name)  # earlier versions kept less
            if value is not None:
                setattr(keeper, name, value)
        return keeper


def _moved(value: float, kept: float, by: float) -> bool:
    """Whether a quantity has moved enough; the first measured value has."""
    if abs(value - kept) >= by:  # false where either is nan
        return by < inf
    return kept != kept and value == value and by < inf


def _measured(value: float, kept: float) -> float:
    return value if value == value else kept
