"""Protocols of other programs, and ours for them: a protocol, or what is wrong with the file."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from daq.errors import InputError
from daq.protocol.exchange.convert import exported, imported
from daq.protocol.exchange.draft import MOST_STEPS, Task
from daq.protocol.exchange.findings import Findings
from daq.protocol.exchange.formats import EXPORTERS, IMPORTERS, guess
from daq.protocol.source import parse_protocol
from daq.yamlfile import parse

SOURCES = ("unicycler", "pybamm", "pybamm-config", "tomato", "maccor", "arbin", "biologic")
TARGETS = ("unicycler", "pybamm", "pybamm-config")
assert set(SOURCES) == set(IMPORTERS)
assert set(TARGETS) == set(EXPORTERS)


def exchange(data: bytes) -> None:
    """First byte: which format, whether approximations are allowed; the rest is the file."""
    head, content = data[0] if data else 0, data[1:]
    task = Task("file", Findings(approximate=bool(head & 0x80)), capacity_Ah=2.5)
    with suppress(InputError):
        guess(content, "file")
    choice = (head & 0x7F) % (len(SOURCES) + len(TARGETS))
    with suppress(InputError):
        if choice < len(SOURCES):
            _import(content, SOURCES[choice], task)
        else:
            _export(content, TARGETS[choice - len(SOURCES)], task)
    assert task.findings.approximate or not task.findings.changed


def _import(content: bytes, source: str, task: Task) -> None:
    result = imported(content, source, task)
    assert (result.text is None) == bool(task.findings.refused)
    assert 0 <= result.steps <= MOST_STEPS
    assert all(error.message for error in task.findings.refused)
    if result.text is None:
        return
    steps = parse(result.text).data["steps"]
    assert steps
    _judge(steps)


def _judge(steps: list[dict[str, Any]]) -> None:
    """Whatever the file says, what moves charge has an end and a longest duration."""
    for step in steps:
        if not {"charge", "discharge", "hold", "cccv"}.isdisjoint(step):
            assert step["until"]
            assert step["at_most"]
        _judge(step.get("steps", []))


def _export(content: bytes, target: str, task: Task) -> None:
    result = exported(parse_protocol(content.decode("utf-8", "replace")), target, task)
    assert (result.text is None) == bool(task.findings.refused)
