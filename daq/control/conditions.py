"""What the computer offers, check U1: room on the disk, mains power, a clock that keeps time.

Each condition is a small object that is asked once a second; `Conditions` asks on a thread of its
own, because a file system may take long to answer, and neither a bus thread nor the event loop
may wait for it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from daq.clock import monotonic, wall
from daq.config import Lab, UpsConfig

LOOK_S = 1.0
SILENT_S = 10.0
"""A file system that does not answer for so long is not one to rely on."""
LEAST_SHARE, ENOUGH_SHARE = 0.05, 0.06
LEAST_BYTES = 10e9
"""More need not be free on the largest disk: 64 channels at 1 Hz fill 1 GB a day."""
JUMP_S = 2.0
"""More than a leap second."""


class Condition(Protocol):
    """One condition; `judge` says what is wrong, empty when nothing is."""

    name: str

    def judge(self, now_s: float) -> str:
        """Look now."""
        ...


class Disk:
    """Room where the journal is: 5 % of the disk, or 10 GB where that is less."""

    name = "disk"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._full = False

    def judge(self, now_s: float) -> str:
        """It is full below 5 %, and is again not before 6 %: or it would come and go."""
        try:
            found = os.statvfs(self._folder)
        except OSError as error:
            return f"the disk of {self._folder} cannot be looked at: {error.strerror}"
        free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
        share = ENOUGH_SHARE if self._full else LEAST_SHARE
        self._full = free < min(share * total, LEAST_BYTES * share / LEAST_SHARE)
        if not self._full:
            return ""
        return f"the disk is nearly full: {free / 1e9:.3g} GB of {total / 1e9:.3g} GB are free"


class Mains:
    """The power supply's own word: a file that exists while it runs on its battery."""

    name = "mains"

    def __init__(self, ups: UpsConfig) -> None:
        self._ups = ups
        self._since_s: float | None = None

    def judge(self, now_s: float) -> str:
        """On battery for longer than the lab file allows."""
        if not self._ups.on_battery.exists():
            self._since_s = None
            return ""
        if self._since_s is None:
            self._since_s = now_s
        lasts_s = now_s - self._since_s
        if lasts_s < self._ups.at_most_s:
            return ""
        return f"the mains has failed: on battery for more than {self._ups.at_most_s:g} s"


class WallClock:
    """The wall clock against the monotonic one: a jump is told, and changes nothing else.

    Args:
        jumped: called with seconds, positive when it was set forward.
    """

    name = "clock"

    def __init__(self, jumped: Callable[[float], None]) -> None:
        self._jumped = jumped
        self._offset_s: float | None = None

    def judge(self, now_s: float) -> str:
        """Never anything wrong: see docs/decisions/101."""
        before_s = monotonic()
        offset_s = wall() - 0.5 * (before_s + monotonic())
        last_s, self._offset_s = self._offset_s, offset_s
        if last_s is not None and abs(offset_s - last_s) > JUMP_S:
            self._jumped(offset_s - last_s)
        return ""


def conditions(lab: Lab, jumped: Callable[[float], None]) -> list[Condition]:
    """What a lab's computer is asked."""
    found: list[Condition] = [Disk(lab.data), WallClock(jumped)]
    return [*found, Mains(lab.ups)] if lab.ups else found


class Conditions:
    """Asks all conditions again and again; `wrong` is the latest answer.

    Attributes:
        wrong: name -> what is wrong; replaced as a whole, so that any thread may read it.
    """

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self.wrong: Mapping[str, str] = MappingProxyType({})
        self._conditions = conditions
        self._looked_at = monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="conditions", daemon=True)

    def start(self) -> None:
        """Look once at once, and go on on a thread."""
        self.look()
        self._thread.start()

    def finish(self) -> None:
        """Ask the thread to end."""
        self._end.set()

    def look(self) -> None:
        """Ask every condition; one that fails is itself what is wrong."""
        found: dict[str, str] = {}
        for condition in self._conditions:
            try:
                found[condition.name] = condition.judge(monotonic())
            except Exception as error:  # noqa: BLE001 - said, and the next one is asked
                found[condition.name] = f"{condition.name}: {type(error).__name__}: {error}"
        self.wrong = MappingProxyType({name: why for name, why in found.items() if why})
        self._looked_at = monotonic()

    def silence(self) -> str:
        """What is wrong when the thread itself does not come back."""
        age_s = monotonic() - self._looked_at
        return f"the disk has not answered for {age_s:.0f} s" if age_s > SILENT_S else ""

    def _run(self) -> None:
        while not self._end.wait(LOOK_S):
            self.look()
