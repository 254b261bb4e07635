"""Cells with the leads of instruments on them.

Several instruments may be wired to one cell (a cycler and a potentiostat). Each channel holds a
`Position` of its own; the cell, its voltage and its ledger are shared. One of them drives at a
time: the last to call `drive`. `open` by one that does not drive changes nothing, as opening a
relay that carries no current would not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simulators.cell_model import CellModel
from simulators.chamber import ChamberModel
from simulators.clock import Clock
from simulators.ledger import Edge, Ledger

__all__ = ["ChamberModel", "Position", "Regulation"]

Regulation = Literal["cv", "cc+", "cc-", "off"]

_FIRST_STEP_S = 0.05  # after a switching; doubled until the cell's own limit is reached
_CROSSING_S = 0.5  # a change of regulation mode is located to this


@dataclass(frozen=True, slots=True)
class _Demand:
    """A two-quadrant source: a voltage, within a current each way."""

    voltage_V: float
    charge_A: float
    discharge_A: float

    def current_A(self, cell: CellModel, seconds: float, guess_A: float) -> float:
        return cell.current_for(self.voltage_V, seconds, -self.discharge_A, self.charge_A, guess_A)

    def mode(self, current_A: float) -> Regulation:
        if current_A >= self.charge_A:
            return "cc+"
        return "cc-" if current_A <= -self.discharge_A else "cv"


class Circuit:
    """One cell, the clock that moves it, and the one source that drives it."""

    def __init__(self, cell: CellModel, clock: Clock, chamber: ChamberModel | None) -> None:
        self.cell = cell
        self.clock = clock
        self.chamber = chamber
        self.ledger = Ledger()
        self.driver: Position | None = None
        self.current_A = 0.0
        self.mode: Regulation = "off"
        self._demand: _Demand | None = None
        self._broken: set[str] = set()
        self._at = clock.now()
        self._next_step_s = _FIRST_STEP_S

    def advance(self) -> None:
        now = self.clock.now()
        if now <= self._at:
            return
        if self.chamber is not None:
            self.chamber.advance()
            self.cell.ambient_degC = self.chamber.temperature_degC
        while self._at < now:
            self._step(now)

    def _step(self, now: float) -> None:
        """Let the longest stretch pass over which one constant current is a good answer."""
        left = now - self._at
        if self._demand is None or self._broken:
            seconds, current_A, mode = min(left, self.cell.longest_rest_s), 0.0, self._idle
        else:
            seconds, current_A, mode = self._regulate(self._demand, left)
        piece = self.cell.step(seconds, current_A)
        self._at = now if seconds >= left else self._at + seconds
        self.current_A, self.mode = current_A, mode
        real_s = self.clock.real() - (now - self._at) / self.clock.factor
        self.ledger.book(piece, real_s, self._at, self.clock.factor)

    def _regulate(self, demand: _Demand, left: float) -> tuple[float, float, Regulation]:
        seconds = min(left, self._next_step_s)
        if seconds > _CROSSING_S:
            seconds = min(seconds, self.cell.longest_step_s(self.current_A))
        while True:
            current_A = demand.current_A(self.cell, seconds, self.current_A)
            mode = demand.mode(current_A)
            if mode == self.mode or seconds <= _CROSSING_S:
                break
            seconds /= 2.0
            self._next_step_s = seconds
        self._next_step_s = max(self._next_step_s, 2.0 * seconds)
        return seconds, current_A, mode

    def drive(self, by: Position, demand: _Demand) -> None:
        self.advance()
        if self.driver is not by:
            if not self._broken:
                self._edge(on=True, by=by.owner)
        elif demand == self._demand:
            return
        self.driver, self._demand = by, demand
        self._start(demand)

    def _start(self, demand: _Demand) -> None:
        self._next_step_s = _FIRST_STEP_S
        if self._broken:
            self.current_A, self.mode = 0.0, self._idle
            return
        self.current_A = demand.current_A(self.cell, 0.0, self.current_A)
        self.mode = demand.mode(self.current_A)

    @property
    def _idle(self) -> Regulation:
        """Without current, a source that is on still regulates the voltage at its own terminals."""
        return "off" if self._demand is None else "cv"

    def interrupt(self, by: str) -> None:
        """Break the lead that carries the current (a relay, a lost contact); senses stay on."""
        self.advance()
        if not self._broken and self.driver is not None:
            self._edge(on=False, by=by)
        self._broken.add(by)
        self.current_A, self.mode = 0.0, self._idle

    def mend(self, by: str) -> None:
        """Undo `interrupt`; what is driven flows again once nobody else interrupts it."""
        self.advance()
        if by not in self._broken:
            return
        self._broken.remove(by)
        if self._demand is not None and not self._broken:
            self._edge(on=True, by=by)
            self._start(self._demand)

    def open(self, by: Position) -> None:
        self.advance()
        if self.driver is not by:
            return
        if not self._broken:
            self._edge(on=False, by=by.owner)
        self.driver = self._demand = None
        self.current_A, self.mode = 0.0, "off"

    def _edge(self, *, on: bool, by: str) -> None:
        self.ledger.edges.append(Edge(self.clock.real(), self.clock.now(), on, by))


class Position:
    """The leads of one instrument channel on one cell.

    Args:
        cell: The cell under test, or the circuit of other leads on it.
        clock: The bench's clock.
        chamber: What the cell stands in; without one it stays at its own ambient.
        owner: Who holds these leads, for the ledger's edges.
    """

    def __init__(
        self,
        cell: CellModel | Circuit,
        clock: Clock,
        chamber: ChamberModel | None = None,
        owner: str = "",
    ) -> None:
        self.owner = owner
        self.circuit = cell if isinstance(cell, Circuit) else Circuit(cell, clock, chamber)

    def lead(self, owner: str) -> Position:
        """Put another pair of leads on the same cell."""
        return Position(self.circuit, self.circuit.clock, owner=owner)

    @property
    def cell(self) -> CellModel:
        """The cell itself; tests reach for it, instruments cannot."""
        return self.circuit.cell

    def truth(self) -> dict[str, float | str]:
        """The cell as it truly is now, whoever drives it."""
        self.advance()
        circuit = self.circuit
        return {
            "voltage_V": self.voltage_V,
            "current_A": circuit.current_A,
            "temperature_degC": self.temperature_degC,
            "open_circuit_V": self.open_circuit_V,
            "soc": circuit.cell.soc,
            "capacity_Ah": circuit.cell.capacity_Ah,
            "regulation": circuit.mode,
            "driven_by": circuit.driver.owner if circuit.driver else "",
        }

    def enclose(self, chamber: ChamberModel) -> None:
        """Put the cell into a chamber."""
        self.circuit.chamber = chamber

    def advance(self) -> None:
        """Bring the physics up to the clock; call before reading anything below."""
        self.circuit.advance()

    @property
    def voltage_V(self) -> float:
        """True voltage at the cell's terminals, in volts."""
        return self.circuit.cell.voltage_V(self.circuit.current_A)

    @property
    def current_A(self) -> float:
        """True current through these leads in amperes, charge positive."""
        return self.circuit.current_A if self.circuit.driver is self else 0.0

    @property
    def temperature_degC(self) -> float:
        """Temperature of the cell (lumped: core and surface are one)."""
        return self.circuit.cell.temperature_degC

    @property
    def open_circuit_V(self) -> float:
        """Equilibrium voltage at the present state of charge."""
        return self.circuit.cell.open_circuit_V

    @property
    def regulation(self) -> Regulation:
        """What these leads do: hold the voltage, a current limit either way, or nothing."""
        return self.circuit.mode if self.circuit.driver is self else "off"

    @property
    def ledger(self) -> Ledger:
        """The book of this cell."""
        return self.circuit.ledger

    def drive(self, voltage_V: float, charge_A: float, discharge_A: float) -> None:
        """Regulate towards a voltage within a current (amount, not sign) each way."""
        self.circuit.drive(self, _Demand(voltage_V, abs(charge_A), abs(discharge_A)))

    def open(self) -> None:
        """Open the relay of these leads."""
        self.circuit.open(self)

    def interrupt(self) -> None:
        """Break the lead that carries the cell's current, whoever drives it."""
        self.circuit.interrupt(self.owner)

    def mend(self) -> None:
        """Let current flow again."""
        self.circuit.mend(self.owner)

    def impedance(self, frequency_Hz: float) -> complex:
        """Small-signal impedance in ohm, from the parameters of the time-domain model."""
        return self.circuit.cell.impedance(frequency_Hz)
