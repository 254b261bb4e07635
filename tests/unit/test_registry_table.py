"""Cells as a CSV table: every bad row is reported with its line, good rows are what they say."""

from __future__ import annotations

import pytest

from daq.errors import InputError
from daq.registry import table
from daq.registry.table import parse_table

HEAD = "cell,batch,nominal_capacity [Ah],positive.active_mass [g],limits.voltage,metadata.tray\n"
GOOD = "C-1,B7,2.5,14.1,2.5 V to 4.2 V,0012\n"


def rows(text: str | bytes):
    raw = text.encode() if isinstance(text, str) else text
    found = parse_table(raw, "t.csv")
    assert found.mistakes == []
    return [row.data for row in found.rows]


def mistakes(text: str) -> list[str]:
    return [str(error) for error in parse_table(text.encode(), "t.csv").mistakes]


def test_a_row_is_a_record_with_the_units_of_the_header(text=HEAD + GOOD):
    assert rows(text) == [
        {
            "cell": "C-1",
            "batch": "B7",
            "nominal_capacity": "2.5 Ah",
            "positive": {"active_mass": "14.1 g"},
            "limits": {"voltage": ["2.5 V", "4.2 V"]},
            "metadata": {"tray": "0012"},
        }
    ]


@pytest.mark.parametrize(
    "head",
    [
        "nominal_capacity [Ah]",
        "nominal_capacity[Ah]",
        "nominal_capacity / Ah",
        "nominal_capacity  [ Ah ]",
    ],
)
def test_a_unit_may_stand_in_brackets_or_after_a_slash(head):
    assert rows(f"cell,{head}\nC-1,2.5\n") == [{"cell": "C-1", "nominal_capacity": "2.5 Ah"}]


def test_a_unit_with_a_slash_of_its_own():
    text = "cell,positive.coat_weight / mg/cm^2\nC-1,17.2\n"
    assert rows(text)[0]["positive"] == {"coat_weight": "17.2 mg/cm^2"}


def test_a_span_takes_the_unit_of_its_header():
    text = "cell,limits.current [A]\nC-1,-5 to 2.5\n"
    assert rows(text)[0]["limits"] == {"current": ["-5 A", "2.5 A"]}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_tables_of_other_programs_are_read(separator, end, mark):
    lines = ["cell;supplier", 'C-1;"Acme, Ltd"' if separator == "," else "C-1;Acme", "", ";"]
    text = mark + end.join(line.replace(";", separator) for line in lines)
    assert rows(text.encode())[0]["supplier"].startswith("Acme")


@pytest.mark.parametrize("value", ["14.1 g", "14,1", "fourteen", "14.1 A"])
def test_beside_a_unit_in_the_header_stand_numbers(value):
    (said,) = mistakes(f"cell;positive.active_mass [g]\nC-1;{value}\n")
    assert said.startswith(f"t.csv:2:5: positive.active_mass: {value!r} is not a number (the unit")


def test_an_empty_field_says_nothing():
    assert rows("cell,supplier,batch\nC-1,,B7\n") == [{"cell": "C-1", "batch": "B7"}]


def test_every_bad_row_is_reported_with_its_line_and_column_and_the_good_ones_are_there():
    text = (
        "cell,nominal_capacity,assembled\n"
        "C-1,2.5 Ah,2025-02-10\n"
        "C-2,2.5,2025-02-10\n"
        "C 3,2.5 Ah,\n"
        "C-4,2.5 Ah\n"
        ",2.5 Ah,\n"
        "C-1,2.5 Ah,\n"
        "C-5,2.5 Ah,10.2.2025\n"
        'C-6,"2.5 Ah,\n'
        "C-7,2.5 Ah,\n"
    )
    found = parse_table(text.encode(), "t.csv")
    assert [row.data["cell"] for row in found.rows] == ["C-1", "C-7"]
    said = [str(error) for error in found.mistakes]
    for place, what in zip(
        said,
        [
            r"t.csv:3:5: nominal_capacity: 2.5 has no unit",
            "t.csv:4:1: cell: 'C 3' is not a name",
            "t.csv:5:1: the row has 2 fields; the header has 3 columns",
            "t.csv:6:1: the key 'cell' is missing",
            "t.csv:7:1: cell C-1 is in line 2 already",
            "t.csv:8:12: assembled: '10.2.2025' is not a date",
            "t.csv:9:1: the row has quotes that do not fit",
        ],
        strict=True,
    ):
        assert place.startswith(what), place


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("cell,nominal_capcity", "t.csv:1:6: unknown key 'nominal_capcity'.*'nominal_capacity'"),
        ("cell,positive.activ_mass", "did you mean 'positive.active_mass'"),
        ("cell,tray", "unknown key 'tray'.*metadata.tray"),
        ("cell,metadata.", "unknown key 'metadata.'"),
        ("cell,metadata", "unknown key 'metadata'"),
        ("cell,positive", "unknown key 'positive'"),
        ("cell,batch,cell", "t.csv:1:12: there are two columns 'cell'"),
        ("cell,", "t.csv:1:6: '' is not a heading"),
        ("batch,supplier", "there is no column 'cell'"),
        ("cell,supplier [", "is not a heading"),
        ("", "t.csv is empty"),
    ],
)
def test_a_wrong_header_is_refused_as_a_whole(head, says):
    with pytest.raises(InputError, match=says):
        parse_table(head.encode(), "t.csv")


@pytest.mark.parametrize("bad", ["\x00", "\x1d", "\x07", "\u2028"])
def test_a_control_character_is_refused_with_its_place(bad):
    (said,) = mistakes(f"cell,supplier\nC-1,a{bad}b\n")
    assert said.startswith("t.csv:2:5: supplier: the control character U+")


def test_absurd_lengths_are_refused(monkeypatch):
    (said,) = mistakes(f"cell,supplier\nC-1,{'x' * 501}\n")
    assert "501 characters are too many" in said
    with pytest.raises(InputError, match="line 2 of t.csv is longer"):
        parse_table(b"cell\n" + b"x" * 100_001, "t.csv")
    with pytest.raises(InputError, match="larger than 8 MiB"):
        parse_table(b"x" * (table.LARGEST + 1), "t.csv")
    monkeypatch.setattr(table, "MOST_ROWS", 2)
    with pytest.raises(InputError, match="more than 2 rows"):
        parse_table(b"cell\nC-1\nC-2\nC-3\n", "t.csv")


def test_what_is_not_utf_8_is_refused_with_its_line():
    with pytest.raises(InputError, match="t.csv:3:1: byte 0xe4 is not UTF-8"):
        parse_table("cell,supplier\nC-1,x\nC-2,Bäcker\n".encode("latin-1"), "t.csv")


def test_a_quote_within_a_field_does_not_shift_the_columns():
    (said,) = mistakes('cell,supplier,nominal_capacity\nC-1,3" wafers,2.5\n')
    assert "nominal_capacity: 2.5 has no unit" in said
    (said,) = mistakes('cell,supplier,nominal_capacity\nC-1,"a ""b"", c",2.5\n')
    assert said.startswith("t.csv:2:18: nominal_capacity")
