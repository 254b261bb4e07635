"""Names in a protocol: labels, the gotos that look for them, and what steps keep under a name."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, fields
from typing import Self

from daq.errors import InputError, Place
from daq.filemodel import nearest
from daq.protocol.clause import Clause
from daq.protocol.condition import Past, Quantity
from daq.protocol.program import Target

_ELSE = "else"


@dataclass(slots=True)
class _Goto:
    number: int  # in `targets`
    at: int  # index of the instruction that goes
    place: Place


@dataclass(slots=True)
class _List:
    """One list of steps."""

    labels: dict[str, int] = field(default_factory=dict[str, int])
    waiting: list[_Goto] = field(default_factory=list[_Goto])


@dataclass(slots=True)
class Scopes:
    """Resolves the names of one program.

    Attributes:
        targets: where the gotos lead; final when every list has ended.
        jumps: of each goto that goes back: index of what goes, number of the target.
        saved: names under which steps keep something.
        knows_soc: a step says what the state of charge is.
    """

    targets: list[Target] = field(default_factory=list[Target])
    jumps: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    saved: set[str] = field(default_factory=set[str])
    knows_soc: bool = False
    _lists: list[_List] = field(default_factory=list[_List])
    _within: set[str] = field(default_factory=set[str])  # labels of lists that have ended
    _used: list[tuple[str, Place]] = field(default_factory=list[tuple[str, Place]])
    _soc_used: list[Place] = field(default_factory=list[Place])

    def copy(self) -> Self:
        """To go back to."""
        return deepcopy(self)

    def restore(self, kept: Self) -> None:
        """Forget what came since `copy`."""
        for one in fields(self):
            setattr(self, one.name, getattr(kept, one.name))

    # Labels.

    @contextmanager
    def list_of_steps(self, *, closed: bool = False) -> Generator[None]:
        """A list; its gotos look in it, then in those around it.

        Args:
            closed: the list of a file: nothing is looked for beyond it.

        Raises:
            InputError: a label that a goto looks for is not there.
        """
        self._lists.append(_List())
        yield
        ended = self._lists.pop()
        for goto in ended.waiting:
            self._resolve(goto, ended, closed=closed)
        self._within |= ended.labels.keys()

    def label(self, name: str, index: int) -> bool:
        """Note a label; False when one of that name can be seen from here."""
        if any(name in around.labels for around in self._lists):
            return False
        self._lists[-1].labels[name] = index
        return True

    def goto(self, label: str, times: int, at: int, place: Place) -> int:
        """Note a goto; the number of its target."""
        self.targets.append(Target(label, -1, times))
        number = len(self.targets) - 1
        self._lists[-1].waiting.append(_Goto(number, at, place))
        return number

    def _resolve(self, goto: _Goto, ended: _List, *, closed: bool) -> None:
        target = self.targets[goto.number]
        index = ended.labels.get(target.label)
        if index is None and not closed:
            self._lists[-1].waiting.append(goto)
            return
        if index is None:
            raise self._no_label(target.label, goto.place, ended)
        back = index <= goto.at
        if back and not target.times:
            message, remedy = "this goto goes back, maybe for ever", "say how often: `times: 10`"
            raise InputError(message, place=goto.place, remedy=remedy)
        self.targets[goto.number] = Target(target.label, index, target.times if back else 0)
        if back:
            self.jumps.append((goto.at, goto.number))

    def _no_label(self, label: str, place: Place, ended: _List) -> InputError:
        if label in self._within:
            message = f"no label {label!r} here: it is within a loop, a branch or another file"
            return InputError(message, place=place, remedy="a goto leaves these, and enters none")
        remedy = nearest(label, ended.labels) or "give a step `label:` of that name"
        return InputError(f"no label {label!r}", place=place, remedy=remedy)

    # The jump over an `else`, which has no label.

    def jump_over(self) -> int:
        """A target that `land` will set."""
        self.targets.append(Target(_ELSE, -1))
        return len(self.targets) - 1

    def land(self, number: int, index: int) -> None:
        """Where it leads."""
        self.targets[number] = Target(_ELSE, index)

    # References.

    def use(self, clauses: Iterable[Clause], place: Place) -> None:
        """Note what conditions look at."""
        for part in (part for clause in clauses for part in clause.every()):
            found = (part.reference, part.left)
            self._used += [(ref.name, place) for ref in found if ref and ref.past is Past.SAVED]
            if part.quantity is Quantity.SOC:
                self._soc_used.append(place)

    def use_name(self, name: str, place: Place) -> None:
        """Note a name of something saved."""
        self._used.append((name, place))

    def check_references(self) -> None:
        """When all is compiled.

        Raises:
            InputError: nothing keeps what a condition looks at.
        """
        for name, place in self._used:
            if name not in self.saved:
                remedy = nearest(name, self.saved) or f"give a step `save: {name}`"
                raise InputError(f"no step saves {name!r}", place=place, remedy=remedy)
        if self._soc_used and not self.knows_soc:
            message, remedy = "no step says what the state of charge is", "give one `soc: 100 %`"
            raise InputError(message, place=self._soc_used[0], remedy=remedy)
