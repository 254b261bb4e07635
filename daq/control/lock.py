"""One daemon per lab: a lock on its data folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path

from daq.errors import DaqError


@contextlib.contextmanager
def locked(data: Path) -> Generator[None]:
    """Hold the lab's data folder: two daemons on one would fight over the same instruments.

    Raises:
        DaqError: another daemon holds it.
    """
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise DaqError(
                f"a daemon (process {file.read().strip()}) runs on {data} already",
                remedy="stop it, or give this lab another `data` folder",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
