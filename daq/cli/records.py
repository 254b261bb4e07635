"""What `daq cell` and `daq batch` share: how records are given, and what became of them."""

from __future__ import annotations

import copy
import getpass
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from daq.cli.output import console, print_json
from daq.cli.tables import print_table
from daq.errors import InputError
from daq.labreader import load_lab
from daq.registry.cells import Cells, Outcome
from daq.registry.fields import check_key, check_text, known_keys, put, take
from daq.registry.shelf import Who

Set = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="key=value, e.g. -s positive.active_mass='14.1 g'."),
]
Unset = Annotated[list[str] | None, typer.Option("--unset", help="A key to take out.")]
Capacity = Annotated[str, typer.Option(help="Nominal capacity, e.g. '2.5 Ah'.")]
By = Annotated[str, typer.Option("--operator", help="Who does this; default: the login name.")]
Reason = Annotated[str, typer.Option(help="Why. Mandatory; it stays in the history.")]
Remark = Annotated[str, typer.Option("--reason", help="Why; it stays in the history.")]
History = Annotated[bool, typer.Option("--history", help="What was changed, and by whom.")]


def registered(lab: str) -> Cells:
    """The cells of a lab."""
    loaded = load_lab(Path(lab))
    return Cells(loaded.data, loaded.cells)


def who(operator: str, reason: str) -> Who:
    """Whoever types this, and why.

    Raises:
        InputError: a text that no file should hold.
    """
    for key, text in (("operator", operator), ("reason", reason)):
        check_text(key, text)
    return Who(operator or getpass.getuser(), reason)


def facts(model: type[Any], short: Mapping[str, str], pairs: Any) -> dict[str, Any]:
    """What was said on the command line, as a record has it.

    Args:
        model: of the record.
        short: keys that have an option of their own, with what it said.
        pairs: key=value.

    Raises:
        InputError: an unknown key, or something else than key=value.
    """
    found: dict[str, Any] = {}
    known = known_keys(model)
    given = {key: text for key, text in short.items() if text}
    for pair in pairs:
        key, equals, text = str(pair).partition("=")
        if not equals or not text.strip():
            raise InputError(f"{pair!r} is not key=value", remedy="write -s supplier_lot=L2291")
        given[key.strip()] = text.strip()
    for key, text in given.items():
        check_key(key, known)
        check_text(key, text)
        if key.startswith("limits.") and " to " not in text:
            raise InputError(f"{key}: {text!r} is no span", remedy="write it like '2.5 V to 4.2 V'")
        put(found, key, text)
    return found


def edit(
    model: type[Any], short: Mapping[str, str], pairs: Any, unset: list[str] | None
) -> Callable[[dict[str, Any]], Mapping[str, Any]]:
    """What makes the new data of a record out of its old ones.

    Raises:
        InputError: as for `facts`; or there is nothing to be changed.
    """
    new = facts(model, short, pairs or ())
    for key in unset or ():
        check_key(key, [*known_keys(model), "limits", "metadata", "positive", "negative"])
    if not new and not unset:
        raise InputError("say what is to be changed", remedy="--set key=value, or --unset key")

    def edit(data: dict[str, Any]) -> Mapping[str, Any]:
        left: Mapping[str, Any] = copy.deepcopy(data)
        for key in unset or ():
            left = take(left, key)
        return _onto(left, new)

    return edit


def _onto(data: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(data)
    for key, value in facts.items():
        before = merged.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[key] = _onto(before, value) if both else value  # type: ignore[arg-type]
    return merged


def tell(outcomes: list[Outcome], *, as_json: bool) -> None:
    """Say what became of each record."""
    if as_json:
        print_json(counted(outcomes))
        return
    for one in outcomes:
        console().print(
            f"{one.id}: {'there already, the same' if one.what == 'same' else one.what}"
        )


def counted(outcomes: list[Outcome]) -> dict[str, list[str]]:
    """The ids by what became of them."""
    kinds = ("added", "changed", "same", "removed")
    return {kind: [one.id for one in outcomes if one.what == kind] for kind in kinds}


def summary(outcomes: list[Outcome]) -> str:
    """How many became what."""
    found = counted(outcomes)
    return ", ".join(f"{len(found[kind])} {kind}" for kind in ("added", "changed", "same"))


def print_rows(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """A table of equal rows, or that there is none."""
    if as_json:
        print_json(rows)
    elif not rows:
        console().print("there are none")
    else:
        print_table(
            tuple(rows[0]), [tuple(v if v != "" else None for v in row.values()) for row in rows]
        )
