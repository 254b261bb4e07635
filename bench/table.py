"""The figures as lines of a table, each with its target where it has one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf

from bench import columnar, death
from bench.window import Figures


@dataclass(frozen=True, slots=True)
class Line:
    """One line: what, how much, and whether it is good enough (None: there is no target)."""

    part: str
    what: str
    value: str
    target: str = ""
    good: bool | None = None

    def __str__(self) -> str:
        verdict = {None: "", True: "ok", False: "MISSED"}[self.good]
        return f"{self.part:3} {self.what:44} {self.value:>34}  {self.target:12} {verdict}".rstrip()


def lines(report: Figures) -> Iterator[Line]:
    """All lines of a report; of what was measured."""
    makers: dict[str, Callable[[Figures], Iterator[Line]]] = {
        "a": _everything,
        "b": _path,
        "c": _scaling,
        "d": _engine,
        "e": _loaded,
        "f": _commit,
        "g": _back_fill,
        "h": _rebuild,
        "i": _startup,
        "j": _death,
        "k": _columnar,
    }
    for part, make in makers.items():
        if part in report:
            yield from make(report[part])


def _everything(found: Figures) -> Iterator[Line]:
    trips = found["with_trips"]
    yield from _window("a", found)
    yield Line("a", "trips provoked while all of it goes on", f"{trips['trips']}")
    off = trips["sample_to_off_ms"]
    good = off.get("p99.9", float("inf")) <= 20.0 and not trips["failed"]
    yield Line("a", "sample to OFF on the wire, ms", _spread(off), "p99.9 <= 20", good)
    if trips["failed"]:
        yield Line("a", "trips that went wrong", f"{len(trips['failed'])}", "0", False)
    yield from _window("a*", trips)
    rows = found["rows"]
    whole = rows["hdf5"] == rows["journal"] <= rows["mqtt"]
    text = f"{rows['journal']} / {rows['hdf5']} / {rows['mqtt']}"
    yield Line("a", "rows in journal / HDF5 / by MQTT", text, "none lost", whole)
    memory = trips["peak_memory_mb"]
    for name, peak_mb in memory.items():
        yield Line("a", f"peak memory of {name}, MB", f"{peak_mb:.0f}")


def _window(part: str, found: Figures) -> Iterator[Line]:
    missed, jitter = found["missed_ticks_percent"], found["jitter_ms"]
    count = f"{found['missed_ticks']} of {found['samples']} = {missed:.3f} %"
    yield Line(part, "missed ticks", count, "< 0.1 %", missed < 0.1)
    yield Line(part, "schedule jitter, ms", _spread(jitter), "p99 <= 10", jitter["p99"] <= 10.0)
    yield Line(part, "jitter of an idle process beside it, ms", _spread(found["machine_jitter_ms"]))
    for name, cost_s in found["cpu_s_per_1000_samples"].items():
        yield Line(part, f"CPU s per 1,000 samples, {name}", f"{cost_s:.3f}")
    for name, cost_s in found["cpu_s_per_1000_samples_beside"].items():
        yield Line(part, f"beside that, {name}", f"{cost_s:.3f}")


def _path(found: Figures) -> Iterator[Line]:
    ratio = found["ratio"]
    text = f"{ratio:.2f} (lowest turn {found['ratio_lowest']:.2f})"
    yield Line("b", "one channel, ratio to a plain loop", text, ">= 0.5", ratio >= 0.5)
    rates = f"{found['samples_per_s']:.0f} / {found['plain_loop_samples_per_s']:.0f}"
    yield Line("b", "samples a second, ours / plain", rates)
    costs = f"{found['cpu_us_per_sample']:.0f} / {found['plain_loop_cpu_us_per_sample']:.0f}"
    yield Line("b", "CPU us per sample, ours / plain", costs)


def _scaling(found: Figures) -> Iterator[Line]:
    costs = list(found["control_us_per_sample"].items())
    falling = costs[-1][1] <= costs[0][1]
    text = "  ".join(f"{channels} ch {cost_us:.0f}" for channels, cost_us in costs)
    yield Line("c", "CPU us of control per sample", text, "not rising", falling)


def _engine(found: Figures) -> Iterator[Line]:
    rate = found["engine_samples_per_s"]
    yield Line("d", "engine alone, samples a second", f"{rate:,.0f}", ">= 200,000", rate >= 2e5)


def _loaded(found: Figures) -> Iterator[Line]:
    off, stop = found["sample_to_off_ms"], found["stop_ms"]
    yield Line("e", "trips provoked under load", f"{found['trips']}")
    good = off.get("p99.9", inf) <= 100.0 and off.get("max", inf) <= 250.0
    yield Line("e", "sample to OFF on the wire, ms", _spread(off), "p99.9 <= 100", good)
    yield Line("e", "readings beyond the limit without OFF", f"{found['unanswered']}", "0",
               not found["unanswered"])  # fmt: skip
    yield Line("e", "pushes that no reading saw, or only one while OFF", f"{found['unseen']}")
    yield Line("e", "stops sent, of them not answered", f"{found['stops']}, {found['stops_lost']}",
               "0 lost", not found["stops_lost"])  # fmt: skip
    among = found["flooded_stop_to_off_ms"]
    yield Line("e", "stop to OFF verified, the flood alone, ms", _spread(among), "p99.9 <= 100",
               among.get("p99.9", inf) <= 100.0)  # fmt: skip
    stopped = found["stop_to_off_ms"]
    good = stopped.get("p99.9", inf) <= 100.0 and not found["stops_lost"]
    yield Line("e", "stop by MQTT to OFF verified, ms", _spread(stopped), "p99.9 <= 100", good)
    yield Line("e", "stop by MQTT to its reply, on disk, ms", _spread(stop))
    yield from _window("e", found)


def _commit(found: Figures) -> Iterator[Line]:
    yield Line("f", "commit of 64 records and snapshots, ms", _spread(found["commit_ms"]))
    yield Line("f", "CPU us of control per record", f"{found['us_per_record']:.1f}")
    yield Line("f", "bytes of the journal per record", f"{found['bytes_per_record']:.0f}")


def _back_fill(found: Figures) -> Iterator[Line]:
    yield Line("g", "back-fill, rows a second", f"{found['rows_per_s']:,.0f}")
    live_s, growth_mb = found["live_again_s"], found["rss_growth_mb"]
    yield Line("g", "live again after the return, s", f"{live_s:.2f}", "<= 10", live_s <= 10.0)
    yield Line("g", "memory of the gateway, MB", f"+{growth_mb:.1f}", "<= +20", growth_mb <= 20.0)
    lost = f"{found['missing']} / {found['disordered']} / {found['unlinked']}"
    yield Line("g", "lost / out of order / unmarked", lost, "none", lost == "0 / 0 / 0")


def _rebuild(found: Figures) -> Iterator[Line]:
    took_s, cost_s = found["s_per_GB"], found["cpu_s_per_GB"]
    yield Line("h", "rebuild of 1 GB of journal, s", f"{took_s:.1f}", "<= 60", took_s <= 60.0)
    yield Line("h", "the same, CPU s", f"{cost_s:.1f}")


def _startup(found: Figures) -> Iterator[Line]:
    took_s = found["supervised_s"]
    what = f"start to {found['channels']} channels supervised, s"
    yield Line("i", what, f"{took_s:.2f}", "<= 5", took_s <= 5.0)


def _death(found: Figures) -> Iterator[Line]:
    for way, goal_s in death.GOALS_S.items():
        good = found[way]["max"] <= goal_s
        yield Line("j", f"death to OFF, {way}, s", _spread(found[way]), f"max <= {goal_s:g}", good)


def _columnar(found: Figures) -> Iterator[Line]:
    part = found["records"] / columnar.RECORDS
    for job, goal_s in (("export", columnar.GOAL_EXPORT_S), ("plot", columnar.GOAL_PLOT_S)):
        ours, plain = found[job], found[f"pandas_{job}"]
        goal_s *= part
        times = f"{ours['took_s']:.1f} / {plain['took_s']:.1f} = 1 : {found[f'{job}_ratio']:.1f}"
        what = f"{job} of {found['records']:,} records, ours / pandas"
        yield Line("k", f"{what}, s", times, f"<= {goal_s:g}", ours["took_s"] <= goal_s)
        costs = f"{ours['cpu_s']:.1f} / {plain['cpu_s']:.1f}"
        yield Line("k", f"{job}, CPU s", costs)
        peaks = f"{ours['peak_MB']:.0f} / {plain['peak_MB']:.0f}"
        good = ours["peak_MB"] <= columnar.GOAL_MB
        yield Line("k", f"{job}, peak memory, MB", peaks, f"<= {columnar.GOAL_MB:g}", good)
    written = f"{found['export']['written_MB']:.0f} / {found['pandas_export']['written_MB']:.0f}"
    yield Line("k", "export, MB written", written)


def _spread(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.2f}" for name, value in values.items())
