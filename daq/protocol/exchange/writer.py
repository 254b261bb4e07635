"""A draft -> YAML as a person would write it, with comments that say what came from where."""

from __future__ import annotations

import textwrap
from io import StringIO
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from daq.protocol.exchange.draft import Draft, Step

_WIDTH = 96


def write(draft: Draft) -> str:
    """The text of the protocol file."""
    top: Any = CommentedMap()
    top["protocol"] = draft.name
    top["version"] = draft.version
    for key in ("record", "safety"):
        if value := getattr(draft, key):
            top[key] = _flow(value)
            top.yaml_set_comment_before_after_key(key, before="\n")
    top["steps"] = _steps(draft.steps, 2)
    top.yaml_set_comment_before_after_key("steps", before="\n")
    return _comment(draft.head) + _tidy(_dump(top))


def _comment(lines: list[str]) -> str:
    wrapped = [part for line in lines for part in textwrap.wrap(_printable(line), _WIDTH) or [""]]
    return "".join(f"# {line}".rstrip() + "\n" for line in wrapped)


def _printable(text: str) -> str:
    """What came from elsewhere must not end the comment, nor hide something in it."""
    return "".join(one if one.isprintable() else " " for one in text)


def _steps(steps: list[Step], indent: int) -> Any:
    entries: Any = CommentedSeq()
    for number, step in enumerate(steps):
        entries.append(_step(step, indent))
        if step.origin:
            text = textwrap.shorten(_printable(step.origin), _WIDTH, placeholder=" …")
            entries.yaml_set_comment_before_after_key(number, before=text, indent=indent)
    return entries


def _step(step: Step, indent: int) -> Any:
    entry: Any = CommentedMap()
    for key, value in step.data().items():
        entry[key] = _flow(value)
    if step.remark:
        entry.yaml_add_eol_comment(_printable(step.remark), "at_most", column=0)
    if step.steps is not None:
        entry["steps"] = _steps(step.steps, indent + 4)
    return entry


def _flow(value: Any) -> Any:
    """Small things on one line: `{within: 0.5 K, for: 30 min}`."""
    if isinstance(value, dict):
        given = cast("dict[str, Any]", value)
        mapping: Any = CommentedMap((key, _flow(inner)) for key, inner in given.items())
        mapping.fa.set_flow_style()
        return mapping
    if isinstance(value, list):
        inner = cast("list[Any]", value)
        entries: Any = CommentedSeq([_flow(one) for one in inner])
        if len(inner) < 2 or not any(isinstance(one, dict) for one in inner):
            entries.fa.set_flow_style()
        return entries
    return value


def _dump(top: Any) -> str:
    yaml: Any = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 4096
    stream = StringIO()
    yaml.dump(top, stream)
    return stream.getvalue()


def _tidy(text: str) -> str:
    """No trailing blanks; ruamel writes a blank comment as `#`."""
    lines = ("" if line.strip() == "#" else line.rstrip() for line in text.splitlines())
    return "\n".join(lines).rstrip("\n") + "\n"
