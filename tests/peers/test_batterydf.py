"""batterydf, the reference reader of the Battery Data Format, accepts what `daq export` writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daq.recorder.export import export
from tests.peers.environments import Peer

VALIDATE = """
import json, sys
import bdf
report = bdf.validate(sys.argv[1])
print(json.dumps(report, default=str))
"""


@pytest.mark.parametrize("fmt", ["bdf", "bdf.parquet"])
def test_the_reference_reader_finds_nothing_to_complain_about(
    peer: Callable[[str], Peer], closed: Path, tmp_path: Path, fmt: str
) -> None:
    report = peer("batterydf").json(VALIDATE, export(closed, "", fmt, tmp_path))
    assert complaints(report) == []
    assert report["derived"]["issues"] == []
    assert report["extras"] == []
    assert report["n_rows"] == 60 * 14
    assert report["n_cols"] == 38


@pytest.mark.parametrize("fmt", ["bdf", "bdf.parquet"])
def test_the_stable_reference_reader_accepts_it_too(
    peer: Callable[[str], Peer], closed: Path, tmp_path: Path, fmt: str
) -> None:
    report = peer("batterydf-stable").json(VALIDATE, export(closed, "", fmt, tmp_path))
    assert complaints(report) == []


def complaints(report: dict[str, Any]) -> list[str]:
    """What makes a report a bad one, in both versions."""
    found = [] if report["ok"] else [str(report)]
    if not (report["time_stats"]["present"] and report["time_stats"]["monotonic"]):
        found.append("time")
    return [*found, *report["missing"], *report["legacy_labels"]]


def test_the_reference_reader_would_have_complained(
    peer: Callable[[str], Peer], closed: Path, tmp_path: Path
) -> None:
    """A validator that accepts everything would prove nothing."""
    path = export(closed, "", "bdf", tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *reversed(lines[1:])]))
    report = peer("batterydf").json(VALIDATE, path)
    assert not report["time_stats"]["monotonic"]
    assert report["derived"]["issues"] != []
