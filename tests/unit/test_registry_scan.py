"""What a barcode scanner types: an id is taken exactly as it is, or not at all."""

from __future__ import annotations

from io import StringIO

import pytest

from daq.errors import InputError
from daq.registry.scan import read_scan, scanned


@pytest.mark.parametrize("text", ["C2025-0117", "0012", "a", "x" * 64, "A.b_c-1"])
def test_an_id_is_taken_as_it_is(text):
    assert scanned(text) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "nothing was scanned"),
        ("x" * 65, "65 characters; an id has at most 64"),
        ("C-1\x1dC-2", r"group separator \(GS\)"),
        ("\x1bC-1", "escape"),
        ("C-1\t", "tab"),
        ("C-1\x00", "null"),
        ("C-1\x03", r"U\+0003"),
        ("C-1\r\r", r"U\+000D"),
        ("C-1\u200b", r"U\+200B"),
        (" C-1", "blanks around it"),
        ("C-1 ", "blanks around it"),
        ("]C1C-1", "symbology identifier ']C1'"),
        ("]d2010401234", "symbology identifier ']d2'"),
        ("C/1", "'/' cannot be in it"),
        ("../C-1", "'/' cannot be in it"),
        ("-C1", "'-' cannot be in it, or cannot begin it"),
        ("C'0042", "keyboard layout"),
        ("Cß0042", "keyboard layout"),
        ("https://lab.example/C-1", "':' cannot be in it"),
    ],
)
def test_what_is_not_exactly_an_id_is_refused_with_what_to_do(text, says):
    with pytest.raises(InputError, match=says) as caught:
        scanned(text)
    assert caught.value.remedy
    assert "\x1d" not in str(caught.value)  # a terminal is not to be told what to do


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_enter_ends_a_scan(end):
    assert read_scan(StringIO(f"C-1{end}")) == "C-1"


def test_scans_follow_each_other_until_an_empty_line_or_the_end():
    source = StringIO("C-1\nC-2\n\nC-3\n")
    assert [read_scan(source) for _ in range(5)] == ["C-1", "C-2", None, "C-3", None]


@pytest.mark.parametrize("length", [65, 4095, 4096, 4097, 8192, 100_000])
def test_a_line_of_absurd_length_is_thrown_away_whole(length):
    source = StringIO("x" * length + "\nC-2\n")
    with pytest.raises(InputError, match="characters; an id has at most 64"):
        read_scan(source)
    assert read_scan(source) == "C-2"
