"""Whether what a subscriber heard is the journal: nothing lost, order kept, no gap unmarked."""

from collections import defaultdict

from daq.journal import JournalReader
from daq.model import Record


def check(bench):
    """Wait until everything has been heard, and compare it with the journal."""
    bench.wait_complete()
    with JournalReader(bench.data / "journal.sqlite") as reader:
        entries = reader.entries(0, 1_000_000)
    numbers = defaultdict(list)
    values = {}
    for entry in entries:
        if isinstance(entry, Record):
            numbers[entry.station].append(entry.seq)
            values[entry.seq] = entry.voltage_V
    for topic in {topic for topic, _, _ in list(bench.ear.heard)}:
        station, _, what = topic.partition("/")
        if what in ("samples", "history"):
            batches = [m for m in bench.ear.on(topic) if m.get("kind", "samples") == "samples"]
            _check_order(topic, batches)
            _check_links(topic, batches, numbers[station])
            _check_values(batches, values)


def _check_order(topic, batches):
    """A page that was not acknowledged comes again; what is new comes in order."""
    seen, newest = set(), 0
    for row in (row for batch in batches for row in batch["rows"]):
        if row[0] not in seen:
            assert row[0] > newest, f"{topic}: {row[0]} came after {newest}"
            newest = row[0]
            seen.add(row[0])


def _check_links(topic, batches, numbers):
    """A batch either continues the one before without a gap, or says that it does not."""
    place = {seq: index for index, seq in enumerate(numbers)}
    last = None
    for batch in batches:
        previous = batch["previous_seq"]
        if previous is not None:
            assert previous == last, f"{topic}: lost before {batch['first_seq']}"
            assert place[batch["first_seq"]] == place[previous] + 1, f"{topic}: an unmarked gap"
        last = batch["rows"][-1][0]


def _check_values(batches, values):
    column = batches[0]["columns"].index("voltage_V") if batches else 0
    for row in (row for batch in batches for row in batch["rows"]):
        assert row[column] == values[row[0]], f"{row[0]} is not the row of the journal"
