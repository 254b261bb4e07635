"""The formats by name, and which of them a file is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from daq.errors import InputError
from daq.protocol.exchange import (
    arbin,
    biologic,
    maccor,
    pybamm,
    to_pybamm,
    to_unicycler,
    tomato,
    unicycler,
)
from daq.protocol.exchange.draft import Draft, Task
from daq.protocol.exchange.own import Own

OWN = "yaml"

IMPORTERS: Mapping[str, Callable[[bytes, Task], Draft]] = {
    "unicycler": unicycler.read,
    "pybamm": pybamm.read_text,
    "pybamm-config": pybamm.read_config,
    "tomato": tomato.read,
    "maccor": maccor.read,
    "arbin": arbin.read,
    "biologic": biologic.read,
}

EXPORTERS: Mapping[str, Callable[[Own, Task], str]] = {
    "unicycler": to_unicycler.write,
    "pybamm": to_pybamm.write_text,
    "pybamm-config": to_pybamm.write_config,
}

_SEEN = 64 * 1024
_SIGNS: tuple[tuple[str, str], ...] = (
    (r"\s*<\?xml|\s*<MaccorTestProcedure", "maccor"),
    (r"(?:BT|EC)-LAB SETTING FILE", "biologic"),
    (r"(?:[^\n]*\n){0,3}\[(?:Version Section|Schedule)\]", "arbin"),
    (r'\s*\{.*"cycles"\s*:', "pybamm-config"),
    (r'\s*\{(?=.*"method"\s*:).*"(?:technique|technique_name|tomato)"\s*:', "tomato"),
    (r'\s*\{(?=.*"method"\s*:).*"(?:record|unicycler)"\s*:', "unicycler"),
    (r"(?:.*\n)?protocol:", OWN),
    (r"(?:.*\n)?method:", "tomato"),
    (r".*\b(?:Charge|Discharge|Hold) at |.*\bRest for ", "pybamm"),
)


def guess(content: bytes, file: str) -> str:
    """The format of a file, by what it holds.

    Raises:
        InputError: it looks like none of them.
    """
    head = content[:_SEEN].decode("utf-8", "replace").lstrip("\ufeff")
    for pattern, name in _SIGNS:
        if re.match(pattern, head, re.DOTALL):
            return name
    if not content.strip():
        raise InputError(f"{file} is empty")
    known = ", ".join([OWN, *IMPORTERS])
    raise InputError(
        f"{file} looks like no protocol of any program that is known here",
        remedy=f"if it is one, say which: --from, one of {known}",
    )
