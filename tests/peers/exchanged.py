"""Conversions for the tests, and what of a protocol of ours is compared."""

from __future__ import annotations

from typing import Any

from daq.protocol.exchange.convert import exported, imported
from daq.protocol.exchange.draft import Task
from daq.protocol.exchange.findings import Findings
from daq.protocol.source import parse_protocol
from daq.yamlfile import parse


def ours(content: str | bytes, source: str, capacity_Ah: float | None = None) -> str:
    """The YAML of somebody else's protocol; nothing of it may be refused."""
    raw = content.encode() if isinstance(content, str) else content
    findings = Findings()
    result = imported(raw, source, Task("theirs", findings, capacity_Ah))
    assert result.text is not None, [str(error) for error in findings.refused]
    assert result.mistake is None, result.mistake
    return result.text


def theirs(text: str, target: str, capacity_Ah: float | None = None, *, lossy: bool = False) -> str:
    """Somebody else's protocol of our YAML."""
    findings = Findings(approximate=lossy)
    result = exported(parse_protocol(text), target, Task("ours", findings, capacity_Ah))
    assert result.text is not None, [str(error) for error in findings.refused]
    return result.text


def steps(text: str) -> Any:
    """The steps of our YAML, without what an importer has computed itself."""
    return _plain(parse(text).data["steps"])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _plain(inner) for key, inner in value.items() if key not in ("at_most", "record")
        }
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
