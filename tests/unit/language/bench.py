"""A bench for programs: a battery with a line for its open-circuit voltage, and the engine.

V = 3.0 V + 1.2 V * soc + 0.05 ohm * I, 1 Ah. Exact enough to do the sums by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import nan

from daq.model import Cell, Limits, Setpoint
from daq.protocol.compile import compile_protocol
from daq.protocol.engine import Engine
from daq.protocol.program import (
    Action,
    Apply,
    Finished,
    Observation,
    Program,
    SetChamber,
    StartSweep,
    Step,
    StepEnded,
    StepStarted,
    SwitchOutputs,
    TurnOff,
)
from daq.protocol.source import parse_protocol

HEAD = "protocol: p\nversion: 1.0.0\n"
STATION = ("station A1", Limits((2.0, 4.5), (-10.0, 10.0), (-20.0, 60.0)))
EMPTY_V, SLOPE_V, R_OHM = 3.0, 1.2, 0.05


def compiled(
    steps: str, head: str = "", *, files: dict[str, str] | None = None, nominal_Ah: float = 1.0
) -> Program:
    """The program of some steps, at a station with a cell of 1 Ah."""
    source = parse_protocol(f"{HEAD}{head}steps:\n{steps}\n", files=files)
    return compile_protocol(source, Cell("c", nominal_Ah), [STATION])


@dataclass
class Player:
    """Plays a program; `log` has what happened, `asked` every setpoint with its time."""

    program: Program
    soc: float = 0.5
    capacity_Ah: float = 1.0
    celsius: Callable[[float], float] = lambda _: 25.0
    chamber_K_s: float = 1.0
    sensors: dict[str, float] | None = None
    dt_s: float = 1.0
    time_s: float = 0.0
    current_A: float = 0.0
    chamber_degC: float = 25.0
    setpoint: Setpoint | None = None
    ended: list[tuple[int, str]] = field(default_factory=list)
    started: list[tuple[float, Step, int]] = field(default_factory=list)
    asked: list[tuple[float, Setpoint]] = field(default_factory=list)
    chamber_asked: list[tuple[float, SetChamber]] = field(default_factory=list)
    switched: list[tuple[str, bool]] = field(default_factory=list)
    finished: Finished | None = None
    measurement: str = ""
    _wanted_degC: float = 25.0

    def __post_init__(self) -> None:
        self.engine = Engine(self.program, settle_s=0.0)

    @property
    def voltage_V(self) -> float:
        return EMPTY_V + SLOPE_V * self.soc + R_OHM * self.current_A

    def see(self) -> Observation:
        return Observation(
            self.time_s,
            self.voltage_V,
            self.current_A,
            self.celsius(self.time_s),
            self.chamber_degC,
            self.measurement,
            nan,
            self.sensors,
        )

    def run(self, most_s: float = 1e6) -> Player:
        """To the end, or for so long."""
        if not self.engine.started:
            self.act(self.engine.start(self.see()))
        until_s = self.time_s + most_s
        while self.finished is None and self.time_s < until_s:
            self.tick()
        return self

    def tick(self) -> None:
        self.regulate()
        self.time_s += self.dt_s
        self.soc += self.current_A * self.dt_s / 3600.0 / self.capacity_Ah
        way_K = self.chamber_K_s * self.dt_s
        gap_K = self._wanted_degC - self.chamber_degC
        self.chamber_degC += max(-way_K, min(way_K, gap_K))
        self.act(self.engine.advance(self.see()))

    def regulate(self) -> None:
        if self.setpoint is None:
            self.current_A = 0.0
            return
        towards_A = (self.setpoint.voltage_V - EMPTY_V - SLOPE_V * self.soc) / R_OHM
        self.current_A = max(-self.setpoint.discharge_A, min(self.setpoint.charge_A, towards_A))

    def act(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if isinstance(action, Apply):
                self.setpoint = action.setpoint
                self.asked.append((self.time_s, action.setpoint))
            elif isinstance(action, TurnOff):
                self.setpoint = None
            elif isinstance(action, SetChamber):
                self._wanted_degC = action.temperature_degC
                self.chamber_asked.append((self.time_s, action))
            elif isinstance(action, SwitchOutputs):
                self.switched += action.outputs
            elif isinstance(action, StartSweep):
                self.measurement = "done"
            elif isinstance(action, StepStarted):
                self.started.append((self.time_s, action.step, action.cycle))
            elif isinstance(action, StepEnded):
                self.ended.append((action.step.number, action.reason))
            elif isinstance(action, Finished):
                self.finished = action
        self.regulate()

    @property
    def numbers(self) -> list[int]:
        """Numbers of the steps, in the order in which they ended."""
        return [number for number, _ in self.ended]


def play(steps: str, head: str = "", **more: object) -> Player:
    """Play some steps to their end."""
    files = more.pop("files", None)
    return Player(compiled(steps, head, files=files), **more).run()  # type: ignore[arg-type]
