"""A whole bench: cells, chambers and instruments from a bench file, on real addresses."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulators import bench_file, cells
from simulators.bench_file import Address, BenchError
from simulators.chamber import AMBIENT_DEGC, ChamberModel
from simulators.clock import BenchClock
from simulators.faults import Faults
from simulators.modbus import MbapSession, RtuSession
from simulators.rig import Position
from simulators.serial_port import PtyPort
from simulators.servers import Box, TcpPort

_BEAT_S = 0.005
_DIALECT = re.compile(r"[a-z][a-z0-9_]*")
_FASTEST = 1e5


class Bench:
    """Everything that a bench file names.

    Args:
        config: The checked content of a bench file (`bench_file.checked`).

    Raises:
        BenchError: A value that cannot be, or a name that is not there.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        factor = config.get("clock", {}).get("factor", 1.0)
        self.clock = BenchClock(bench_file.number("clock.factor", factor, 1e-3, _FASTEST))
        self._seed = config.get("seed", 0)
        self.positions = {n: self._position(n, e) for n, e in config.get("cells", {}).items()}
        self.chambers = {n: self._chamber(n, e) for n, e in config.get("chambers", {}).items()}
        self.cells_of: dict[str, list[str]] = {}
        self.instruments: dict[str, Any] = {}
        self.faults: dict[str, Faults] = {}
        self.ports: dict[str, TcpPort | PtyPort] = {}
        for name, entry in config["instruments"].items():
            self._add_instrument(name, entry)
        for index, entry in enumerate(config.get("faults", [])):
            self.add_fault(entry, f"faults[{index}]")
        self._beating: asyncio.Handle | None = None

    def _position(self, name: str, entry: Mapping[str, Any]) -> Position:
        cell = cells.from_file(f"cells.{name}", entry, f"{self._seed} {name}")
        return Position(cell, self.clock, owner=name)

    def _chamber(self, name: str, entry: Mapping[str, Any]) -> ChamberModel:
        key = f"chambers.{name}"
        degC = entry.get("temperature", AMBIENT_DEGC)
        limit = entry.get("limit", 90.0)
        return ChamberModel(
            self.clock,
            bench_file.number(f"{key}.temperature", degC, -80.0, 200.0),
            bench_file.number(f"{key}.limit", limit, -80.0, 300.0),
        )

    def _add_instrument(self, name: str, entry: Mapping[str, Any]) -> None:
        key = f"instruments.{name}"
        address = bench_file.address(f"{key}.listen", bench_file.need(key, entry, "listen"))
        dialect = _dialect(f"{key}.dialect", bench_file.need(key, entry, "dialect"))
        wiring = self._wiring(key, name, entry)
        options = bench_file.section(f"{key}.options", entry.get("options", {}), None)
        try:
            instrument = dialect(name, self.clock, wiring, options)
        except ValueError as problem:
            raise BenchError(f"{key}.options", str(problem)) from problem
        self.instruments[name] = instrument
        faults = Faults(self.clock, getattr(instrument, "perturb", None), f"{self._seed} {name}")
        self.faults[name] = faults
        self.ports[name] = _port(key, address, self._box(key, instrument, address, faults))

    def _box(self, key: str, instrument: Any, address: Address, faults: Faults) -> Box:
        speaks_registers = hasattr(instrument, "read") and hasattr(instrument, "write")
        if speaks_registers != address.scheme.startswith("modbus"):
            raise BenchError(f"{key}.listen", f"{address.scheme} is not what this dialect speaks")
        open_session = {
            "modbus+tcp": lambda: MbapSession(instrument),
            "modbus+rtu+tcp": lambda: RtuSession(instrument, self.clock),
            "modbus+rtu": lambda: RtuSession(instrument, self.clock),
        }.get(address.scheme, getattr(instrument, "session", None))
        if open_session is None:
            raise BenchError(f"{key}.dialect", "is no dialect")
        waits = getattr(instrument, "when_full", "close") == "wait"
        advance = instrument.advance
        most = instrument.max_connections
        return Box(instrument.name, open_session, advance, most, waits, faults, self.clock)

    def _wiring(self, key: str, name: str, entry: Mapping[str, Any]) -> Mapping[int, Any]:
        if "chamber" in entry:
            return {1: self._fill_chamber(key, entry)}
        channels = bench_file.section(f"{key}.channels", entry.get("channels", {}), None)
        for channel, cell in channels.items():
            if not isinstance(channel, int) or isinstance(channel, bool):
                raise BenchError(f"{key}.channels.{channel}", "a channel is a whole number")
            self._known(f"{key}.channels.{channel}", cell, self.positions)
        self.cells_of[name] = list(channels.values())
        return {n: self.positions[c].lead(f"{name}/{n}") for n, c in channels.items()}  # pyright: ignore[reportReturnType]

    def _fill_chamber(self, key: str, entry: Mapping[str, Any]) -> ChamberModel:
        self._known(f"{key}.chamber", entry["chamber"], self.chambers)
        chamber = self.chambers[entry["chamber"]]
        for index, cell in enumerate(entry.get("cells", [])):
            self._known(f"{key}.cells[{index}]", cell, self.positions)
            self.positions[cell].enclose(chamber)
        return chamber

    @staticmethod
    def _known(key: str, name: Any, among: Mapping[str, Any]) -> None:
        if not isinstance(name, str) or name not in among:
            raise BenchError(
                key, f"{name!r} is none of {', '.join(among) or 'those (there are none)'}"
            )

    def add_fault(self, entry: Mapping[str, Any], key: str = "fault") -> None:
        """Plan a fault as the bench file writes it; `at` counts from now."""
        name = bench_file.need(key, entry, "instrument")
        self._known(f"{key}.instrument", name, self.faults)
        kind = bench_file.need(key, entry, "kind")
        after = bench_file.number(f"{key}.at", entry.get("at", 0.0), 0.0, 1e7)
        lasts = entry.get("for")
        if lasts is not None:
            lasts = bench_file.number(f"{key}.for", lasts, 0.0, 1e7)
        named = {"instrument", "kind", "at", "for"}
        options = {k: v for k, v in entry.items() if k not in named}
        try:
            self.faults[name].add(kind, after=after, lasts=lasts, **options)
        except ValueError as problem:
            raise BenchError(key, str(problem)) from problem

    def ledgers(self) -> dict[str, Any]:
        """The books of all cells, up to now."""
        return {name: self.ledger(name) for name in self.positions}

    def ledger(self, cell: str) -> dict[str, Any]:
        """The book of one cell, up to now."""
        position = self.positions[cell]
        position.advance()
        return position.ledger.as_dict()

    async def open(self) -> None:
        """Start to serve.

        Raises:
            BenchError: An address cannot be had; those already open are closed again.
        """
        for name, port in self.ports.items():
            try:
                await port.open()
            except OSError as problem:
                self.close()
                why = f"{port.address}: {problem.strerror or problem}"
                raise BenchError(f"instruments.{name}.listen", why) from problem
        self._beating = asyncio.get_running_loop().call_soon(self._beat)

    def close(self) -> None:
        """Stop to serve; ptys and their symlinks are gone afterwards."""
        if self._beating is not None:
            self._beating.cancel()
        for port in self.ports.values():
            port.close()

    def _beat(self) -> None:
        self._beating = asyncio.get_running_loop().call_later(_BEAT_S, self._beat)
        for port in self.ports.values():
            port.tick()


def _dialect(key: str, name: Any) -> Any:
    """Find the class of a dialect: the module `simulators.<name>` says which it is."""
    if not isinstance(name, str) or not _DIALECT.fullmatch(name):
        raise BenchError(key, f"{name!r} is no dialect")
    module = f"simulators.{name}"
    if importlib.util.find_spec(module) is None:
        raise BenchError(key, f"unknown dialect {name!r}")
    found = getattr(importlib.import_module(module), "DIALECT", None)
    if found is None:
        raise BenchError(key, f"{name!r} is no dialect")
    return found


def _port(key: str, address: Address, box: Box) -> TcpPort | PtyPort:
    if address.path:
        return PtyPort(box, Path(address.path), address.scheme)
    return TcpPort(box, address.host, address.port, address.scheme)
