"""`daq broker-acl`: what a mosquitto on the network is configured with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from daq.access.keys import load_keys
from daq.cli.output import Json, print_json
from daq.labreader import load_lab

PORT = 8883


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("broker-acl")(broker_acl)


def broker_acl(
    lab: Annotated[Path, typer.Argument(help="The lab file.")],
    folder: Annotated[
        Path, typer.Option(help="Where the broker's certificates and access list are.")
    ] = Path("/etc/mosquitto/daq"),
    port: Annotated[int, typer.Option(help="Where it listens.")] = PORT,
    out: Annotated[Path | None, typer.Option(help="Write mosquitto.conf and acl here.")] = None,
    as_json: Json = False,
) -> None:
    """Print mosquitto.conf and access list for a broker on the network, from the lab's keys."""
    from daq.gateway.acl import access_list, configuration  # MQTT must not be loaded with `serve`
    from daq.gateway.topics import Topics

    loaded = load_lab(lab)
    keys = loaded.access.keys
    clients = {name: key.role for name, key in load_keys(keys).items()} if keys else {}
    files = {
        "mosquitto.conf": configuration(folder, port),
        "acl": access_list(Topics(loaded.name), loaded.mqtt.client_id, clients),
    }
    if out:
        for name, text in files.items():
            (out / name).write_text(text, encoding="utf-8")
    if as_json:
        print_json(files)
    elif not out:
        print("\n".join(f"# ---- {name}\n{text}" for name, text in files.items()))
