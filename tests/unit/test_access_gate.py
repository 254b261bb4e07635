"""The gate: only what was signed with a client's key, for this lab and this verb, now, gets in."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from daq.access.envelope import EnvelopeRefused
from daq.access.gate import Gate, Policy
from daq.access.keys import KeyRing, new_key, save_keys
from daq.access.seal import fits, seal, sign
from daq.model import Role

NOW = 1_800_000_000.0
TOPIC = "daq/bench-3/cmd/"
pytestmark = pytest.mark.fault("F76")


@pytest.fixture
def keys(tmp_path):
    """One client of each role, by role."""
    made = {role: new_key(f"{role.value}-1", role) for role in Role if role is not Role.NOBODY}
    save_keys(tmp_path / "keys.yaml", {key.client: key for key in made.values()})
    return made


@pytest.fixture
def gate(tmp_path, keys):
    return Gate(Policy("bench-3", Role.VIEWER), KeyRing(tmp_path / "keys.yaml"))


def message(**changes):
    basic = {"id": "c-1", "client": "operator-1", "station": "A1"}
    return basic | {"issued": NOW, "expires": NOW + 9} | changes


def sealed(key, verb="resume", **changes):
    return seal(key.client, key.secret, TOPIC + verb, message(client=key.client, **changes))


def refused(gate, payload, verb="resume"):
    with pytest.raises(EnvelopeRefused) as caught:
        gate.admit(verb, payload, NOW)
    return caught.value


def test_a_signed_command_has_the_role_of_its_key(gate, keys):
    command = gate.admit("resume", sealed(keys[Role.OPERATOR]), NOW)
    assert (command.client, command.role, command.station) == ("operator-1", Role.OPERATOR, "A1")
    assert gate.admit("forget", sealed(keys[Role.ADMIN], "forget", instrument="x"), NOW)


def test_the_signature_is_what_the_documentation_says():
    page = (Path(__file__).parents[2] / "docs/mqtt.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json SignedCommand\n(.*?)```", page, re.DOTALL)
    (key,) = re.findall(r"key `([0-9a-f]{64})`", page)
    document = json.loads(example)
    assert sign(bytes.fromhex(key), TOPIC + "stop", document["signed"]) == document["signature"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_another_program_comes_to_the_same_signature(keys):
    secret, text = keys[Role.ADMIN].secret, json.dumps(message(reason="Tür \N{SNOWMAN}"))
    words = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{secret.hex()}"]
    said = subprocess.run(words, input=f"{TOPIC}stop\n{text}".encode(), capture_output=True)
    assert said.stdout.decode().split()[-1] == sign(secret, TOPIC + "stop", text)


@pytest.mark.parametrize("key", ["client", "signed", "signature"])
def test_every_bit_of_it_counts(gate, keys, key):
    document = json.loads(sealed(keys[Role.OPERATOR]))
    for at in range(len(document[key])):
        other = "0" if document[key][at] != "0" else "1"
        changed = document | {key: document[key][:at] + other + document[key][at + 1 :]}
        refused(gate, json.dumps(changed).encode())


def test_a_signature_for_another_verb_or_another_lab_is_none(gate, keys):
    key = keys[Role.OPERATOR]
    assert "does not fit" in refused(gate, sealed(key, "status"), "resume").message
    elsewhere = seal(key.client, key.secret, "daq/bench-4/cmd/resume", message())
    assert "does not fit" in refused(gate, elsewhere).message


def test_a_client_cannot_speak_for_another(gate, keys):
    viewer = keys[Role.VIEWER]
    payload = seal(viewer.client, viewer.secret, TOPIC + "resume", message(client="operator-1"))
    assert "another client" in refused(gate, payload).message


def test_an_unknown_client_is_told_no_more_than_one_with_a_wrong_key(gate, keys):
    stranger = new_key("stranger", Role.ADMIN)
    assert "does not fit" in refused(gate, sealed(stranger)).message
    impostor = new_key("admin-1", Role.ADMIN)
    assert "does not fit" in refused(gate, sealed(impostor)).message


@pytest.mark.parametrize("verb", ["start", "resume", "clear", "forget", "energise"])
def test_a_viewer_may_not_energise(gate, keys, verb):
    more = {"start": {"cell": "c", "protocol": "p"}, "clear": {"reason": "x"}}
    more["forget"] = {"instrument": "aps"}
    refusal = refused(gate, sealed(keys[Role.VIEWER], verb, **more.get(verb, {})), verb)
    assert "needs the role" in refusal.message or "unknown verb" in refusal.message
    assert refusal.id == "c-1"


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.ADMIN])
@pytest.mark.parametrize("verb", ["stop", "pause"])
def test_off_is_taken_from_everybody_who_is_known(gate, keys, role, verb):
    payload = sealed(keys[role], verb, issued=NOW - 4000, expires=NOW - 3000)  # a wrong clock
    assert gate.admit(verb, payload, NOW).role is role


def test_a_command_outside_its_time_is_refused_though_it_is_signed(gate, keys):
    key = keys[Role.OPERATOR]
    for issued in (NOW - 31, NOW + 31):
        assert "clock" in refused(gate, sealed(key, issued=issued, expires=NOW + 99)).message
    assert "expired" in refused(gate, sealed(key, issued=NOW - 9, expires=NOW)).message


def test_what_is_signed_is_checked_like_everything_else(gate, keys):
    key = keys[Role.OPERATOR]
    assert "volts" in refused(gate, sealed(key, volts=5)).message
    for text in ("{", "[]", '{"id": 1e999}', '{"id": "a", "id": "b"}'):
        outside = {"client": key.client, "signed": text}
        outside["signature"] = sign(key.secret, TOPIC + "resume", text)
        refused(gate, json.dumps(outside).encode())


@pytest.mark.parametrize("signature", ["", "0" * 63, "G" * 64, "0" * 64 + "\n", None, 5])
def test_a_signature_of_another_form_is_none(gate, keys, signature):
    document = json.loads(sealed(keys[Role.OPERATOR])) | {"signature": signature}
    assert refused(gate, json.dumps(document).encode()).message.startswith("signature")


def test_nothing_fits_a_text_that_is_no_text():
    assert not fits(b"k", "t", "\ud800", "0" * 64)


# Without a signature.


def test_who_signs_nothing_may_look_and_switch_off(gate):
    for verb in ("status", "instruments", "stop", "pause"):
        payload = json.dumps(message(client="somebody")).encode()
        assert gate.admit(verb, payload, NOW).role is Role.VIEWER
    assert (
        "needs the role operator" in refused(gate, json.dumps(message(client="x")).encode()).message
    )


def test_who_has_a_key_must_use_it_but_for_off(gate, keys):
    payload = json.dumps(message()).encode()
    assert "has a key" in refused(gate, payload, "status").message
    assert gate.admit("stop", payload, NOW).role is Role.VIEWER


def test_where_everything_must_be_signed_nothing_unsigned_gets_in(tmp_path, keys):
    gate = Gate(Policy("bench-3", Role.NOBODY), KeyRing(tmp_path / "keys.yaml"))
    for verb in ("status", "stop"):
        assert "must be signed" in refused(gate, json.dumps(message()).encode(), verb).message
    assert gate.admit("stop", sealed(keys[Role.VIEWER], "stop"), NOW)


def test_a_lab_without_keys_takes_no_signed_command(keys):
    gate = Gate(Policy("bench-3", Role.VIEWER), KeyRing(None))
    assert "does not fit" in refused(gate, sealed(keys[Role.ADMIN])).message
