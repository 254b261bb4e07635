"""The one YAML reader: strict, and it knows where everything stands."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daq.errors import InputError
from daq.yamlfile import DEEPEST, LARGEST_FILE, MOST_NODES, Document, parse, plain, read
from tests.unit.marked import refusal


@pytest.mark.fault("F71")
@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("010", 10),
        ("1e3", 1000.0),
        ("-2.5", -2.5),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("off", "off"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("1.0.0", "1.0.0"),
        ("2025-03-31", "2025-03-31"),
        ("4.2 V", "4.2 V"),
    ],
)
def test_a_plain_word_means_what_yaml_1_2_says(word: str, value: object) -> None:
    found = parse(f"a: {word}").data["a"]
    assert found == value
    assert type(found) is type(value)
    assert plain(word) == value


def test_quotes_keep_a_number_text() -> None:
    assert parse("a: '010'\nb: \"1e3\"").data == {"a": "010", "b": "1e3"}


def test_keys_are_always_the_text_that_was_written() -> None:
    assert list(parse("007: x\ntrue: y\n1.0: z").data) == ["007", "true", "1.0"]


def test_every_key_and_value_knows_its_line_and_column() -> None:
    document = parse("lab: x\nstations:\n  A1:\n    limits: [1, {low: 2}]\n")
    assert str(document.place(("stations", "A1"))) == "<text>:3:3"
    assert str(document.place(("stations", "A1", "limits"))) == "<text>:4:5"
    assert str(document.place(("stations", "A1", "limits"), value=True)) == "<text>:4:13"
    assert str(document.place(("stations", "A1", "limits", 1, "low"), value=True)) == "<text>:4:23"


def test_the_place_of_something_that_is_missing_is_what_should_hold_it() -> None:
    document = parse("a:\n  b: 1\n")
    assert str(document.place(("a", "missing", "too"))) == "<text>:1:1"
    assert str(document.place(("a", "b", "c"))) == "<text>:2:3"


def test_the_hash_is_of_the_bytes_as_they_lie_on_disk(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: [1,\r\n  2]\r\n")
    document = read(file)
    assert document.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert document.data == {"a": 1, "b": [1, 2]}


@pytest.mark.fault("F69")
@pytest.mark.parametrize(
    ("marked", "said"),
    [
        ("a: 1\nb: 2\n§a: 3", "'a' is given twice; first in line 1"),
        ("x:\n  {b: 1, §b: 2}", "'b' is given twice; first in line 2"),
        ("a: 1\n§\tb: 2", "there is a tab"),
        ("a: 1§\t# comment", "there is a tab"),
        ("a: §&x 1", "anchors (&x) are not allowed"),
        ("a: §*x", "aliases (*x) are not allowed"),
        ("§<<: {a: 1}", "merge keys are not allowed"),
        ("a: §!!python/name:os.system x", "tags (!) are not allowed"),
        ("a: §!ruby x", "tags (!) are not allowed"),
        ("a: §! x", "tags (!) are not allowed"),
        ("a: 1\n§---\nb: 2", "a second document begins"),
        ("§- 1\n- 2", "the file is not a list of `key: value` lines"),
        ("§just text", "the file is not a list of `key: value` lines"),
        ("%YAML 1.1\n§---\na: yes", "this is not YAML 1.2"),
        ("a: §.inf", ".inf is not a finite number"),
        ("a: [1, §-.INF]", "-.INF is not a finite number"),
        ("a: §.nan", ".nan is not a finite number"),
        ("a: §1e999", "1e999 is not a finite number"),
        ("? §[a, b]\n: 1", "a key must be one plain word"),
        ("§: 1", "a key must be one plain word"),
        ("a: {v_max: 4,§2 V}", "'2 V' has no value"),
        ("a: {§b, c: 1}", "'b' has no value"),
        ("a: §\x00", "control character U+0000"),
        ('a: §"\\0"', "the text holds the character U+0000"),
        ('a: §"\\ud800"', "the text holds the character U+D800"),
        ("a: b§: c", "not YAML: mapping values are not allowed here"),
        (
            "a: [1, 2\nb§: 3",
            "not YAML: while parsing a flow sequence, expected ',' or ']', but got ':'",
        ),
        ("a: 1\nb: " + "x" * 9_997 + "§x", "the line is longer than 10000 characters"),
    ],
)
def test_what_is_not_allowed_is_refused_where_it_stands(marked: str, said: str) -> None:
    assert refusal(parse, marked).message == said


QUOTES = "put a text that holds ': ' in quotes; a key has a space behind its colon"


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("steps:\n  - operator: look: is it on?\n", QUOTES),
        ("a:\n  - cccv: {charge: 1C\n    until: 1\n", "is a { or [ closed, in line 2?"),
        ("a: [1,\n2\nb: 3\n", "is a { or [ closed, in line 1?"),
        ("a:\n  - b: 1\n   c: 2\n", "begin each line of a list or of a step in the same column"),
        ("a: 1\nb: 'open\nc: 2\n", "is the quote closed, in line 2?"),
        ("steps:\n  - rest:1\n    until: 2\n", QUOTES),
        ("a: 1\nb\nc: 2\n", "write `key: value`"),
        ("- a\n", "begin with one, at the margin"),
    ],
)
def test_what_is_not_yaml_is_told_with_what_to_do(text: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text)
    assert caught.value.remedy == remedy


def test_a_byte_that_is_not_utf8_is_refused_where_it_stands() -> None:
    with pytest.raises(InputError, match=r"lab\.yaml:2:4: byte 0xff is not UTF-8"):
        parse(b"a: 1\nb: \xff", "lab.yaml")


@pytest.mark.parametrize("content", ["", "# only a comment\n", "\n\n"])
def test_an_empty_file_is_refused(content: str) -> None:
    with pytest.raises(InputError, match=r"lab\.yaml is empty"):
        parse(content, "lab.yaml")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "lab.yaml")


@pytest.mark.fault("F69")
def test_half_a_surrogate_in_a_text_from_elsewhere_is_refused() -> None:
    with pytest.raises(InputError, match=r"<text>:2:4: byte 0xed is not UTF-8"):
        parse("a: 1\nb: \ud800")


def test_an_impossible_escape_is_refused() -> None:
    with pytest.raises(InputError, match="is not YAML"):
        parse('a: "\\UFFFFFFFF"')


def nested(depth: int) -> str:
    return "a: " + "[" * depth + "]" * depth


def test_depth_is_bounded() -> None:
    assert parse(nested(DEEPEST - 1))
    error = refusal(parse, f"a: {'[' * (DEEPEST - 1)}§{'[' * 100_000}"[:9_000])
    assert error.message == f"nested deeper than {DEEPEST} levels"


def test_the_number_of_nodes_is_bounded() -> None:
    lines = [f"k{number}: 1" for number in range(MOST_NODES // 2 + 1)]
    assert len(parse("\n".join(lines[: MOST_NODES // 2 - 1])).data) == MOST_NODES // 2 - 1
    with pytest.raises(InputError, match=f"more than {MOST_NODES} keys and values"):
        parse("\n".join(lines))


@pytest.mark.fault("F70")
def test_a_large_file_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "big.yaml"
    with file.open("wb") as out:
        out.truncate(1 << 34)  # sparse: 16 GiB that are nowhere
    with pytest.raises(InputError, match="larger than 1 MiB"):
        read(file)


@pytest.mark.fault("F70")
@pytest.mark.parametrize(
    "bomb",
    [
        "a: " + "!" * 1_000_000,
        "- " * 500_000,
        "{" * 1_000_000,
        "? " * 500_000,
        "a: [" + "{}," * 300_000 + "]",
        "a: &" + "x" * 1_000_000,
    ],
    ids=["tags", "dashes", "braces", "questions", "flows", "anchor"],
)
def test_a_bomb_is_refused_and_not_expanded(bomb: str) -> None:
    with pytest.raises(InputError):
        parse(bomb[:LARGEST_FILE])


JSON_TEXT = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0x24FF, exclude_categories=("Cs", "Cc", "Cn")),
    max_size=12,
).filter(lambda text: not set(text) & {"\u2028", "\u2029", "\x7f"})
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | JSON_TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(JSON_TEXT.filter(lambda key: key != "<<"), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(data=st.dictionaries(JSON_TEXT.filter(lambda key: key != "<<"), JSON, max_size=5))
def test_json_is_yaml_and_reads_as_the_same_values(data: dict[str, Any]) -> None:
    assert parse(json.dumps(data, ensure_ascii=False)).data == data


@given(data=st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), JSON, min_size=1))
def test_the_mark_of_a_key_is_where_the_key_stands(data: dict[str, Any]) -> None:
    text = json.dumps(data, ensure_ascii=False, indent=2)
    document, lines = parse(text), text.split("\n")
    for where, (line, column) in document.keys.items():
        written = json.dumps(str(where[-1]), ensure_ascii=False)
        assert lines[line - 1][column - 1 :].startswith(written)


YAMLISH = st.text(st.sampled_from("ab:-?[]{},&*!|>'\"%@`#~ \n\t0.1e\\$"), max_size=60)


@settings(max_examples=500)
@given(content=YAMLISH | st.text(max_size=60) | st.binary(max_size=60))
@example("a: |\n x\n  - 'b")
@example("%TAG ! x\n---\na: !<b> c")
def test_any_content_is_read_or_refused_and_nothing_else(content: str | bytes) -> None:
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    try:
        assert isinstance(parse(content), Document)
    except InputError as error:
        assert error.message
