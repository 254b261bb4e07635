"""A bench without wires or waiting: the true step machine on a simulated cell, on a turned clock.

What control would do with a program is done here in a loop: read the cell, let the engine see it,
act, read again. Every sample is exact and the time between two of them is chosen, so a run of
days takes seconds, and what the journal and the files say can be held against the cell's own
ledger.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from daq.control.run import Run
from daq.journal import Journal, JournalReader
from daq.model import Cell, Limits, MeasurementState, RunInfo, Spectrum, SpectrumPoint
from daq.protocol.compile import compile_protocol
from daq.protocol.engine import Engine
from daq.protocol.program import (
    Action,
    Apply,
    Finished,
    Observation,
    SetChamber,
    StartSweep,
    StepEnded,
    StepStarted,
    TurnOff,
)
from daq.protocol.source import parse_protocol
from daq.recorder.closed import write_closed
from simulators.cell import Cell as SimulatedCell
from simulators.clock import ManualClock
from simulators.rig import Position
from tests import runs

HARD = Limits((2.0, 4.4), (-20.0, 20.0), (0.0, 60.0))
ACTING_S = 0.005
"""From acting to the next sample; that is also when the first current of a step is seen."""
LEAST_S = 0.02
"""Shortest time between two other samples."""


@dataclass(frozen=True)
class Books:
    """The ledger of the cell at one moment."""

    charge_Ah: float
    discharge_Ah: float
    charge_Wh: float
    discharge_Wh: float

    def since(self, before: Books) -> Books:
        """What was booked in between."""
        return Books(*(getattr(self, k) - getattr(before, k) for k in self.__annotations__))


@dataclass(frozen=True)
class Elements:
    """The true elements of the cell at one moment, and its state of charge."""

    series_ohm: float
    arcs: list[tuple[float, float]]
    soc: float
    capacity_Ah: float

    @classmethod
    def of(cls, cell: SimulatedCell) -> Elements:
        """As they are now."""
        return cls(cell.series_ohm, cell.arcs, cell.soc, cell.capacity_Ah)


class VirtualBench:
    """One cell, one program.

    Args:
        position: the cell's leads on `clock`.
        protocol: text of a protocol file.
        every_s: time between samples; while `quick_s` of a step have not passed, the time since
            its beginning divided by 20, if that is less.
        pause: (step time at which the run is paused for once, for how long), s.
        noise_V, noise_A: standard deviation of what is measured.

    Attributes:
        books: step count -> what the ledger says at its start and at its end.
        elements: step count -> the cell at its start.
        sweeps: the true impedance at each point of each sweep.
    """

    def __init__(
        self,
        journal: Journal,
        position: Position,
        clock: ManualClock,
        protocol: str,
        *,
        every_s: float = 1.0,
        quick_s: float = 0.0,
        pause: tuple[float, float] = (inf, 0.0),
        nominal_Ah: float = 2.5,
        noise_V: float = 0.0,
        noise_A: float = 0.0,
        info: RunInfo | None = None,
    ) -> None:
        source = parse_protocol(protocol)
        self.cell = Cell("NMC-0042", nominal_Ah, "NMC")
        self.program = compile_protocol(source, self.cell, [("station A1", HARD)])
        self.info = info or run_info(protocol, self.program, nominal_Ah)
        self.books: dict[int, list[Books]] = {}
        self.elements: dict[int, Elements] = {}
        self.sweeps: list[tuple[float, complex]] = []
        self.reasons: list[str] = []
        self._journal = journal
        self._position = position
        self._clock = clock
        self._every_s, self._quick_s = every_s, quick_s
        self._pause, self._go_on_s = pause, 0.0
        self._noise = (noise_V, noise_A)
        self._dice = random.Random(7)
        self._sweep = ""

    def run(self) -> None:
        """The whole program."""
        self._journal.save_run(self.info)
        engine = Engine(self.program)
        run = Run(self.info, engine, self._journal)
        run.begin(self._utc(), {})
        while not engine.finished:
            seen = self._look()
            run.before(seen)
            with run.together():
                actions = self._advance(engine, seen)
                if not any(isinstance(action, StepStarted | StepEnded) for action in actions):
                    run.record(seen, self._utc())
                for action in actions:
                    self._act(run, seen, action)
            self._clock.advance(ACTING_S if actions else self._next_s(engine))
        assert self._journal.sync().wait(30)

    def _advance(self, engine: Engine, seen: Observation) -> Sequence[Action]:
        if not engine.started:
            return engine.start(seen)
        if engine.paused:
            return engine.resume(seen) if seen.time_s >= self._go_on_s else engine.advance(seen)
        at_s, for_s = self._pause
        if engine.step_time_s < at_s:
            return engine.advance(seen)
        self._pause, self._go_on_s = (inf, 0.0), seen.time_s + for_s
        return engine.pause(seen)

    def _next_s(self, engine: Engine) -> float:
        since_s = engine.step_time_s
        return min(max(since_s / 20, LEAST_S), self._every_s) if since_s < self._quick_s else (
            self._every_s
        )  # fmt: skip

    def _utc(self) -> float:
        return runs.START_UTC_S + self._clock.now()

    def _look(self) -> Observation:
        self._position.advance()
        return Observation(
            self._clock.now(),
            self._position.voltage_V + self._dice.gauss(0.0, self._noise[0]),
            self._position.current_A + self._dice.gauss(0.0, self._noise[1]),
            self._position.temperature_degC,
            25.0,
            self._sweep,
        )

    def now(self) -> Books:
        """What the ledger says now."""
        book = self._position.ledger
        return Books(book.charged_Ah, book.discharged_Ah, book.charged_Wh, book.discharged_Wh)

    def _act(self, run: Run, seen: Observation, action: Action) -> None:
        utc_s = self._utc()
        if isinstance(action, StepStarted):
            self.books[action.step_count] = [self.now()]
            self.elements[action.step_count] = Elements.of(self._position.cell)
            run.step_started(action, seen, utc_s)
        elif isinstance(action, StepEnded):
            self.books[action.step_count].append(self.now())
            self.reasons.append(action.reason)
            self._sweep = ""
            run.step_ended(action, seen, utc_s)
        elif isinstance(action, Apply):
            point = action.setpoint
            self._position.drive(point.voltage_V, point.charge_A, point.discharge_A)
        elif isinstance(action, TurnOff):
            self._position.open()
        elif isinstance(action, StartSweep):
            self._sweep_now(run, action.spectrum)
        elif isinstance(action, Finished):
            run.end(utc_s, action.outcome, action.reason)
        else:
            assert isinstance(action, SetChamber), action

    def _sweep_now(self, run: Run, spectrum: Spectrum) -> None:
        for hertz in frequencies(spectrum):
            true = self._position.impedance(hertz)
            self.sweeps.append((hertz, true))
            size = 1 + self._dice.gauss(0.0, 1e-3 if self._noise[0] else 0.0)
            z = true * size
            run.spectrum_point(SpectrumPoint(hertz, z.real, z.imag), self._utc())
        self._sweep = MeasurementState.DONE


def frequencies(spectrum: Spectrum) -> Iterator[float]:
    """Evenly on a logarithmic scale, from high to low."""
    hertz = spectrum.from_Hz
    while hertz > spectrum.to_Hz * 0.999:
        yield hertz
        hertz *= 10 ** (-1 / spectrum.per_decade)


def run_info(protocol: str, program: Any, nominal_Ah: float, **changes: Any) -> RunInfo:
    """What control would know of the run, with the steps of the program."""
    document = runs.document()
    document["cell"] = document["cell"] | {"nominal_capacity_Ah": nominal_Ah}
    steps = {
        step.number: {"number": step.number, "kind": step.kind.value, "text": step.text}
        for step in program.instructions
        if hasattr(step, "kind")
    }
    document["protocol"] |= {
        "name": program.protocol, "text": protocol, "steps": list(steps.values()),
    }  # fmt: skip
    plain = RunInfo("A1-20260921-001", "A1", "NMC-0042", program.protocol, runs.START_UTC_S,
                    document)  # fmt: skip
    return replace(plain, **changes)


def closed_file(journal: Path, run: str, folder: Path) -> Path:
    """The closed file of a run, as the recorder makes it."""
    with JournalReader(journal) as reader:
        for _ in write_closed(reader, run, folder):
            pass
    return folder / f"{run}.h5"
