"""The table of a BioLogic settings file: rows by name, a column of 20 characters a sequence."""

from __future__ import annotations

from daq.errors import InputError, Place
from daq.protocol.exchange import saying
from daq.protocol.exchange.draft import Task

_WIDTH = 20
_MOST_SEQUENCES = 2000
PREFIX = {"": 0, "k": 3, "m": -3, "µ": -6, "u": -6, "n": -9}


class Table:
    """Rows by name; a column a sequence."""

    def __init__(self, lines: list[str], above: int, task: Task) -> None:
        self._rows: dict[str, tuple[int, str]] = {}
        self._task = task
        for number, line in enumerate(lines):
            name = line[:_WIDTH].strip()
            if name:
                self._rows.setdefault(name, (above + number + 1, line[_WIDTH:]))
        self.count = len(self._row("Ns").split())
        if not 0 < self.count <= _MOST_SEQUENCES:
            raise InputError("the table has no sequences, or too many", place=self.place("Ns", 0))

    def _row(self, name: str) -> str:
        return self._rows.get(name, (1, ""))[1]

    def cell(self, name: str, column: int) -> str:
        """Empty where there is nothing."""
        return self._row(name)[_WIDTH * column : _WIDTH * (column + 1)].strip()

    def place(self, name: str, column: int) -> Place:
        """Where a cell stands."""
        line = self._rows.get(name, (1, ""))[0]
        return self._task.place(line, _WIDTH * (column + 1) + 1)

    def number(self, name: str, column: int) -> float:
        """A number.

        Raises:
            InputError: it is none.
        """
        try:
            return float(self.cell(name, column))
        except ValueError:
            message = f"{name}: {self.cell(name, column)[:20]!r} is not a number"
            raise InputError(message, place=self.place(name, column)) from None

    def whole(self, name: str, column: int) -> int:
        """A count.

        Raises:
            InputError: it is none.
        """
        value = self.number(name, column)
        if not 0 <= value <= 1e6 or value != int(value):
            message = f"{name}: {value:g} is not a count"
            raise InputError(message, place=self.place(name, column))
        return int(value)

    def scaled(self, name: str, column: int, unit: str) -> float:
        """A value whose unit stands in the row below."""
        written = self.cell(f"{name}_unit", column)
        prefix = written.removesuffix(unit)
        if not written.endswith(unit) or prefix not in PREFIX:
            message = f"{name}: the unit {written[:20]!r} is not one of {unit}"
            raise InputError(message, place=self.place(f"{name}_unit", column))
        return saying.scaled(self.number(name, column), PREFIX[prefix])
