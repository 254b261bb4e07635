"""The keys file: nobody else may open it, nothing shows what is in it, a change counts at once."""

from __future__ import annotations

import os
import stat

import pytest

from daq.access.keys import (
    KeyRing,
    client_file,
    load_client_key,
    load_keys,
    new_key,
    save_keys,
)
from daq.access.names import is_name
from daq.access.secrets import read_secret, write_secret
from daq.errors import InputError
from daq.model import Role

ANA = new_key("ana", Role.OPERATOR)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "keys.yaml"
    save_keys(path, {"ana": ANA})
    return path


def test_a_keys_file_comes_back_as_it_was(path):
    assert load_keys(path) == {"ana": ANA}
    save_keys(path, {})
    assert load_keys(path) == {}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_keys_are_never_the_same():
    assert len({new_key("ana", Role.VIEWER).secret for _ in range(100)}) == 100


def test_a_key_is_not_shown_where_it_is_printed():
    assert ANA.secret.hex() not in repr(ANA)
    assert repr(ANA.secret) not in repr(ANA)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620])
def test_a_file_that_others_may_open_is_not_read(path, mode):
    path.chmod(mode)
    with pytest.raises(InputError, match="chmod 600"):
        load_keys(path)


def test_a_file_of_somebody_else_is_not_read(path, monkeypatch):
    monkeypatch.setattr("daq.access.secrets.os.geteuid", lambda: path.stat().st_uid + 1)
    monkeypatch.setattr("daq.access.secrets._ROOT", -1)
    with pytest.raises(InputError, match="another user"):
        load_keys(path)


def test_neither_is_a_link_a_pipe_a_folder_or_nothing(path, tmp_path):
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    for name in ("link", "pipe", "folder", "nothing"):
        with pytest.raises(InputError):
            read_secret(tmp_path / name)


def test_nor_what_is_no_text(tmp_path):
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    (tmp_path / "odd").chmod(0o600)
    with pytest.raises(InputError, match="not text"):
        read_secret(tmp_path / "odd")


def test_a_secret_that_cannot_be_written_leaves_the_old_one(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_secret(tmp_path / "nowhere" / "keys.yaml", "x")


@pytest.mark.parametrize("bad", ["short", "g" * 64, "A" * 64, 7, None, ["x"], "é" * 64])
def test_a_wrong_key_is_named_by_its_line_and_never_shown(tmp_path, bad):
    path = tmp_path / "keys.yaml"
    write_secret(path, f"clients:\n  ana: {{role: operator, key: {bad}}}\n")
    with pytest.raises(InputError) as caught:
        load_keys(path)
    assert f"{path}:2:" in str(caught.value)
    assert "64 hex digits" in str(caught.value) or bad is None
    if isinstance(bad, str):
        assert bad not in str(caught.value).replace(str(path), "")


@pytest.mark.parametrize("role", ["root", "Operator", "''"])
def test_an_unknown_role_is_refused(tmp_path, role):
    path = tmp_path / "keys.yaml"
    write_secret(path, f"clients:\n  ana: {{role: {role}, key: {'0' * 64}}}\n")
    with pytest.raises(InputError, match="role"):
        load_keys(path)


def test_a_client_file_holds_a_name_and_a_secret(tmp_path):
    write_secret(tmp_path / "ana.key", client_file(ANA))
    key = load_client_key(tmp_path / "ana.key")
    assert (key.client, key.secret, key.role) == ("ana", ANA.secret, Role.NOBODY)
    for text in ("", "ana", "ana 12", f"ana {'g' * 64}", f" {'0' * 64}"):
        write_secret(tmp_path / "odd.key", text)
        with pytest.raises(InputError, match="not a client's key"):
            load_client_key(tmp_path / "odd.key")


# A ring follows its file.


def test_a_change_counts_at_the_next_command(path):
    told = []
    ring = KeyRing(path, lambda roles, fault: told.append((roles, fault)))
    assert ring.find("ana") == ANA
    assert ring.find("ben") is None
    save_keys(path, {"ben": new_key("ben", Role.VIEWER)})
    assert ring.find("ana") is None
    assert ring.find("ben") is not None
    assert told == [({"ana": "operator"}, ""), ({"ben": "viewer"}, "")]


def test_a_file_that_has_become_unreadable_lets_nobody_in(path):
    told = []
    ring = KeyRing(path, lambda roles, fault: told.append((roles, fault)))
    assert ring.find("ana")
    path.chmod(0o644)
    assert ring.find("ana") is None
    assert "chmod 600" in told[-1][1]
    path.chmod(0o600)
    assert ring.find("ana")
    path.unlink()
    assert ring.find("ana") is None
    assert len(told) == 4


def test_a_ring_without_a_file_is_empty():
    assert KeyRing(None).find("ana") is None
    assert not is_name("..")
