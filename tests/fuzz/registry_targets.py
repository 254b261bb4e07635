"""What people register and scan: tables of cells, scans, and the files that come of them."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from typing import Any

from daq.cellfile import BatchFileModel, CellFileModel, described
from daq.errors import InputError
from daq.filemodel import NAME_PATTERN, validate
from daq.registry.fields import check_key, check_text, known_keys, put, take
from daq.registry.scan import read_scan
from daq.registry.table import MOST_ROWS, parse_table
from daq.registry.words import as_yaml
from daq.yamlfile import parse

BATCH = validate(
    BatchFileModel, parse("batch: B1\nnominal_capacity: 2 Ah\nlimits: {voltage: [2.5 V, 4.2 V]}\n")
)


def cells_table(data: bytes) -> None:
    """Good rows are records that can be written and read back; each bad one has its line."""
    try:
        table = parse_table(data, "t.csv")
    except InputError as error:
        assert error.message
        return
    assert len(table.rows) + len(table.mistakes) <= MOST_ROWS
    for mistake in table.mistakes:
        assert mistake.place is not None
        assert mistake.place.line >= 2
        assert mistake.place.column >= 1
    idents = [row.data["cell"] for row in table.rows]
    assert len(set(idents)) == len(idents)
    for row in table.rows:
        _judge(row.data)


def _judge(data: Any) -> None:
    assert re.fullmatch(NAME_PATTERN, data["cell"])
    text = as_yaml(data)
    model = validate(CellFileModel, parse(text))
    with suppress(InputError):  # its limits may leave nothing of its batch's
        cell = described(model.cell, model, BATCH)
        assert cell.nominal_capacity_Ah > 0
        assert 2.5 <= cell.limits.voltage_V[0] < cell.limits.voltage_V[1] <= 4.2


def scan(data: bytes) -> None:
    """What is taken is an id, exactly as it was typed; the next scan begins in the next line."""
    text = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    source = io.StringIO(text, newline="\n")
    for line in text.split("\n")[:50]:
        try:
            found = read_scan(source)
        except InputError as error:
            error.message.encode()
            continue
        assert (found or "") == line.removesuffix("\r")
        assert found is None or re.fullmatch(NAME_PATTERN, found)


def facts(data: bytes) -> None:
    """Pairs of a command line, one a line: what is put in can be taken out again."""
    known = known_keys(CellFileModel)
    record: dict[str, Any] = {}
    for line in data.decode("utf-8", "surrogateescape").split("\n")[:40]:
        key, _, text = line.partition("=")
        with suppress(InputError):
            check_key(key, known)
            check_text(key, text)
            if text:
                put(record, key, text)
    if not record:
        return
    with suppress(InputError):
        assert parse(as_yaml(record)).data == record
    for key in [*known, "metadata", "limits", "positive", "negative"]:
        record = take(record, key)
    assert record == {}
