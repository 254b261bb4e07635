"""The files of a bench: simulated cyclers, a lab of them, a protocol that just holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LIMIT_V = 4.25
"""The protocol's own voltage limit; pushed beyond it by PUSH_V, one reading must trip."""
PUSH_V = 1.0
PERIOD_S = 0.1

PROTOCOL = f"""
protocol: hold-still
version: 1.0.0
record: {{every: {1000 * PERIOD_S:g} ms}} # every sample, and no faster
safety: {{voltage: [2.6 V, {LIMIT_V} V]}}
steps:
  - hold: 3.8 V
    current: C/2
    until: time >= 10 h
    at_most: 11 h
"""


def names(channels: int) -> list[str]:
    """The cyclers; station `S7` has cycler `aps7` and cell `cell-7`."""
    return [f"aps{number}" for number in range(1, channels + 1)]


def station(cycler: str) -> str:
    """The station of a cycler."""
    return cycler.replace("aps", "S")


def cell(cycler: str) -> str:
    """The cell at a cycler."""
    return cycler.replace("aps", "cell-")


def bench(channels: int, **options: Any) -> dict[str, Any]:
    """A bench of Keysight cyclers in real time, each with a cell half full."""
    return {
        "cells": {cell(name): {"model": "nmc", "capacity": 2.5} for name in names(channels)},
        "instruments": {
            name: {
                "dialect": "keysight_aps",
                "listen": "tcp://127.0.0.1:0",
                "channels": {1: cell(name)},
                "options": _CYCLER | {"serial": f"MY{name}"} | options,
            }
            for name in names(channels)
        },
    }


_CYCLER = {"model": "N6974A", "voltage_V": 9, "current_A": 10, "sink": 1.0}


def lab(endpoints: dict[str, tuple[str, int]], broker: str = "auto") -> dict[str, Any]:
    """A lab of these cyclers: name -> host and port."""
    return {
        "lab": "bench",
        "data": "data",
        "protocols": ".",
        "mqtt": {"broker": broker},
        "instruments": {
            name: {
                "driver": "keysight_aps",
                "resource": f"TCPIP::{host}::{port}::SOCKET",
                "period": f"{PERIOD_S * 1000:g} ms",
            }
            for name, (host, port) in endpoints.items()
        },
        "stations": {station(name): {"cycler": name, "limits": _LIMITS} for name in endpoints},
        "cells": {
            cell(name): {"nominal_capacity": "2.5 Ah", "chemistry": "NMC"} for name in endpoints
        },
    }


_LIMITS = {
    "voltage": ["2.0 V", "4.35 V"],
    "current": ["-5 A", "5 A"],
    "temperature": ["0 degC", "60 degC"],
}


def write(folder: Path, endpoints: dict[str, tuple[str, int]], broker: str = "auto") -> Path:
    """Write lab and protocol into a folder; the path of the lab file."""
    (folder / "hold-still.yaml").write_text(PROTOCOL, encoding="utf-8")
    path = folder / "lab.yaml"
    path.write_text(json.dumps(lab(endpoints, broker), indent=1))  # which is YAML, too
    return path
