"""A station's side of an impedance sweep: asked for, under way, over.

The potentiostat may be shared (see daq/control/sweeper.py); its bus thread tells of points and of
the end, the station's home bus thread asks for everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from daq.control.sweeper import Sweeper
from daq.model import MeasurementState, Spectrum, SpectrumPoint


class Sweep:
    """One station's sweeps, one at a time.

    Args:
        station: its name.
        sweeper: the potentiostat; None: the station has none.
        channel: of the potentiostat.
        take: gets each point; on the potentiostat's bus thread.
        note: gets what is to be said of a sweep, in words.

    Attributes:
        state: of the latest sweep, as the engine is told; empty when none was asked for, or it is
            of no matter any more.
    """

    def __init__(
        self,
        station: str,
        sweeper: Sweeper | None,
        channel: int,
        take: Callable[[SpectrumPoint], None],
        note: Callable[[str], None],
    ) -> None:
        self.name = station
        self.state = ""
        self._sweeper = sweeper
        self._channel = channel
        self._take = take
        self._note = note

    @property
    def possible(self) -> bool:
        """Whether the station has a potentiostat."""
        return self._sweeper is not None

    @property
    def running(self) -> bool:
        """Whether the potentiostat energises the cell."""
        return self.state == MeasurementState.RUNNING

    @property
    def direct_A(self) -> float:
        """The DC current that the potentiostat was told to drive through the cell, now."""
        return self._sweeper.direct_A(self.name) if self._sweeper else 0.0

    def request(self, spectrum: Spectrum) -> str:
        """Ask for a sweep; empty when it is being started, else what is in the way."""
        if self._sweeper is None:
            return "a potentiostat"
        self.state = MeasurementState.RUNNING  # before its thread can say that it is over
        if opposed := self._sweeper.request(self, self._channel, spectrum):
            self.state = ""
        elif text := _not_measured(spectrum):
            self._note(text)
        return opposed

    def abort(self) -> None:
        """End it, if it is under way, and open the cell. From any thread."""
        self.state = ""
        if self._sweeper:
            self._sweeper.abort(self.name)

    def forget(self) -> None:
        """What the latest sweep has come to is of no matter any more."""
        self.state = ""

    # The potentiostat's thread.

    def sweep_points(self, points: Sequence[SpectrumPoint]) -> None:
        """Points of the running spectrum."""
        for point in points:
            self._take(point)

    def sweep_over(self, state: MeasurementState, message: str) -> None:
        """It has ended; the engine sees it with the next sample."""
        self.state = state
        if message:
            self._note(message)


def _not_measured(spectrum: Spectrum) -> str:
    """What is to be known of the charge that a spectrum moves; empty where it moves none."""
    if spectrum.bias_A:
        return (
            f"{spectrum.bias_A:g} A flow through the potentiostat while the spectrum is measured: "
            "they are recorded and counted as commanded, no instrument measures them"
        )
    if spectrum.bias_V:
        return (
            f"the potentiostat holds {spectrum.bias_V:g} V against the open-circuit voltage: "
            "what flows meanwhile is neither measured nor counted"
        )
    return ""
