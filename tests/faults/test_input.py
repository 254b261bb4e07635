"""F69 to F73: what people write, what they call it, and what they change while it runs.

What a hostile file costs is measured in a process of its own, from outside.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import h5py
import pytest

from daq import yamlfile
from daq.access.names import NAME
from daq.control.choice import chosen_protocol
from daq.errors import CommandRefused, InputError
from daq.filemodel import NAME_PATTERN
from daq.journal import JournalReader
from daq.labreader import load_lab
from daq.model import EventKind
from daq.protocol.source import load_protocol, parse_protocol
from daq.recorder.export import export
from daq.recorder.layout import RunFile
from daq.yamlfile import DEEPEST, LARGEST_FILE, LONGEST_LINE, MOST_NODES, parse, read
from tests import runs
from tests.system.daemon import CHARGE, on, running_daemon
from tests.unit.marked import refusal
from tests.unit.test_config import LAB, edit

MOST_CPU_S = 30.0  # a file that fills every limit takes a tenth of that
MOST_MB = 150.0

# Limits, each at, just under and just over it.


def sized(size: int) -> bytes:
    """YAML of so many bytes, in lines of 4096."""
    head = b"a: 1\n"
    lines, rest = divmod(size - len(head), 4096)
    return head + (b"#" * 4095 + b"\n") * lines + b"#" * rest


@pytest.mark.fault("F70")
def test_the_size_of_a_file_is_bounded():
    for size in (LARGEST_FILE - 1, LARGEST_FILE):
        assert len(sized(size)) == size
        assert parse(sized(size)).data == {"a": 1}
    with pytest.raises(InputError, match="larger than 1 MiB"):
        parse(sized(LARGEST_FILE + 1))


@pytest.mark.fault("F70")
@pytest.mark.parametrize("block", [False, True], ids=["flow", "block"])
def test_the_depth_of_a_file_is_bounded(block):
    def nested(depth: int) -> str:  # mappings within each other, the top one counted
        if block:
            return (
                "".join(f"{' ' * level}a:\n" for level in range(depth - 1)) + " " * depth + "a: 1"
            )
        return "a: " + "{a: " * (depth - 1) + "1" + "}" * (depth - 1)

    for depth in (DEEPEST - 2, DEEPEST - 1):
        assert parse(nested(depth))
    with pytest.raises(InputError, match=f"nested deeper than {DEEPEST} levels"):
        parse(nested(DEEPEST))


@pytest.mark.fault("F70")
def test_the_number_of_keys_and_values_is_bounded(monkeypatch):
    monkeypatch.setattr(yamlfile, "MOST_NODES", 500)  # the true 50,000 below, once: it takes long

    def dense(nodes: int) -> str:  # the top mapping, a key, a list and its entries
        return "a:\n" + "- 1\n" * (nodes - 3)

    for nodes in (499, 500):
        assert len(parse(dense(nodes)).data["a"]) == nodes - 3
    with pytest.raises(InputError, match="<text>:499:3: more than 500 keys and values"):
        parse(dense(501))


@pytest.mark.fault("F70")
def test_the_length_of_a_line_is_bounded():
    for length in (LONGEST_LINE - 1, LONGEST_LINE):
        assert parse("a: " + "x" * (length - 3))
    with pytest.raises(InputError, match=f"<text>:2:{LONGEST_LINE + 1}: the line is longer"):
        parse("b: 1\na: " + "x" * (LONGEST_LINE - 2))


# What the worst files cost.

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BOMBS = {
    "alias bomb": LAUGHS.encode(),
    "depth bomb": b"a: " + b"[" * 9_000,
    "depth bomb in blocks": b"".join(b" " * n + b"a:\n" for n in range(1_400)),
    "100 MB": b"key: value\n" * (100_000_000 // 11),
    "1 MiB of keys": b"".join(b"k%d: 1\n" % n for n in range(100_000))[:LARGEST_FILE],
    "1 MiB of dashes": (b"- " * 4_900 + b"\n") * 107,
    "1 MiB of tags": (b"a: " + b"!" * 9_000 + b"\n") * 116,
    "all that is allowed": b"a:\n" + b"- 12345678901\n" * (MOST_NODES - 3),
}
COST = """
import json, re, sys, time
from pathlib import Path
from daq.errors import InputError
from daq.yamlfile import parse, read
parse("a: 1")
def peak_MB():  # of this program alone: ru_maxrss is that of the process that started it, too
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
before_MB, began = peak_MB(), time.process_time()
try:
    said = str(len(read(Path(sys.argv[1])).data))
except InputError as error:
    said = error.message
print(json.dumps([said, time.process_time() - began, peak_MB() - before_MB]))
"""


@pytest.mark.fault("F70")
@pytest.mark.parametrize("name", BOMBS)
def test_a_hostile_file_is_refused_in_bounded_time_and_memory(name, tmp_path, figure):
    file = tmp_path / "bomb.yaml"
    file.write_bytes(BOMBS[name])
    done = subprocess.run(
        [sys.executable, "-c", COST, str(file)], capture_output=True, text=True, check=True
    )
    said, cpu_s, grown_MB = json.loads(done.stdout)
    figure(f"{name}: time", cpu_s, "s CPU")
    figure(f"{name}: memory", grown_MB, "MB")
    assert (said == "1") == (name == "all that is allowed"), said
    assert cpu_s < MOST_CPU_S
    assert grown_MB < MOST_MB


# Numbers and duplicates, with their lines, in both kinds of files.

PROTOCOL = """\
protocol: p
version: 1.0.0
safety: {voltage: [2.4 V, 4.25 V], temperature: [10 degC, 45 degC], charge: 115 %}
steps:
  - charge: 1 A
    until: voltage >= 4.2 V
    at_most: 010 h
"""


@pytest.mark.fault("F71")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[2 V,", "[§.nan,"), ("4.3 V]", "§.inf]"), ("4.3 V]", "§nan V]"), ("4.3 V]", "§inf V]"),
        ("4.3 V]", "§1e999 V]"), ("4.3 V]", "§-.inf V]"),
        ("    eis: pico.2", "    §cycler: aps1"), ("5 A]", "§NaN A]"),
    ],
)  # fmt: skip
def test_a_limit_that_is_no_number_is_refused_where_it_stands_in_a_lab_file(old, new, tmp_path):
    def load(text: str) -> object:
        file = tmp_path / "lab.yaml"
        file.write_text(text)
        return load_lab(file)

    refusal(load, edit(old, new, LAB))


@pytest.mark.fault("F71")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[2.4 V,", "[§.nan,"), ("4.25 V]", "§nan V]"), (": 1 A", ": §inf A"),
        ("voltage >= 4.2 V", "§voltage >= nan V"),
        ("115 %", "§.nan"), ("version: 1.0.0", "§protocol: q"),
        ("    until", "    §charge: 2 A\n    until"),
    ],
)  # fmt: skip
def test_a_limit_that_is_no_number_is_refused_where_it_stands_in_a_protocol(old, new):
    marked = PROTOCOL.replace(old, new, 1)
    if new.startswith("§"):
        refusal(parse_protocol, marked)
    else:
        with pytest.raises(InputError, match=r"<protocol>:\d+:\d+: "):
            parse_protocol(marked.replace("§", ""))


@pytest.mark.fault("F71")
def test_010_is_ten_and_1e3_is_a_thousand_wherever_a_number_stands():
    assert parse_protocol(PROTOCOL).model.steps[0].at_most == 36_000.0
    thousand = parse_protocol(PROTOCOL.replace("010 h", "1e3 s"))
    assert thousand.model.steps[0].at_most == 1000.0
    assert parse("a: 010\nb: 1e3").data == {"a": 10, "b": 1000.0}


# The protocol is changed while it runs.


@pytest.mark.fault("F72")
def test_a_protocol_that_is_edited_while_it_runs_runs_on_as_it_was(tmp_path):
    folder = tmp_path / "protocols"
    folder.mkdir()
    file = folder / "charge.yaml"
    file.write_text(CHARGE)
    sha256 = hashlib.sha256(CHARGE.encode()).hexdigest()
    with running_daemon(tmp_path, protocols="protocols") as (bench, daemon):
        reply = daemon.call("start", protocol="charge.yaml", cell="c1")
        assert reply.state == "done", reply.reason
        daemon.energised()
        file.write_text(CHARGE.replace("1C", "3C").replace("at_most: 2 h", "at_most: 1 s"))
        assert daemon.call("pause").state == "done"
        daemon.wait_for(mode="paused")
        assert not on(bench)
        daemon.stop()
        daemon.start()  # even a new process takes the text that the journal keeps
        daemon.wait_for(mode="paused")
        assert daemon.call("resume").state == "done"
        seen = daemon.energised()
        assert seen["current_A"] == pytest.approx(2.5, rel=0.02)  # 1C of 2.5 Ah
        assert daemon.call("stop").state == "done"
        (started,) = daemon.events(EventKind.RUN_STARTED)
        assert started.data["sha256"] == sha256
        with JournalReader(daemon.data / "journal.sqlite") as journal:
            kept = journal.runs()[0].document["protocol"]
        assert (kept["text"], kept["sha256"]) == (CHARGE, sha256)


# Names and links.

ESCAPES = [
    "../outside.yaml", "sub/../../outside.yaml", "/etc/passwd", "..", ".", "", "link.yaml",
    "folder/outside.yaml", ".hidden.yaml", "a\0b.yaml", "x" * 300 + ".yaml", "sub//in.yaml",
    "~/outside.yaml", "pipe", "sub",
]  # fmt: skip


@pytest.fixture
def protocols(tmp_path) -> Iterator[Path]:
    """A folder with a protocol, one in a folder within, links that lead out, and a pipe."""
    outside, folder = tmp_path / "outside.yaml", tmp_path / "protocols"
    outside.write_text(PROTOCOL)
    (folder / "sub").mkdir(parents=True)
    for inside in ("in.yaml", "sub/in.yaml", ".hidden.yaml"):
        (folder / inside).write_text(PROTOCOL)
    (folder / "link.yaml").symlink_to(outside)
    (folder / "folder").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    yield folder


def source(folder: Path, name: str):
    lab = SimpleNamespace(protocols=folder, data=folder.parent / "data")
    return chosen_protocol(lab, "A1", {"protocol": name})[0]  # type: ignore[arg-type]


@pytest.mark.fault("F73")
@pytest.mark.parametrize("name", ESCAPES)
def test_no_name_of_a_protocol_leads_out_of_its_folder(name, protocols):
    with pytest.raises(CommandRefused, match="there is no protocol"):
        source(protocols, name)


@pytest.mark.parametrize("name", ["in.yaml", "sub/in.yaml"])
def test_a_protocol_within_its_folder_is_found(name, protocols):
    assert source(protocols, name).model.protocol == "p"


@pytest.mark.fault("F73")
@pytest.mark.parametrize(
    "name", ["..", "../x", "a/b", "/x", ".x", "a\\b", "a b", "", "x" * 65, "ä"]
)
def test_a_name_in_a_lab_file_or_a_command_is_one_plain_word(name, tmp_path):
    assert NAME_PATTERN == f"^{NAME.pattern}$"
    quoted = json.dumps(name, ensure_ascii=False)
    for old, new in (
        ("lab: bench-3", f"lab: {quoted}"), ("  A1:", f"  {quoted}:"), ("  aps1:", f"  {quoted}:"),
    ):  # fmt: skip
        file = tmp_path / "lab.yaml"
        file.write_text(edit(old, new, LAB))
        with pytest.raises(InputError):
            load_lab(file)


@pytest.mark.fault("F73")
def test_a_link_in_the_place_of_a_live_file_is_not_written_through(tmp_path):
    victim, live = tmp_path / "victim", tmp_path / "run.h5.part"
    victim.write_text("precious")
    live.symlink_to(victim)
    RunFile(live, "live").close()
    assert victim.read_text() == "precious"
    assert not live.is_symlink()
    with h5py.File(live, "r") as file:
        assert file.attrs["state"] == "live"


@pytest.mark.fault("F73")
@pytest.mark.parametrize("to", ["csv", "bdf", "parquet"])
def test_a_link_in_the_place_of_an_export_is_not_written_through(to, tmp_path):
    info = runs.run_info()
    runs.write(tmp_path / "journal.sqlite", (info, runs.formation(info, points=0, cycles=1)))
    out, victim = tmp_path / "shared", tmp_path / "victim"
    out.mkdir()
    victim.write_text("precious")
    with JournalReader(tmp_path / "journal.sqlite") as reader:
        path = export(reader, info.id, to, out)
        path.unlink()
        path.with_name(f"{path.name}.tmp").symlink_to(victim)
        path.symlink_to(victim)
        assert export(reader, info.id, to, out) == path
    assert victim.read_text() == "precious"
    assert path.is_file()
    assert not path.is_symlink()


@pytest.mark.fault("F73")
def test_a_run_in_the_journal_with_a_name_that_is_none_is_exported_into_its_folder(tmp_path):
    info = runs.run_info("../../escaped")
    runs.write(tmp_path / "journal.sqlite", (info, runs.formation(info, points=0, cycles=1)))
    out = tmp_path / "deep" / "out"
    out.mkdir(parents=True)
    with JournalReader(tmp_path / "journal.sqlite") as reader:
        assert export(reader, info.id, "csv", out) == out / "escaped.csv"
    assert not list(tmp_path.glob("escaped*"))


# Reading from disk is as strict as from memory.


@pytest.mark.fault("F69")
def test_a_wrong_protocol_on_disk_is_refused_with_file_line_and_remedy(tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text(PROTOCOL.replace("until", "untill"))
    with pytest.raises(InputError, match=r"wrong\.yaml:6:5: unknown key 'untill' \(did you mean"):
        load_protocol(file)
    file.write_text("a: [1")
    with pytest.raises(InputError, match=r"wrong\.yaml:\d+:\d+: not YAML"):
        read(file)
