"""Speed traces -> power profiles of a car's battery, for the drive cycles of the library.

`python -m bench.profiles CYCLES protocols/profiles` reads `udds.csv`, `us06.csv` and `wltc_3b.csv`
from the folder `fastsim/resources/cycles` of the package fastsim 2.1.5 (Apache-2.0), writes the
profiles and prints their figures for the README there. Power is positive into the cell.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TRACES = {"udds": "udds.csv", "us06": "us06.csv", "wltc": "wltc_3b.csv"}
_GRAVITY_M_S2, _AIR_KG_M3 = 9.81, 1.2


@dataclass(frozen=True, slots=True)
class Car:
    """A small electric car, after the 2016 Nissan Leaf (24 kWh) of fastsim's vehicle table.

    Attributes:
        mass_kg: with a driver and luggage of 136 kg.
        turning_kg: what the wheels' inertia adds when the speed changes: 4 x 0.815 kg m2 at a
            radius of 0.336 m.
        drag_area_m2: drag coefficient 0.315 times frontal area 2.755 m2.
        rolling: rolling resistance coefficient.
        efficiency: between battery and wheels, either way: motor, inverter and gear.
        auxiliary_W: all that runs beside the motor.
    """

    mass_kg: float = 1600.0
    turning_kg: float = 28.9
    drag_area_m2: float = 0.868
    rolling: float = 0.008
    efficiency: float = 0.88
    auxiliary_W: float = 250.0

    def battery_W(self, before_m_s: float, after_m_s: float, seconds: float) -> float:
        """Mean power into the battery while the speed goes from one value to the other.

        Forces at the mean speed on a level road; all braking is by the motor.
        """
        speed_m_s = (before_m_s + after_m_s) / 2.0
        acceleration_m_s2 = (after_m_s - before_m_s) / seconds
        force_N = (self.mass_kg + self.turning_kg) * acceleration_m_s2
        if speed_m_s > 0.0:
            force_N += self.mass_kg * _GRAVITY_M_S2 * self.rolling
            force_N += 0.5 * _AIR_KG_M3 * self.drag_area_m2 * speed_m_s**2
        wheels_W = force_N * speed_m_s
        drawn_W = wheels_W / self.efficiency if wheels_W > 0.0 else wheels_W * self.efficiency
        return -(drawn_W + self.auxiliary_W)


Rows = list[tuple[float, float]]


def read_trace(path: Path) -> Rows:
    """Times in s and speeds in m/s of a trace of fastsim."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [(float(row["cycSecs"]), float(row["cycMps"])) for row in csv.DictReader(file)]


def profile(trace: Rows, car: Car) -> Rows:
    """Times in s and powers in W; each holds until the next, the last is the end."""
    pairs = zip(trace, trace[1:], strict=False)
    rows = [(start, round(car.battery_W(v, w, end - start), -1)) for (start, v), (end, w) in pairs]
    return [*rows, (trace[-1][0], 0.0)]


def write(rows: Rows, path: Path) -> None:
    """As `daq` plays it."""
    lines = [f"{time_s:g},{power_W:.0f}" for time_s, power_W in rows]
    path.write_text("\n".join(["time_s,power_W", *lines, ""]), encoding="utf-8")


def figures(rows: Rows) -> dict[str, float]:
    """Duration, largest magnitudes, and energy drawn in all."""
    spans = [(end - start, power) for (start, power), (end, _) in zip(rows, rows[1:], strict=False)]
    return {
        "duration_s": rows[-1][0],
        "peak_kW": max(-power for _, power in spans) / 1e3,
        "peak_back_kW": max(power for _, power in spans) / 1e3,
        "energy_Wh": -sum(seconds * power for seconds, power in spans) / 3600.0,
    }


def distance_km(trace: Rows) -> float:
    """What the car drives."""
    pairs = zip(trace, trace[1:], strict=False)
    return sum((end - start) * (v + w) / 2.0 for (start, v), (end, w) in pairs) / 1e3


def main(arguments: Sequence[str]) -> None:
    """Write all profiles."""
    source, target = (Path(argument) for argument in arguments)
    for name, file in TRACES.items():
        trace = read_trace(source / file)
        rows = profile(trace, Car())
        write(rows, target / f"{name}.csv")
        print(name, f"{distance_km(trace):.2f} km", figures(rows))


if __name__ == "__main__":
    main(sys.argv[1:])
