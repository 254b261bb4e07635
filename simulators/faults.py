"""Scripted faults of one instrument: of its line, and of the box through `Perturb`.

| kind | what happens while it lasts | options |
|---|---|---|
| silence | commands are obeyed, answers never leave | count |
| unplugged | nothing passes either way, the connection stays open (a half-open TCP) | |
| late | every answer leaves `delay` seconds later | delay, count |
| half | the second half of an answer is lost | count |
| garbage | an answer keeps its length and line end, its bytes are random | count |
| duplicate | an answer leaves twice | count |
| slow | answers trickle | bytes_per_s |
| close | connections are closed (FIN) as soon as they stand | |
| reset | the same with RST | |
| refuse | nobody listens; standing connections stay | |
| nan | readings of `quantity` are not a number | quantity |
| offset | readings of `quantity` are too high by `by` (negative: too low) | quantity, by |
| stuck | readings of `quantity` keep the value of the first one asked for | quantity |
| ignored_off | OFF is acknowledged and not obeyed | |
| ignored_set | setpoints are acknowledged and not stored | |
| wrong_unit | cyclers: setpoints are taken for thousandths (mA where A was meant) | |

`for` (real seconds) and `count` (answers) end a fault, whichever comes first. Without either it
lasts until cleared, except `close` and `reset`, which then strike once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from simulators.clock import Clock
from simulators.wire import EVERYTHING, Out, Perturb

Hangup = Literal["close", "reset"]


@dataclass(slots=True)
class Fault:
    """One fault, from `start_s` to `end_s` on the real clock.

    Attributes:
        left: How many more answers it touches; None is no limit.
    """

    kind: str
    start_s: float
    end_s: float
    left: int | None = None
    delay: float = 1.0
    bytes_per_s: float = 1.0
    quantity: str = "*"
    by: float = 1.0

    def active(self, real_s: float) -> bool:
        """Whether it acts at this moment."""
        return self.start_s <= real_s < self.end_s and self.left != 0


Shape = Callable[[Fault, Out, random.Random], list[Out]]


def _half(fault: Fault, out: Out, dice: random.Random) -> list[Out]:
    return [Out(out.data[: max(1, len(out.data) // 2)], out.delay_s)]


def _late(fault: Fault, out: Out, dice: random.Random) -> list[Out]:
    return [Out(out.data, out.delay_s + fault.delay)]


def _garbage(fault: Fault, out: Out, dice: random.Random) -> list[Out]:
    body = out.data.rstrip(b"\r\n")
    noise = bytes(dice.choice(_NOISE) for _ in body)
    return [Out(noise + out.data[len(body) :], out.delay_s)]


def _slow(fault: Fault, out: Out, dice: random.Random) -> list[Out]:
    gap_s = 1.0 / fault.bytes_per_s
    return [Out(bytes([b]), out.delay_s + n * gap_s) for n, b in enumerate(out.data, start=1)]


_NOISE = bytes(set(range(256)) - {0x0A, 0x0D, 0x11, 0x13})  # no line end, no XON/XOFF
_SHAPES: dict[str, Shape] = {
    "silence": lambda fault, out, dice: [],
    "unplugged": lambda fault, out, dice: [],
    "late": _late,
    "half": _half,
    "garbage": _garbage,
    "duplicate": lambda fault, out, dice: [out, out],
    "slow": _slow,
}
_HANGUPS = ("close", "reset")
_OF_THE_BOX = ("nan", "stuck", "offset", "ignored_off", "ignored_set", "wrong_unit")
KINDS = (*_SHAPES, *_HANGUPS, "refuse", *_OF_THE_BOX)
OPTIONS = ("count", "delay", "bytes_per_s", "quantity", "by")


class Faults:
    """The faults of one instrument; its server asks here about every byte.

    Args:
        clock: The bench's clock; faults live on its real side.
        perturb: The dialect's hook; None if it has none.
        seed: For the garbage.
    """

    def __init__(self, clock: Clock, perturb: Perturb | None, seed: int | str = 0) -> None:
        self._clock = clock
        self._perturb = perturb
        self._dice = random.Random(f"faults {seed}")
        self._faults: list[Fault] = []
        self._hangups: list[Fault] = []

    def add(
        self, kind: str, *, after: float = 0.0, lasts: float | None = None, **options: Any
    ) -> None:
        """Plan a fault.

        Args:
            kind: One of `KINDS`.
            after: Real seconds from now.
            lasts: Real seconds; None is for ever.
            **options: Of `OPTIONS`.

        Raises:
            ValueError: Unknown kind or option, a number out of range, or a fault of the box
                for a dialect that cannot show it.
        """
        if kind not in KINDS:
            raise ValueError(f"unknown fault kind {kind!r}; known: {', '.join(KINDS)}")
        if kind in _OF_THE_BOX and self._perturb is None:
            raise ValueError(f"this dialect cannot show the fault {kind!r}")
        start_s = self._clock.real() + after
        fault = Fault(kind, start_s, _end_s(kind, start_s, lasts), **_checked(options))
        (self._hangups if kind in _HANGUPS else self._faults).append(fault)
        self.advance()

    def clear(self) -> None:
        """End every fault, planned ones too."""
        self._faults.clear()
        self._hangups.clear()
        self.advance()

    @property
    def planned(self) -> bool:
        """Whether there is anything to ask about; asked a thousand times for each fault."""
        return bool(self._faults or self._hangups)

    def advance(self) -> None:
        """Forget what is over and tell the box what holds now."""
        if not self._faults and self._quiet():
            return
        now = self._clock.real()
        self._faults = [f for f in self._faults if now < f.end_s and f.left != 0]
        if self._perturb is not None:
            self._tell(self._perturb, [f for f in self._faults if f.active(now)])

    def _quiet(self) -> bool:
        box = self._perturb
        return box is None or not (
            box.nan
            or box.stuck
            or box.offset
            or box.ignores_off
            or box.ignores_set
            or box.wrong_unit
        )

    def _tell(self, box: Perturb, active: list[Fault]) -> None:
        box.nan = _quantities("nan", active)
        box.stuck = _quantities("stuck", active)
        box.offset = {f.quantity: f.by for f in active if f.kind == "offset"}
        box.ignores_off = any(f.kind == "ignored_off" for f in active)
        box.ignores_set = any(f.kind == "ignored_set" for f in active)
        box.wrong_unit = any(f.kind == "wrong_unit" for f in active)

    @property
    def refusing(self) -> bool:
        """Whether nobody listens now."""
        return self._acting("refuse")

    def hears(self) -> bool:
        """Whether bytes from the peer reach the instrument now."""
        return not self._acting("unplugged")

    def hangup(self) -> Hangup | None:
        """How standing connections are to be ended now, if at all; ask once a beat."""
        now = self._clock.real()
        for fault in [f for f in self._hangups if f.start_s <= now]:
            strikes_once = fault.end_s == fault.start_s
            if now >= fault.end_s:
                self._hangups.remove(fault)
            if now < fault.end_s or strikes_once:
                return "close" if fault.kind == "close" else "reset"
        return None

    def shape(self, outs: Iterable[Out]) -> list[Out]:
        """Return what really leaves of these answers."""
        shaped = list(outs)
        if not self._faults:
            return shaped
        now = self._clock.real()
        for fault in [f for f in self._faults if f.kind in _SHAPES and f.active(now)]:
            shaped = [piece for out in shaped for piece in self._shape_one(fault, out)]
        return shaped

    def _shape_one(self, fault: Fault, out: Out) -> list[Out]:
        if fault.left == 0:
            return [out]
        if fault.left is not None:
            fault.left -= 1
        return _SHAPES[fault.kind](fault, out, self._dice)

    def _acting(self, kind: str) -> bool:
        if not self._faults:
            return False
        now = self._clock.real()
        return any(f.kind == kind and f.active(now) for f in self._faults)


def _end_s(kind: str, start_s: float, lasts: float | None) -> float:
    if lasts is not None:
        return start_s + lasts
    return start_s if kind in _HANGUPS else float("inf")


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options under the field names of `Fault`."""
    for key, value in options.items():
        if key not in OPTIONS:
            raise ValueError(f"unknown fault option {key!r}; known: {', '.join(OPTIONS)}")
        if key == "quantity":
            if not isinstance(value, str):
                raise ValueError("quantity must be a name")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{key} must be a number")
        elif value <= 0 and key != "by":
            raise ValueError(f"{key} must be a number above 0")
        elif key == "count" and not isinstance(value, int):
            raise ValueError("count must be a whole number")
    return {"left" if key == "count" else key: value for key, value in options.items()}


def _quantities(kind: str, active: list[Fault]) -> frozenset[str]:
    named = frozenset(f.quantity for f in active if f.kind == kind)
    return EVERYTHING if "*" in named else named
