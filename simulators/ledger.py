"""The bench's own book of what really flowed through a cell, out of the daemon's reach."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Quantity = Literal["voltage_V", "current_A", "temperature_degC"]


@dataclass(frozen=True, slots=True)
class Slice:
    """One stretch of constant current through a cell.

    Attributes:
        seconds: Its length in bench time.
        current_A: Charge positive.
        start_V: Terminal voltage just after the current was set.
        end_V: Terminal voltage at the end.
        energy_J: Integral of voltage times current; negative while discharging.
        temperature_degC: The cell's at the end.
    """

    seconds: float
    current_A: float
    start_V: float
    end_V: float
    energy_J: float
    temperature_degC: float


@dataclass(frozen=True, slots=True)
class Edge:
    """One switching of an output, as the cell saw it."""

    real_s: float
    bench_s: float
    on: bool
    by: str


@dataclass(slots=True)
class Mark:
    """A limit under watch: what flowed after it was first crossed."""

    quantity: Quantity
    limit: float
    above: bool = True
    crossed_bench_s: float | None = None
    crossed_real_s: float | None = None
    charged_Ah: float = 0.0
    discharged_Ah: float = 0.0
    energy_J: float = 0.0
    peak_A: float = 0.0

    def book(self, piece: Slice, real_s: float, bench_s: float, factor: float) -> None:
        """Count the part of a slice, ending now, that lies behind the crossing."""
        part = 1.0 if self.crossed_bench_s is not None else self._part_beyond(piece)
        if part <= 0.0:
            return
        if self.crossed_bench_s is None:
            self.crossed_bench_s = bench_s - part * piece.seconds
            self.crossed_real_s = real_s - part * piece.seconds / factor
        charge_Ah = part * piece.seconds * piece.current_A / 3600.0
        self.charged_Ah += max(charge_Ah, 0.0)
        self.discharged_Ah += max(-charge_Ah, 0.0)
        self.energy_J += part * abs(piece.energy_J)
        self.peak_A = max(self.peak_A, abs(piece.current_A))

    def _part_beyond(self, piece: Slice) -> float:
        """Share of the slice behind the crossing, the quantity taken as a straight line."""
        start, end = self._excess(piece)
        if end <= 0.0:
            return 0.0
        return 1.0 if start >= 0.0 else end / (end - start)

    def _excess(self, piece: Slice) -> tuple[float, float]:
        sign = 1.0 if self.above else -1.0
        if self.quantity == "voltage_V":
            return sign * (piece.start_V - self.limit), sign * (piece.end_V - self.limit)
        value = piece.current_A if self.quantity == "current_A" else piece.temperature_degC
        return sign * (value - self.limit), sign * (value - self.limit)


@dataclass(slots=True)
class Ledger:
    """Sums, peaks and output edges of one cell since the start of the bench."""

    charged_Ah: float = 0.0
    discharged_Ah: float = 0.0
    charged_Wh: float = 0.0
    discharged_Wh: float = 0.0
    peak_V: float = float("-inf")
    lowest_V: float = float("inf")
    peak_A: float = 0.0
    lowest_A: float = 0.0
    peak_degC: float = float("-inf")
    edges: list[Edge] = field(default_factory=list[Edge])
    marks: dict[str, Mark] = field(default_factory=dict[str, Mark])

    def book(self, piece: Slice, real_s: float, bench_s: float, factor: float) -> None:
        """Add one slice that ends at these two stamps."""
        if piece.current_A >= 0.0:
            self.charged_Ah += piece.seconds * piece.current_A / 3600.0
            self.charged_Wh += piece.energy_J / 3600.0
        else:
            self.discharged_Ah -= piece.seconds * piece.current_A / 3600.0
            self.discharged_Wh -= piece.energy_J / 3600.0
        self._peaks(piece)
        for mark in self.marks.values():
            mark.book(piece, real_s, bench_s, factor)

    def _peaks(self, piece: Slice) -> None:
        self.peak_V = max(self.peak_V, piece.start_V, piece.end_V)
        self.lowest_V = min(self.lowest_V, piece.start_V, piece.end_V)
        self.peak_A = max(self.peak_A, piece.current_A)
        self.lowest_A = min(self.lowest_A, piece.current_A)
        self.peak_degC = max(self.peak_degC, piece.temperature_degC)

    def mark(self, name: str, quantity: Quantity, limit: float, *, above: bool = True) -> None:
        """Watch a limit from now on; the same name again starts afresh."""
        self.marks[name] = Mark(quantity, limit, above)

    @property
    def on(self) -> bool:
        """Whether an output is switched on to the cell, by the last edge."""
        return bool(self.edges) and self.edges[-1].on

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON (peaks of a cell that never moved are null)."""
        record = asdict(self)
        never = self.peak_V < self.lowest_V
        for key in ("peak_V", "lowest_V", "peak_degC"):
            record[key] = None if never else record[key]
        return record | {"on": self.on}
