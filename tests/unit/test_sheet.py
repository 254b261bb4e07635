"""`daq start --sheet`: many runs from a CSV sheet, checked as a whole before any is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from daq import cli
from daq.cli.sheet import Start, read_sheet, start_sheet
from daq.errors import DaqError, InputError
from daq.model import Reply

SHEET = "station,cell,v_max\nA1,C-1,4.1 V\nA2,C-2,\n"
PARAMETERS = {"v_max": "4.2 V", "rate": "C/2"}


@pytest.fixture
def sheet(tmp_path: Path) -> Any:
    """Read a sheet of this text."""

    def read(text: str | bytes, parameters: Any = PARAMETERS) -> Any:
        path = tmp_path / "cells.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_sheet(path, parameters)

    return read


class Daemon:
    """Answers `start` and `stop`, and refuses what it was told to."""

    def __init__(self, *, at_check: str = "", at_start: str = "", lost_at: str = "") -> None:
        self.runs: list[str] = []
        self._lost_at = lost_at
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self._refuses = {True: at_check, False: at_start}

    def send(self, verb: str, station: str, **arguments: Any) -> Reply:
        self.calls.append((verb, station, arguments))
        check = bool(arguments.get("check"))
        if verb == "start" and station == self._refuses[check]:
            return Reply("x", "refused", f"{station} has tripped")
        if verb == "stop":
            self.runs.remove(station)
        elif not check:
            if station == self._lost_at:
                raise DaqError("the daemon does not answer")
            self.runs.append(station)
        return Reply("x", "done", data={"run": f"run-{station}", "expected_s": 3600.0})


def begin(of: Any, daemon: Daemon, **more: Any) -> int:
    start = Start(daemon.send, {"text": "p", "name": "p.yaml"}, {"rate": "C/5"}, **more)
    return start_sheet(of, start, as_json=False)


# The sheet.


def test_each_line_is_a_run_with_the_parameters_that_it_gives(sheet: Any) -> None:
    first, second = sheet(SHEET).lines
    assert (first.station, first.cell, first.parameters) == ("A1", "C-1", {"v_max": "4.1 V"})
    assert (second.station, second.cell, second.parameters) == ("A2", "C-2", {})
    assert [line.place.line for line in (first, second)] == [2, 3]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_sheet_of_another_separator_or_with_a_mark_at_its_beginning(
    sheet: Any, separator: str
) -> None:
    lines = sheet("\ufeff" + SHEET.replace(",", separator) + "\n\n").lines
    assert [line.cell for line in lines] == ["C-1", "C-2"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no column 'station'"),
        ("station,v_max\nA1,4 V\n", "1:1: there is no column 'cell'"),
        ("station,cell,v_mx\nA1,C-1,4 V\n", "no parameter 'v_mx' .did you mean 'v_max'"),
        ("station,cell,cell\nA1,C-1,C-2\n", "the column 'cell' is there twice"),
        ("station,cell\n", "no line below its header"),
        (b"station,cell\nA1,\xff\n", "is no text"),
        (b"x" * (1 << 21), "larger than 1 MiB"),
    ],
)
def test_a_sheet_that_cannot_be_understood(sheet: Any, text: str | bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        sheet(text)


def test_a_sheet_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_sheet(tmp_path / "none.csv", None)


def test_every_bad_line_is_reported_with_its_number(sheet: Any) -> None:
    text = "station,cell\nA1,C-1\nA2\nA1,C-3\n,C-4\nA5,C-1\nA6,C-6\n"
    found = sheet(text)
    assert [line.cell for line in found.lines] == ["C-1", "C-6"]
    assert [str(one).partition("cells.csv:")[2] for one in found.mistakes] == [
        "3:1: 1 fields under 2 columns (quote a field that has a comma in it)",
        "4:1: station A1 is in line 2, too (one run at a time)",
        "5:1: the station is missing",
        "6:1: cell C-1 is in line 2, too (one run at a time)",
    ]


def test_the_parameters_of_a_released_protocol_are_the_daemons_to_know(sheet: Any) -> None:
    assert sheet("station,cell,any\nA1,C-1,1 V\n", None).lines[0].parameters == {"any": "1 V"}


# Starting.


def test_all_lines_are_checked_before_any_is_started(sheet: Any) -> None:
    daemon = Daemon()
    assert begin(sheet(SHEET), daemon) == 0
    assert [(verb, s, bool(more.get("check"))) for verb, s, more in daemon.calls] == [
        ("start", "A1", True),
        ("start", "A2", True),
        ("start", "A1", False),
        ("start", "A2", False),
    ]
    arguments = daemon.calls[2][2]
    assert arguments["cell"] == "C-1"
    assert arguments["parameters"] == {"rate": "C/5", "v_max": "4.1 V"}
    assert daemon.calls[3][2]["parameters"] == {"rate": "C/5"}


def test_a_line_that_the_daemon_refuses_keeps_all_from_starting(sheet: Any, capsys: Any) -> None:
    daemon = Daemon(at_check="A2")
    assert begin(sheet(SHEET), daemon) == 4
    assert daemon.runs == []
    err = capsys.readouterr().err
    assert "cells.csv:3:1: A2: A2 has tripped" in err
    assert "nothing was started" in err


def test_a_line_that_is_wrong_keeps_all_from_starting(sheet: Any) -> None:
    daemon = Daemon()
    assert begin(sheet(SHEET + ",C-3,\n"), daemon) == 2
    assert daemon.runs == []
    assert len(daemon.calls) == 2  # the good ones were checked all the same


def test_the_good_lines_are_started_if_that_is_wanted(sheet: Any) -> None:
    daemon = Daemon(at_check="A1")
    assert begin(sheet(SHEET), daemon, some=True) == 4
    assert daemon.runs == ["A2"]
    daemon = Daemon(at_start="A1")
    assert begin(sheet(SHEET), daemon, some=True) == 4
    assert daemon.runs == ["A2"]


def test_what_has_started_is_stopped_where_a_later_line_is_refused(sheet: Any, capsys: Any) -> None:
    daemon = Daemon(at_start="A2")
    assert begin(sheet(SHEET), daemon) == 1
    assert daemon.runs == []
    assert daemon.calls[-1][:2] == ("stop", "A1")
    assert "1 runs that had started were stopped again" in capsys.readouterr().err


def test_a_connection_that_breaks_leaves_word_of_what_has_started(sheet: Any, capsys: Any) -> None:
    with pytest.raises(DaqError, match="does not answer"):
        begin(sheet(SHEET), Daemon(lost_at="A2"))
    assert "started before that: A1" in capsys.readouterr().err


# On the command line.


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("start", "--sheet", "cells.csv", "A1", "p.yaml"), "a sheet names the stations"),
        (("start", "--sheet", "cells.csv", "p.yaml", "--cell", "C-1"), "a sheet names"),
        (("start", "A1"), "which protocol?"),
        (("start", "--sheet", "none.csv", "p.yaml"), "cannot read none.csv"),
        (("start", "--sheet", "cells.csv", "none.yaml"), "cannot read none.yaml"),
        (("start", "--sheet", "cells.csv", "p.yaml"), "cells.csv:1:1: the protocol has no"),
    ],
)
def test_what_is_wrong_is_exit_code_2(
    words: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    (tmp_path / "cells.csv").write_text(SHEET, encoding="utf-8")
    protocol = "protocol: p\nversion: 1.0.0\nsteps:\n  - rest: 1 h\n"
    (tmp_path / "p.yaml").write_text(protocol, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert cli.run(list(words)) == 2
    assert says in capsys.readouterr().err


def test_what_each_line_plays_travels_with_it(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    protocol = (
        "protocol: p\nversion: 1.0.0\nparameters: {course: a.csv}\nsteps:\n"
        "  - profile: {file: $course}\n"
    )
    (tmp_path / "p.yaml").write_text(protocol, encoding="utf-8")
    for name in "abcd":
        (tmp_path / f"{name}.csv").write_text("time_s,rate_C\n0,0.1\n9,0\n", encoding="utf-8")
    sheet = "station,cell,course\nA1,C-1,b.csv\nA2,C-2,\n"
    (tmp_path / "cells.csv").write_text(sheet, encoding="utf-8")
    daemon = Daemon()
    monkeypatch.setattr(
        "daq.cli.control.call", lambda _lab, _broker, *words, **more: daemon.send(*words, **more)
    )
    monkeypatch.chdir(tmp_path)
    assert cli.run(["start", "--sheet", "cells.csv", "p.yaml"]) == 0, capsys.readouterr().err
    assert {tuple(sorted(more["files"])) for _, _, more in daemon.calls} == {("a.csv", "b.csv")}
    assert cli.run(["start", "A1", "p.yaml", "--cell", "C-1", "-p", "course=d.csv"]) == 0
    assert sorted(daemon.calls[-1][2]["files"]) == ["a.csv", "d.csv"]


def test_what_was_started_as_json(sheet: Any, capsys: Any) -> None:
    start = Start(Daemon().send, {}, {})
    assert start_sheet(sheet(SHEET), start, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "line": 2, "station": "A1", "cell": "C-1", "parameters": {"v_max": "4.1 V"},
            "run": "run-A1", "expected_s": 3600.0,
        },
        {
            "line": 3, "station": "A2", "cell": "C-2", "parameters": {}, "run": "run-A2",
            "expected_s": 3600.0,
        },
    ]  # fmt: skip
