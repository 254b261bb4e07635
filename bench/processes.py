"""What a process has used, from /proc (Linux only, like these benches)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_KIB_PER_MB = 1024.0
_FIRST = -20
_PROC = Path("/proc")
_MODULES = {
    "daq.cli": "control",
    "daq.sentinel": "sentinel",
    "daq.recorder": "recorder",
    "daq.gateway": "gateway",
    "daq.gateway.tether": "broker tether",
    "daq.gateway.embedded": "broker",
}
"""What is run with `python -m` -> what it is called in the tables."""


def end_in_order() -> None:
    """Let a SIGTERM end us as Ctrl-C does: with the daemon and the instruments that we started."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def family(pid: int) -> dict[str, int]:
    """Name -> pid of a daemon and of all that it has started."""
    return {_name(member): member for member in (pid, *_descendants(pid))}


def cpu_s(pids: Mapping[str, int]) -> dict[str, float]:
    """CPU time that each process has used so far, user and system, in seconds.

    Raises:
        ProcessLookupError: one of them has ended; which.
    """
    found: dict[str, float] = {}
    for name, pid in pids.items():
        try:
            found[name] = _cpu_s(pid)
        except FileNotFoundError as error:
            raise ProcessLookupError(f"the {name} (process {pid}) has ended") from error
    return found


def peak_mb(pids: Mapping[str, int]) -> dict[str, float]:
    """The most memory that each process has held so far (VmHWM), in MB of 2^20 bytes."""
    return {name: _memory_mb(pid, "VmHWM:") for name, pid in pids.items()}


def rss_mb(pids: Mapping[str, int]) -> dict[str, float]:
    """The memory that each process holds now (VmRSS), in MB of 2^20 bytes; 0 once it is gone."""
    return {name: _memory_mb(pid, "VmRSS:") for name, pid in pids.items()}


def descriptors(pid: int) -> int:
    """How many files, sockets and pipes a process has open; 0 once it is gone."""
    try:
        return len(os.listdir(_PROC / str(pid) / "fd"))
    except FileNotFoundError:
        return 0


def threads(pid: int) -> int:
    """How many threads a process has; 0 once it is gone."""
    try:
        return len(os.listdir(_PROC / str(pid) / "task"))
    except FileNotFoundError:
        return 0


def _cpu_s(pid: int) -> float:
    user, system = _stat(pid)[11:13]
    return (int(user) + int(system)) * _TICK_S


def _memory_mb(pid: int, what: str) -> float:
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    found = (line.split()[1] for line in status.splitlines() if line.startswith(what))
    return int(next(found, "0")) / _KIB_PER_MB


def _stat(pid: int) -> list[str]:
    # After the command's name, which may hold blanks and parentheses.
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _descendants(pid: int) -> Iterable[int]:
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            try:
                parent = int(_stat(int(entry.name))[1])
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            if parent == pid:
                yield int(entry.name)
                yield from _descendants(int(entry.name))


def _name(pid: int) -> str:
    words = (_PROC / str(pid) / "cmdline").read_text().split("\0")
    if "-m" in words:
        return _MODULES.get(words[words.index("-m") + 1], words[words.index("-m") + 1])
    return "broker" if "mosquitto" in words[0] else Path(words[0]).name


def machine_busy_s() -> float:
    """CPU time that the whole machine has used so far, in seconds."""
    words = (_PROC / "stat").read_text().splitlines()[0].split()
    user, nice, system, _, _, irq, softirq = (int(word) for word in words[1:8])
    return (user + nice + system + irq + softirq) * _TICK_S


def outside(pid: int) -> bool:
    """Let a process run before everybody, as if it were no part of this machine; if permitted."""
    try:
        for thread in os.listdir(_PROC / str(pid) / "task"):
            os.setpriority(os.PRIO_PROCESS, int(thread), _FIRST)
        (_PROC / str(pid) / "autogroup").write_text(str(_FIRST))
    except OSError:
        return False
    return True
