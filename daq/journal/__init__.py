"""The journal: the durable, ordered log of everything. It is the truth; files are views of it.

One writer thread in the control process owns the only writing connection. `append` never blocks
and never touches the disk, so the path from a sample to OFF does not pass through here. Readers
in other processes (recorder, gateway, command line) open it read-only and keep cursors of their
own, so that no reader can hold the writer up.

Sequence numbers are given at commit, by the one writer: a reader that has seen `n` will never
later find a smaller number that it has not seen.
"""

from daq.journal.backlog import Ticket
from daq.journal.prune import Pruned, prune
from daq.journal.reader import JournalReader, Page
from daq.journal.tables import MEASURED_COLUMNS, RECORD_COLUMNS, SCHEMA_VERSION, Kept, ended
from daq.journal.writer import Journal

__all__ = [
    "MEASURED_COLUMNS",
    "RECORD_COLUMNS",
    "SCHEMA_VERSION",
    "Journal",
    "JournalReader",
    "Kept",
    "Pruned",
    "Page",
    "Ticket",
    "ended",
    "prune",
]
