"""The bench's control socket: one JSON object a line, for tests and the curious.

    {"do": "ledger", "position": "cell-1"}           -> {"ok": true, "ledger": {...}}
    {"do": "ledger", "instrument": "aps1"}           -> {"ok": true, "ledgers": {cell: {...}}}
    {"do": "ledger"}                                 -> all of them
    {"do": "state", "position": "cell-1"}            -> voltage_V, current_A, ... as they truly are
    {"do": "mark", "position": "cell-1", "name": "ov", "quantity": "voltage_V", "above": 4.25}
    {"do": "fault", "instrument": "aps1", "kind": "late", "delay": 2, "count": 1}
    {"do": "tape", "instrument": "aps1", "since": 0} -> {"now": s, "tape": [[s, "heard", "*IDN?"]]}
    {"do": "clear_faults", "instrument": "aps1"}     (without it: of all)
    {"do": "set", "chamber": "room", "door_open": true}
    {"do": "set", "position": "cell-1", "temperature_degC": 60}
    {"do": "set", "position": "cell-1", "heat_W": 20}      a cell that runs away
    {"do": "set", "position": "cell-1", "contact": false}  a clip that has come off; true: back on
    {"do": "touch", "instrument": "psb1", "panel_lock": true}   (what a hand does at the box)
    {"do": "quit"}

Whatever cannot be done answers {"ok": false, "error": why}.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

from simulators import bench_file
from simulators.bench import Bench
from simulators.bench_file import Address, BenchError

_LONGEST_LINE = 65536


class Control:
    """Serves a bench's control socket.

    Args:
        bench: What is under control.
        stop: Called on "quit".
    """

    def __init__(self, bench: Bench, stop: Callable[[], None]) -> None:
        self._bench = bench
        self._stop = stop
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self, address: Address) -> str:
        """Listen; return the true address.

        Raises:
            BenchError: The address is not this machine's own, or taken.
        """
        if address.scheme != "tcp" or not address.loopback:
            raise BenchError("control", "must be tcp:// on a loopback address")
        try:
            self._server = await asyncio.start_server(
                self._serve, address.host, address.port, limit=_LONGEST_LINE
            )
        except OSError as problem:
            raise BenchError("control", str(problem.strerror or problem)) from problem
        return f"tcp://{address.host}:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Stop to listen and end every connection."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self.answer(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):  # gone, or a line without end
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def answer(self, line: bytes) -> dict[str, Any]:
        """Obey one line."""
        try:
            request = json.loads(line)
            return {"ok": True} | self._obey(bench_file.section("", request, None))
        except (BenchError, ValueError, RecursionError) as problem:
            return {"ok": False, "error": str(problem)}

    def _obey(self, request: dict[str, Any]) -> dict[str, Any]:
        verbs: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
            "ledger": self._ledger,
            "state": self._state,
            "mark": self._mark,
            "fault": self._fault,
            "tape": self._tape,
            "clear_faults": self._clear_faults,
            "set": self._set,
            "touch": self._touch,
            "quit": self._quit,
        }
        verb = verbs.get(request.pop("do", None))
        if verb is None:
            raise BenchError("do", f"must be one of {', '.join(verbs)}")
        return verb(request) or {}

    def _ledger(self, request: dict[str, Any]) -> dict[str, Any]:
        if "position" in request:
            return {"ledger": self._bench.ledger(self._cell(request))}
        if "instrument" in request:
            cells = _one_of("instrument", request["instrument"], self._bench.cells_of)
            return {"ledgers": {cell: self._bench.ledger(cell) for cell in cells}}
        return {"ledgers": self._bench.ledgers()}

    def _state(self, request: dict[str, Any]) -> dict[str, Any]:
        position = self._bench.positions[self._cell(request)]
        return {"state": position.truth(), "bench_s": self._bench.clock.now()}

    def _mark(self, request: dict[str, Any]) -> None:
        above = "above" in request
        limit = bench_file.need("mark", request, "above" if above else "below")
        limit = bench_file.number("mark", limit, -1e9, 1e9)
        quantity = request.get("quantity")
        if quantity not in ("voltage_V", "current_A", "temperature_degC"):
            raise BenchError("quantity", "must be voltage_V, current_A or temperature_degC")
        position = self._bench.positions[self._cell(request)]
        position.advance()
        name = str(request.get("name", quantity))
        position.ledger.mark(name, quantity, limit, above=above)

    def _tape(self, request: dict[str, Any]) -> dict[str, Any]:
        port = _one_of("instrument", request.get("instrument"), self._bench.ports)
        since = bench_file.number("since", request.get("since", 0.0), 0.0, 1e12)
        return {"now": self._bench.clock.real(), "tape": port.box.tape.since(since)}

    def _fault(self, request: dict[str, Any]) -> None:
        self._bench.add_fault(request)

    def _clear_faults(self, request: dict[str, Any]) -> None:
        chosen = self._bench.faults
        if "instrument" in request:
            chosen = {"": _one_of("instrument", request["instrument"], chosen)}
        for faults in chosen.values():
            faults.clear()

    def _set(self, request: dict[str, Any]) -> None:
        if "chamber" in request:
            chamber = _one_of("chamber", request.pop("chamber"), self._bench.chambers)
            return _assign(chamber, request, {"door_open": bool, "over_temperature": bool})
        position = self._bench.positions[self._cell(request)]
        del request["position"]
        position.advance()
        if "contact" in request:
            made = bench_file.flag("contact", request.pop("contact"))
            (position.mend if made else position.interrupt)()
        return _assign(
            position.cell, request, {"temperature_degC": float, "soc": float, "heat_W": float}
        )

    def _touch(self, request: dict[str, Any]) -> None:
        name = request.pop("instrument", None)
        box = _one_of("instrument", name, self._bench.instruments)
        if not hasattr(box, "touch"):
            raise BenchError("instrument", f"there is nothing to touch at {name}")
        box.touch(request)

    def _quit(self, request: dict[str, Any]) -> None:
        asyncio.get_running_loop().call_soon(self._stop)

    def _cell(self, request: dict[str, Any]) -> str:
        name = bench_file.need("request", request, "position")
        _one_of("position", name, self._bench.positions)
        return cast(str, name)


def _one_of(key: str, name: Any, among: dict[str, Any]) -> Any:
    if not isinstance(name, str) or name not in among:
        raise BenchError(key, f"{name!r} is none of {', '.join(among)}")
    return among[name]


def _assign(thing: Any, values: dict[str, Any], known: dict[str, type]) -> None:
    for key, value in values.items():
        if key not in known:
            raise BenchError(key, f"cannot be set; known: {', '.join(known)}")
        is_bool = isinstance(value, bool)
        if is_bool != (known[key] is bool) or not isinstance(value, int | float):
            raise BenchError(key, f"must be a {known[key].__name__}")
        bench_file.number(key, float(value), -1e9, 1e9)
    for key, value in values.items():
        setattr(thing, key, value)
