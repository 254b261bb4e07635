"""docs/protocol-exchange.md: what it shows is what comes of what it shows."""

from __future__ import annotations

import re
from pathlib import Path

from daq.protocol.exchange.convert import imported
from daq.protocol.exchange.draft import Task
from daq.protocol.exchange.findings import Findings

PAGE = (Path(__file__).parents[2] / "docs" / "protocol-exchange.md").read_text(encoding="utf-8")


def test_the_experiment_on_the_page_becomes_the_protocol_on_the_page():
    (python,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    (yaml,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
    result = imported(python.encode(), "pybamm", Task("cycle.py", Findings()))
    assert result.text == yaml
    assert result.mistake is None


def test_the_refusal_on_the_page_is_what_is_said():
    findings = Findings()
    lines = "Rest for 1 hour\n" * 5 + "Charge at 1 A until C/3\n"
    imported(lines.encode(), "pybamm", Task("steps.txt", findings))
    assert f"error: {findings.refused[0]}" in PAGE
