"""C2 while it runs: somebody at the panel, or a second program, has changed a setting."""

from __future__ import annotations

from daq.control.output import CyclerOutput
from daq.errors import InstrumentError, ReadbackMismatch
from daq.model import Trip

VERIFY_S = 2.0
"""How often the cycler's settings, or the next part of them, are read back while it is ON."""


class Readback:
    """Reads the settings of one cycler channel back while it is ON; on its home bus thread."""

    def __init__(self, output: CyclerOutput) -> None:
        self._output = output
        self._due_s = 0.0

    def judge(self, now_s: float) -> Trip | None:
        """Read back what is due; why to cut off, if a setting is not what was written."""
        output = self._output
        if not output.on or output.owed or now_s < self._due_s:
            return None
        self._due_s = now_s + VERIFY_S
        if not output.instrument.online:
            return None
        try:
            output.driver.verify(output.channel)
        except ReadbackMismatch as error:
            return Trip("C2", f"changed by somebody else: {error}", output.instrument.name)
        except InstrumentError as error:
            output.instrument.failed(error)
        return None
