"""Settings of BioLogic instruments (`.mps`, the technique Modulo Bat) -> ours.

Written against beep's `formationV1.mps` (BT-Lab) and what aurora-unicycler writes (EC-Lab). The
file is a table, a sequence a column of 20 characters. Sequences count from 0. `ctrl_repeat` counts
the passes after the first. In BT-Lab a current is a magnitude and `charge/discharge` its direction;
in EC-Lab its sign is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from daq.errors import InputError, Place
from daq.protocol.exchange import saying, times
from daq.protocol.exchange.biologic_table import PREFIX, Table
from daq.protocol.exchange.bounds import rounded
from daq.protocol.exchange.draft import Draft, Drive, Step, Task, When, name_from
from daq.protocol.exchange.ends import end_at_voltage, finish
from daq.protocol.exchange.flow import Loop, nest, resolve
from daq.protocol.exchange.safety import span

LARGEST = 1 << 20
_HEADER = re.compile(r"(BT|EC)-LAB SETTING FILE")
_CAPACITY = re.compile(r"Battery capacity : (\d+\.?\d*) (µ|m|)A\.h")
_LIMIT = re.compile(r"\s+(?:Ewe|Ecell) (min|max) = (-?\d+\.?\d*) V")
_VOLTAGES = ("Ecell", "Ewe")
_IGNORED = (
    *("E range min (V)", "E range max (V)", "I Range", "I Range min", "I Range max"),
    *("I Range init", "auto rest", "Bandwidth"),
)


def read(content: bytes, task: Task) -> Draft:
    """Draft a protocol.

    Raises:
        InputError: the file as a whole is not what is known here; single sequences are in the
            findings.
    """
    lines = _lines(content, task)
    match = _HEADER.fullmatch(lines[0].strip()) if lines else None
    if match is None:
        raise InputError(f"{task.file} is not a BioLogic settings file")
    start = _technique(lines, task)
    table = Table(lines[start:], start, task)
    capacity = _capacity_Ah(lines[:start])
    if task.capacity_Ah is None:
        task = replace(task, capacity_Ah=capacity)
    head = [f"From {task.file}, settings of {match[1]}-Lab."]
    draft = Draft(name_from(task.file.rpartition("/")[2].partition(".")[0]), head, [])
    draft.capacity_Ah = task.capacity_Ah
    draft.safety = _safety(lines[:start], task)
    draft.steps = _Builder(table, task, signed=match[1] == "EC").build()
    draft.share_record()
    return draft


def _lines(content: bytes, task: Task) -> list[str]:
    if len(content) > LARGEST:
        raise InputError(f"{task.file} is larger than {LARGEST >> 20} MiB")
    return content.decode("cp1252", "replace").replace("\r\n", "\n").split("\n")


def _technique(lines: list[str], task: Task) -> int:
    """Where the table of the only technique begins."""
    heads = [n for n, line in enumerate(lines) if line.startswith("Technique : ")]
    if len(heads) != 1:
        where = heads[1] + 1 if heads else 1
        raise InputError(
            f"{len(heads)} techniques; one is expected", place=task.place(where), remedy="split it"
        )
    name = lines[heads[0] + 1].strip() if heads[0] + 1 < len(lines) else ""
    if name != "Modulo Bat":
        raise InputError(
            f"the technique {name[:40]!r} has no counterpart",
            place=task.place(heads[0] + 2),
            remedy="Modulo Bat is known",
        )
    return heads[0] + 2


def _capacity_Ah(lines: list[str]) -> float | None:
    found = next((match for line in lines if (match := _CAPACITY.match(line))), None)
    return saying.scaled(float(found[1]), PREFIX[found[2]]) or None if found else None


def _safety(lines: list[str], task: Task) -> dict[str, list[str]]:
    ends: dict[str, float] = {}
    place = task.place()
    for number, line in enumerate(lines, start=1):
        if match := _LIMIT.match(line):
            ends[match[1]] = float(match[2])
            place = task.place(number)
        elif line.startswith("\t|I|"):
            what = line.strip()[:60]
            task.findings.leave(task.place(number), f"{what}: give it as a limit of the station")
    return span("voltage", ends.get("min"), ends.get("max"), place)


@dataclass(slots=True)
class _Builder:
    table: Table
    task: Task
    signed: bool
    way: str = ""

    def build(self) -> list[Step]:
        items: list[Step | Loop] = []
        for column in range(self.table.count):
            with self.task.findings.collecting():
                items.append(self._item(column))
        place = self.table.place("I Range", 0)
        self.task.findings.leave(place, f"{', '.join(_IGNORED)}: the instrument's own")
        if self.task.findings.refused:
            return [one for one in items if isinstance(one, Step)]
        steps = nest(items)
        resolve(steps, self.table.count, self.task)
        return steps

    def _item(self, column: int) -> Step | Loop:
        kind, place = self.table.cell("ctrl_type", column), self.table.place("ctrl_type", column)
        if kind == "Loop":
            return self._loop(column, place)
        if kind == "Rest":
            step = Step({"rest": ""}, place)
        elif kind == "CC":
            step = self._current(column, place)
        elif kind == "CV":
            step = self._voltage(column, place)
        elif kind == "VS":
            step = self._scan(column, place)
        else:
            raise InputError(f"the control {kind[:20]!r} has no counterpart", place=place)
        step.index = column
        step.origin = f"sequence {column}"
        if kind != "VS":
            self._ends(step, column)
        if rule := self._record(column):
            step.more["record"] = rule
        return step

    def _loop(self, column: int, place: Place) -> Loop:
        start = self.table.whole("ctrl_seq", column)
        if start >= column:
            raise InputError("the loop goes forwards", place=self.table.place("ctrl_seq", column))
        total = self.table.whole("ctrl_repeat", column) + 1
        return Loop(column, start, total, place)

    def _current(self, column: int, place: Place) -> Step:
        drive, signed = self._drive(column)
        said = self.table.cell("charge/discharge", column)
        way = {"Charge": "charge", "Discharge": "discharge"}.get(said, "")
        if not signed or drive.value < 0:
            way = "discharge" if drive.value < 0 else way
        elif way == "discharge":
            raise InputError(
                "a positive current that is called a discharge",
                place=self.table.place("charge/discharge", column),
                remedy="give the current its sign",
            )
        if not way or drive.value == 0:
            raise InputError(f"which way does {said[:20]!r} flow?", place=place)
        self.way = way
        drive = Drive(abs(drive.value), drive.unit)
        return Step({way: str(drive)}, place, drive=drive)

    def _drive(self, column: int) -> tuple[Drive, bool]:
        """The current, and whether its sign means anything."""
        applied = self.table.cell("Apply I/C", column)
        if applied == "I":
            self._absolute(column)
            return Drive(self.table.scaled("ctrl1_val", column, "A"), "A"), self.signed
        factor = self.table.number("N", column)
        if applied not in ("C / N", "C x N") or not 0 < factor < 1e6:
            message = f"a current applied as {applied[:20]!r}"
            raise InputError(message, place=self.table.place("Apply I/C", column))
        return Drive(1.0 / factor if applied == "C / N" else factor, "C"), False

    def _absolute(self, column: int, number: int = 1) -> None:
        against = self.table.cell(f"ctrl{number}_val_vs", column)
        if against not in ("", "<None>", "Ref"):
            message = f"a value against {against[:20]!r}"
            raise InputError(message, place=self.table.place(f"ctrl{number}_val_vs", column))

    def _voltage(self, column: int, place: Place) -> Step:
        self._absolute(column)
        said = self.table.cell("charge/discharge", column).lower()
        if not self.signed and said != self.way:
            raise InputError(
                f"a {said[:20]} at a voltage after no {said[:20]}",
                place=place,
                remedy="a hold of ours goes the way of the step before",
            )
        return Step({"hold": saying.voltage(self.table.scaled("ctrl1_val", column, "V"))}, place)

    def _scan(self, column: int, place: Place) -> Step:
        if self.table.cell("ctrl1_val_unit", column) != "mV/s":
            raise InputError("a rate in mV/s is expected", place=place)
        self._absolute(column, 2)
        self._absolute(column, 3)
        rate = self.table.number("ctrl1_val", column)
        start, end = (self.table.scaled(f"ctrl{n}_val", column, "V") for n in (2, 3))
        if not 0 < rate < 1e6 or start == end or max(abs(start), abs(end)) > 1000.0:
            raise InputError("a scan needs two different voltages and a rate", place=place)
        keys = {"voltage": saying.voltage(end), "from": saying.voltage(start)}
        keys["rate"] = f"{saying.number(rate)} mV/s"
        longest_s = rounded(1.05 * abs(end - start) / saying.scaled(rate, -3) + 60.0)
        return Step({"ramp": keys}, place, at_most=saying.duration(longest_s))

    def _ends(self, step: Step, column: int) -> None:
        time: tuple[float, When] | None = None
        least: Drive | None = None
        for number in range(1, self.table.whole("lim_nb", column) + 1):
            name = f"lim{number}"
            kind, sign = (self.table.cell(f"{name}_{part}", column) for part in ("type", "comp"))
            when = self._when(name, column)
            if kind == "Time" and sign == ">" and time is None:
                time = self._seconds(f"{name}_value", column), when
            elif kind in _VOLTAGES and sign in ("<", ">"):
                volts = self.table.scaled(f"{name}_value", column, "V")
                end_at_voltage(step, volts, sign == ">", when, self.task)
            elif kind in ("I", "|I|") and "hold" in step.keys and self._falls(name, column):
                least = Drive(abs(self.table.scaled(f"{name}_value", column, "A")), "A")
                step.until.append(When(f"current <= {least}", when.to, when.goes))
            else:
                place = self.table.place(f"{name}_type", column)
                raise InputError(
                    f"the limit {kind[:20]} {sign[:4]} has no counterpart", place=place
                )
        finish(step, time, least, self.task)

    def _falls(self, name: str, column: int) -> bool:
        """Whether the magnitude of the current has fallen to the limit; a discharge is negative."""
        sign = self.table.cell(f"{name}_comp", column)
        magnitude = self.table.cell(f"{name}_type", column) == "|I|"
        negative = not magnitude and self.table.number(f"{name}_value", column) < 0
        return sign == (">" if negative else "<")

    def _seconds(self, name: str, column: int) -> float:
        text = f"{self.table.cell(name, column)} {self.table.cell(f'{name}_unit', column)}"
        found = times.seconds(text)
        if found is None:
            message = f"{text[:30]!r} is not a duration"
            raise InputError(message, place=self.table.place(name, column))
        return found

    def _when(self, name: str, column: int) -> When:
        action = self.table.cell(f"{name}_action", column)
        if action == "Stop":
            return When("", goes=("end", "run"))
        if action == "Next sequence":
            return When("")
        if action == "Goto sequence":
            return When("", self.table.whole(f"{name}_seq", column))
        place = self.table.place(f"{name}_action", column)
        raise InputError(f"the action {action[:20]!r} has no counterpart", place=place)

    def _record(self, column: int) -> dict[str, str]:
        rule: dict[str, str] = {}
        text = self.table.cell("rec_nb", column)
        for number in range(1, (self.table.whole("rec_nb", column) if text else 0) + 1):
            name = f"rec{number}"
            kind = self.table.cell(f"{name}_type", column)
            if kind == "Time":
                rule["every"] = saying.duration(self._seconds(f"{name}_value", column))
            elif kind in _VOLTAGES:
                rule["voltage"] = saying.voltage(self.table.scaled(f"{name}_value", column, "V"))
            elif kind == "I":
                rule["current"] = saying.current(self.table.scaled(f"{name}_value", column, "A"))
            else:
                place = self.table.place(f"{name}_type", column)
                raise InputError(f"a record by {kind[:20]!r} has no counterpart", place=place)
        return rule
