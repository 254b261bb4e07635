"""JSON Schemas of the YAML files, for editors: `python -m daq.schemas` writes them.

They complete keys and catch units by pattern; what needs the cell, the station or another key is
the loader's. A protocol's values may be `$name` wherever they are quantities or whole numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from daq.cellfile import BatchFileModel, CellFileModel, CellsFileModel
from daq.labfile import LabFileModel
from daq.protocol.schema import ProtocolModel

FOLDER = Path(__file__).parent.parent / "docs" / "schema"
_PARAMETER = r"^\$[A-Za-z_][A-Za-z0-9_]*$"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _plain(model: type[BaseModel]) -> dict[str, Any]:
    """Pydantic's schema without what only clutters an editor's hints."""
    schema = _walk(model.model_json_schema(by_alias=True), _tidy)
    return {"$schema": _DIALECT, "title": (model.__doc__ or "").partition("\n")[0], **schema}


def _walk(value: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Change every schema, innermost first. A mapping of properties is not itself a schema."""
    if isinstance(value, list):
        return [_walk(inner, change) for inner in cast(list[Any], value)]
    if not isinstance(value, Mapping):
        return value
    inner = cast(Mapping[str, Any], value)
    walked = {
        key: _walk_properties(part, change)
        if key in ("properties", "$defs")
        else part
        if key in ("examples", "default")
        else _walk(part, change)
        for key, part in inner.items()
    }
    return change(walked)


def _walk_properties(
    properties: Mapping[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    return {key: _walk(part, change) for key, part in properties.items()}


def _tidy(schema: dict[str, Any]) -> dict[str, Any]:
    """No titles that repeat the key, and no null: an empty key is refused."""
    kept = {key: value for key, value in schema.items() if key not in ("title", "default")}
    if isinstance(schema.get("default"), (str, int, float)) and schema["default"] != "":
        kept["default"] = schema["default"]
    choices = [one for one in kept.get("anyOf", []) if one != {"type": "null"}]
    if len(choices) == 1:
        del kept["anyOf"]
        return {**choices[0], **kept}
    return kept


def _with_parameters(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("type") == "string" and "pattern" in schema and "examples" in schema:
        return {**schema, "pattern": f"{_PARAMETER}|{schema['pattern']}"}
    if schema.get("type") == "integer":
        bounds = {key: schema.pop(key) for key in ("type", "minimum", "maximum") if key in schema}
        return {**schema, "anyOf": [bounds, {"type": "string", "pattern": _PARAMETER}]}
    return schema


def _protocol() -> dict[str, Any]:
    schema = _plain(ProtocolModel)
    own = {key: schema["properties"][key] for key in ("record", "safety", "steps")}
    schema["$defs"] = _walk_properties(schema["$defs"], _with_parameters)
    schema["properties"] |= _walk_properties(own, _with_parameters)
    return schema


def schemas() -> dict[str, str]:
    """File name -> JSON text."""
    made = {
        "lab.schema.json": _plain(LabFileModel),
        "cells.schema.json": _plain(CellsFileModel),
        "cell.schema.json": _plain(CellFileModel),
        "batch.schema.json": _plain(BatchFileModel),
        "protocol.schema.json": _protocol(),
    }
    return {
        name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
        for name, schema in made.items()
    }


def write(folder: Path = FOLDER) -> None:
    """Write all schemas."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
