"""`python -m bench.death`: from the death of a whole daemon to OFF, in the simulated cell's ledger.

Each round starts a daemon with one run that regulates, and then kills it, stops it, or kills it
together with its sentinel, which leaves the instrument's own watchdog (4 s).
tests/torture/test_sentinel.py does the first two a thousand times, and hangs besides, with control
processes that cost less.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import time

from bench.daemon import Daemon, running_daemon
from bench.processes import end_in_order
from bench.window import Figures, spread

WAYS = ("killed", "stopped", "both dead")
GOALS_S = {"killed": 3.0, "stopped": 3.0, "both dead": 5.0}
PATIENCE_S = 30.0


def run(rounds: int) -> Figures:
    """So many rounds of each way; seconds from death to OFF."""
    return {way: spread([_round(way) for _ in range(rounds)], 50, 99) for way in WAYS}


def _round(way: str) -> float:
    with running_daemon(1, broker="none") as daemon:
        daemon.start_all()
        daemon.wait_until(lambda: _edge(daemon)["on"], "the output is on")
        time.sleep(random.uniform(0.0, 1.0))
        struck_s = time.monotonic()
        _strike(daemon, way)
        deadline = struck_s + PATIENCE_S
        while _edge(daemon)["on"]:
            if time.monotonic() > deadline:
                return float("inf")
            time.sleep(0.05)
        return float(_edge(daemon)["real_s"]) - struck_s


def _strike(daemon: Daemon, way: str) -> None:
    pids = daemon.pids()
    if way == "both dead":
        os.kill(pids["sentinel"], signal.SIGKILL)
    os.kill(pids["control"], signal.SIGSTOP if way == "stopped" else signal.SIGKILL)


def _edge(daemon: Daemon) -> dict[str, float]:
    edges = daemon.bench.ledger("cell-1")["edges"]
    return edges[-1] if edges else {"on": False, "real_s": 0.0}


def main() -> None:
    """Print a line for each way."""
    end_in_order()
    parser = argparse.ArgumentParser(prog="python -m bench.death", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="daemons for each way")
    options = parser.parse_args()
    for way, found in run(options.rounds).items():
        text = "  ".join(f"{name} {value:.2f}" for name, value in found.items())
        verdict = "ok" if found["max"] <= GOALS_S[way] else "MISSED"
        print(f"death to OFF, {way:10} s: {text}  (goal {GOALS_S[way]:g})  {verdict}")


if __name__ == "__main__":
    main()
