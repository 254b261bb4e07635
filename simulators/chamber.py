"""A thermal chamber: air that follows its heat exchanger, which follows the controller."""

from __future__ import annotations

import math

from simulators.clock import Clock

AMBIENT_DEGC = 23.0
_LONGEST_STEP_S = 5.0
_STILL_K = 1e-9  # nearer than this, nothing moves that anybody could measure
_WALL_S = 60.0  # heat exchanger behind the controller's demand
_AIR_S = 90.0  # air behind the heat exchanger
_LOSS_S = 2400.0  # idle box behind the room
_DOOR_S = 45.0  # air behind the room, door open
_HUMID_S = 120.0  # humidity behind its setpoint
_GAIN = 1.6  # proportional band; with the two lags it overshoots by a few per cent of a step
_SLEW_K_PER_S = 5.0 / 60.0  # a 5 K/min box, the class of an MK 53


class ChamberModel:
    """Two lags under a proportional controller with feed-forward.

    Where humidity is not regulated it rides on the air.

    Args:
        clock: The bench's clock.
        temperature_degC: Air and setpoint at the start, and the room around the box.
        limit_degC: The safety thermostat; above it the heater is cut and the alarm latches.
    """

    def __init__(
        self, clock: Clock, temperature_degC: float = AMBIENT_DEGC, limit_degC: float = 90.0
    ) -> None:
        self.temperature_degC = temperature_degC
        self.setpoint_degC = temperature_degC
        self.setpoint_pct: float | None = None
        self.limit_degC = limit_degC
        self.running = False
        self.door_open = False
        self.over_temperature = False
        self._clock = clock
        self._room_degC = temperature_degC
        self._wall_degC = temperature_degC
        self._regulated_pct: float | None = None
        self._at = clock.now()

    def set(self, degC: float) -> None:
        """Store a setpoint; it takes effect while the chamber runs."""
        self.advance()
        self.setpoint_degC = degC

    def set_humidity(self, pct: float | None) -> None:
        """Store a relative humidity to hold while the chamber runs; None: as the air brings it."""
        self.advance()
        self.setpoint_pct = pct

    def start(self) -> None:
        """Begin to regulate."""
        self.advance()
        self.running = True

    def stop(self) -> None:
        """Stop regulating; the air drifts to the room."""
        self.advance()
        self.running = False

    def acknowledge(self) -> None:
        """Reset the safety thermostat; it holds if the air is still too hot."""
        self.over_temperature = self.temperature_degC > self.limit_degC

    @property
    def humidity_pct(self) -> float:
        """Regulated, or of the room's air once it is brought to the box's temperature."""
        if self._regulated_pct is not None:
            return self._regulated_pct
        return min(98.0, 45.0 * 2.0 ** ((self._room_degC - self.temperature_degC) / 11.0))

    def advance(self) -> None:
        """Bring the air up to the clock."""
        left = self._clock.now() - self._at
        self._at += left
        self._humidify(left)
        if self.settled(_STILL_K):
            return
        while left > 0.0:
            step = min(left, _LONGEST_STEP_S)
            self._step(step)
            left -= step

    def settled(self, within_K: float) -> bool:
        """Whether the air and the heat exchanger are where they are going, and stay there."""
        target = self.setpoint_degC if self._regulating else self._room_degC
        apart = max(abs(self.temperature_degC - target), abs(self._wall_degC - target))
        return apart <= within_K and not self.door_open

    @property
    def _regulating(self) -> bool:
        return self.running and not self.over_temperature

    def _step(self, dt: float) -> None:
        regulating = self._regulating
        demand, lag = (self._demand_degC(), _WALL_S) if regulating else (self._room_degC, _LOSS_S)
        change = (demand - self._wall_degC) * -math.expm1(-dt / lag)
        self._wall_degC += max(-_SLEW_K_PER_S * dt, min(_SLEW_K_PER_S * dt, change))
        self.temperature_degC = _towards(self.temperature_degC, self._wall_degC, dt / _AIR_S)
        if self.door_open:
            self.temperature_degC = _towards(self.temperature_degC, self._room_degC, dt / _DOOR_S)
        self.over_temperature |= self.temperature_degC > self.limit_degC

    def _humidify(self, dt: float) -> None:
        if self.setpoint_pct is None or not self._regulating or self.door_open:
            self._regulated_pct = None
        else:
            self._regulated_pct = _towards(self.humidity_pct, self.setpoint_pct, dt / _HUMID_S)

    def _demand_degC(self) -> float:
        return self.setpoint_degC + _GAIN * (self.setpoint_degC - self.temperature_degC)


def _towards(value: float, target: float, lags: float) -> float:
    return target + (value - target) * math.exp(-lags)
