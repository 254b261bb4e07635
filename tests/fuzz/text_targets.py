"""What people, clients and files may say: YAML, lab files, protocols, commands, addresses."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import inf, isfinite
from pathlib import Path
from typing import Any

import daq.driver
from daq.access.envelope import VERBS, EnvelopeRefused, parse
from daq.access.roles import OFF_VERBS
from daq.bus.resource import parse_resource
from daq.control.client import decode_reply
from daq.control.requests import Forwarded, decode_request
from daq.driver import Range
from daq.errors import DaqError, InputError
from daq.labreader import load_lab
from daq.model import Cell, Command, Limits, Role
from daq.protocol.compile import compile_protocol
from daq.protocol.source import parse_protocol
from daq.units import TEMPERATURE, VOLTAGE
from daq.units import parse as parse_quantity
from daq.yamlfile import DEEPEST, MOST_NODES
from daq.yamlfile import parse as parse_yaml

MEMORY = Path("/dev/shm")  # a disk would be most of what the fuzzer waits for
FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-", dir=MEMORY if MEMORY.is_dir() else None))
OWNER = os.getpid()


@atexit.register
def remove_folder() -> None:
    """By the process that made it, and not by a child that it forked."""
    if os.getpid() == OWNER:
        shutil.rmtree(FOLDER, ignore_errors=True)


LAB = FOLDER / "lab.yaml"
CELL = Cell("c7", 2.5, limits=Limits((2.2, 4.3), (-6.0, 5.0)))
TIERS = [("station A1", Limits((2.0, 4.35), (-10.0, 10.0), (0.0, 60.0)))]
RANGE = Range((0.0, 20.0), (-8.0, 8.0), (-40.0, 180.0), (1e-3, 2e5))
NOW = 1_800_000_000.0


def _values(data: object) -> Iterator[object]:
    """All values, without recursion: the judge must not fall over what it judges."""
    waiting = [data]
    while waiting:
        value = waiting.pop()
        yield value
        if isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            waiting += value


def yaml(data: bytes) -> None:
    try:
        document = parse_yaml(data)
    except InputError as error:
        assert error.message
        return
    values = list(_values(document.data))
    assert len(values) <= MOST_NODES + 1
    assert all(isfinite(value) for value in values if isinstance(value, float))
    assert all(len(where) <= DEEPEST for where in document.values)
    json.dumps(document.data, allow_nan=False).encode()


def lab(data: bytes) -> None:
    LAB.write_bytes(data)
    with suppress(InputError):
        loaded = load_lab(LAB)
        for station in loaded.stations.values():
            spans = (station.limits.voltage_V, station.limits.current_A)
            assert all(isfinite(end) for span in spans for end in span)
            assert station.reaction_s > 0
        assert loaded.data.is_absolute()


def protocol(data: bytes) -> None:
    with suppress(InputError):
        program = compile_protocol(
            parse_protocol(data.decode("utf-8", "surrogateescape")), CELL, TIERS, RANGE
        )
        assert 0 < program.at_most_s < inf
        for step in program.steps:
            _judge_step(step)


def _judge_step(step: Any) -> None:
    """Whatever the file says, no setpoint beyond the tiers, and an end to every step."""
    assert 0 < step.at_most_s < inf
    low, high = step.limits.voltage_V
    assert low >= 2.2
    assert high <= 4.3
    if step.setpoint is not None:
        assert low <= step.setpoint.voltage_V <= high
        assert 0 <= step.setpoint.charge_A <= 5.0
        assert 0 <= step.setpoint.discharge_A <= 6.0


def envelope(data: bytes) -> None:
    """First byte: the verb, and whether the message is retained."""
    verbs = [*VERBS, "", "reset", "../stop"]
    head, payload = data[0] if data else 0, data[1:]
    retained = head >= 0x80
    try:
        command = parse(verbs[head % len(verbs)], payload, retained=retained, now_utc_s=NOW)
    except EnvelopeRefused as refusal:
        assert bool(refusal.id) == bool(refusal.client)
        return
    assert not retained
    assert command.verb in OFF_VERBS or NOW < command.expires_utc_s
    assert command.expires_utc_s < inf
    assert command.role is Role.NOBODY  # no message says what its sender may do
    judge_command(command)


def local_socket(data: bytes) -> None:
    with suppress(DaqError):
        request = decode_request(data)
        if isinstance(request, Command):
            judge_command(request)
        elif isinstance(request, Forwarded):
            request.verb.encode()
        else:
            assert request.count > 0
    with suppress(DaqError):
        decode_reply(data)


def judge_command(command: Command) -> None:
    assert isfinite(command.issued_utc_s)
    assert command.expires_utc_s == command.expires_utc_s
    for text in (command.verb, command.id, command.client, command.station):
        text.encode()
    json.dumps(dict(command.arguments), allow_nan=False, ensure_ascii=False).encode()


def resource(data: bytes) -> None:
    with suppress(InputError):
        parse_resource(data.decode("utf-8", "surrogateescape"))


def units(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for quantity in (VOLTAGE, TEMPERATURE):
        with suppress(InputError):
            assert isfinite(parse_quantity(text, quantity))


def _only_test_drivers(name: str) -> Any:
    """A fuzzed lab file may name any module; those that exist are not for it to import."""
    known = name.startswith(("drivers.", "tests.unit.lab_drivers"))
    with suppress(ImportError, ValueError, AttributeError):
        if not known and importlib.util.find_spec(name) is not None:
            raise ImportError(f"{name} is out of the fuzzer's reach")
    return _import(name)


class _Importlib:
    import_module = staticmethod(_only_test_drivers)


_import = daq.driver.importlib.import_module
daq.driver.importlib = _Importlib  # type: ignore[assignment]
