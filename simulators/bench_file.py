"""The bench file: what it may hold, checked before anything is built.

    clock: {factor: 5000}
    seed: 7
    cells:
      NAME: {model: nmc, capacity: 2.5, soc: 0.02, formed: false}         # or lfp
      NAME: {model: spm, capacity: 2.5, soc: 0.5, parameters: Chen2020}   # or spme: PyBaMM's
    chambers: {NAME: {temperature: 23.0}}
    instruments: {NAME: {dialect: ..., listen: ..., channels: {1: CELL}, options: {...}}}
    faults: [{instrument: NAME, at: 12.0, kind: silence, for: 3.0}]
    control: "tcp://127.0.0.1:0"

`listen` is one of `tcp://HOST:PORT`, `pty:PATH`, `modbus+tcp://HOST:PORT`,
`modbus+rtu+tcp://HOST:PORT`, `modbus+rtu:PATH`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

_SOCKET = re.compile(r"(tcp|modbus\+tcp|modbus\+rtu\+tcp)://([0-9a-zA-Z.\-]+):(\d{1,5})")
_PTY = re.compile(r"(pty|modbus\+rtu):(.+)")

_TOP = {"clock", "seed", "cells", "chambers", "instruments", "faults", "control"}
_CELL = {"model", "capacity", "soc", "formed", "temperature", "fade_per_cycle", "parameters"}
_CHAMBER = {"temperature", "limit"}
_INSTRUMENT = {"dialect", "listen", "channels", "chamber", "cells", "options"}
_FAULT = {"instrument", "at", "kind", "for", "count", "delay", "bytes_per_s", "quantity", "by"}


class BenchError(Exception):
    """What is wrong with a bench file, and under which key."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"{key}: {why}" if key else why)
        self.key = key
        self.why = why


@dataclass(frozen=True, slots=True)
class Address:
    """Where an instrument is to be found.

    Attributes:
        scheme: `tcp`, `pty`, `modbus+tcp`, `modbus+rtu+tcp` or `modbus+rtu`.
        host: Empty for a pty.
        port: 0 for any.
        path: Of a pty's symlink.
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return not self.host or ipaddress.ip_address(self.host).is_loopback


def read(path: Path) -> dict[str, Any]:
    """Read a bench file and check its shape.

    Raises:
        BenchError: It cannot be read, is no YAML, or holds an unknown or missing key.
    """
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise BenchError("", f"cannot be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise BenchError("", "it is not UTF-8 text") from problem
    except YAMLError as problem:
        raise BenchError("", " ".join(str(problem).split())) from problem
    if content is None:
        raise BenchError("", "it is empty")
    return checked(content)


def checked(content: Any) -> dict[str, Any]:
    """Return the content if its shape is right; raises `BenchError` otherwise."""
    top = section("", content, _TOP)
    section("clock", top.get("clock", {}), {"factor"})
    for group, keys in (("cells", _CELL), ("chambers", _CHAMBER), ("instruments", _INSTRUMENT)):
        for name, entry in section(group, top.get(group, {}), None).items():
            section(f"{group}.{name}", entry, keys)
    if not top.get("instruments"):
        raise BenchError("instruments", "a bench needs at least one")
    faults = top.get("faults", [])
    if not isinstance(faults, list):
        raise BenchError("faults", "must be a list")
    for index, entry in enumerate(cast(list[Any], faults)):
        section(f"faults[{index}]", entry, _FAULT)
    return top


def section(key: str, value: Any, known: set[str] | None) -> dict[str, Any]:
    """Return a mapping all of whose keys are known (None: any)."""
    if not isinstance(value, Mapping):
        raise BenchError(key, "must be a mapping")
    entries = cast(Mapping[Any, Any], value)
    for name in entries:
        if known is not None and name not in known:
            where = f"{key}.{name}" if key else str(name)
            raise BenchError(where, f"unknown key; known: {', '.join(sorted(known))}")
    return dict(entries)


def need(key: str, entry: Mapping[str, Any], name: str) -> Any:
    """Return a value that must be there."""
    if name not in entry:
        raise BenchError(f"{key}.{name}", "is missing")
    return entry[name]


def number(key: str, value: Any, low: float, high: float) -> float:
    """Return a number within two bounds, both allowed."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BenchError(key, f"must be a number from {low:g} to {high:g}, not {value!r}")
    return float(value)


def flag(key: str, value: Any) -> bool:
    """Return a truth value."""
    if not isinstance(value, bool):
        raise BenchError(key, f"must be true or false, not {value!r}")
    return value


def address(key: str, value: Any) -> Address:
    """Parse a listen address."""
    text = value if isinstance(value, str) else ""
    if found := _SOCKET.fullmatch(text):
        return _socket_address(key, found[1], found[2], int(found[3]))
    if found := _PTY.fullmatch(text):
        return Address(found[1], path=found[2])
    raise BenchError(key, f"no address: {value!r}; say tcp://HOST:PORT, pty:PATH, modbus+...")


def _socket_address(key: str, scheme: str, host: str, port: int) -> Address:
    host = "127.0.0.1" if host == "localhost" else host
    try:
        ipaddress.ip_address(host)
    except ValueError as problem:
        raise BenchError(key, f"host must be an IP address, not {host!r}") from problem
    if port > 65535:
        raise BenchError(key, f"no such port: {port}")
    return Address(scheme, host, port)
