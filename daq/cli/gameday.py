"""`daq gameday`: rehearses a data loss and a thermal alarm on a simulated bench.

A daemon of its own, on a bench of its own, in a folder of its own: nothing of a real lab is
touched. What it prints is what the journal and the simulated cell's ledger say afterwards, the
ledger being what the daemon cannot touch; an expectation that does not hold makes it exit with 1.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from daq.cli.output import Json, console, print_json
from daq.cli.rehearsal import (
    BENCH,
    CELL,
    POSITION,
    PROTOCOL,
    STATION,
    Moment,
    lab_text,
    lines,
    moments,
    same_rows,
)
from daq.cli.simulated import BenchSocket, Processes
from daq.cli.tables import print_table
from daq.clock import monotonic, wall
from daq.control.client import ControlClient
from daq.errors import DaqError
from daq.journal import JournalReader
from daq.model import EventKind

PATIENCE_S = 60.0
OFF_S = 5.0
"""The sentinel has so long; 3 s where nothing else keeps the machine busy."""
HOT_K = 45.0
T = TypeVar("T")


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    app.command()(gameday)


def gameday(
    keep: Annotated[
        Path | None, typer.Option(help="Keep journal, files and logs in this new folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Rehearse a data loss and a thermal alarm on a simulated bench; print what happened when."""
    with tempfile.TemporaryDirectory(prefix="daq-gameday-") as folder:
        here = keep or Path(folder)
        here.mkdir(parents=True, exist_ok=keep is None)
        day = _rehearse(here)
    _print(day, as_json=as_json)
    if not day.held:
        raise DaqError("not everything went as it must: see the lines marked FAILED")


def _rehearse(folder: Path) -> _Day:
    with Processes(folder) as processes:
        (folder / "bench.yaml").write_text(BENCH, encoding="utf-8")
        addresses = processes.start_bench(folder / "bench.yaml")
        (folder / "lab.yaml").write_text(lab_text(addresses), encoding="utf-8")
        bench = BenchSocket(addresses["control"])
        day = _Day(folder, processes, bench)
        try:
            day.rehearse()
        finally:
            bench.close()
        return day


@dataclass(slots=True)
class _Day:
    """The rehearsals, and what came of them."""

    folder: Path
    processes: Processes
    bench: BenchSocket
    began_s: float = field(default_factory=wall)
    found: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])
    timeline: list[Moment] = field(default_factory=list[Moment])
    by_hand: list[Moment] = field(default_factory=list[Moment])

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def held(self) -> bool:
        return all(ok for _, ok in self.found)

    def rehearse(self) -> None:
        self._start_daemon()
        run = self._start_run()
        try:
            self._data_loss(run)
            self._thermal_alarm()
            self._end(run)
        except _NotInTime as late:
            self._expect(str(late), False)
        found = [*moments(self.data, self._ledger()), *self.by_hand]
        self.timeline = sorted(found, key=lambda moment: moment.utc_s)

    # The rehearsals.

    def _data_loss(self, run: str) -> None:
        self._wait(lambda: self._records(run) >= 5, "five records are in the journal")
        before = self._records(run)
        struck_s = monotonic()
        self._do("kill -9 of the control process, in the middle of the charge")
        self.processes.kill_daemon()
        self._wait(lambda: not self._on(), "the output is OFF")
        took_s = self._ledger()["edges"][-1]["real_s"] - struck_s
        self._expect(f"the sentinel switched OFF, {took_s:.2f} s after the kill", took_s < OFF_S)
        self._start_daemon()
        seen = self._station()
        there = (seen["run"], seen["mode"]) == (run, "paused")
        self._expect("the run is there again, and waits for an operator", there)
        self._expect("nothing was energised by the restart", not self._on())
        self._expect(f"no record of the {before} was lost", self._records(run) >= before)
        self._expect("the gap is marked", bool(self._events(EventKind.GAP)))
        self._expect("an alarm says that the sentinel acted", "sentinel-acted" in self._open())
        self._must("resume")
        self._wait(self._on, "the run goes on")
        self._wait(lambda: self._records(run) >= before + 5, "records come again")
        self._expect("the alarm that the run waits is over", "run-waits" not in self._open())

    def _thermal_alarm(self) -> None:
        self._do(f"the thermometer of the cell reads {HOT_K:g} K more")
        heat = {"kind": "offset", "quantity": "temperature_degC", "by": HOT_K}
        struck_s = monotonic()
        self.bench.ask("fault", instrument="mk56", **heat)
        self._wait(lambda: not self._on(), "the output is OFF")
        took_s = self._ledger()["edges"][-1]["real_s"] - struck_s
        self._expect(f"OFF, {took_s:.2f} s after the first hot reading", took_s < OFF_S)
        seen = self._wait(lambda: self._tripped(), "the trip is latched")
        self._expect(f"it is latched: {seen['message']}", seen["check"] in ("T1", "T3"))
        cause = f"trip-{seen['check']}"
        self._wait(lambda: cause in self._open(), "the alarm is open")
        refused = self._call("clear", reason="gameday: while it is hot")
        self._expect(f"clear is refused while it is hot: {refused}", bool(refused))
        refused = self._call("resume")
        self._expect("resume is refused while it is latched", bool(refused))
        self._do("it has cooled down")
        self.bench.ask("clear_faults")
        self._must("clear", reason="gameday: it has cooled down")
        self._expect("clearing energised nothing", not self._on())
        self._wait(lambda: cause not in self._open(), "the alarm is over")
        self._must("resume")
        self._wait(self._on, "the run goes on")

    def _end(self, run: str) -> None:
        self._must("stop")
        self._expect("stop answers when the output is OFF", not self._on())
        path = self.data / "runs" / f"{run}.h5"
        self._wait(path.exists, "the recorder has closed the file")
        count, same = same_rows(self.data, run)
        self._expect(f"the file has the journal's {count} rows, bit for bit", same)

    # Looking, doing, expecting.

    def _start_daemon(self) -> None:
        self.processes.start_daemon(self.folder / "lab.yaml")

        def ready() -> bool:
            self.processes.check()
            seen = self._station()
            return bool(seen) and seen["mode"] != "offline" and seen["voltage_V"] is not None

        self._wait(ready, "the daemon is up and its instruments answer")

    def _start_run(self) -> str:
        arguments = {"text": PROTOCOL, "name": "rehearsal.yaml", "cell": CELL}
        run = str(self._must("start", **arguments)["run"])
        self._wait(self._on, "the charge has begun")
        return run

    def _call(self, verb: str, **arguments: Any) -> str:
        """Give a command; why it was refused, empty when it was done."""
        reply = ControlClient(self.data).call(verb, STATION, **arguments)
        return reply.reason if reply.state != "done" else ""

    def _must(self, verb: str, **arguments: Any) -> Mapping[str, Any]:
        """Give a command until it is done: some are refused for a moment, on purpose."""
        client = ControlClient(self.data)

        def done() -> Mapping[str, Any]:
            reply = client.call(verb, STATION, **arguments)
            return {"done": True, **reply.data} if reply.state == "done" else {}

        return self._wait(done, f"{verb} is done", every_s=0.5)

    def _station(self) -> Mapping[str, Any]:
        try:
            return ControlClient(self.data).call("status").data["stations"][STATION]
        except (DaqError, KeyError):
            return {}

    def _tripped(self) -> Mapping[str, Any]:
        return self._station().get("trip") or {}

    def _open(self) -> set[str]:
        found = ControlClient(self.data).call("alarms").data["alarms"]
        return {alarm["cause"] for alarm in found}

    def _events(self, kind: EventKind) -> list[Any]:
        with JournalReader(self.data / "journal.sqlite") as journal:
            return journal.events(kinds=frozenset({kind}))

    def _records(self, run: str) -> int:
        with JournalReader(self.data / "journal.sqlite") as journal:
            return sum(len(batch) for batch in journal.record_rows(run))

    def _ledger(self) -> Mapping[str, Any]:
        return self.bench.ask("ledger", position=POSITION)["ledger"]

    def _on(self) -> bool:
        """Whether current can flow, as the cell itself knows."""
        edges = self._ledger()["edges"]
        return bool(edges) and bool(edges[-1]["on"])

    def _do(self, what: str) -> None:
        self.by_hand.append(Moment(wall(), "you", what))

    def _expect(self, what: str, held: bool) -> None:
        self.found.append((what, held))

    def _wait(self, look: Callable[[], T], what: str, every_s: float = 0.05) -> T:
        deadline = monotonic() + PATIENCE_S
        while monotonic() < deadline:
            if found := look():
                return found
            time.sleep(every_s)
        raise _NotInTime(f"{what} (not within {PATIENCE_S:g} s)")


class _NotInTime(Exception):  # noqa: N818 - it is caught a few lines above
    """What was waited for did not come."""


def _print(day: _Day, *, as_json: bool) -> None:
    rows = lines(day.timeline, day.began_s)
    if as_json:
        print_json(
            {
                "held": day.held,
                "timeline": [{"s": float(at), "who": who, "what": what} for at, who, what in rows],
                "expectations": [{"what": what, "held": held} for what, held in day.found],
            }
        )
        return
    print_table(("s", "who", "what"), rows)
    console().print()
    print_table(("", "expected"), [("ok" if held else "FAILED", what) for what, held in day.found])
