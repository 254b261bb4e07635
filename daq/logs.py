"""Logs: JSON lines to a file, readable lines to a terminal, never in the way of a bus thread.

Every line goes through a queue to one listener thread, because a log call on a bus thread must
not wait for a slow disk. Bind `station` and `run` where they are known: `log.bind(station="A1")`.
"""

from __future__ import annotations

import atexit
import logging
import logging.handlers
import queue
import sys
from pathlib import Path
from typing import Any

import structlog

_MAX_BYTES = 20_000_000
_BACKUPS = 5


def setup(
    process: str,
    folder: Path | None = None,
    *,
    level: int = logging.INFO,
    as_json: bool = False,
) -> None:
    """Send this process's log to stderr and, when a folder is given, to `<process>.jsonl` there.

    Args:
        process: "control", "recorder", "gateway", "sentinel" or "cli"; stands in every line.
        folder: made when it does not exist.
        level: lowest level that is kept.
        as_json: JSON lines on stderr, too.
    """

    def named(_: Any, __: str, event: Any) -> Any:
        return {"process": process, **event}  # not a context variable: threads have their own

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        named,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [_queued(_handlers(process, folder, shared, as_json))]
    root.setLevel(level)
    for noisy in ("pymodbus", "pyvisa", "amqtt", "transitions", "matplotlib", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def get_logger(**bound: Any) -> Any:
    """A logger with the given keys on every line."""
    return structlog.get_logger(**bound)


def _handlers(
    process: str, folder: Path | None, shared: list[Any], as_json: bool
) -> list[logging.Handler]:
    machine = structlog.processors.JSONRenderer(default=str)
    human = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(_formatter(machine if as_json else human, shared))
    if folder is None:
        return [terminal]
    folder.mkdir(parents=True, exist_ok=True)
    lines = logging.handlers.RotatingFileHandler(
        folder / f"{process}.jsonl", maxBytes=_MAX_BYTES, backupCount=_BACKUPS, delay=True
    )
    lines.setFormatter(_formatter(machine, shared))
    return [terminal, lines]


def _formatter(renderer: Any, shared: list[Any]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )


class _Queue(logging.handlers.QueueHandler):
    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # structlog's event is a dict: the default would turn it into text


def _queued(handlers: list[logging.Handler]) -> logging.Handler:
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(lines, *handlers, respect_handler_level=True)
    listener.start()
    atexit.register(listener.stop)
    return _Queue(lines)
