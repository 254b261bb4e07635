"""Every parser that others feed, as one function of bytes: it returns, or that is a finding.

The oracle stands in the function: the parser gives a value that is sane, or raises the exception
of ours that its docstring names. What else it may raise is a bug. `corpus/NAME/` holds inputs that
reach far into it, and every input that once was a finding.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import (
    driver_targets,
    exchange_target,
    gate_target,
    registry_targets,
    simulator_targets,
    state_targets,
    text_targets,
)

CORPUS = Path(__file__).parent / "corpus"

TARGETS: dict[str, Callable[[bytes], None]] = {
    "yaml": text_targets.yaml,
    "lab": text_targets.lab,
    "protocol": text_targets.protocol,
    "envelope": text_targets.envelope,
    "gate": gate_target.gate,
    "local_socket": text_targets.local_socket,
    "cells_table": registry_targets.cells_table,
    "scan": registry_targets.scan,
    "facts": registry_targets.facts,
    "resource": text_targets.resource,
    "units": text_targets.units,
    "exchange": exchange_target.exchange,
    "text_line": driver_targets.text_line_alone,
    "modbus_rtu": driver_targets.modbus_rtu,
    "modbus_tcp": driver_targets.modbus_tcp,
    "keysight_aps": driver_targets.keysight,
    "ea_psb": driver_targets.ea_psb,
    "palmsens": driver_targets.palmsens,
    "methodscript": driver_targets.methodscript,
    "binder": driver_targets.binder,
    "espec": driver_targets.espec,
    "journal": state_targets.journal,
    "notes": state_targets.notes,
    "sentinel": state_targets.sentinel_files,
    "sim_keysight_aps": simulator_targets.keysight,
    "sim_ea_psb": simulator_targets.ea_psb,
    "sim_palmsens": simulator_targets.palmsens,
    "sim_espec": simulator_targets.espec,
    "sim_modbus": simulator_targets.modbus,
    "sim_modbus_io": simulator_targets.modbus_io,
}


def run(name: str, data: bytes) -> None:
    """One input for one target. Pauses that a driver keeps for its instrument are not kept."""
    sleep, time.sleep = time.sleep, _no_pause
    try:
        TARGETS[name](data)
    finally:
        time.sleep = sleep


def _no_pause(seconds: float) -> None:
    assert seconds < 1.0, "a driver holds its bus thread"


def seeds(name: str) -> list[Path]:
    """The committed inputs of a target."""
    return sorted((CORPUS / name).iterdir())
