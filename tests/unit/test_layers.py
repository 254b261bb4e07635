"""What import-linter cannot say about who imports what."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOR_DRIVERS = {"model", "errors", "units", "driver", "bus"}


def contract(name: str) -> dict[str, Any]:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = document["tool"]["importlinter"]["contracts"]
    return next(one for one in contracts if one["name"].startswith(name))


def parts_of_daq() -> set[str]:
    found = {path.stem for path in (ROOT / "daq").iterdir() if path.suffix == ".py"}
    found |= {path.parent.name for path in (ROOT / "daq").glob("*/__init__.py")}
    return found - {"__init__"}


def test_every_part_of_daq_is_open_or_closed_to_drivers() -> None:
    closed = {
        name.removeprefix("daq.")
        for name in contract("drivers import only")["forbidden_modules"]
        if name.startswith("daq.")
    }
    assert closed == parts_of_daq() - FOR_DRIVERS


def test_the_sentinel_loads_nothing_but_the_standard_library() -> None:
    loaded = modules_after("import daq.sentinel", "-I", "-S")  # without site-packages at all
    assert {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names) == {"daq"}
    assert {name for name in loaded if name.startswith("daq")} == {"daq", "daq.sentinel"}


def test_nothing_that_can_crash_or_block_is_loaded_with_the_daemon() -> None:
    loaded = modules_after(
        "import daq.cli, daq.control.supervisor\n"
        "from daq.driver import find_driver, installed\n"
        "for name in installed(): find_driver(name)"
    )
    assert "daq.control.guard" in loaded
    assert not loaded & {"h5py", "pandas", "aiomqtt", "paho", "amqtt", "matplotlib"}
    assert not loaded & {"daq.dryrun", "daq.figures", "daq.report", "scipy", "impedance"}


def modules_after(code: str, *options: str) -> set[str]:
    """Names of the modules that a new interpreter has loaded after some code."""
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    code = f"{path}{code}\nprint('\\n'.join(set(sys.modules) - {{'__main__'}}))"
    result = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())
