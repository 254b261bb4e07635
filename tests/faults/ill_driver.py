"""A driver that falls ill when a file says so: what a bug or a vendor's library could do.

    lab: {instruments: {aps1: {driver: "tests.faults.ill_driver:Ill", options: {orders: FILE}}}}

The file holds one order, which the next reading obeys and removes.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Mapping
from pathlib import Path

from daq.model import Reading
from drivers.keysight_aps import KeysightAps, KeysightApsOptions


class Orders(KeysightApsOptions):
    """Where the orders come from."""

    orders: str


class Ill(KeysightAps):
    """A Keysight whose reading may block, hold the interpreter, or raise what nobody expects."""

    Options = Orders

    def read(self) -> Mapping[int, Reading]:
        if os.path.exists(self.options.orders):
            self._obey(Path(self.options.orders))
        return super().read()

    def _obey(self, path: Path) -> None:
        order, _, what = path.read_text().partition(" ")
        path.unlink()
        getattr(self, f"_{order}")(what)

    def _block_briefly(self, seconds: str) -> None:
        time.sleep(float(seconds))

    def _block_longer(self, seconds: str) -> None:
        time.sleep(float(seconds))

    def _block_for_good(self, seconds: str) -> None:
        time.sleep(float(seconds))

    def _hold_the_interpreter(self, seconds: str) -> None:
        ctypes.PyDLL(None).usleep(int(1e6 * float(seconds)))  # PyDLL keeps the interpreter's lock

    def _raise(self, name: str) -> None:
        raise {"SystemExit": SystemExit, "MemoryError": MemoryError}[name]("ordered")
