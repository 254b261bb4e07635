"""`python -m daq.recorder`: the recorder process. Started by control; runs until told to stop.

It stops, within three seconds and with exit code 0, on SIGTERM and when its standard input ends
(that is: when control is gone). What it could not finish is made again at its next start.

h5py can hang for ever in a file that is torn or was changed under it, and holds the interpreter's
lock while it does. So a thread of faulthandler's, which needs no such lock, ends the process when
one turn of its work takes too long; control starts it again, and live files are made anew.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import threading
from pathlib import Path

from daq.clock import monotonic
from daq.errors import DaqError
from daq.journal import JournalReader
from daq.logs import get_logger, setup
from daq.recorder.tail import Recorder

STOP_BUDGET_S = 1.5
TURN_S = 300.0
"""No turn takes so long, not even the sync of a large file on a slow disk."""


def main() -> int:
    """Parse the command line and run. 0 after a stop, 1 when the journal cannot be read."""
    arguments = _parser().parse_args()
    setup("recorder", arguments.logs)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is control's business
    threading.Thread(target=_watch_stdin, args=(stop,), name="stdin", daemon=True).start()
    try:
        with JournalReader(arguments.journal) as reader:
            recorder = Recorder(reader, arguments.out, arguments.cursor)
            run(recorder, stop, arguments.poll, arguments.turn)
    except DaqError as error:
        get_logger().error("the recorder cannot run", error=str(error))
        return 1
    return 0


def run(recorder: Recorder, stop: threading.Event, poll_s: float, turn_s: float) -> None:
    """Poll at the given period, and work on long jobs in between, until the stop."""
    while not stop.is_set():
        due = monotonic() + poll_s
        _at_most(turn_s)
        recorder.poll()
        while not stop.is_set() and monotonic() < due and recorder.work():
            _at_most(turn_s)
        faulthandler.cancel_dump_traceback_later()
        stop.wait(max(0.0, due - monotonic()))
    recorder.stop(STOP_BUDGET_S)


def _at_most(turn_s: float) -> None:
    """End the process with a traceback unless this is called again in time."""
    faulthandler.dump_traceback_later(turn_s, exit=True, file=sys.__stderr__ or sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m daq.recorder", description=__doc__)
    parser.add_argument("--journal", type=Path, required=True, help="the journal to follow")
    parser.add_argument("--out", type=Path, required=True, help="folder of the HDF5 files")
    parser.add_argument("--cursor", type=Path, help="file that tells how far the files are")
    parser.add_argument("--poll", type=float, default=0.5, help="seconds between two looks")
    parser.add_argument(
        "--turn", type=float, default=TURN_S, help="seconds that one turn may take; then exit 1"
    )
    parser.add_argument("--logs", type=Path, help="folder of the log file")
    return parser


def _watch_stdin(stop: threading.Event) -> None:
    # os.read and not sys.stdin: a daemon thread inside a buffered reader aborts the interpreter.
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass  # no standard input at all: the same as its end
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
