"""`python -m simulators BENCH.yaml`: serve a bench until told to stop.

Prints one line of JSON per address, then `{"ready": true}`. Exit code 2 and one line on stderr if
the file is wrong; 0 after SIGINT, SIGTERM or a "quit" on the control socket; 1 if a dialect has a
bug, because a test against half a bench proves nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from simulators import bench_file
from simulators.bench import Bench
from simulators.bench_file import BenchError
from simulators.control import Control


class BenchBug(Exception):  # noqa: N818 - a bug it is
    """Something in the bench itself went wrong."""


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m simulators", description="Simulated lab bench")
    parser.add_argument("bench", type=Path, help="bench file (YAML)")
    parser.add_argument("--ledger", type=Path, help="write all ledgers here (JSON) at the end")
    arguments = parser.parse_args()
    try:
        bench = asyncio.run(_serve(bench_file.read(arguments.bench)))
    except BenchError as problem:
        print(f"error: {arguments.bench}: {problem}", file=sys.stderr)
        return 2
    except BenchBug:
        traceback.print_exc()
        return 1
    if arguments.ledger is not None:
        book = json.dumps(bench.ledgers(), indent=1)
        arguments.ledger.write_text(book + "\n", encoding="utf-8")
    return 0


async def _serve(config: dict[str, Any]) -> Bench:
    stopped = asyncio.Event()
    bugs = _stop_on_signals_and_bugs(stopped)
    bench = Bench(config)
    control = Control(bench, stopped.set)
    try:
        await bench.open()
        await _announce(bench, control, config)
        gc.freeze()  # what stands now stays; collections need not walk it
        await stopped.wait()
    finally:
        control.close()
        bench.close()
    if bugs:
        raise BenchBug from bugs[0]
    return bench


def _stop_on_signals_and_bugs(stopped: asyncio.Event) -> list[BaseException | None]:
    """Return the list that bugs will be put into."""
    bugs: list[BaseException | None] = []

    def give_up(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        bugs.append(context.get("exception"))
        stopped.set()

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(give_up)
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stopped.set)
    return bugs


async def _announce(bench: Bench, control: Control, config: dict[str, Any]) -> None:
    lines: list[dict[str, Any]] = [
        {"instrument": name, "address": port.address} for name, port in bench.ports.items()
    ]
    if "control" in config:
        address = bench_file.address("control", config["control"])
        lines.append({"control": await control.open(address)})
    lines.append({"ready": True})
    print("\n".join(json.dumps(line) for line in lines), flush=True)


if __name__ == "__main__":
    sys.exit(main())
