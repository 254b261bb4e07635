"""What may be on a disk after the power has gone, made from a log of what SQLite had asked for.

The model is a pessimist's. What a file's last sync covered is there. Of what was written after it
each 4 KiB page is, on its own, in any state that the page cache had it in since then; the write
that was under way is torn at 512 bytes; a truncation has happened or not. A file that was removed
may be there again, unless its folder was synced.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.disk.disk import File, Kind, Operation
from tests.disk.workload import ack_from

PAGE, SECTOR = 4096, 512
NAMES = {
    File.DATABASE: "journal.sqlite",
    File.WAL: "journal.sqlite-wal",
    File.ROLLBACK: "journal.sqlite-journal",
}


@dataclass
class _Durable:
    """One file: what is safe, and what has been asked for since."""

    safe: bytearray = field(default_factory=bytearray)
    since: list[Operation] = field(default_factory=list)

    def sync(self) -> None:
        if self.since and self.since[0].kind is Kind.UNLINK:
            return  # the name still leads to the old file; the folder decides
        for operation in self.since:
            _apply(self.safe, operation)
        self.since.clear()

    def sync_folder(self) -> None:
        kinds = [operation.kind for operation in self.since]
        if Kind.UNLINK in kinds:
            self.safe.clear()
            del self.since[: kinds.index(Kind.UNLINK) + 1]

    def after_a_cut(self, rng: Random) -> bytes:
        image = bytearray(self.safe)
        reached: dict[int, int] = {}  # page -> how many of the operations it has seen
        for number, operation in enumerate(self.since):
            if operation.kind is Kind.UNLINK:
                if rng.random() < 0.5:
                    break
                image.clear()
            elif operation.kind is Kind.TRUNCATE:
                if rng.random() < 0.5:
                    _apply(image, operation)
            else:
                self._write_some(image, operation, number, reached, rng)
        return bytes(image)

    def _write_some(
        self,
        image: bytearray,
        operation: Operation,
        number: int,
        reached: dict[int, int],
        rng: Random,
    ) -> None:
        for start, piece in _by_page(operation):
            until = reached.setdefault(start // PAGE, rng.randint(0, len(self.since)))
            if number < until:
                _write(image, start, piece)
            elif number == until and rng.random() < 0.5:
                _tear(image, start, piece, rng)


def _apply(image: bytearray, operation: Operation) -> None:
    if operation.kind is Kind.TRUNCATE:
        del image[operation.offset :]
        image.extend(bytes(operation.offset - len(image)))
    else:
        _write(image, operation.offset, operation.data)


def _write(image: bytearray, start: int, data: bytes) -> None:
    if start > len(image):
        image.extend(bytes(start - len(image)))
    image[start : start + len(data)] = data


def _by_page(operation: Operation) -> Iterable[tuple[int, bytes]]:
    start, end = operation.offset, operation.offset + len(operation.data)
    while start < end:
        stop = min(end, (start // PAGE + 1) * PAGE)
        yield start, operation.data[start - operation.offset : stop - operation.offset]
        start = stop


def _tear(image: bytearray, start: int, piece: bytes, rng: Random) -> None:
    end = start + len(piece)
    for sector in range(start // SECTOR, -(-end // SECTOR)):
        low, high = max(start, sector * SECTOR), min(end, (sector + 1) * SECTOR)
        if rng.random() < 0.5:
            _write(image, low, piece[low - start : high - start])


class Power:
    """Goes on through a log, and is cut where a test says.

    Attributes:
        acked: what the writer had been told, by now, to be on disk.
    """

    def __init__(self, operations: list[Operation]) -> None:
        self._operations = operations
        self._at = 0
        self._files = {which: _Durable() for which in NAMES}
        self.acked = 0

    def on_until(self, count: int) -> None:
        """Let so many operations of the log have happened."""
        for operation in self._operations[self._at : count]:
            if operation.kind is Kind.ACK:
                self.acked = ack_from(operation.data)
            elif operation.file is File.FOLDER:
                for file in self._files.values():
                    file.sync_folder()
            elif operation.file in self._files:
                file = self._files[operation.file]
                if operation.kind is Kind.SYNC:
                    file.sync()
                else:
                    file.since.append(operation)
        self._at = count

    def cut(self, folder: Path, rng: Random) -> Path:
        """Make the files as they may be found; the path of the journal."""
        for leftover in folder.glob("journal.sqlite*"):
            leftover.unlink()
        for which, file in self._files.items():
            image = file.after_a_cut(rng)
            if image or which is File.DATABASE:
                (folder / NAMES[which]).write_bytes(image)
        return folder / NAMES[File.DATABASE]
