"""What stands between a socket and a simulated instrument.

A dialect is sans-I/O: bytes (or register words) in, `Out` back. Sockets, ptys, Modbus framing and
scripted line faults are the servers' business, so every dialect gets them for nothing.

How to write a dialect
    1. A class with the members of `Instrument` (or `RegisterInstrument`), built as
       `DIALECT(name, clock, wiring, options)`, and `DIALECT = ThatClass` at the end of the module.
       `wiring` maps channel -> `Position`; for a chamber it is `{1: ChamberModel}`.
    2. `self.perturb = Perturb()` in `__init__`. Pass every *measured* number through
       `self.perturb.value("voltage_V", true_value)` just before formatting it (quantities in use:
       `voltage_V`, `current_A`, `temperature_degC`, `humidity_pct`, `impedance_ohm`): it comes back
       unchanged, shifted, frozen, or as `nan` - format `nan` as the instrument's own sheet says
       (9.91E37, "     nan", ...). Ask `self.perturb.ignores_off` where an OFF command is about to
       be obeyed: if true, acknowledge as always and leave the output as it is. Ask
       `self.perturb.ignores_set` where a setpoint is about to be stored: if true, acknowledge and
       keep the old one. Pass a number that is about to be stored through `self.perturb.stored`.
       Without `perturb`, these six faults are refused for the dialect.
    3. Refuse a bad `options` value with `ValueError("key: why")`; the bench turns it into one line
       with file and key.
    4. `advance()` must be cheap: it is called about 200 times a second. Call `Position.advance()`
       there no oftener than a real instrument would look, and always before reporting a reading.
    5. What a hand can do at the box (a panel, a contact, the mains) is an optional method
       `touch(values)`: the bench's verb `touch`. Refuse what is not there with `ValueError`.
    6. A delay inside the instrument is bench time. Turn it into `Out.delay_s` with
       `delay / clock.factor`, or keep the answer back and release it from `tick()`.

What the servers promise: outs of one session leave in order, a later one never overtakes an
earlier one. `feed` is never called with an empty chunk. `close` is called once. A serial port (pty)
has one session that lives as long as the bench.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Out:
    """Bytes for the peer, leaving `delay_s` real seconds from now."""

    data: bytes
    delay_s: float = 0.0


class Session(Protocol):
    """One connection to an instrument, without the socket."""

    def feed(self, data: bytes) -> Iterable[Out]:
        """Take bytes as they arrive, split anywhere, and return what to answer now."""
        ...

    def tick(self) -> Iterable[Out]:
        """Return what has become due since; called about every 5 ms."""
        ...

    def close(self) -> None:
        """Forget the connection."""
        ...


class Instrument(Protocol):
    """One simulated box that speaks bytes."""

    name: str
    max_connections: int
    # Optional class attribute `when_full: WhenFull`; without it a surplus connection is closed.

    def session(self) -> Session:
        """Open a connection."""
        ...

    def advance(self) -> None:
        """Bring watchdogs and physics up to now; called about every 5 ms and before a feed."""
        ...


class RegisterInstrument(Protocol):
    """One simulated box that speaks Modbus; framing and CRC are the server's."""

    name: str
    max_connections: int

    def read(self, unit: int, address: int, count: int) -> list[int]:
        """Return `count` words (functions 3 and 4).

        Raises:
            RegisterError: The instrument answers with this exception code.
            RegisterSilence: The instrument does not answer at all.
        """
        ...

    def write(self, unit: int, address: int, values: Sequence[int]) -> None:
        """Store words (functions 6 and 16); raises as `read` does."""
        ...

    def advance(self) -> None:
        """Bring the box up to now, as `Instrument.advance`."""
        ...


@runtime_checkable
class BitInstrument(Protocol):
    """What a box on Modbus has besides, if it has single bits; all others refuse them."""

    def read_bits(self, unit: int, address: int, count: int, *, coils: bool) -> list[bool]:
        """Return `count` coils (function 1) or discrete inputs (function 2)."""
        ...

    def write_bit(self, unit: int, address: int, value: bool) -> None:
        """Set one coil (function 5)."""
        ...


WhenFull = Literal["close", "wait"]
"""A connection beyond `max_connections` is closed at once, or accepted and served when one ends."""


class RegisterError(Exception):
    """The Modbus exception a box answers with."""

    def __init__(self, code: int) -> None:
        super().__init__(f"Modbus exception {code}")
        self.code = code


class RegisterSilence(Exception):  # noqa: N818 - nothing went wrong, the box keeps quiet
    """The box does not answer this request (a wrong unit, an address that times out)."""


@dataclass(slots=True)
class Perturb:
    """Faults of the box itself rather than of its line; the bench sets them, the dialect asks."""

    nan: frozenset[str] = frozenset()
    stuck: frozenset[str] = frozenset()
    offset: Mapping[str, float] = field(default_factory=dict[str, float])
    ignores_off: bool = False
    ignores_set: bool = False
    wrong_unit: bool = False
    _held: dict[str, float] = field(default_factory=dict[str, float])

    def value(self, quantity: str, true: float) -> float:
        """Return the reading of `quantity` as the box would report it."""
        if self.offset:
            true += self.offset.get(quantity, self.offset.get("*", 0.0))
        if not self.nan and not self.stuck:
            self._held.clear()
            return true
        if _covers(self.nan, quantity):
            return math.nan
        if _covers(self.stuck, quantity):
            return self._held.setdefault(quantity, true)
        return true

    def stored(self, value: float) -> float:
        """Return the number that the box takes a setting for: mA where A was meant, if so told."""
        return value / 1000.0 if self.wrong_unit else value


EVERYTHING = frozenset({"*"})
"""Put into `Perturb.nan` or `Perturb.stuck` it covers every quantity."""


def _covers(quantities: frozenset[str], quantity: str) -> bool:
    return quantity in quantities or "*" in quantities
