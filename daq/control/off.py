"""Switch instruments off through their own drivers, in a process of its own.

    python -m daq.control.off LAB [INSTRUMENT ...]

For a technician when no daemon runs, and for the sentinel where raw bytes cannot reach an
instrument (GPIB, USB). Prints one line each; exit code 0 when every OFF was verified.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping

from daq.bus.resource import make_line
from daq.config import InstrumentConfig, Lab
from daq.driver import Logger, Switch
from daq.errors import DaqError, InputError, InstrumentError
from daq.labreader import load_lab


def switch_off(
    config: InstrumentConfig, backend: str, safe: Mapping[int, bool] | None = None
) -> str:
    """Open, identify and switch off every channel; empty when verified, else what failed.

    Args:
        config: the instrument.
        backend: the VISA library.
        safe: of a module with digital outputs: those that the lab uses, and their safe states.
    """
    try:
        line = make_line(config.resource, config.settings, backend)
        driver = config.driver_class(line, config.options)
        if isinstance(driver, Logger):
            return ""
        if isinstance(driver, Switch):
            driver.safe = safe or {}
        line.open()
        try:
            driver.identify()
            _tried(driver.setup)  # what cannot be set up may still be switched off
            wrong = [_tried(lambda at=channel: driver.off(at)) for channel in driver.off_channels]
        finally:
            line.close()
    except DaqError as error:
        return f"{type(error).__name__}: {error}"
    return "; ".join(filter(None, wrong))


def _tried(attempt: Callable[[], None]) -> str:
    try:
        attempt()
    except InstrumentError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def switch_lab_off(lab: Lab, names: Iterable[str] = ()) -> dict[str, str]:
    """Switch the named instruments off, all of the lab's when none is named.

    Raises:
        InputError: the lab has no instrument of that name; nothing was touched.
    """
    wanted = list(names) or list(lab.instruments)
    for name in wanted:
        if name not in lab.instruments:
            known = ", ".join(lab.instruments)
            raise InputError(f"no instrument is called {name!r}", remedy=f"there are: {known}")
    return {
        name: switch_off(lab.instruments[name], lab.visa_backend, lab.safe_states(name))
        for name in wanted
    }


def main(arguments: list[str]) -> int:
    """See the module's docstring."""
    try:
        results = switch_lab_off(load_lab(arguments[0]), arguments[1:])
    except (DaqError, IndexError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, error in results.items():
        print(f"{name}: {error or 'OFF, verified'}")
    return 1 if any(results.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
