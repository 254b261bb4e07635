"""`python -m daq.gateway.asyncapi [--check]`: the AsyncAPI document, made from the models.

It is committed as docs/schema/mqtt.asyncapi.json; `--check` fails when that is not fresh.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from daq.access import envelope
from daq.gateway import messages

FILE = Path(__file__).resolve().parents[2] / "docs" / "schema" / "mqtt.asyncapi.json"

_STATION_HISTORY: tuple[type[BaseModel], ...] = (messages.HistorySamples, messages.HistoryEvent)
_PUBLISHED: Mapping[str, tuple[str, str, tuple[type[BaseModel], ...]]] = {
    "status": ("daq/{lab}/status", "Retained birth and last will.", (messages.Status,)),
    "state": ("daq/{lab}/{station}/state", "Retained, QoS 1.", (messages.State,)),
    "alarms": ("daq/{lab}/alarms", "Retained, QoS 1.", (messages.Alarms,)),
    "samples": ("daq/{lab}/{station}/samples", "Live, QoS 1.", (messages.Samples,)),
    "events": ("daq/{lab}/{station}/events", "Live, QoS 1.", (messages.EventMessage,)),
    "labEvents": ("daq/{lab}/events", "Events of the daemon itself.", (messages.EventMessage,)),
    "history": ("daq/{lab}/{station}/history", "Back-fill, oldest first.", _STATION_HISTORY),
    "labHistory": ("daq/{lab}/history", "Back-fill of the lab.", (messages.HistoryEvent,)),
    "reply": (
        "daq/{lab}/reply/{client}/{id}",
        "`accepted`, then `done` or `refused`.",
        (messages.ReplyMessage,),
    ),
}
_PARAMETERS = {
    "lab": "Name of the lab.",
    "station": "Name of the station.",
    "client": "Who sent the command.",
    "id": "Id of the command.",
}


def document() -> dict[str, Any]:
    """The AsyncAPI 3.0 document as JSON values."""
    published = {name: _channel(*entry) for name, entry in _PUBLISHED.items()}
    taken = {_command_name(verb): _command_channel(verb) for verb in envelope.VERBS}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "battery-daq over MQTT",
            "version": version("battery-daq"),
            "description": "What one lab publishes and which commands it takes. "
            "See docs/mqtt.md for the meaning.",
        },
        "defaultContentType": "application/json",
        "channels": published | taken,
        "operations": {
            **{f"publish_{name}": _operation("send", name) for name in published},
            **{f"take_{name}": _operation("receive", name) for name in taken},
        },
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def text() -> str:
    """The document as it stands in the file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _models() -> list[type[BaseModel]]:
    published = [model for _, _, models in _PUBLISHED.values() for model in models]
    return list(dict.fromkeys([*published, *envelope.VERBS.values(), envelope.SignedCommand]))


def _schemas() -> dict[str, Any]:
    outbound = [m for m in _models() if issubclass(m, messages.Outbound)]
    inbound = [m for m in _models() if not issubclass(m, messages.Outbound)]
    _, schema = models_json_schema(
        [*((m, "serialization") for m in outbound), *((m, "validation") for m in inbound)],
        ref_template="#/components/schemas/{model}",
    )
    return schema["$defs"]


def _messages() -> dict[str, Any]:
    return {
        model.__name__: {
            "contentType": "application/json",
            "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        }
        for model in _models()
    }


def _channel(address: str, description: str, models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    return {
        "address": address,
        "description": description,
        "parameters": {
            name: {"description": meaning}
            for name, meaning in _PARAMETERS.items()
            if f"{{{name}}}" in address
        },
        "messages": {
            model.__name__: {"$ref": f"#/components/messages/{model.__name__}"} for model in models
        },
    }


def _command_name(verb: str) -> str:
    return f"{verb}Command"


def _command_channel(verb: str) -> dict[str, Any]:
    model = envelope.VERBS[verb]
    models = (model, envelope.SignedCommand)
    return _channel(f"daq/{{lab}}/cmd/{verb}", (model.__doc__ or "").strip(), models)


def _operation(action: str, channel: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}}


def main(words: list[str] | None = None) -> int:
    """Entry point; exit code 1 when `--check` finds the file out of date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    if parser.parse_args(words).check:
        fresh = FILE.exists() and FILE.read_text(encoding="utf-8") == text()
        if not fresh:
            print(f"{FILE} is out of date: run python -m daq.gateway.asyncapi", file=sys.stderr)
        return 0 if fresh else 1
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
