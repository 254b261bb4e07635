"""docs/databases.md: what a lab publishes, in a time-series database, once and complete."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from daq.model import EventKind
from tests.system.gateway_bench import Bench, free_port, listens, require, wait_until
from tests.telegraf import CONFIG, Metric, Telegraf, line_protocol

COLUMNS = (
    "time", "lab", "station", "run", "seq", "test_time_s", "step_time_s", "voltage_V", "current_A",
    "temperature_degC", "chamber_degC", "cycle", "step", "step_count", "step_record", "charge_Ah",
    "discharge_Ah", "charge_Wh", "discharge_Wh",
)  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    require("mosquitto")
    bench = Bench(tmp_path, "mosquitto")
    yield bench
    bench.close()


@pytest.fixture
def telegraf(bench: Bench) -> Iterator[Telegraf]:
    telegraf = Telegraf(bench.broker.port)
    yield telegraf
    telegraf.close()


def published(bench: Bench, telegraf: Telegraf) -> list[Metric]:
    """Samples of two stations and some events, an outage among them; all points."""
    bench.online()
    bench.happen(EventKind.RUN_STARTED, cell="C-0042", protocol='a "b", c=d')
    bench.record(40)
    bench.record(30, "B2", "run-2")
    bench.gateway.kill()
    bench.record(50)
    bench.happen(EventKind.STEP_ENDED, reason="voltage >= 4.2 V")
    bench.gateway.start()
    bench.wait_complete()
    bench.record(10, "A1", "")
    bench.wait_complete()
    wait_until(lambda: len({p.fields["seq"] for p in telegraf.points}) >= 132, "all points")
    return telegraf.points


def test_every_record_and_event_of_the_journal_becomes_a_point(bench, telegraf) -> None:
    points = published(bench, telegraf)
    samples = {p.fields["seq"]: p for p in points if p.name == "daq_sample"}
    query = "SELECT seq, voltage_V, utc_s, run FROM record"
    with sqlite3.connect(bench.data / "journal.sqlite") as database:
        records = {seq: rest for seq, *rest in database.execute(query)}
    assert samples.keys() == records.keys()
    assert len(records) == 130
    for seq, (voltage_V, utc_s, run) in records.items():
        assert samples[seq].fields.get("voltage_V") == voltage_V
        assert samples[seq].time == pytest.approx(utc_s * 1e9, abs=2000)
        assert samples[seq].tags.get("run", "") == run


LINE = re.compile(
    r"daq_(sample|event)(,[a-z]+=(\\[, =]|[^,= ])+)+ "
    r'([A-Za-z_]+=(-?[0-9.e+-]+i?|"(\\.|[^"\\])*")(,|(?= )))+ [0-9]{19}'
)


def test_points_are_lines_that_influxdb_takes_and_one_point_is_one_line(bench, telegraf) -> None:
    points = published(bench, telegraf)
    lines = {line_protocol(point) for point in points}
    assert all(LINE.fullmatch(line) for line in lines), [x for x in lines if not LINE.fullmatch(x)]
    keys = {(p.name, tuple(sorted(p.tags.items())), p.time) for p in points}
    assert len(lines) == len({p.fields["seq"] for p in points}) == len(keys)
    (started,) = [line for line in lines if "kind=run_started" in line]
    assert r"\"protocol\": \"a \\\"b\\\", c=d\"" in started


# InfluxDB.


class Influx:
    """A server of version 1 of its own; versions 2 and 3 take the same lines."""

    def __init__(self, folder: Path) -> None:
        self._url = f"http://127.0.0.1:{free_port()}"
        places = {name: folder / name for name in ("meta", "data", "wal")}
        (folder / "influx.conf").write_text(
            "reporting-disabled = true\n"
            f'bind-address = "127.0.0.1:{free_port()}"\n'
            f'[meta]\ndir = "{places["meta"]}"\n'
            f'[data]\ndir = "{places["data"]}"\nwal-dir = "{places["wal"]}"\n'
            f'[http]\nbind-address = "{self._url.removeprefix("http://")}"\n'
        )
        words = ["influxd", "-config", str(folder / "influx.conf")]
        self._process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: listens(int(self._url.rpartition(":")[2])), "influxd listens")
        self.query("CREATE DATABASE daq")

    def _ask(self, path: str, body: bytes) -> bytes:
        with urlopen(f"{self._url}/{path}", data=body, timeout=30) as answer:
            return answer.read()

    def write(self, lines: list[str]) -> None:
        self._ask("write?db=daq&precision=ns", "\n".join(lines).encode())

    def query(self, text: str) -> list[dict[str, Any]]:
        body = urlencode({"db": "daq", "epoch": "ns", "q": text}).encode()
        (result,) = json.loads(self._ask("query", body))["results"]
        assert "error" not in result, result
        return [
            dict(zip(series["columns"], row, strict=True))
            for series in result.get("series", [])
            for row in series["values"]
        ]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture
def influx(tmp_path: Path) -> Iterator[Influx]:
    if not shutil.which("influxd"):
        pytest.skip("influxd is not installed (apt-get install influxdb, where there is one)")
    server = Influx(tmp_path)
    yield server
    server.stop()


def test_influxdb_takes_what_comes_twice_once(bench, telegraf, influx: Influx) -> None:
    points = published(bench, telegraf)
    lines = [line_protocol(point) for point in points]
    influx.write(lines)
    influx.write(lines[::-1])
    found = {row["seq"]: row for row in influx.query("SELECT * FROM daq_sample")}
    expected = {p.fields["seq"]: p for p in points if p.name == "daq_sample"}
    assert found.keys() == expected.keys()
    for seq, point in expected.items():
        assert found[seq]["time"] == point.time
        assert {name: found[seq][name] for name in point.fields} == point.fields
    (started,) = influx.query("SELECT * FROM daq_event WHERE kind = 'run_started'")
    assert json.loads(started["data"]) == {"cell": "C-0042", "protocol": 'a "b", c=d'}


# PostgreSQL.


class Postgres:
    """A server of its own, on a socket in a folder; root cannot run one, so `postgres` does."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self._folder, self._binaries = folder, binaries
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as:
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", str(folder / "db"), "-A", "trust", "-U", "lab", "--no-sync")
        options = f"-k {folder} -h ''"
        self._run("pg_ctl", "-D", str(folder / "db"), "-o", options, "-w", "-l",
                  str(folder / "log"), "start")  # fmt: skip

    def _run(self, program: str, *words: str, text: str = "") -> str:
        command = [*self._as, str(self._binaries / program), *words]
        done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=self._folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sql(self, text: str) -> list[list[str]]:
        words = ["-h", str(self._folder), "-U", "lab", "-d", "postgres", "-v", "ON_ERROR_STOP=1"]
        out = self._run("psql", *words, "-q", "--csv", "-t", "-f", "-", text=text)
        return list(csv.reader(io.StringIO(out)))

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "db"), "-m", "immediate", "stop")


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        assert os.environ.get("CI") != "true", "PostgreSQL is not installed, and in CI it must be"
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with tempfile.TemporaryDirectory(prefix="daq-pg-") as folder:
        server = Postgres(Path(folder), found[-1].parent)
        yield server
        server.stop()


def copied(points: list[Metric]) -> str:
    """A batch as Telegraf's output writes it: one COPY with tags and fields as columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for point in points:
        moment = datetime.fromtimestamp(point.time / 1e9, UTC).isoformat()
        values = {"time": moment, **point.tags, **point.fields}
        writer.writerow([values.get(name) for name in COLUMNS])
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    return f"COPY daq_sample ({names}) FROM STDIN WITH (FORMAT csv);\n{text.getvalue()}\\.\n"


def test_postgresql_takes_what_comes_twice_once(bench, telegraf, postgres: Postgres) -> None:
    schema = (CONFIG.parent / "timescaledb.sql").read_text(encoding="utf-8")
    postgres.sql(schema)
    postgres.sql(schema)  # safe to run again
    points = [point for point in published(bench, telegraf) if point.name == "daq_sample"]
    postgres.sql(copied(points))
    postgres.sql(copied(points[40:] + points[:40]))
    rows = postgres.sql('SELECT seq, "voltage_V", run FROM daq_sample ORDER BY seq')
    expected = {point.fields["seq"]: point for point in points}
    assert [int(row[0]) for row in rows] == sorted(expected)
    assert all(float(row[1]) == expected[int(row[0])].fields["voltage_V"] for row in rows)
    event = {"time": "2027-01-15T08:00:00Z", "lab": "l", "kind": "alarm", "data": json.dumps({})}
    names, values = ", ".join(event), ", ".join(f"'{value}'" for value in event.values())
    for _ in range(2):
        postgres.sql(f"INSERT INTO daq_event (seq, {names}) VALUES (7, {values})")
    assert postgres.sql("SELECT count(*) FROM daq_event") == [["1"]]
