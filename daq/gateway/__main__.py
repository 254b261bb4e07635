"""`python -m daq.gateway`: journal -> MQTT, commands -> control. Started by control.

Ends within three seconds of the end of its standard input or of SIGTERM, with exit code 0.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sqlite3
import sys
import threading
from contextlib import suppress
from pathlib import Path

from daq.access.names import is_name
from daq.access.secrets import read_secret
from daq.bus.resource import is_loopback
from daq.errors import DaqError, InputError
from daq.gateway.broker import (
    Address,
    Broker,
    GivenBroker,
    OwnBroker,
    find_mosquitto,
    parse_url,
)
from daq.gateway.cursor import Cursor
from daq.gateway.lifeline import set_at_end
from daq.gateway.session import Gateway, Login, first_of
from daq.gateway.topics import Topics
from daq.journal import JournalReader
from daq.logs import get_logger, setup

log = get_logger()

LONGEST_END_S = 2.8
JOURNAL_POLL_S = 0.2
MOST_MEMORY = 3 << 30
"""Of address space, of which Python's threads reserve far more than they use."""
MOST_FILES = 1024


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line, parsed."""
    parser = argparse.ArgumentParser(prog="python -m daq.gateway", description=__doc__)
    parser.add_argument("--lab", required=True, help="name of the lab")
    parser.add_argument("--data", required=True, type=Path, help="the lab's data folder")
    parser.add_argument(
        "--broker", default="auto", help="auto, embedded, none, mqtt://… or mqtts://…"
    )
    parser.add_argument("--port", type=int, default=0, help="where an `auto` broker listens")
    parser.add_argument("--client-id", help="default: daq-LAB")
    parser.add_argument("--username")
    parser.add_argument("--password-file", type=Path, help="the password alone in a file")
    parser.add_argument("--ca-file", type=Path, help="who signed the broker's certificate")
    parser.add_argument("--cert-file", type=Path, help="client certificate")
    parser.add_argument("--key-file", type=Path, help="key of the client certificate")
    return parser.parse_args(words)


def main() -> int:
    """Entry point; the exit code: 0 ended as asked, 1 failed, 2 bad arguments."""
    _bound_ourselves()
    options = arguments()
    options.data.mkdir(parents=True, exist_ok=True)
    setup("gateway", options.data / "logs")
    code = 0
    try:
        asyncio.run(_run_until_ended(options))
    except* InputError as group:
        code = _failed(2, group)
    except* (DaqError, sqlite3.Error, OSError) as group:
        code = _failed(1, group)
    return code


def _bound_ourselves() -> None:
    """Whatever a broker sends: neither the memory nor the descriptors of control's machine."""
    for limit, most in ((resource.RLIMIT_AS, MOST_MEMORY), (resource.RLIMIT_NOFILE, MOST_FILES)):
        _, hard = resource.getrlimit(limit)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))


def _failed(code: int, group: BaseExceptionGroup[Exception]) -> int:
    log.error("gateway_failed", error=str(first_of(group)))
    return code


async def _run_until_ended(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    set_at_end(stop)
    work = asyncio.ensure_future(_work(options, stop))
    ended = asyncio.ensure_future(stop.wait())
    await asyncio.wait((work, ended), return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        ended.cancel()
        return work.result()
    _promise_to_end()
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work


async def _work(options: argparse.Namespace, stop: asyncio.Event) -> None:
    if options.broker == "none":
        await asyncio.Event().wait()  # nothing to do; ending would only get us started again
    topics, login = _topics(options.lab), _login(options)
    journal = options.data / "journal.sqlite"
    cursor = Cursor(options.data / "gateway.cursor")
    try:
        async with asyncio.TaskGroup() as group:
            broker = _broker(options, group)
            await _wait_for_journal(journal)
            await Gateway(topics, login, broker, journal, cursor, stop=stop).run()
    finally:
        cursor.close()


def _topics(lab: str) -> Topics:
    if not is_name(lab):
        raise InputError(f"{lab!r} is not a name for a lab")
    return Topics(lab)


def _login(options: argparse.Namespace) -> Login:
    return Login(
        client_id=options.client_id or f"daq-{options.lab}",
        username=options.username,
        password=_password(options.password_file),
        ca_file=options.ca_file,
        cert_file=options.cert_file,
        key_file=options.key_file,
    )


def _password(path: Path | None) -> str | None:
    return read_secret(path).rstrip("\r\n") if path else None


def _broker(options: argparse.Namespace, group: asyncio.TaskGroup) -> Broker:
    if options.broker not in ("auto", "embedded"):
        address = parse_url(options.broker)
        _check_locked(address, options)
        return GivenBroker(address, options.data)
    mosquitto = find_mosquitto() if options.broker == "auto" else ""
    own = OwnBroker(options.data, options.port, mosquitto)
    group.create_task(own.run())
    return own


def _check_locked(address: Address, options: argparse.Namespace) -> None:
    """The lab file has been checked for this already; this is for whoever starts us by hand."""
    if is_loopback(address.host):
        return
    login = options.cert_file or (options.username and options.password_file)
    if not (address.tls and login):
        raise InputError(
            f"the broker at {address.host} is on the network: TLS and a login are needed",
            remedy="mqtts://, and --cert-file with --key-file, or --username with --password-file",
        )


async def _wait_for_journal(path: Path) -> None:
    """Control makes it; we may be there first."""
    while True:
        try:
            JournalReader(path).close()
        except (DaqError, sqlite3.Error):
            await asyncio.sleep(JOURNAL_POLL_S)
        else:
            return


def _promise_to_end() -> None:
    """Whatever hangs (a connect to a black hole sits in a thread): be gone in time.

    Nothing is lost: the cursor is on disk, and our own broker ends with us.
    """
    timer = threading.Timer(LONGEST_END_S, os._exit, (0,))
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    sys.exit(main())
