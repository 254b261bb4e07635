"""What two versions of a protocol do differently, whatever they look like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from math import inf
from typing import Any

from daq import units
from daq.checks import Checks
from daq.errors import UnitError
from daq.protocol.condition import Exit, Goes
from daq.protocol.program import Instruction, Leave, Step
from daq.review.aspects import Aspect, Needs, is_bracket, kind_of, limits_text, record_text
from daq.review.compared import Version
from daq.review.flow import conditions_of


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs.

    Attributes:
        what: "step", "repeat", "parameter", "safety" ...
        name: which one.
        old, new: what it was and is; empty where it is not there.
        old_line, new_line: in the files; 0: nowhere.
    """

    what: str
    name: str
    old: str
    new: str
    needs: Needs
    old_line: int = 0
    new_line: int = 0

    def document(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "what": self.what,
            "name": self.name,
            "old": self.old,
            "new": self.new,
            "old_line": self.old_line or None,
            "new_line": self.new_line or None,
            "raises": RAISES[self.needs],
        }


RAISES = {Needs.NOTHING: None, Needs.THIRD: "third", Needs.SECOND: "second", Needs.FIRST: "first"}
_DIFFERENT, _ADDED = Needs.FIRST, Needs.SECOND


def differences(old: Version, new: Version) -> list[Difference]:
    """Everything that differs in meaning: the whole first, then the steps in their order."""
    return [*_whole(old, new), *_parameters(old, new), *_instructions(old, new)]


# The whole.


def _whole(old: Version, new: Version) -> Iterator[Difference]:
    pairs = (
        ("protocol", "name", old.source.model.protocol, new.source.model.protocol, Needs.FIRST),
        ("protocol", "resume", old.source.model.resume, new.source.model.resume, Needs.THIRD),
        ("record", "", _rule(old), _rule(new), Needs.THIRD),
        ("safety", "limits", limits_text(old.safety), limits_text(new.safety), Needs.THIRD),
        ("safety", "time and cycles", _bounds(old), _bounds(new), Needs.THIRD),
        ("safety", "checks", _checks(old), _checks(new), Needs.THIRD),
    )
    for what, name, before, after, needs in pairs:
        if before != after:
            yield Difference(what, name, before, after, needs)


def _rule(version: Version) -> str:
    return record_text(asdict(version.rule))


def _bounds(version: Version) -> str:
    safety = version.source.model.safety
    said = [f"{safety.time:g} s"] if safety.time else []
    return ", ".join([*said, *([f"{safety.cycles} cycles"] if safety.cycles else [])])


def _checks(version: Version) -> str:
    return _thresholds(version.compiled.program.checks)


def _thresholds(checks: Checks) -> str:
    given = ((name, value) for name, value in asdict(checks).items() if value not in (inf, 0.0))
    return ", ".join(f"{name} {value:g}" for name, value in given)


def _parameters(old: Version, new: Version) -> Iterator[Difference]:
    """What a value does stands at the steps; here it is a promise to whoever starts a run."""
    before, after = old.source.parameters, new.source.parameters
    for name in sorted(before.keys() - after.keys()):
        yield Difference("parameter", name, str(before[name]), "", _DIFFERENT)
    for name in sorted(after.keys() - before.keys()):
        yield Difference("parameter", name, "", str(after[name]), _ADDED)
    for name in sorted(before.keys() & after.keys()):
        if _meant(before[name]) != _meant(after[name]):
            shown = str(before[name]), str(after[name])
            yield Difference("parameter", name, *shown, Needs.THIRD)


def _meant(value: str | int | float) -> Any:
    """A quantity however it is written; anything else as it is."""
    try:
        amount = units.parse_any(value, *units.KINDS)
    except UnitError:
        return value
    return f"{amount.value:.12g}", amount.kind


# The instructions.


def _instructions(old: Version, new: Version) -> Iterator[Difference]:
    same: dict[int, int] = {}  # index before -> index after
    found: list[Difference] = []
    for before, after in _paired(old, new):
        if before is not None and after is not None:
            same[before] = after
            found += _changed(old, new, before, after)
        elif before is not None and not is_bracket(old.compiled.program.instructions[before]):
            found.append(_gone(old, before))
        elif after is not None and not is_bracket(new.compiled.program.instructions[after]):
            found.append(_come(new, after))
    yield from found
    yield from _led_elsewhere(old, new, same)


def _paired(old: Version, new: Version) -> Iterator[tuple[int | None, int | None]]:
    """Which instruction has become which: first those that mean the same, then those of a kind."""
    before = [old.fingerprint(index) for index in _indices(old)]
    after = [new.fingerprint(index) for index in _indices(new)]
    for tag, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            yield from zip(range(a, b), range(c, d), strict=True)
        else:
            kinds = [one[0] for one in before[a:b]], [one[0] for one in after[c:d]]
            yield from _by_kind(kinds, a, c)


def _by_kind(
    kinds: tuple[list[str], list[str]], a: int, c: int
) -> Iterator[tuple[int | None, int | None]]:
    for tag, i, j, k, m in SequenceMatcher(None, *kinds, autojunk=False).get_opcodes():
        if tag == "equal":
            yield from zip(range(a + i, a + j), range(c + k, c + m), strict=True)
            continue
        yield from ((index, None) for index in range(a + i, a + j))
        yield from ((None, index) for index in range(c + k, c + m))


def _indices(version: Version) -> range:
    return range(len(version.compiled.program.instructions))


def _named(version: Version, index: int) -> tuple[str, str]:
    item = version.compiled.program.instructions[index]
    return ("step", f"{item.number}") if isinstance(item, Step) else (kind_of(item).lower(), "")


def _gone(old: Version, index: int) -> Difference:
    what, name = _named(old, index)
    return Difference(what, name, old.text(index), "", _DIFFERENT, old.line(index))


def _come(new: Version, index: int) -> Difference:
    what, name = _named(new, index)
    return Difference(what, name, "", new.text(index), _ADDED, 0, new.line(index))


def _changed(old: Version, new: Version, before: int, after: int) -> Iterator[Difference]:
    was, is_ = old.aspects(before), new.aspects(after)
    what, number = _named(new, after)
    for name in dict.fromkeys([*was, *is_]):
        one, other = was.get(name), is_.get(name)
        if one is None or other is None or one.key == other.key:
            continue
        shown = one.shown, other.shown
        if shown[0] == shown[1]:
            shown = f"{shown[0]}", f"{shown[1]} (other values)"
        lines = old.line(before), new.line(after)
        yield Difference(what, f"{number} {name}".strip(), *shown, _raises(one), *lines)


def _raises(was: Aspect) -> Needs:
    """What others look for, and has gone or changed, is more than what is added."""
    gone = was.needs is Needs.SECOND and was.shown
    return Needs.FIRST if gone else was.needs


def _led_elsewhere(old: Version, new: Version, same: dict[int, int]) -> Iterator[Difference]:
    """Gotos of the same instruction that lead to another one."""
    for before, after in same.items():
        pairs = zip(_gotos(old, before), _gotos(new, after), strict=False)
        for (was, times, label), (is_, again, other) in pairs:
            at_end = was == len(_indices(old)), is_ == len(_indices(new))
            if times == again and (all(at_end) or (not any(at_end) and same.get(was) == is_)):
                continue
            what, number = _named(new, after)
            shown = _goto(label, times), _goto(other, again)
            lines = old.line(before), new.line(after)
            yield Difference(what, f"{number} goto".strip(), *shown, Needs.FIRST, *lines)


def _goto(label: str, times: int) -> str:
    return f"{label}, {times} times" if times else label


def _gotos(version: Version, index: int) -> list[tuple[int, int, str]]:
    program = version.compiled.program
    ways = [goes for goes in _ways(program.instructions[index]) if goes.exit is Exit.GOTO]
    targets = [program.targets[goes.target] for goes in ways]
    return [(target.index, target.times, target.label) for target in targets]


def _ways(item: Instruction) -> list[Goes]:
    if isinstance(item, Leave):
        return [item.goes]
    return [one.goes for one in conditions_of(item) if one.goes]
