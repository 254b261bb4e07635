"""Released protocols: a version is one text for ever, and where it runs is never in doubt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.errors import CommandRefused, DaqError, InputError
from daq.protocol.source import load_protocol, parse_protocol
from daq.registry.protocols import Protocols
from daq.registry.rollouts import EVERYWHERE, Rollouts
from daq.registry.shelf import Who
from daq.registry.versions import next_patch, order

ANA = Who("ana", "trial")
STATIONS = ("A1", "A2", "A3")


def text(version="1.0.0", rest="10 min", name="rest-only"):
    return f"protocol: {name}\nversion: {version}\nsteps:\n  - rest: {rest}\n"


def source(*words, **named):
    return parse_protocol(text(*words, **named), "rest.yaml")


@pytest.fixture
def protocols(tmp_path: Path) -> Protocols:
    made = Protocols(tmp_path)
    for version in ("1.0.0", "1.1.0", "1.10.0", "1.9.0"):
        made.release(source(version), ANA)
    return made


def where(protocols: Protocols) -> list[str | None]:
    rollouts = protocols.rollouts("rest-only")
    return [rollouts.at(station) for station in STATIONS]


# Versions.


def test_versions_are_ordered_as_semver_says():
    # semver.org, clause 11, and its example
    ordered = [
        "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2",
        "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0", "2.1.0",
    ]  # fmt: skip
    mixed = sorted(ordered, key=len)
    assert sorted(mixed, key=order) == ordered
    assert order("1.0.0+a") == order("1.0.0+b")


@pytest.mark.parametrize(
    "wrong",
    ["1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0.0", "", "1.0.0-a..b", "1.0.0" + "0" * 99],
)
def test_what_is_no_semantic_version_is_refused(wrong):
    with pytest.raises(InputError, match="is not a semantic version"):
        order(wrong)


def test_the_next_version_after_a_small_change():
    assert [next_patch(v) for v in ("1.2.3", "1.2.3-rc.1", "1.2.3+x")] == [
        "1.2.4",
        "1.2.3",
        "1.2.4",
    ]


# Releases.


def test_a_release_is_the_text_byte_for_byte_read_only_and_listed_in_order(protocols):
    kept = protocols.folder / "rest-only" / "1.9.0.yaml"
    assert kept.read_bytes() == text("1.9.0").encode()
    assert kept.stat().st_mode & 0o222 == 0
    found = [one.version for one in protocols.versions("rest-only")]
    assert found == ["1.0.0", "1.1.0", "1.9.0", "1.10.0"]
    assert protocols.load("rest-only", "1.9.0").sha256 == source("1.9.0").sha256
    assert protocols.names() == ["rest-only"]


def test_the_same_text_again_is_no_release_and_another_text_needs_another_version(protocols):
    before = protocols.history("rest-only")
    assert protocols.release(source("1.0.0"), ANA) is False
    with pytest.raises(InputError, match=r"rest.yaml:2:10: rest-only 1.0.0 was released with "
                       r"another text \(raise the version, e.g. to 1.0.1\)"):  # fmt: skip
        protocols.release(source("1.0.0", "11 min"), ANA)
    assert protocols.history("rest-only") == before


@pytest.mark.parametrize("version", ['"1"', '"1.0"', "01.0.0"])
def test_a_released_version_is_a_semantic_one(version, protocols):
    with pytest.raises(InputError, match=r"is not a (semantic )?version.*like 1\.\d\.0"):
        protocols.release(source(version), ANA)


def test_a_name_that_looks_like_a_file_is_not_released(protocols):
    with pytest.raises(InputError, match="looks like a file"):
        protocols.release(source(name="rest.yaml"), ANA)


def test_a_file_with_line_ends_of_windows_is_one_text_on_every_way(tmp_path, protocols):
    path = tmp_path / "x.yaml"
    path.write_bytes(text("2.0.0").replace("\n", "\r\n").encode())
    assert protocols.release(load_protocol(path), ANA)
    assert protocols.load("rest-only", "2.0.0").text == path.read_bytes().decode()


def test_a_released_file_that_somebody_has_changed_is_never_run(protocols):
    protocols.roll_out("rest-only", "1.0.0", [], ANA)
    path = protocols.folder / "rest-only" / "1.0.0.yaml"
    path.chmod(0o644)
    path.write_text(text("1.0.0", "11 min"))
    for look in (
        lambda: protocols.at("rest-only", "A1"),
        lambda: protocols.roll_out("rest-only", "1.0.0", ["A1"], ANA),
    ):
        with pytest.raises(InputError, match="is not what was released"):
            look()


def test_a_version_that_a_power_cut_left_without_its_line_is_released_anew(tmp_path, protocols):
    (protocols.folder / "rest-only" / "3.0.0.yaml").write_text("half")
    with pytest.raises(InputError, match="3.0.0 was not released"):
        protocols.load("rest-only", "3.0.0")
    assert protocols.release(source("3.0.0"), ANA)
    assert protocols.load("rest-only", "3.0.0").sha256 == source("3.0.0").sha256


def test_what_is_no_name_is_unknown_and_leads_nowhere(protocols):
    for name in ("", "..", "../rest-only", "rest-only/", "/etc", "a\0b", "x" * 99):
        assert not protocols.knows(name)
        assert protocols.history(name) == []


def test_a_history_that_somebody_has_spoilt_is_an_error_and_not_another_version(protocols):
    path = protocols.folder / "rest-only" / "history.jsonl"
    with path.open("a") as file:
        file.write(json.dumps({"what": "rolled out", "version": 3, "stations": ["A1"]}) + "\n")
    with pytest.raises(DaqError, match="history.jsonl has an entry that is not understood"):
        protocols.at("rest-only", "A1")


# Rollouts.


def test_a_protocol_that_was_not_rolled_out_does_not_start(protocols):
    with pytest.raises(CommandRefused, match="no version of rest-only was rolled out to A1.*"
                       "rollout rest-only 1.10.0 --stations A1"):  # fmt: skip
        protocols.at("rest-only", "A1")


def test_a_version_goes_to_a_few_stations_first_then_everywhere_and_back(protocols):
    roll = protocols.roll_out
    roll("rest-only", "1.0.0", [], ANA)
    assert where(protocols) == ["1.0.0", "1.0.0", "1.0.0"]
    roll("rest-only", "1.1.0", ["A1", "A2"], ANA)
    assert where(protocols) == ["1.1.0", "1.1.0", "1.0.0"]
    roll("rest-only", "1.1.0", [], ANA)
    assert where(protocols) == ["1.1.0", "1.1.0", "1.1.0"]
    assert protocols.rollouts("rest-only").at("a station that is new") == "1.1.0"
    protocols.roll_back("rest-only", [], ANA)
    assert where(protocols) == ["1.0.0", "1.0.0", "1.0.0"]
    with pytest.raises(InputError, match="nothing ran at .* before 1.0.0"):
        protocols.roll_back("rest-only", [], ANA)


def test_rolling_a_trial_back_leaves_the_other_stations_alone(protocols):
    protocols.roll_out("rest-only", "1.0.0", [], ANA)
    protocols.roll_out("rest-only", "1.1.0", ["A1"], ANA)
    protocols.roll_back("rest-only", [], ANA)
    assert where(protocols) == ["1.0.0", "1.0.0", "1.0.0"]


def test_one_station_can_go_back_alone_and_forward_again(protocols):
    protocols.roll_out("rest-only", "1.0.0", [], ANA)
    protocols.roll_out("rest-only", "1.1.0", [], ANA)
    protocols.roll_back("rest-only", ["A2"], ANA)
    assert where(protocols) == ["1.1.0", "1.0.0", "1.1.0"]
    protocols.roll_out("rest-only", "1.9.0", [], ANA)
    assert where(protocols) == ["1.9.0", "1.9.0", "1.9.0"]
    protocols.roll_back("rest-only", [], ANA)
    assert where(protocols) == ["1.1.0", "1.0.0", "1.1.0"]  # what ran there before, each


def test_going_back_beyond_the_beginning_is_refused_and_changes_nothing(protocols):
    with pytest.raises(InputError, match="nothing was rolled out"):
        protocols.roll_back("rest-only", [], ANA)
    protocols.roll_out("rest-only", "1.0.0", ["A1"], ANA)
    before = protocols.history("rest-only")
    for stations in (["A1"], ["A3"], ["A1", "A3"], []):
        with pytest.raises(InputError, match="nothing (ran|was rolled out)"):
            protocols.roll_back("rest-only", stations, ANA)
    assert protocols.history("rest-only") == before


def test_what_was_not_released_is_not_rolled_out(protocols):
    with pytest.raises(
        InputError, match="rest-only 7.0.0 was not released.*there are 1.0.0, 1.1.0"
    ):
        protocols.roll_out("rest-only", "7.0.0", [], ANA)
    with pytest.raises(InputError, match="no released protocol 'rest-onyl'.*'rest-only'"):
        protocols.roll_out("rest-onyl", "1.0.0", [], ANA)
    with pytest.raises(InputError, match="no released protocol 'x'"):
        protocols.roll_back("x", [], ANA)


def test_the_history_tells_who_let_what_run_where_and_why(protocols):
    protocols.roll_out("rest-only", "1.0.0", [], Who("ana", "first"))
    protocols.roll_out("rest-only", "1.1.0", ["A2"], Who("ana", "trial"))
    protocols.roll_back("rest-only", ["A2"], Who("bo", "too hot"))
    out, trial, back = protocols.history("rest-only")[-3:]
    assert (out["what"], out["version"], out["stations"]) == ("rolled out", "1.0.0", [EVERYWHERE])
    assert (trial["version"], trial["stations"], trial["who"]) == ("1.1.0", ["A2"], "ana")
    assert (back["what"], back["who"], back["reason"]) == ("rolled back", "bo", "too hot")
    assert back["to"] == {"A2": "1.0.0"}


Deed = tuple[str, str, tuple[str, ...]]
DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["out", "back"]),
        st.sampled_from(["1.0.0", "1.1.0", "1.9.0"]),
        st.sets(st.sampled_from(STATIONS)).map(lambda names: tuple(sorted(names))),
    ),
    max_size=25,
)


@settings(max_examples=200, deadline=None)
@given(DEEDS)
def test_whatever_was_rolled_out_and_back_each_station_runs_what_a_list_for_each_would_say(
    deeds: list[Deed],
) -> None:
    """Against the plain picture: one list of versions for each station, kept by hand."""
    rollouts = Rollouts()
    plain: dict[str, list[str]] = {station: [] for station in STATIONS}
    for what, version, stations in deeds:
        if what == "out":
            rollouts.roll_out(version, stations or (EVERYWHERE,))
            for station in stations or STATIONS:
                if plain[station][-1:] != [version]:
                    plain[station].append(version)
        elif stations:  # what is taken back without naming stations is tested above
            if any(len(plain[station]) < 2 for station in stations):
                with pytest.raises(InputError):
                    rollouts.to_roll_back(stations)
                continue
            rollouts.take_off(rollouts.to_roll_back(stations))
            for station in stations:
                plain[station].pop()
        assert [rollouts.at(s) for s in STATIONS] == [(plain[s] or [None])[-1] for s in STATIONS]


# Files that a protocol brings.

INCLUDES = "protocol: outer\nversion: 1.0.0\nsteps:\n  - include: parts/inner.yaml\n  - rest: 1 h\n"


@pytest.fixture
def outer(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "inner.yaml").write_text(text(name="inner"))
    (tmp_path / "outer.yaml").write_text(INCLUDES)
    return tmp_path / "outer.yaml"


def test_what_a_protocol_includes_is_released_with_it_and_under_one_hash(outer, protocols):
    source = load_protocol(outer)
    assert protocols.release(source, ANA)
    (outer.parent / "parts" / "inner.yaml").write_text(text(name="inner", rest="9 min"))
    kept = protocols.load("outer", "1.0.0")
    assert kept.sha256 == source.sha256
    assert kept.files == {"parts/inner.yaml": text(name="inner")}
    assert protocols.release(source, ANA) is False
    with pytest.raises(InputError, match="outer 1.0.0 was released with another text"):
        protocols.release(load_protocol(outer), ANA)  # only what it includes is other


def test_an_included_file_that_somebody_has_changed_or_lost_is_never_run(outer, protocols):
    protocols.release(load_protocol(outer), ANA)
    (brought,) = (protocols.folder / "outer").rglob("inner.yaml")
    assert brought.stat().st_mode & 0o222 == 0
    brought.chmod(0o644)
    brought.write_text(text(name="inner", rest="9 min"))
    with pytest.raises(InputError, match="outer 1.0.0 is not what was released"):
        protocols.load("outer", "1.0.0")
    brought.unlink()
    with pytest.raises(InputError, match=r"inner\.yaml cannot be read"):
        protocols.load("outer", "1.0.0")


def test_a_history_that_somebody_has_spoilt_leads_to_no_file_elsewhere(outer, protocols):
    protocols.release(load_protocol(outer), ANA)
    path = protocols.folder / "outer" / "history.jsonl"
    path.write_text(path.read_text().replace("parts/inner.yaml", "../../../../outer.yaml"))
    with pytest.raises(InputError, match="is not the name of a file of a protocol"):
        protocols.load("outer", "1.0.0")


def test_a_mark_at_the_beginning_of_a_file_is_not_part_of_its_text(tmp_path, protocols):
    path = tmp_path / "marked.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + text("4.0.0").encode())
    assert protocols.release(load_protocol(path), ANA)
    assert protocols.load("rest-only", "4.0.0").sha256 == source("4.0.0").sha256


def test_a_protocol_whose_files_have_not_come_with_it_is_not_released(outer, protocols):
    with pytest.raises(InputError, match="has not come with the protocol"):
        parse_protocol(outer.read_text())
    assert not protocols.knows("outer")
