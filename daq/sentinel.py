"""The sentinel: a dead man's switch for the control process. Standard library only.

It watches the heartbeats that control writes into shared memory. When one of them is silent for
`SILENCE_S`, or control has gone without retiring, it kills control (which frees the ports), opens
every instrument by itself, sends the OFF recipe that control left for it, verifies the answer,
and says so. It restarts nothing: that is the service manager's business, after OFF.

    python -m daq.sentinel HEARTBEAT RECIPES CONTROL_PID REPORT_FOLDER

RECIPES is a JSON file that control replaces whenever an instrument connects:
`{"buses": {"2": "aps1"}, "instruments": {"aps1": {"kind": "tcp", "address": "10.0.0.21",
"port": 5025, "frame": "", "gap_s": 0.0, "exchanges": [[["<hex to send>", "<hex of a regular
expression>"]]], "command": []}}}`. The exchanges of each channel are a list of their own. Where
bytes alone cannot do it (GPIB, USB), `command` is the argument vector of a program that switches
the instrument off; it is given `COMMAND_S`.

The layout of the heartbeat file is described in daq/bus/heartbeat.py and read here without
importing it: nothing that this process does may depend on the rest of the program.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import queue
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

SILENCE_S = 1.5
POLL_S = 0.1
EXCHANGE_S = 0.5
COMMAND_S = 5.0
GIVE_UP_S = 60.0
REPORT_S = 2.0
RETRY_S = 0.2
_DOUBLE = struct.Struct("<d")
UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What a file that is no recipes may raise; whatever stands in it, the watch goes on."""
_OWN_SLOT, _LOOP_SLOT = 0, 1
_RETIRED = -1.0

Recipe = dict[str, Any]


def now() -> float:
    """The clock of the heartbeats."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Watch:
    """The heartbeats of one control process, its recipes, and whether it lives."""

    def __init__(self, heartbeat: Path, recipes: Path, pid: int) -> None:
        with heartbeat.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self._recipes_path = recipes
        self._recipes_seen: tuple[int, int] = (0, 0)
        self.buses: dict[int, str] = {}
        self.instruments: dict[str, Recipe] = {}
        self.pid = pid
        try:
            self._process: int | None = os.pidfd_open(pid)
        except (OSError, AttributeError):
            self._process = None

    def beat(self) -> None:
        """Show control that the sentinel lives."""
        _DOUBLE.pack_into(self._memory, _OWN_SLOT, now())

    def reload(self) -> None:
        """Take over new recipes; keep the old ones when the file is unreadable."""
        with contextlib.suppress(*UNREADABLE):
            status = self._recipes_path.stat()
            seen = (status.st_mtime_ns, status.st_ino)
            if seen == self._recipes_seen:
                return
            document = json.loads(self._recipes_path.read_text())
            buses = {self._slot(slot): str(name) for slot, name in document["buses"].items()}
            instruments = {name: dict(one) for name, one in document["instruments"].items()}
            self.buses, self.instruments = buses, instruments
            self._recipes_seen = seen

    def retired(self) -> bool:
        """Whether control ended on purpose, with its outputs OFF."""
        return self._stamp(_LOOP_SLOT) == _RETIRED

    def why_act(self) -> str:
        """What is wrong with control; empty while all is well."""
        if self._gone():
            return "control has ended without retiring"
        for slot in (_LOOP_SLOT, *self.buses):
            silence = self._silence_s(slot)
            if silence > SILENCE_S and self._silence_s(slot) > SILENCE_S:  # not half a beat, read
                name = self.buses.get(slot, "its event loop")
                return f"control is silent: {name} for {silence:.2f} s"
        return ""

    def kill_control(self) -> None:
        """End control, whatever state it is in, and wait until its ports are free."""
        with contextlib.suppress(OSError):
            if self._process is None:
                os.kill(self.pid, signal.SIGKILL)
            else:
                signal.pidfd_send_signal(self._process, signal.SIGKILL)
        deadline = now() + 1.0
        while not self._gone() and now() < deadline:
            time.sleep(0.005)

    def wait(self) -> None:
        """Sleep one poll; a control that ends wakes it at once."""
        if self._process is None:
            time.sleep(POLL_S)
        else:
            select.select([self._process], [], [], POLL_S)

    def _slot(self, text: str) -> int:
        slot = int(text)
        if not 0 <= slot < len(self._memory) // _DOUBLE.size:
            raise ValueError(f"there is no slot {slot}")
        return slot

    def _silence_s(self, slot: int) -> float:
        """Since the slot's last beat; 0 where nobody beats (yet, or any more).

        Infinite for a stamp from the future or none at all: no clock of ours wrote it.
        """
        stamp = self._stamp(slot)
        if stamp in (0.0, _RETIRED):
            return 0.0
        silence = now() - stamp
        return silence if silence > -SILENCE_S else math.inf

    def _stamp(self, slot: int) -> float:
        return _DOUBLE.unpack_from(self._memory, slot * _DOUBLE.size)[0]

    def _gone(self) -> bool:
        if self._process is not None:
            return bool(select.select([self._process], [], [], 0)[0])
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False


def switch_off(recipe: Recipe) -> str:
    """Try once to switch one instrument off. Empty when verified, else what went wrong."""
    try:
        if recipe["command"]:
            subprocess.run(recipe["command"], timeout=COMMAND_S, check=True)  # noqa: S603
            return ""
        with opened(recipe) as descriptor:
            return exchange_all(descriptor, recipe["exchanges"], recipe.get("gap_s", 0.0))
    except Exception as error:  # noqa: BLE001 - whatever it is: say so, and try again
        return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def opened(recipe: Recipe) -> Generator[int]:
    """A file descriptor to an instrument: a TCP connection or a serial port in raw mode."""
    if recipe["kind"] == "tcp":
        with socket.create_connection((recipe["address"], recipe["port"]), EXCHANGE_S) as peer:
            peer.setblocking(False)
            yield peer.fileno()
        return
    descriptor = os.open(recipe["address"], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        set_raw(descriptor, recipe["port"], recipe["frame"])
        yield descriptor
    finally:
        os.close(descriptor)


def set_raw(descriptor: int, baud: int, frame: str) -> None:
    """Put a serial port into raw mode with a frame such as 8N1."""
    import termios  # not on every system; only needed for serial lines

    attributes = termios.tcgetattr(descriptor)
    speed = getattr(termios, f"B{baud}", termios.B9600)
    size = {"7": termios.CS7, "8": termios.CS8}.get(frame[:1], termios.CS8)
    parity = {"E": termios.PARENB, "O": termios.PARENB | termios.PARODD}.get(frame[1:2], 0)
    stop = termios.CSTOPB if frame[2:] == "2" else 0
    attributes[0] = attributes[1] = attributes[3] = 0
    attributes[2] = size | parity | stop | termios.CREAD | termios.CLOCAL
    attributes[4] = attributes[5] = speed
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
    termios.tcflush(descriptor, termios.TCIOFLUSH)


def exchange_all(descriptor: int, channels: list[list[list[str]]], gap_s: float) -> str:
    """All of a recipe: a channel that does not confirm must not keep the next one on.

    Within a channel, what comes after an answer that does not match is not sent: it may be what
    only an output that is OFF can do without, such as its watchdog. Before each message the
    instrument is left alone for `gap_s`, or it might lose it; before the first one too, for
    control's last message may just have come.
    """
    wrong: list[str] = []
    for exchanges in channels:
        try:
            for send, expect in exchanges:
                time.sleep(gap_s)
                exchange(descriptor, bytes.fromhex(send), bytes.fromhex(expect))
        except ValueError as error:
            wrong.append(str(error))
    return "; ".join(wrong)


def exchange(descriptor: int, send: bytes, expect: bytes) -> None:
    """Send bytes and, where an answer is expected, read until it matches.

    Raises:
        OSError: the peer is gone.
        ValueError: no matching answer in time.
    """
    os.write(descriptor, send)
    pattern, answer = re.compile(expect, re.DOTALL), b""
    deadline = now() + EXCHANGE_S
    while expect and not pattern.fullmatch(answer):
        left = deadline - now()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise ValueError(f"{send!r} was answered {answer!r}, not {expect!r}")
        received = os.read(descriptor, 4096)
        if not received:
            raise ConnectionError("the instrument closed the connection")
        answer += received


def switch_all_off(instruments: dict[str, Recipe], say: Any) -> dict[str, str]:
    """Switch every instrument off, all at once, and keep trying those that do not confirm.

    Returns:
        Name -> empty when OFF was verified, else the last thing that went wrong.
    """
    results: dict[str, str] = dict.fromkeys(instruments, "not tried")

    def insist(name: str, recipe: Recipe) -> None:
        deadline = now() + GIVE_UP_S
        while True:
            results[name] = switch_off(recipe)
            say("off", instrument=name, verified=not results[name], error=results[name])
            if not results[name] or now() > deadline:
                return
            time.sleep(RETRY_S)

    threads = [
        threading.Thread(target=insist, args=item, name=f"off {item[0]}")
        for item in instruments.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


class Report:
    """What the sentinel did, as JSON lines on stderr and in a file that control reads later.

    A thread each writes them: a disk that hangs, or a terminal on which somebody has pressed
    Ctrl-S, must not hold the next OFF.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"sentinel-{int(time.time())}-{os.getpid()}.jsonl"
        self._outlets = [Outlet(self._to_file), Outlet(lambda line: os.write(2, line))]

    def say(self, event: str, **data: Any) -> None:
        """Queue one line."""
        document = {"event": event, "utc_s": time.time(), "stamp_s": now(), **data}
        line = json.dumps(document).encode() + b"\n"
        for outlet in self._outlets:
            outlet.lines.put(line)

    def close(self) -> None:
        """Wait for what is queued, not for ever."""
        for outlet in self._outlets:
            outlet.lines.put(b"")
        for outlet in self._outlets:
            outlet.thread.join(REPORT_S)

    def _to_file(self, line: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(line)


class Outlet:
    """A thread that writes lines until an empty one comes."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._write = write
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while line := self.lines.get():
            with contextlib.suppress(OSError):
                self._write(line)


def act(watch: Watch, why: str, report: Report) -> int:
    """Kill control and switch everything off. 0 when every instrument confirmed, else 1."""
    report.say("acting", reason=why, control=watch.pid)
    watch.kill_control()
    report.say("killed", control=watch.pid)
    results = switch_all_off(watch.instruments, report.say)
    failed = sorted(name for name, error in results.items() if error)
    report.say("done", off=sorted(set(results) - set(failed)), not_off=failed)
    report.close()
    return 1 if failed else 0


def main(arguments: list[str]) -> int:
    """Watch until control retires (0) or must be replaced (see `act`)."""
    heartbeat, recipes, pid, folder = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is control's business
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it goes when control has retired, not before
    watch = Watch(Path(heartbeat), Path(recipes), int(pid))
    while True:
        watch.beat()
        watch.reload()
        if watch.retired():
            return 0
        if why := watch.why_act():
            return act(watch, why, Report(Path(folder)))
        watch.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
