"""How fast the gateway catches up after an outage, what it costs, and how soon it is live again.

    python -m bench.backfill                          # a hundredth of a week of 64 stations at 1 Hz
    python -m bench.backfill --rows 38707200          # the week: 5 GB of disk, about 40 minutes
    python -m bench.backfill --broker embedded

The gateway, the broker and the journal are the real ones; the journal is filled by its own
statements while the line between gateway and broker is cut. A collector stays subscribed at the
broker all the while and keeps account of every sequence number.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from math import nan
from pathlib import Path
from typing import Any

from bench.collector import Collector
from bench.processes import cpu_s, end_in_order, rss_mb
from daq.gateway.broker import find_mosquitto
from daq.journal import Journal
from daq.journal.tables import INSERT_EVENT, INSERT_RECORD, event_row, open_for_writing, record_row
from daq.model import Event, EventKind, Record
from simulators.line import Line

STATIONS = 64
WEEK = 7 * 24 * 3600 * STATIONS
EVENT_EVERY = 600
CHUNK = 500_000
PATIENCE_S = 60.0
SETTLE_S = 5.0
LIVE_S = 1.0
LAB = "bench"


@dataclass(frozen=True, slots=True)
class Caught:
    """How a back-fill went.

    Attributes:
        rows: Entries that were missed.
        rows_per_s: Of them, from the return of the broker to the last one at the collector.
        live_again_s: From the return to the first live batch that is not older than a second.
        live_age_p99_s: How old live batches were while history was being filled; 64 stations, 1 Hz.
        rss_growth_mb: Most memory of the gateway after the cut, above what it held before it.
        cpu_us_per_row: Processor time of the gateway, of the broker.
        missing: Entries that never came.
        disordered: Entries of history that came after a later one of their station.
        unlinked: Messages whose `previous_seq` is not what came before.
        repeated: Entries that came twice.
    """

    rows: int
    rows_per_s: float
    live_again_s: float
    live_age_p99_s: float
    rss_growth_mb: float
    broker_rss_growth_mb: float
    cpu_us_per_row: dict[str, float]
    missing: int
    disordered: int
    unlinked: int
    repeated: int

    @property
    def whole(self) -> bool:
        """Nothing lost, order kept, no gap unmarked."""
        return not (self.missing or self.disordered or self.unlinked)


def run(rows: int, kind: str, folder: Path, say: Callable[[str], None] = print) -> Caught:
    """Miss so many rows, and catch up."""
    journal = folder / "journal.sqlite"
    Journal(journal).close()
    with _broker(kind, folder) as broker, closing(Line(broker.port)) as line:
        with closing(Collector(broker.port, LAB)) as heard, _gateway(folder, line.port) as gateway:
            with _Writer(journal):
                _wait(lambda: heard.online and heard.live, "live before the outage")
                time.sleep(SETTLE_S)
            pids = {"gateway": gateway, "broker": broker.pid}
            memory = _Memory(pids)
            line.cut()
            began_s = time.monotonic()
            last = fill(journal, rows)
            say(f"{rows:,} entries journalled in {time.monotonic() - began_s:.0f} s")
            try:
                with _Writer(journal):
                    return _catch_up(heard, line, pids, memory, rows, last)
            finally:
                memory.close()


def _catch_up(
    heard: Collector, line: Line, pids: dict[str, int], memory: _Memory, rows: int, last: int
) -> Caught:
    heard.live.clear()
    heard.online = False
    before, spent_before = heard.rows, cpu_s(pids)
    returned_s = time.monotonic()
    line.mend()
    _wait(lambda: any(age_s <= LIVE_S for _, age_s in heard.live.copy()), "live again")
    fresh_s = next(at for at, age_s in heard.live.copy() if age_s <= LIVE_S)
    # Longer than any sane back-fill takes: a tenth of the rate that is aimed at.
    _wait(lambda: heard.rows - before >= rows, "history complete", PATIENCE_S + rows / 2000)
    took_s = time.monotonic() - returned_s
    spent = cpu_s(pids)
    time.sleep(1.0)
    ages_s = sorted(age_s for at, age_s in heard.live.copy() if at > fresh_s)
    return Caught(
        rows=rows,
        rows_per_s=rows / took_s,
        live_again_s=fresh_s - returned_s,
        live_age_p99_s=ages_s[int(0.99 * (len(ages_s) - 1))] if ages_s else nan,
        rss_growth_mb=memory.growth_mb("gateway"),
        broker_rss_growth_mb=memory.growth_mb("broker"),
        cpu_us_per_row={name: 1e6 * (spent[name] - spent_before[name]) / rows for name in pids},
        missing=heard.missing(last),
        disordered=heard.disordered,
        unlinked=heard.unlinked,
        repeated=heard.repeated,
    )


def fill(path: Path, rows: int) -> int:
    """Append so many entries to a journal that nobody else writes; the last number."""
    database = open_for_writing(path)
    # The journal's own statements; only that each chunk waits for the disk would take hours.
    database.execute("PRAGMA synchronous = OFF")
    first = database.execute("SELECT coalesce(max(seq), 0) FROM record").fetchone()[0]
    first = max(first, database.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()[0])
    for begin in range(first + 1, first + rows + 1, CHUNK):
        numbers = range(begin, min(begin + CHUNK, first + rows + 1))
        with database:
            database.executemany(INSERT_RECORD, _records(numbers))
            database.executemany(INSERT_EVENT, _events(numbers))
    database.close()
    return first + rows


def _records(numbers: range) -> Iterator[tuple[Any, ...]]:
    for seq in numbers:
        if seq % EVENT_EVERY:
            yield record_row(_record(seq, 1.8e9 + seq / STATIONS), seq)


def _events(numbers: range) -> Iterator[tuple[Any, ...]]:
    for seq in numbers:
        if seq % EVENT_EVERY == 0:
            station = _station(seq)
            data = {"step": 4, "kind": "charge", "text": "charge: C/20"}
            event = Event(EventKind.STEP_STARTED, 1.8e9, station, f"run-{station}", 1.0, data)
            yield event_row(event, seq)


def _record(seq: int, utc_s: float) -> Record:
    station, time_s = _station(seq), seq / STATIONS
    return Record(
        station, f"20270115-080000-{station}", time_s, time_s % 3600, utc_s,
        3.0 + (seq % 997) / 997, 0.25, 25.1, nan, 1, 4, 4, seq // STATIONS,
        time_s / 36000, 0.0, time_s / 9000, 0.0,
    )  # fmt: skip


def _station(seq: int) -> str:
    return f"A{seq % STATIONS + 1}"


class _Writer:
    """What control would write: a record of every station each second, as it happens."""

    def __init__(self, path: Path) -> None:
        self._journal = Journal(path)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._journal.close()

    def _run(self) -> None:
        while not self._ended.wait(1.0):
            now_s = time.time()
            for number in range(STATIONS):
                self._journal.append(_record(number, now_s))


class _Memory:
    """Watches the memory of processes from now on."""

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._before = self._most = rss_mb(pids)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def growth_mb(self, name: str) -> float:
        return self._most[name] - self._before[name]

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.2):
            now = rss_mb(self._pids)
            self._most = {name: max(now[name], self._most[name]) for name in now}


@dataclass(frozen=True, slots=True)
class _RunningBroker:
    port: int
    pid: int


@contextmanager
def _broker(kind: str, folder: Path) -> Iterator[_RunningBroker]:
    """The broker that a gateway would bring, with its configuration."""
    words = ["--broker", "auto" if kind == "mosquitto" else kind]
    data = folder / "broker"
    if kind == "mosquitto" and not find_mosquitto():
        raise SystemExit("mosquitto is not installed")
    with _gateway_process(data, *words):
        Journal(data / "journal.sqlite").close()
        note = data / "broker.json"
        _wait(note.exists, "there is a broker")
        document = json.loads(note.read_text())
        yield _RunningBroker(int(document["url"].rpartition(":")[2]), document["pid"])


@contextmanager
def _gateway(folder: Path, port: int) -> Iterator[int]:
    with _gateway_process(folder, "--broker", f"mqtt://127.0.0.1:{port}") as process:
        yield process.pid


@contextmanager
def _gateway_process(data: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    data.mkdir(exist_ok=True)
    lab = LAB if data.name != "broker" else "other"
    command = [sys.executable, "-m", "daq.gateway", "--lab", lab, "--data", str(data), *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


def _wait(true: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.02)


def lines(found: Caught) -> Iterator[str]:
    """The figures as text."""
    yield f"missed                                  {found.rows:>12,} rows"
    yield f"back-fill                               {found.rows_per_s:>12,.0f} rows/s"
    yield f"a week of 64 stations at 1 Hz takes     {WEEK / found.rows_per_s / 60:>12.1f} min"
    yield f"live again after the broker's return    {found.live_again_s:>12.2f} s     <= 10"
    yield f"age of live data meanwhile, p99         {found.live_age_p99_s:>12.2f} s     <= 1"
    yield f"memory of the gateway grew by           {found.rss_growth_mb:>12.1f} MB    <= 20"
    yield f"memory of the broker grew by            {found.broker_rss_growth_mb:>12.1f} MB"
    for name, cost_us in found.cpu_us_per_row.items():
        yield f"processor, {name:8}                     {cost_us:>12.1f} us per row"
    yield f"lost / out of order / unmarked / twice  {found.missing} / {found.disordered} / " + (
        f"{found.unlinked} / {found.repeated}"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run and print; exit code 1 when something was lost."""
    end_in_order()
    parser = argparse.ArgumentParser(prog="python -m bench.backfill", description=__doc__)
    parser.add_argument("--rows", type=int, default=WEEK // 100)
    parser.add_argument("--broker", choices=("mosquitto", "embedded"), default="mosquitto")
    parser.add_argument("--folder", type=Path, help="where the journal is made; default: temporary")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        found = run(options.rows, options.broker, Path(folder), _say)
    if options.json:
        print(json.dumps(asdict(found), indent=1))
    else:
        print("\n".join(lines(found)))
    return 0 if found.whole else 1


if __name__ == "__main__":
    sys.exit(main())
