"""Keysight N6900/N7900 APS and RP7900: a two-quadrant supply that speaks SCPI on a raw socket.

Copies what clients trip over (measured on an N6974A by a public driver unless a page is named):
an unknown query gives no reply at all; one bad command discards its whole message, and what had
been answered by then stays unterminated in front of the next reply; a level queried in the message
that sets it reads as before; each connection has an error queue of its own; a query that overtakes
the reply before it drops that reply (RP7900 manual page 170).

Options: `model` (a key of `MODELS`), `serial`, `firmware`, `voltage_V`, `current_A`, `sink` (share
of the rated current, 0 to 1), `noise` (of readings) and `acquisition` (its time), both as a
multiple of the usual: 0 is none; `counters` (false: a unit that has none, and keeps quiet).
The counters are exact: they count what flows through the cell, whatever a reading shows.
Not simulated: list, arbitrary, external data log, control socket, *SAV/*RCL.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from simulators import scpi
from simulators.clock import Clock
from simulators.keysight_commands import STALE, WORDS_AT_RESET, command, query
from simulators.keysight_output import Output, Rating
from simulators.rig import Position
from simulators.scpi import ErrorQueue, ScpiError
from simulators.wire import Out, Perturb

MODELS = {
    "N6971A": Rating(20.0, 50.0, 0.1, False),
    "N6974A": Rating(80.0, 12.5, 0.1, False),
    "N7971A": Rating(20.0, 100.0, 0.1, False),
    "N7974A": Rating(80.0, 25.0, 0.1, False),
    "RP7935A": Rating(20.0, 800.0, 1.0, True),
    "RP7952A": Rating(500.0, 40.0, 1.0, True),
}
_OPTIONS = {
    "model", "serial", "firmware", "voltage_V", "current_A", "sink", "noise", "acquisition",
    "counters",
}  # fmt: skip

_NOISE = 5e-6  # standard deviation of a reading, of rating
_READING_STEPS = 1 << 18
_LINE_PERIOD_S = 0.02
_ACQUISITION_S = 0.001  # on top of the integration: 21 ms at 1 NPLC (manual page 208)
_LONGEST_MESSAGE = 65536


@dataclass(slots=True)
class Reading:
    """One acquisition."""

    voltage_V: float
    current_A: float

    @property
    def power_W(self) -> float:
        """Their product, if both are numbers."""
        if scpi.NOT_A_NUMBER in (self.voltage_V, self.current_A):
            return scpi.NOT_A_NUMBER
        return self.voltage_V * self.current_A


class KeysightAps:
    """One supply.

    Args:
        name: Of the instrument, in the bench file.
        clock: The bench's clock.
        wiring: Exactly one position, on channel 1.
        options: See the module.

    Raises:
        ValueError: A wrong option or wiring.
    """

    max_connections = 6

    def __init__(
        self, name: str, clock: Clock, wiring: Mapping[int, Position], options: Mapping[str, Any]
    ) -> None:
        if set(wiring) != {1}:
            raise ValueError("channels: an APS has one output, channel 1")
        self.name = name
        self.clock = clock
        self.perturb = Perturb()
        self.model = str(options.get("model", "N6974A"))
        self.rating = _rating(self.model, options)
        self.output = Output(wiring[1], clock, self.rating, self.perturb)
        self.identity = ",".join(
            (
                "Keysight Technologies",
                self.model,
                str(options.get("serial", "MY00000000")),
                str(options.get("firmware", "A.02.04.1234")),
            )
        )
        self.reading: Reading | None = None
        self.global_errors = ErrorQueue()
        self.words: dict[str, str | bool] = {}
        self._noise = _NOISE * _fraction("noise", options.get("noise", 1.0), 1e3)
        self._slowness = _fraction("acquisition", options.get("acquisition", 1.0), 1e3)
        self._dice = random.Random(f"aps {name}")
        self._counts = bool(options.get("counters", True))
        self._counted_from = (0.0, 0.0)
        self.reset()

    def session(self) -> ApsSession:
        """Open a connection."""
        return ApsSession(self)

    def advance(self) -> None:
        """Bring protections and watchdog up to now."""
        self.output.advance()

    def reset(self) -> None:
        """As `*RST`."""
        self.output.reset()
        self.words = dict(WORDS_AT_RESET)

    def acquire(self) -> Reading:
        """Take a new reading."""
        self.output.look()
        position = self.output.position
        self.reading = Reading(
            self._read("voltage_V", position.voltage_V, self.rating.voltage_V),
            self._read("current_A", position.current_A, self.rating.current_A),
        )
        self.output.operation.pulse(8 | 32)  # waiting for trigger, measuring
        return self.reading

    def _read(self, quantity: str, true: float, rated: float) -> float:
        noisy = true + self._dice.gauss(0.0, self._noise * rated)
        step = rated / _READING_STEPS
        seen = self.perturb.value(quantity, round(noisy / step) * step)
        return scpi.NOT_A_NUMBER if seen != seen else seen

    @property
    def acquisition_s(self) -> float:
        """How long an acquisition takes, bench time."""
        integration_s = self.output.values["SENS:SWE:NPLC"] * _LINE_PERIOD_S
        return self._slowness * (integration_s + _ACQUISITION_S)

    def counters(self) -> tuple[float, float]:
        """(Ah, Wh) since the last reset of each, discharge negative.

        Raises:
            ScpiError: This unit has none.
        """
        if not self._counts:
            raise scpi.undefined_header()
        self.output.position.advance()
        ledger = self.output.position.ledger
        charge_Ah = ledger.charged_Ah - ledger.discharged_Ah
        energy_Wh = ledger.charged_Wh - ledger.discharged_Wh
        return charge_Ah - self._counted_from[0], energy_Wh - self._counted_from[1]

    def reset_counter(self, which: int) -> None:
        """Start the Ah (0) or Wh (1) counter anew."""
        fresh = list(self._counted_from)
        fresh[which] += self.counters()[which]
        self._counted_from = (fresh[0], fresh[1])


def _rating(model: str, options: Mapping[str, Any]) -> Rating:
    unknown = set(options) - _OPTIONS
    if unknown:
        raise ValueError(f"{min(unknown)}: unknown; known: {', '.join(sorted(_OPTIONS))}")
    if model not in MODELS:
        raise ValueError(f"model: {model!r} is none of {', '.join(MODELS)}")
    usual = MODELS[model]
    volts = _fraction("voltage_V", options.get("voltage_V", usual.voltage_V), 1e4)
    amps = _fraction("current_A", options.get("current_A", usual.current_A), 1e5)
    if volts == 0.0 or amps == 0.0:
        raise ValueError("voltage_V and current_A must be above 0")
    return Rating(
        volts, amps, _fraction("sink", options.get("sink", usual.sink), 1.0), usual.regenerative
    )


def _fraction(key: str, value: Any, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= most:
        raise ValueError(f"{key}: must be a number from 0 to {most:g}")
    return float(value)


class ApsSession:
    """One connection: an input buffer, an output queue and an error queue."""

    def __init__(self, box: KeysightAps) -> None:
        self.box = box
        self.errors = ErrorQueue()
        self.event_status = 0
        self.event_enable = 0
        self.service_enable = 0
        self.stale: dict[str, float] = {}
        self._input = bytearray()
        self._queue = ""  # answers of a message that broke; they glue to the next reply
        self._reply = b""
        self._reply_at_s = 0.0
        self._busy_s = 0.0

    def feed(self, data: bytes) -> Iterable[Out]:
        """Obey every complete message."""
        self.box.output.heard()
        self._input += data
        outs: list[Out] = []
        while (end := self._input.find(b"\n")) >= 0:
            message = self._input[:end].decode("latin-1")
            del self._input[: end + 1]
            self._obey(message)
            outs += self.tick()
        if len(self._input) > _LONGEST_MESSAGE:
            self._input.clear()
        return outs

    def tick(self) -> list[Out]:
        """Release the reply once its acquisition is over."""
        if not self._reply or self.box.clock.now() < self._reply_at_s:
            return []
        reply, self._reply = self._reply, b""
        return [Out(reply)]

    def close(self) -> None:
        """Nothing to do; what was queued goes with the connection."""

    def _obey(self, message: str) -> None:
        """Execute one program message; a bad command ends it."""
        values = self.box.output.values
        self.stale = {name: values[name] for name in STALE}
        self._busy_s = 0.0
        answers = 0
        try:
            for header, argument in scpi.units(message):
                if not header.endswith("?"):
                    command(header)(self, argument)
                    continue
                self._interrupt()
                answer = query(header[:-1])(self, argument)
                self._queue += ";" + answer if answers else answer
                answers += 1
        except ScpiError as error:
            self.fail(error)
            return
        if answers:
            self._reply = self._queue.encode("latin-1") + b"\n"
            self._reply_at_s = self.box.clock.now() + self._busy_s
            self._queue = ""

    def takes(self, seconds: float) -> None:
        """Hold the reply of the message in hand back, bench time."""
        self._busy_s += seconds

    def _interrupt(self) -> None:
        if self._reply:
            self._reply = b""
            self.fail(ScpiError(-410, "Query INTERRUPTED"))

    def fail(self, error: ScpiError) -> None:
        """Queue an error and set its bit of the event status register."""
        self.errors.push(error)
        self.event_status |= _event_bit(error.code)

    def next_error(self) -> str:
        """Take the oldest error: the connection's own first, then the box's."""
        return self.errors.pop() or self.box.global_errors.pop() or '+0,"No error"'

    def status_byte(self) -> int:
        """As `*STB?`."""
        output = self.box.output
        byte = (
            (4 if len(self.errors) else 0)
            | (8 if output.questionable.summary or output.questionable2.summary else 0)
            | (16 if self._queue else 0)
            | (32 if self.event_status & self.event_enable else 0)
            | (128 if output.operation.summary else 0)
        )
        return byte | (64 if byte & self.service_enable else 0)


def _event_bit(code: int) -> int:
    """CME for -1xx, EXE for -2xx, DDE for -3xx and the box's own, QYE for -4xx."""
    return {1: 32, 2: 16, 3: 8, 4: 4}.get(-code // 100, 8) if code < 0 else 8


DIALECT = KeysightAps
