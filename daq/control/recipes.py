"""What the sentinel needs to know, kept up to date on disk.

An output is not energised before the sentinel can switch it off again: `known` is part of the
leave to energise. The file is written by control's event loop, never by a bus thread.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daq.control.instrument import Instrument
from daq.driver import Logger


class Recipes:
    """The file of OFF recipes.

    Args:
        path: of the JSON file that daq/sentinel.py reads.
        lab_file: for instruments that only their own driver can switch off.
        slots: bus name -> slot of its heartbeat.
    """

    def __init__(self, path: Path, lab_file: Path, slots: Mapping[str, int]) -> None:
        self.path = path
        self._lab_file = lab_file
        self._slots = slots
        self._waiting: dict[str, dict[str, Any]] = {}
        self._written: dict[str, dict[str, Any]] = {}

    def connected(self, instrument: Instrument) -> None:
        """Take the recipe of an instrument whose link came up. On its bus thread."""
        if not isinstance(instrument.driver, Logger):
            self._waiting[instrument.name] = instrument.recipe(self._command)

    def known(self, instrument: str) -> bool:
        """Whether the sentinel has been told how to switch this instrument off."""
        return instrument in self._written

    def write(self) -> None:
        """Bring the file up to date. On the event loop.

        Raises:
            OSError: it cannot be written; nothing new is energised.
        """
        waiting = dict(self._waiting)
        if any(self._written.get(name) != recipe for name, recipe in waiting.items()):
            self.write_now()

    def write_now(self) -> None:
        """Write the file, even if nothing has changed."""
        waiting = dict(self._waiting)
        document = {
            "buses": {str(slot): name for name, slot in self._slots.items()},
            "instruments": waiting,
        }
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(document, indent=1))
        os.replace(temporary, self.path)
        self._written = waiting

    def _command(self, instrument: str) -> list[str]:
        return [sys.executable, "-m", "daq.control.off", str(self._lab_file), instrument]
