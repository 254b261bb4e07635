"""V3 R1 P2: whether the readings themselves can be believed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf, nan
from statistics import median

from daq.control.guard.output import SETTLE_S, TRACKING_FRACTION, Output
from daq.control.guard.rule import LONGEST_LOOK_S, valid, valid_cycler
from daq.model import Sample, Trip

BACK_CHECK_FRACTION = 0.02
RATES, FEWEST_RATES = 31, 10
JUMP_V, JUMP_FRACTION = 0.050, 0.01
STAYED = 0.8
MOVED_LSB = 5.0
LIVELY_LSB, LIVELY = 2.0, 0.2
"""A reading is lively when one sample in five moves by two of its smallest steps or more."""
MEMORY = 1.0 / 30.0
FEWEST_STUCK = 20


class BackCheck:
    """V3: the cycler's voltage against an independent measurement of the same cell.

    The two are read at different moments, so the independent reading is compared with the
    cycler's samples before and after it: the truth lay between those, step edge or not.
    """

    def __init__(self, allowed_V: float) -> None:
        self.allowed_V = allowed_V
        self._other: tuple[float, float] | None = None  # stamp, volts; written by its own thread
        self._before_V = nan
        self._count = 0

    def see(self, sample: Sample) -> None:
        """Take a reading of the independent channel, on the thread that reads it."""
        if valid(sample.reading.voltage_V):
            self._other = (sample.stamp_s, sample.reading.voltage_V)

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of the cycler against what was seen since the one before."""
        volts, before_V = sample.reading.voltage_V, self._before_V
        if not valid(volts):
            return None
        other, self._other = self._other, None
        self._before_V = volts
        if other is None or before_V != before_V:
            return None
        low, high = min(volts, before_V), max(volts, before_V)
        allowed_V = max(self.allowed_V, BACK_CHECK_FRACTION * abs(volts))
        if low - allowed_V <= other[1] <= high + allowed_V:
            self._count = 0
            return None
        self._count += 1
        if self._count < 2 or self.allowed_V == inf:
            return None
        return Trip("V3", f"the cycler reads {volts:.6g} V, the independent channel {other[1]:.6g}")


class Jump:
    """R1: the voltage jumps, far more than it has been moving, and stays where it jumped to.

    Not at step edges, where it must; not with the current, whose loss is I2's; not for one
    sample, which is noise; and not by less than 50 mV or 1 %, which is noise of any instrument.
    """

    def __init__(self, output: Output) -> None:
        self.factor = inf
        self._output = output
        self._rates: deque[float] = deque(maxlen=RATES)
        self._last: tuple[float, float] | None = None
        self._jumped: tuple[float, float] | None = None  # volts before, and by how much
        self._current_A = nan

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of the cycler."""
        volts, output = sample.reading.voltage_V, self._output
        if not valid_cycler(sample.reading):
            return None
        before_A, self._current_A = self._current_A, sample.reading.current_A
        same_A = output.error_A + TRACKING_FRACTION * abs(before_A)
        unlike = abs(self._current_A - before_A) > same_A
        if not output.commanded_on or unlike or sample.stamp_s - output.edge_s < SETTLE_S:
            self._rates.clear()
            self._last = self._jumped = None
            return None
        last, self._last = self._last, (sample.time_s, volts)
        jumped, self._jumped = self._jumped, None
        if jumped is not None and (volts - jumped[0]) / jumped[1] >= STAYED:
            return Trip("R1", f"the voltage jumped from {jumped[0]:.6g} V to {volts:.6g} V")
        if last is not None and 0.0 < sample.time_s - last[0] <= LONGEST_LOOK_S:
            self._look(last[1], volts - last[1], sample.time_s - last[0])
        return None

    def _look(self, before_V: float, change_V: float, seconds: float) -> None:
        rate = abs(change_V) / seconds
        large = abs(change_V) > max(JUMP_V, JUMP_FRACTION * abs(before_V))
        if large and len(self._rates) >= FEWEST_RATES and rate > self.factor * median(self._rates):
            self._jumped = (before_V, change_V)
        else:
            self._rates.append(rate)


class Trail:
    """How one quantity moves: its smallest step, whether it is lively, since when it stands.

    Attributes:
        moves: how often it has gone more than five of its smallest steps; read by other threads.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.moves = 0
        self.since_s = -inf
        self.repeats = 0
        self.liveliness = 0.0
        self._value = nan
        self._least = inf
        self._anchor = nan

    def see(self, value: float, time_s: float) -> bool:
        """Take one valid reading; whether it differs from the one before."""
        change = abs(value - self._value)
        if change == 0.0:
            self.repeats += 1
            return False
        lively = 0.0
        if change == change:  # the first reading differs from none
            self._least = min(self._least, change)
            lively = float(change >= LIVELY_LSB * self._least)
        # Liveliness fades with samples, but not while the reading stands: that is the question.
        self.liveliness *= (1.0 - MEMORY) ** min(self.repeats + 1, 2 * FEWEST_STUCK)
        self.liveliness += MEMORY * lively
        self._value, self.since_s, self.repeats = value, time_s, 0
        if not abs(value - self._anchor) <= MOVED_LSB * self._least:
            self._anchor = value
            self.moves += 1
        return True

    def forget(self) -> None:
        """What moved it was commanded, and tells nothing of its noise."""
        self.liveliness = 0.0

    @property
    def lively(self) -> bool:
        """Whether it used to move with nearly every sample."""
        return self.liveliness >= LIVELY

    def stands_s(self, time_s: float) -> float:
        """Since when it has read the very same; 0 where a few samples say nothing."""
        return time_s - self.since_s if self.repeats >= FEWEST_STUCK else 0.0


class Stuck:
    """P2: a lively reading stands still to the last bit while another one of the cell moves.

    A reading that its instrument rounds coarsely, an LFP cell on its plateau, a voltage that the
    output holds, stand still in good health: so only a reading is judged that its own noise used
    to move with nearly every sample. A renewed setpoint moves it too, and tells nothing: see
    `Trail.forget`. Two lively readings that stand together are as bad as one.
    """

    def __init__(self, own: Trail, others: Sequence[Trail]) -> None:
        self.patience_s = inf
        self._own = own
        self._others = others
        self._moves = 0

    def judge(self, value: float, time_s: float, *, expected_still: bool) -> Trip | None:
        """Judge one reading; an invalid one is none."""
        own, others = self._own, self._others
        if not valid(value):
            return None
        moves = sum(other.moves for other in others)
        changed = own.see(value, time_s)
        if expected_still:
            own.since_s = time_s
        if changed or expected_still:
            self._moves = moves
            return None
        if not own.lively or own.stands_s(time_s) < self.patience_s:
            return None
        frozen = any(other.lively and other.repeats >= FEWEST_STUCK for other in others)
        if moves == self._moves and not frozen:
            return None
        return Trip("P2", f"the {own.name} reads {value:.6g} since {own.stands_s(time_s):.3g} s")
