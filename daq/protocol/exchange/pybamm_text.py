"""A PyBaMM experiment as text: a step a line, or a Python list with `*` and `+`. Nothing is run.

    [
        ("Charge at C/3 until 4.2 V", "Hold at 4.2 V until C/50", "Rest for 1 hour"),
    ] * 3

A tuple is a cycle. `pybamm.Experiment(…)` around it may give period, temperature and termination.
It may stand in a whole script, which is not run either: the one experiment in it is taken.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

from daq.errors import InputError, Place
from daq.protocol.exchange.draft import Task
from daq.protocol.exchange.flow import refuse_too_deep
from daq.protocol.exchange.pybamm_step import Said, parse

LARGEST = 256 * 1024
_MOST_TIMES = 100_000
_COMMENTS = "#"
_NAMES = ("Experiment", "pybamm.Experiment")
_CALL = re.compile(r"\bExperiment\s*\(")


@dataclass(frozen=True, slots=True)
class Times:
    """Nodes that are repeated."""

    times: int
    nodes: list[Node]
    place: Place
    cycle: bool = False
    """Whether it is a tuple: one cycle, however often its parts repeat."""


Node = Said | Times


@dataclass(slots=True)
class Experiment:
    """Steps in their groups, and what the experiment says of all of them."""

    nodes: list[Node]
    settings: dict[str, object] = field(default_factory=dict[str, object])
    places: dict[str, Place] = field(default_factory=dict[str, Place])


def read(content: bytes, task: Task) -> Experiment:
    """Understand the text; single steps that are wrong are in the findings.

    Raises:
        InputError: it is neither lines nor a list.
    """
    if len(content) > LARGEST:
        raise InputError(f"{task.file} is larger than {LARGEST >> 10} KiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{task.file} is not UTF-8 text") from error
    first = next((line for line in text.splitlines() if _bare(line)), "")
    if first.lstrip()[:1] in ("[", "(") or _CALL.search(text):
        return _Literal(text, task).experiment()
    return Experiment(_lines(text, task))


def _bare(line: str) -> str:
    return line.strip().partition(_COMMENTS)[0].strip()


def _lines(text: str, task: Task) -> list[Node]:
    """Quotes around a step and a comma behind it are allowed, as they come with copying."""
    nodes: list[Node] = []
    for number, line in enumerate(text.splitlines(), start=1):
        step = _bare(line).rstrip(",").strip().strip("\"'")
        if step:
            with task.findings.collecting():
                nodes.append(parse(step, task.place(number, line.index(step) + 1)))
    return nodes


class _Literal:
    """Walks Python's own parse of the text, which holds lists, tuples, texts, + and * only."""

    def __init__(self, text: str, task: Task) -> None:
        self._task = task
        self._text = text

    def experiment(self) -> Experiment:
        body = self._parsed()
        if not isinstance(body, ast.Call):
            return Experiment(self._nodes(body, 0))
        name = ast.unparse(body.func)
        if name not in _NAMES or len(body.args) != 1:
            raise self._refuse(body, f"{name[:40]}(…) is not an experiment")
        made = Experiment(self._nodes(body.args[0], 0))
        for word in body.keywords:
            made.settings[str(word.arg)] = self._plain(word.value)
            made.places[str(word.arg)] = self._place(word.value)
        return made

    def _parsed(self) -> ast.expr:
        try:
            return ast.parse(f"({self._text}\n)", mode="eval").body  # so that lines may be broken
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            if script := self._script():
                return script
            line = getattr(error, "lineno", None) or 1
            raise InputError(
                "this is neither lines of steps nor a Python list of them",
                place=self._task.place(line),
            ) from error

    def _script(self) -> ast.expr | None:
        """The experiment of a whole script; None where the text is none."""
        try:
            script = ast.parse(self._text)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return None
        calls = (node for node in ast.walk(script) if isinstance(node, ast.Call))
        found = [node for node in calls if ast.unparse(node.func) in _NAMES]
        if len(found) > 1:
            message = f"there are {len(found)} experiments in this script"
            place = self._task.place(found[1].lineno)
            raise InputError(message, place=place, remedy="leave one of them in the file")
        return found[0] if found else None

    def _plain(self, node: ast.expr) -> object:
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            raise self._refuse(node, "only plain values are allowed here") from error

    def _nodes(self, node: ast.expr, depth: int) -> list[Node]:
        refuse_too_deep(depth, self._place(node))
        if isinstance(node, (ast.List, ast.Tuple)):
            return [one for item in node.elts for one in self._member(item, depth)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return [one for part in _summands(node) for one in self._nodes(part, depth)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return [self._times(node, depth + 1)]
        raise self._refuse(node, "a list or a tuple of steps is expected")

    def _member(self, node: ast.expr, depth: int) -> list[Node]:
        """Of a list or tuple: a step, or a tuple, which is a cycle."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            with self._task.findings.collecting():
                return [parse(node.value, self._place(node))]
            return []
        return [Times(1, self._nodes(node, depth + 1), self._place(node), cycle=True)]

    def _times(self, node: ast.BinOp, depth: int) -> Node:
        inner, count = node.left, node.right
        if isinstance(inner, ast.Constant):
            inner, count = count, inner
        times = self._plain(count)
        if isinstance(times, bool) or not isinstance(times, int) or not 0 < times <= _MOST_TIMES:
            raise self._refuse(node, f"repeated by something else than 1 to {_MOST_TIMES}")
        return Times(times, self._nodes(inner, depth + 1), self._place(node))

    def _place(self, node: ast.expr) -> Place:
        column = node.col_offset if node.lineno == 1 else node.col_offset + 1
        return self._task.place(node.lineno, column)

    def _refuse(self, node: ast.expr, message: str) -> InputError:
        return InputError(message, place=self._place(node))


def _summands(node: ast.expr) -> list[ast.expr]:
    """Of a sum of any length, from left to right; without recursion."""
    found: list[ast.expr] = []
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        found.append(node.right)
        node = node.left
    return [node, *reversed(found)]
