"""`daq verify` and `daq journal prune`: found when it is bad, kept when anybody still needs it."""

from __future__ import annotations

import json
import random

import pytest

from daq import cli
from daq.control.lock import locked
from daq.gateway.cursor import Cursor
from daq.journal import JournalReader
from daq.recorder.closed import write_closed
from tests import runs
from tests.unit.test_cli import LAB

RUN = runs.run_info().id


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A lab with one run that has ended, its closed file, and one more run without a file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab.yaml").write_text(LAB.replace("{broker: none}", "{broker: auto}"))
    data = tmp_path / "data"
    (data / "runs").mkdir(parents=True)
    one, two = runs.run_info(), runs.run_info("second")
    path = data / "journal.sqlite"
    runs.write(path, (one, runs.formation(one)), (two, runs.formation(two)))
    with JournalReader(path) as reader:
        list(write_closed(reader, RUN, data / "runs"))
    return data


def said(capsys, *words):
    code = cli.run([*words, "--json"])
    spoken = capsys.readouterr()
    return code, json.loads(spoken.out) if spoken.out else {}, spoken.err


def published_up_to(data, seq):
    cursor = Cursor(data / "gateway.cursor")
    cursor.advance(seq)
    cursor.close()


def head(data):
    with JournalReader(data / "journal.sqlite") as reader:
        return reader.head()


def flip_a_bit(path, seed):
    bits = bytearray(path.read_bytes())
    place = random.Random(seed).randrange(len(bits) * 8)
    bits[place // 8] ^= 1 << place % 8
    path.chmod(0o644)
    path.write_bytes(bits)
    path.chmod(0o444)


@pytest.mark.fault("F58")
def test_one_flipped_bit_in_a_closed_file_is_found_wherever_it_is(data, capsys):
    path = data / "runs" / f"{RUN}.h5"
    whole = path.read_bytes()
    assert said(capsys, "verify")[:2] == (0, {str(path): "good"})
    for seed in range(20):
        flip_a_bit(path, seed)
        code, found, error = said(capsys, "verify", RUN)
        assert code == 1
        assert "hash differs" in found[str(path)]
        assert path.name in error
        path.chmod(0o644)
        path.write_bytes(whole)
    assert said(capsys, "verify", str(path))[0] == 0


@pytest.mark.parametrize("missing", ["", ".sha256"])
def test_a_file_or_a_hash_that_is_missing_is_not_good(missing, data, capsys):
    (data / "runs" / f"{RUN}.h5{missing}").unlink()
    code, found, _ = said(capsys, "verify", RUN)
    assert code == 1
    assert list(found.values()) == [f"{RUN}.h5{missing} is missing"]


def test_a_run_that_never_was_is_said_to_be_missing_and_not_its_hash(data, capsys):
    assert list(said(capsys, "verify", "nothing")[1].values()) == ["nothing.h5 is missing"]


def test_an_empty_hash_file_and_words_for_people(data, capsys):
    hash_file = data / "runs" / f"{RUN}.h5.sha256"
    hash_file.chmod(0o644)
    hash_file.write_text("")
    assert cli.run(["verify"]) == 1
    assert "cannot be read" in capsys.readouterr().out


def test_a_run_goes_when_its_file_is_good_and_everything_is_published(data, capsys):
    published_up_to(data, head(data))
    code, told, _ = said(capsys, "journal", "prune", "--older-than", "1 d", "--dry-run")
    assert (code, told["runs"], told["records"]) == (0, [RUN], 0)
    assert told["kept"] == {"second": "second.h5: second.h5.sha256 is missing"}
    code, told, _ = said(capsys, "journal", "prune", "--older-than", "1 d")
    assert code == 0
    assert told["records"] > 100
    assert told["bytes"] > 0
    with JournalReader(data / "journal.sqlite") as reader:
        assert not list(reader.record_rows(RUN))
        assert list(reader.record_rows("second"))
    assert said(capsys, "journal", "prune", "--older-than", "1 d")[1]["runs"] == []
    assert said(capsys, "verify")[0] == 0


@pytest.mark.parametrize("seq", [None, 1, -1], ids=["no gateway yet", "one entry", "all but one"])
def test_what_the_gateway_has_not_published_stays(seq, data, capsys):
    with JournalReader(data / "journal.sqlite") as reader:
        last = reader.last_of(RUN)
    if seq is not None:
        published_up_to(data, seq if seq > 0 else last - 1)
    told = said(capsys, "journal", "prune", "--older-than", "1 d")[1]
    assert told["runs"] == []
    assert "published" in told["kept"][RUN]


def test_what_waits_for_the_back_fill_stays(data, capsys):
    cursor = Cursor(data / "gateway.cursor")
    cursor.miss(head(data))
    cursor.close()
    assert said(capsys, "journal", "prune", "--older-than", "1 d")[1]["runs"] == []


def test_with_no_broker_nobody_has_to_publish_it(data, capsys, tmp_path):
    (tmp_path / "lab.yaml").write_text(LAB)
    assert cli.run(["journal", "prune", "--older-than", "1 d"]) == 0
    out = capsys.readouterr().out
    assert f"{RUN}: may go" in out
    assert "MB free" in out


def test_a_bad_file_keeps_its_run_in_the_journal(data, capsys):
    published_up_to(data, head(data))
    flip_a_bit(data / "runs" / f"{RUN}.h5", 1)
    told = said(capsys, "journal", "prune", "--older-than", "1 d")[1]
    assert told["runs"] == []
    assert "hash differs" in told["kept"][RUN]


def test_young_runs_stay_and_nonsense_is_refused(data, capsys):
    published_up_to(data, head(data))
    assert said(capsys, "journal", "prune", "--older-than", "100000 d")[1]["runs"] == []
    code, _, error = said(capsys, "journal", "prune", "--older-than=-3 d")
    assert code == 2
    assert "older-than" in error or "time" in error


def test_while_a_daemon_runs_nothing_is_pruned(data, capsys):
    with locked(data):
        code, _, error = said(capsys, "journal", "prune", "--older-than", "1 d")
    assert code == 1
    assert "runs on" in error
