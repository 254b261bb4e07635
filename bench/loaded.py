"""(e) The same 64 channels while others take the processors, the disk and the broker.

Four processes that only count, one that waits for its writes on the disk of the journal, and ten
thousand commands a second at the broker. Trips are provoked as in (a), and again and again a
`stop` is sent over MQTT by a client that nobody knows, and timed: until OFF is verified, and until
its answer is there, which waits until the journal has it on the busy disk. Before all of that it is
sent among the ten thousand commands alone.

The daemon runs with the niceness of its service. The simulator and the client that stops run before
everybody: they stand for boxes and a computer that have processors of their own. Neither happens
where that is not permitted.
"""

from __future__ import annotations

import time

from bench.daemon import Daemon, running_daemon
from bench.everything import CHANNELS, SETTLE_S, TRIPS_A_SECOND, reactions
from bench.load import flooded, hard_life
from bench.processes import outside
from bench.stops import Stop, stopping
from bench.trips import Provoker
from bench.window import Figures, spread, watch
from daq.journal import JournalReader
from daq.model import EventKind

AS_THE_SERVICE = -10
"""How nice docs/examples/battery-daq.service lets the daemon be."""


def run(seconds: float, channels: int = CHANNELS) -> Figures:
    """Run for so long."""
    with running_daemon(channels, niceness=AS_THE_SERVICE) as daemon:
        first = outside(daemon.bench.process.pid)
        daemon.start_all()
        time.sleep(SETTLE_S)
        provoker = Provoker(daemon, TRIPS_A_SECOND, cyclers=daemon.cyclers[:-1])
        with flooded(daemon.broker()), stopping(daemon.broker()) as among_others:
            time.sleep(seconds)
        with hard_life(daemon.folder, daemon.broker()), stopping(daemon.broker()) as stops:
            window = watch(daemon, lambda: provoker.run(seconds))
        daemon.call("stop", "*")
        off_ms, flooded_ms = _until_off(daemon, stops), _until_off(daemon, among_others)
    answered_ms = [1000 * stop.took_s for stop in stops if stop.took_s is not None]
    return {
        **reactions(provoker.trips),
        "priorities": first,
        "flooded_stop_to_off_ms": spread(flooded_ms, 50, 99, 99.9),
        "stop_to_off_ms": spread(off_ms, 50, 99, 99.9),
        "stop_ms": spread(answered_ms, 50, 99, 99.9),
        "stops": len(stops),
        "stops_lost": len(stops) - len(answered_ms),
        **window.figures(),
    }


def _until_off(daemon: Daemon, stops: list[Stop]) -> list[float]:
    """Milliseconds from the sending of each stop until control noted that OFF was verified."""
    with JournalReader(daemon.data / "journal.sqlite") as reader:
        commands = reader.events(kinds=frozenset({EventKind.COMMAND}))
    verified = {e.data["id"]: e.utc_s for e in commands if e.data["state"] == "done"}
    return [1000 * (verified[s.name] - s.sent_utc_s) for s in stops if s.name in verified]
