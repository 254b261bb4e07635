"""`daq demo`: the main job, from nothing to four formed cells, on a simulated bench.

It starts two processes and talks to them as anybody would: a bench of simulated instruments on
real sockets and ptys, and the daemon on a lab file. What the daemon does is not told that the
instruments are simulated; only the lab file's clock runs faster.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from daq.cli import watch
from daq.cli.output import Json, console, near, print_json
from daq.cli.simulated import Processes
from daq.cli.tables import print_table
from daq.config import Lab
from daq.control.client import ControlClient
from daq.errors import DaqError, InputError
from daq.labreader import load_lab
from daq.model import Reply

COME_UP_S = 30.0
LONGEST_S = 300.0
CLOSE_S = 30.0
REFRESH_S = 0.25
FORMATIONS = {"LFP": "formation-lfp.yaml"}
FORMATION = "formation-nmc-graphite.yaml"


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    app.command()(demo)


def demo(
    lab: Annotated[Path, typer.Option(help="The lab file.")] = Path("config/demo.yaml"),
    bench: Annotated[Path, typer.Option(help="The bench file.")] = Path("config/demo-bench.yaml"),
    as_json: Json = False,
) -> None:
    """Form four simulated cells in accelerated time, and show what came out."""
    if not lab.is_file() or not bench.is_file():
        raise InputError(f"{lab} or {bench} is missing", remedy="run it in the project's folder")
    loaded = load_lab(lab)
    _clean(loaded.data)
    began = time.monotonic()
    word = "interrupted"
    try:
        with Processes(loaded.data) as processes:
            processes.start_bench(bench)
            processes.start_daemon(lab)
            files = _Demo(loaded, ControlClient(loaded.data), processes, as_json).run()
            if not as_json:
                _show(files)
        word = "done"
    finally:
        _check_ledger(loaded.data / "ledger.json")
        took_s = time.monotonic() - began
        if not as_json:
            console().print(f"{word} after {took_s:.0f} s; every output is OFF, as the cells know")
    if as_json:
        print_json({"stations": _result(files), "took_s": took_s})


def _clean(data: Path) -> None:
    """Forget an earlier demo; refuse to touch a folder that is not one."""
    if data.exists() and any(data.iterdir()):
        if not (data / "lock").exists():
            raise DaqError(f"{data} is not empty and is not from a demo", remedy="move it away")
        shutil.rmtree(data)
    data.mkdir(parents=True, exist_ok=True)


def _check_ledger(path: Path) -> None:
    """What the simulated cells saw, which the daemon cannot touch."""
    if not path.exists():  # the bench had not begun
        return
    for cell, ledger in json.loads(path.read_text()).items():
        if ledger["edges"] and ledger["edges"][-1]["on"]:
            raise DaqError(f"the output at {cell} is still ON", remedy=f"see {path}")


@dataclass(slots=True)
class _Demo:
    lab: Lab
    client: ControlClient
    processes: Processes
    quiet: bool

    def run(self) -> Mapping[str, Path]:
        """Form every cell; station -> file of its run."""
        stations = self._online()
        broker = self._broker()
        if not self.quiet:
            console().print(f"{len(stations)} stations are online; the broker: {broker}")
        runs = {name: self._start(name, cell) for name, cell in self._cells().items()}
        self._follow()
        return {name: self._closed(run) for name, run in runs.items()}

    def _cells(self) -> Mapping[str, str]:
        return dict(zip(self.lab.stations, self.lab.cells, strict=True))

    def _start(self, station: str, cell: str) -> str:
        chemistry = self.lab.cells[cell].chemistry
        protocol = next((file for key, file in FORMATIONS.items() if key in chemistry), FORMATION)
        path = self.lab.protocols / protocol
        arguments = {"text": path.read_text(), "name": path.name, "cell": cell}
        reply = self.client.call("start", station, **arguments, operator="demo")
        if reply.state != "done":
            raise DaqError(f"{station}: {reply.reason}")
        return str(reply.data["run"])

    def _online(self) -> list[str]:
        def ready() -> list[str]:
            stations = self._status()["stations"]
            return list(stations) if all(map(_is_idle, stations.values())) else []

        return _wait(ready, COME_UP_S, "the stations did not come online", self.processes.check)

    def _broker(self) -> str:
        path = self.lab.data / "broker.json"

        def found() -> str:
            return str(json.loads(path.read_text())["url"]) if path.exists() else ""

        return _wait(found, COME_UP_S, "the broker did not start", self.processes.check)

    def _follow(self) -> None:
        deadline = time.monotonic() + LONGEST_S
        data = self._status()
        shown: dict[str, Mapping[str, Any]] = {}
        with nullcontext() if self.quiet else watch.live(data) as display:
            while any(station["run"] for station in data["stations"].values()):
                self.processes.check()
                time.sleep(REFRESH_S)
                data = self._status()
                _raise_if_stuck(data["stations"], deadline)
                _remember(shown, data["stations"])
                if display:
                    display.update(watch.table({**data, "stations": shown}))

    def _closed(self, run: str) -> Path:
        path = self.lab.data / "runs" / f"{run}.h5"
        message = f"{path} was not written"
        _wait(path.exists, CLOSE_S, message, self.processes.check)
        return path

    def _status(self) -> Mapping[str, Any]:
        return _wait(self._ask, COME_UP_S, "the daemon does not answer", self.processes.check)

    def _ask(self) -> Mapping[str, Any]:
        try:
            reply: Reply = self.client.call("status")
        except DaqError:
            return {}
        return reply.data


def _is_idle(station: Mapping[str, Any]) -> bool:
    return station["mode"] == "idle" and station["temperature_degC"] is not None


def _remember(
    shown: dict[str, Mapping[str, Any]], stations: Mapping[str, Mapping[str, Any]]
) -> None:
    """What the display shows: a station whose run has ended keeps its last line."""
    for name, station in stations.items():
        if station["run"] or name not in shown:
            shown[name] = station
        else:
            over = {"mode": "done", "why": "", "progress": 1.0, "remaining_s": 0.0}
            shown[name] = {**shown[name], **over}


def _raise_if_stuck(stations: Mapping[str, Mapping[str, Any]], deadline: float) -> None:
    for name, station in stations.items():
        if trip := station["trip"]:
            raise DaqError(f"{name} tripped: {trip['check']}: {trip['message']}")
        if station["mode"] == "paused":
            raise DaqError(f"{name} is paused: {station['why']}")
    if time.monotonic() > deadline:
        raise DaqError(f"the runs did not end within {LONGEST_S:g} s")


def _wait(
    look: Callable[[], Any], timeout_s: float, message: str, check: Callable[[], None]
) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := look()):
        check()
        if time.monotonic() > deadline:
            raise DaqError(message)
        time.sleep(0.05)
    return found


def _result(files: Mapping[str, Path]) -> dict[str, Any]:
    from daq.recorder.cycles import cycle_table

    return {
        station: {
            "file": path,
            "picture": _picture(path),
            "cycles": [asdict(cycle) for cycle in cycle_table(path)],
        }
        for station, path in files.items()
    }


def _show(files: Mapping[str, Path]) -> None:
    _show_cycles(files)
    for path in files.values():
        console().print(f"[green]{near(path)}[/]")
        console().print(f"[green]{near(_picture(path))}[/]")


def _picture(path: Path) -> Path:
    from daq.recorder.plot import plot  # HDF5 stays out of every process that need not have it

    return plot(path, path.with_suffix(".png"))


def _show_cycles(files: Mapping[str, Path]) -> None:
    from daq.recorder.cycles import cycle_table

    rows: list[tuple[Any, ...]] = []
    for station, path in files.items():
        for row in cycle_table(path):
            rows.append(
                (
                    station,
                    row.cycle,
                    f"{row.charge_Ah:.4f}",
                    f"{row.discharge_Ah:.4f}",
                    f"{100 * row.coulombic_efficiency:.2f} %",
                    f"{row.end_of_charge_V:.3f}",
                    f"{row.end_of_discharge_V:.3f}",
                )
            )
    headings = ("station", "cycle", "charge / Ah", "discharge / Ah", "efficiency",
                "full / V", "empty / V")  # fmt: skip
    print_table(headings, rows, "cycles")
