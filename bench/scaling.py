"""(c) What one sample costs control at 1, 8 and 64 channels; it should not grow with them.

Every channel is read ten times a second, as in (a), by a bus thread of its own.
"""

from __future__ import annotations

import time

from bench.daemon import running_daemon
from bench.window import Figures, watch

CHANNELS = (1, 8, 64)
SETTLE_S = 3.0


def run(seconds: float) -> Figures:
    """CPU time of control, in microseconds a sample, by number of channels."""
    costs = {str(channels): _cost(channels, seconds) for channels in CHANNELS}
    return {"seconds_each": seconds, "control_us_per_sample": costs}


def _cost(channels: int, seconds: float) -> float:
    with running_daemon(channels) as daemon:
        daemon.start_all()
        time.sleep(SETTLE_S)
        return watch(daemon, lambda: time.sleep(seconds)).control_us
