"""The command line: `daq ...`. One module per group of commands; see `daq --help`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | something failed on the way; the message says what |
| 2 | a file or an argument is wrong; nothing was started |
| 3 | no daemon, or no broker, answers |
| 4 | the daemon refused; the reason is printed |
| 5 | `daq serve`: crashed again and again; it stays down, every output OFF |
| 130 | Ctrl-C |
"""

from __future__ import annotations

import sys

import typer

from daq.cli import (
    alarms,
    audit,
    batches,
    bench,
    broker_acl,
    cells,
    control,
    convert,
    demo,
    diff,
    doctor,
    dryrun,
    export,
    figures,
    files,
    gameday,
    keeping,
    keys,
    protocols,
    runs,
)
from daq.cli.output import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, complain
from daq.errors import DaqError, InputError

app = typer.Typer(
    help="Lab instrument control and data acquisition for battery research.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for module in (
    demo,
    gameday,
    bench,
    files,
    convert,
    dryrun,
    diff,
    control,
    alarms,
    cells,
    batches,
    protocols,
    runs,
    export,
    figures,
    keeping,
    doctor,
    keys,
    audit,
    broker_acl,
):
    module.add_to(app)


def main() -> None:
    """Entry point of the `daq` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code."""
    try:
        app(arguments, prog_name="daq")
    except SystemExit as stop:  # how typer ends, also for wrong arguments and Ctrl-C
        return stop.code if isinstance(stop.code, int) else EXIT_FAILED
    except InputError as error:
        complain(str(error))
        return EXIT_INPUT
    except DaqError as error:
        complain(str(error))
        return getattr(error, "exit_code", EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0
