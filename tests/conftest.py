"""Options and fixtures of all tests: how long the long ones take, and what the faults showed.

`--trials` and `--seconds` size the boxes of torture, fuzz and soak tests; without them each takes
its short box. `--faults FILE` writes what every test marked `fault` showed, as JSON; see
tests/faults/page.py.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.catalogue import FAULTS

Figure = Callable[[str, float, str], None]

# They need other projects' packages; `make test-peers` names the folder, and then it is collected.
collect_ignore = ["peers"]


def pytest_configure() -> None:
    """Where the tests run in the background, Ctrl-C is ignored, and so in all that they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        with suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("battery-daq")
    group.addoption("--trials", type=int, default=None, help="trials of each torture test")
    group.addoption("--seconds", type=float, default=None, help="length of each fuzz or soak box")
    group.addoption("--faults", type=Path, default=None, help="write what the faults showed here")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each test's report say which faults it is about."""
    for item in items:
        for mark in item.iter_markers("fault"):
            for fault in mark.args:
                if fault not in FAULTS:
                    raise pytest.UsageError(f"{item.nodeid}: there is no fault {fault!r}")
                item.user_properties.append(("fault", (fault, mark.kwargs.get("family", ""))))


@pytest.fixture
def trials(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """The number of trials: what the command line says, else the given short box."""
    given: int | None = request.config.getoption("--trials")
    return lambda short: short if given is None else given


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> Callable[[float], float]:
    """The length of a box: what the command line says, else the given short one."""
    given: float | None = request.config.getoption("--seconds")
    return lambda short: short if given is None else given


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Note a measured figure: what, how much, in which unit. Printed, and in the fault's row."""

    def note(what: str, value: float, unit: str) -> None:
        request.node.user_properties.append(("figure", (what, value, unit)))
        print(f"figure: {what}: {value:.6g} {unit}")

    return note


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect on the controller, also of tests that ran on a worker of pytest-xdist."""
    if report.when == "call" or report.failed or report.skipped:
        _seen[report.nodeid] = report


_seen: dict[str, pytest.TestReport] = {}


def pytest_sessionfinish(session: pytest.Session) -> None:
    path: Path | None = session.config.getoption("--faults")
    if path is None or hasattr(session.config, "workerinput"):
        return
    shown = [
        {
            "test": nodeid,
            "outcome": report.outcome,
            "took_s": report.duration,
            "faults": [value for key, value in report.user_properties if key == "fault"],
            "figures": [value for key, value in report.user_properties if key == "figure"],
        }
        for nodeid, report in sorted(_seen.items())
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([item for item in shown if item["faults"]], indent=1))
