"""The command line: `daq ...`. One module per group of commands; see `daq --help`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | something failed on the way; the message says what |
| 2 | a file or an argument is wrong; nothing was started |
| 3 | no daemon, or no broker, answers |
| 4 | the daemon refused; the reason is printed |
| 130 | Ctrl-C |
"""

from __future__ import annotations

import sys

import typer

from daq.cli import bench, control, demo, doctor, files, runs
from daq.cli.output import EXIT_FAILED, EXIT_INPUT, EXIT_INTERRUPTED, complain
from daq.errors import DaqError, InputError

app = typer.Typer(
    help="Lab instrument control and data acquisition for battery research.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for module in (demo, bench, files, control, runs, doctor):
    module.add_to(app)


def main() -> None:
    """Entry point of the `daq` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line; returns its exit code."""
    try:
        result = app(arguments, standalone_mode=False, prog_name="daq")
    except InputError as error:
        complain(str(error))
        return EXIT_INPUT
    except DaqError as error:
        complain(str(error))
        return getattr(error, "exit_code", EXIT_FAILED)
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except typer.BadParameter as error:
        complain(error.format_message())
        return EXIT_INPUT
    return result if isinstance(result, int) else 0
