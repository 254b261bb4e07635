"""Targets under atheris, which mutates what reaches new code. A process of its own:

    echo "yaml 10 /tmp/fuzz" | python -m tests.fuzz.engine

fuzzes the target `yaml` for 10 s, in a child, because libFuzzer ends the process it runs in; then
prints the child's exit code and reads on. What it said is in /tmp/fuzz/yaml.log, with the number of
inputs at its end; the folder /tmp/fuzz/yaml takes the inputs that reached further, and `crash-*`.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["daq", "drivers", "simulators", "ruamel", "pymodbus"]):
    from tests.fuzz import targets

LIMITS = ("-timeout=10", "-rss_limit_mb=2048", "-max_len=4096")


def fuzz(name: str, seconds: str, folder: Path) -> None:
    """Fuzz one target; never returns."""
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".log").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    logging.disable()
    flags = (f"-max_total_time={seconds}", f"-artifact_prefix={folder}/", "-print_final_stats=1")
    folders = (str(folder), str(targets.CORPUS / name))
    atheris.Setup([sys.argv[0], *flags, *LIMITS, *folders], lambda data: targets.run(name, data))
    atheris.Fuzz()


def main() -> None:
    """One order after another, until there are no more."""
    for line in sys.stdin:
        name, seconds, folder = line.split()
        child = os.fork()
        if not child:
            fuzz(name, seconds, Path(folder) / name)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
