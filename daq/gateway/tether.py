"""`python -m daq.gateway.tether COMMAND…`: runs a program that must not outlive its parent.

For programs that do not watch their standard input, such as mosquitto. Prints the program's
process id, waits, and ends it when standard input ends. Standard library only, to stay small.
"""

from __future__ import annotations

import signal
import subprocess
import sys

from daq.gateway.lifeline import call_at_eof

GRACE_S = 1.0


def main(command: list[str]) -> int:
    """Run the command; its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603 - the parent's words
    signal.signal(signal.SIGTERM, lambda signum, frame: child.terminate())
    print(child.pid, flush=True)
    call_at_eof(lambda: _end(child))
    return child.wait()


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
