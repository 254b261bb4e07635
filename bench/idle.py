"""The machine's own jitter: a process that only wakes up every 10 ms and notes how late it is.

What it sees is not the daemon's doing: other programs, the hypervisor. Counts until its standard
input ends, then prints the lateness of every wake-up as JSON, in seconds.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen

PERIOD_S = 0.01


def main() -> None:
    """See the module's docstring."""
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    late_s: list[float] = []
    due = time.monotonic()
    while not over.is_set():
        due += PERIOD_S
        time.sleep(max(0.0, due - time.monotonic()))
        late_s.append(round(time.monotonic() - due, 6))
    print(json.dumps(late_s), flush=True)


@contextmanager
def idling() -> Iterator[list[float]]:
    """Watch for the length of a `with`; the list is filled when it is left."""
    late_s: list[float] = []
    command = [sys.executable, "-m", "bench.idle"]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        try:
            yield late_s
        finally:
            late_s += json.loads(process.communicate()[0])


if __name__ == "__main__":
    main()
