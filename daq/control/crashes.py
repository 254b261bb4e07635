"""How often the daemon has crashed lately, and what to do when that is too often.

A session that ends well retires its heartbeat (daq/bus/heartbeat.py). One that crashed leaves the
stamp of its last beat there, which is the moment of the crash, on the clock that no NTP moves.
The next start counts it. After too many within a while the daemon stays down, with every output
OFF: whatever ends it again and again would otherwise energise again and again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from daq.bus.heartbeat import last_beat_s
from daq.clock import monotonic
from daq.config import Lab
from daq.logs import get_logger

EXIT_CRASH_LOOP = 5
"""`RestartPreventExitStatus=` of the systemd unit: nobody starts it again but a person."""
OFF_S = 60.0
_NAME = "crashes.json"


def recent_crashes(data: Path, within_s: float, now_s: float) -> list[float]:
    """Moments of the crashes within the last seconds, the last session's included; noted.

    A stamp of the future is of another boot: there was a power cut or a reboot, and no crash.
    """
    last = last_beat_s(data / "heartbeat")
    moments = {*_noted(data / _NAME), *([last] if last else [])}
    recent = sorted(moment for moment in moments if 0.0 <= now_s - moment < within_s)
    _note(data / _NAME, recent)
    return recent


def _noted(path: Path) -> list[float]:
    try:
        return [float(moment) for moment in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError, OverflowError, RecursionError):
        return []


def _note(path: Path, moments: Sequence[float]) -> None:
    temporary = path.with_suffix(".tmp")
    with suppress(OSError):  # a disk that is full or read-only: the journal will say so
        if not moments:
            path.unlink(missing_ok=True)
            return
        temporary.write_text(json.dumps(list(moments)))
        os.replace(temporary, path)


def stays_down(lab: Lab) -> bool:
    """Whether this start must not come to anything; then every output has been switched OFF."""
    crashes = recent_crashes(lab.data, lab.restarts_within_s, monotonic())
    if len(crashes) < lab.restarts_crashes:
        return False
    log = get_logger()
    log.critical(
        "crashed again and again: it stays down until somebody starts it later",
        crashes=len(crashes),
        within_s=lab.restarts_within_s,
        ago_s=[round(monotonic() - moment, 1) for moment in crashes],
    )
    # In a process of its own: what crashed this one may be a driver.
    command = [sys.executable, "-m", "daq.control.off", str(lab.file)]
    try:
        done = subprocess.run(command, timeout=OFF_S, capture_output=True, text=True)  # noqa: S603
        log.critical("switched off", said=done.stdout.splitlines(), verified=not done.returncode)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.critical("not verified OFF: use the emergency stop", error=str(error))
    return True
