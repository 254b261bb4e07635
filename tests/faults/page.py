"""docs/faults.md from what the tests of the faults showed.

    python -m pytest -m fault --faults build/faults.json
    python -m tests.faults.page build/faults.json > docs/faults.md

Exit code 1 when a fault has no test that passed, or too few families.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.faults.catalogue import FAULTS, GROUPS, UNTESTABLE, Fault

Shown = Mapping[str, Any]
HEAD = """# Faults

Each of these faults is injected by a test that carries its id; what must come of it is asserted,
wherever it can be on the simulated cells' own ledger, which the daemon cannot touch. This page is
made from the results:

    make faults

| | |
|---|---|
| SAFE | OFF in the ledger, the trip latched, nothing lost that was journalled |
| families | drivers that the fault was shown with, where it touches the wire |
"""
MOST_FIGURES = 4


def main(arguments: list[str]) -> int:
    """Print the page."""
    tests = latest(Path(name) for name in arguments)
    by_fault = {fault: [t for t in tests if fault in _ids(t)] for fault in FAULTS}
    print(HEAD)
    for name, group in GROUPS.items():
        print(f"## {name}\n")
        print("| id | injected | required | outcome | measured | tests |")
        print("|---|---|---|---|---|---|")
        for fault in group:
            print(_row(fault, by_fault[fault.id]))
        print()
    lacking = [why for fault in FAULTS.values() if (why := _lacks(fault, by_fault[fault.id]))]
    for why in lacking:
        print(why, file=sys.stderr)
    return 1 if lacking else 0


def latest(paths: Iterable[Path]) -> list[Shown]:
    """What each test showed last, of several runs; a file that is not there was not needed."""
    runs = [json.loads(path.read_text()) for path in paths if path.exists()]
    return list({test["test"]: test for run in runs for test in run}.values())


def _ids(test: Shown) -> set[str]:
    return {fault for fault, _ in test["faults"]}


def _families(fault: Fault, tests: Iterable[Shown]) -> list[str]:
    named = {family for test in tests for of, family in test["faults"] if of == fault.id}
    return sorted(named - {""})


def _lacks(fault: Fault, tests: list[Shown]) -> str:
    if fault.id in UNTESTABLE:
        return ""
    if not tests:
        return f"{fault.id} has no test"
    if failed := [test["test"] for test in tests if test["outcome"] != "passed"]:
        return f"{fault.id}: not passed: {', '.join(failed)}"
    if fault.wire and len(_families(fault, tests)) < 2:
        return f"{fault.id} touches the wire and is shown with one driver family only"
    return ""


def _row(fault: Fault, tests: list[Shown]) -> str:
    cells = (
        fault.id, fault.injected, fault.required, _outcome(fault, tests), _figures(tests),
        _names(tests),
    )  # fmt: skip
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _outcome(fault: Fault, tests: list[Shown]) -> str:
    if fault.id in UNTESTABLE:
        return f"not tested: {UNTESTABLE[fault.id]}"
    passed = sum(test["outcome"] == "passed" for test in tests)
    families = ", ".join(_families(fault, tests))
    text = f"{passed} of {len(tests)} passed"
    return f"{text}; {families}" if families else text


def _figures(tests: list[Shown]) -> str:
    found = [figure for test in tests for figure in test["figures"]]
    texts = list(dict.fromkeys(f"{what} {value:.3g} {unit}" for what, value, unit in found))
    return "; ".join(texts[:MOST_FIGURES]) or "by assertion"


def _names(tests: list[Shown]) -> str:
    files: dict[str, int] = {}
    for test in tests:
        file = test["test"].partition("::")[0].removeprefix("tests/")
        files[file] = files.get(file, 0) + 1
    return ", ".join(f"`{file}` ({count})" for file, count in files.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
