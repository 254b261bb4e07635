"""From any format to any other, by way of our own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from daq.errors import InputError
from daq.model import Cell
from daq.protocol.compile import compile_protocol
from daq.protocol.exchange import own
from daq.protocol.exchange.draft import Task
from daq.protocol.exchange.ends import check_holds
from daq.protocol.exchange.formats import EXPORTERS, IMPORTERS, OWN
from daq.protocol.exchange.writer import write
from daq.protocol.source import ProtocolSource, load_protocol, parse_protocol

LARGEST = 8 << 20  # bytes; each format has its own bound below


@dataclass(frozen=True, slots=True)
class Result:
    """What a conversion came to.

    Attributes:
        text: of the new file; None where something was refused.
        steps: how many steps of the source could be said; loops not counted.
        mistake: what `daq check` says of the protocol, if anything.
        capacity_Ah: nominal, if it was given or the source says it.
    """

    text: str | None
    steps: int
    mistake: InputError | None = None
    capacity_Ah: float | None = None


def read_bounded(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        InputError: it cannot be read, or is too large to be a protocol.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > LARGEST:
        raise InputError(f"{path} is larger than {LARGEST >> 20} MiB")
    return content


def imported(content: bytes, source: str, task: Task) -> Result:
    """Another format -> our YAML.

    Raises:
        InputError: the file as a whole is not of that format.
    """
    draft = IMPORTERS[source](content, task)
    steps = draft.count()
    if not draft.steps and not task.findings.refused:
        raise InputError("there are no steps", place=task.place())
    if not task.findings.refused:
        check_holds(draft.steps, task)
    if task.findings.refused:
        return Result(None, steps)
    text = write(draft)
    capacity_Ah = draft.capacity_Ah or task.capacity_Ah
    return Result(text, steps, _mistake(text, capacity_Ah), capacity_Ah)


def _mistake(text: str, capacity_Ah: float | None) -> InputError | None:
    try:
        source = parse_protocol(text, "the result")
        compile_protocol(source, Cell("any", capacity_Ah or 1.0), [])
    except InputError as error:
        return error
    return None


def exported(source: ProtocolSource, target: str, task: Task) -> Result:
    """Our YAML -> another format."""
    read = own.read(source, task)
    text = EXPORTERS[target](read, task)
    return Result(None if task.findings.refused else text, _phases(read.nodes))


def _phases(nodes: list[own.Node]) -> int:
    return sum(1 if isinstance(node, own.Phase) else _phases(node.nodes) for node in nodes)


def convert(path: Path, source: str, target: str, task: Task, content: bytes) -> Result:
    """From one format to another.

    Raises:
        InputError: the file as a whole is not of that format, or both are the same.
    """
    if source == target:
        raise InputError(f"{path} is {source} already")
    if source == OWN:
        return exported(load_protocol(path), target, task)
    result = imported(content, source, task)
    if target == OWN or result.text is None:
        return result
    if result.mistake is not None:
        raise result.mistake
    known = replace(task, capacity_Ah=result.capacity_Ah)
    return exported(parse_protocol(result.text, f"{path} as YAML"), target, known)
