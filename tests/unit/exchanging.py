"""Conversions for the tests of importers and exporters."""

from __future__ import annotations

from typing import Any

from daq.protocol.exchange.convert import exported, imported
from daq.protocol.exchange.draft import Task
from daq.protocol.exchange.findings import Findings
from daq.protocol.source import parse_protocol
from daq.yamlfile import parse


class Came:
    """What an import came to."""

    def __init__(
        self,
        content: str | bytes,
        source: str,
        *,
        capacity_Ah: float | None = None,
        longest_s: float | None = None,
        approximate: bool = False,
    ) -> None:
        raw = content.encode() if isinstance(content, str) else content
        self.findings = Findings(approximate)
        task = Task("source", self.findings, capacity_Ah, longest_s)
        self.result = imported(raw, source, task)
        self.text = self.result.text

    @property
    def refused(self) -> list[str]:
        return [str(error) for error in self.findings.refused]

    @property
    def changed(self) -> list[str]:
        return [str(note) for note in self.findings.changed]

    @property
    def data(self) -> Any:
        assert self.text is not None, self.refused
        return parse(self.text).data

    @property
    def steps(self) -> Any:
        return self.data["steps"]


def export(text: str, target: str, *, capacity_Ah: float | None = None, lossy: bool = False) -> Any:
    """The text, or the list of what was refused."""
    findings = Findings(lossy)
    result = exported(parse_protocol(text), target, Task("ours", findings, capacity_Ah))
    return result.text or [str(error) for error in findings.refused]
