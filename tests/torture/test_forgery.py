"""G14: of any number of forged, replayed, late, retained and unfit commands, none gets in.

Each trial takes a command that is right in everything and makes one thing wrong. The gate itself
judges, and the memory of ids behind it, as control has them.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.access.envelope import EnvelopeRefused, parse
from daq.access.gate import Gate, Policy
from daq.access.keys import KeyRing, new_key, save_keys
from daq.access.roles import NEEDED, OFF_VERBS, at_least
from daq.access.seal import seal, sign
from daq.control.answers import Answers
from daq.errors import CommandRefused
from daq.model import Reply, Role
from tests.unit.fakes import MemoryJournal

NOW = 1_800_000_000.0
ARGUMENTS = {
    "start": {"cell": "C1", "protocol": "a.yaml"},
    "clear": {"reason": "checked"},
    "forget": {"instrument": "aps1"},
    "resume": {},
    "ack": {"alarm": "1", "reason": "seen"},
    "maintenance": {"for_s": 60.0, "reason": "x"},
}


class Lab:
    """A gate with one client of each role, and the memory of ids behind it."""

    def __init__(self, folder):
        self.keys = {
            role: new_key(f"{role.value}-1", role)
            for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN)
        }
        self.keys[Role.ADMIN] = replace(self.keys[Role.ADMIN], secret=SECRET)  # drawn alike
        save_keys(folder / "keys.yaml", {key.client: key for key in self.keys.values()})
        self.gate = Gate(Policy("bench-3", Role.VIEWER), KeyRing(folder / "keys.yaml"))
        self.answers = Answers(MemoryJournal(), {})  # type: ignore[arg-type]
        self.random = random.Random(14)
        self.count = 0

    def message(self, verb, role, **changes):
        self.count += 1
        basic = {"id": f"id-{self.count}", "client": self.keys[role].client, "station": "A1"}
        return basic | {"issued": NOW, "expires": NOW + 20} | ARGUMENTS[verb] | changes

    def right(self, **changes):
        """Verb, payload: a command that would be carried out, but for the changes."""
        verb = self.random.choice(sorted(ARGUMENTS))
        key = self.keys[Role.ADMIN]
        text = self.message(verb, Role.ADMIN, **changes)
        return verb, seal(key.client, key.secret, f"daq/bench-3/cmd/{verb}", text)

    def gets_in(self, verb, payload):
        try:
            command = self.gate.admit(verb, payload, NOW)
            return self.answers.find(command) is None
        except (EnvelopeRefused, CommandRefused):
            return False

    # One thing wrong.

    def forged_by_a_bit(self):
        verb, payload = self.right()
        document = json.loads(payload)
        field = self.random.choice(["client", "signed", "signature"])
        text = document[field]
        at = self.random.randrange(len(text))
        other = chr(ord(text[at]) ^ self.random.choice([1, 2, 4, 8, 16]))
        return verb, json.dumps(document | {field: text[:at] + other + text[at + 1 :]}).encode()

    def forged_with_a_key_of_its_own(self):
        verb, _ = self.right()
        stranger = new_key(self.random.choice(["admin-1", "eve"]), Role.ADMIN)
        text = self.message(verb, Role.ADMIN, client=stranger.client)
        return verb, seal(stranger.client, stranger.secret, f"daq/bench-3/cmd/{verb}", text)

    def unsigned(self):
        verb = self.random.choice(sorted(ARGUMENTS))
        message = self.message(verb, Role.ADMIN)
        if self.random.random() < 0.5:
            message["client"] = "somebody"
        return verb, json.dumps(message).encode()

    def of_another_lab_or_verb(self):
        verb, payload = self.right()
        if self.random.random() < 0.5:
            other = self.random.choice([one for one in sorted(ARGUMENTS) if one != verb])
            return other, payload
        key = self.keys[Role.ADMIN]
        text = self.message(verb, Role.ADMIN)
        return verb, seal(key.client, key.secret, f"daq/bench-4/cmd/{verb}", text)

    def late_or_early(self):
        away_s = self.random.choice([-1, 1]) * self.random.uniform(30.001, 1e6)
        return self.right(issued=NOW + away_s, expires=NOW + away_s + 20)

    def expired(self):
        return self.right(issued=NOW - 20, expires=NOW - self.random.uniform(0, 19))

    def of_the_wrong_role(self):
        verb = self.random.choice(sorted(ARGUMENTS))
        roles = [role for role in self.keys if not at_least(role, NEEDED[verb])]
        key = self.keys[self.random.choice(roles)]
        text = self.message(verb, key.role)
        return verb, seal(key.client, key.secret, f"daq/bench-3/cmd/{verb}", text)

    def speaking_for_another(self):
        verb = self.random.choice(sorted(ARGUMENTS))
        viewer = self.keys[Role.VIEWER]
        text = self.message(verb, Role.ADMIN)
        return verb, seal(viewer.client, viewer.secret, f"daq/bench-3/cmd/{verb}", text)

    def replayed(self):
        verb, payload = self.right()
        assert self.gets_in(verb, payload)
        command = self.gate.admit(verb, payload, NOW)
        self.answers.remember(command, Reply(command.id, "done"))
        return verb, payload

    def replayed_as_another(self):
        verb, payload = self.replayed()
        old = json.loads(json.loads(payload)["signed"])
        key = self.keys[Role.ADMIN]
        changed = json.dumps(old | {"station": "A2"})
        document = {"client": key.client, "signed": changed}
        document["signature"] = sign(key.secret, f"daq/bench-3/cmd/{verb}", changed)
        return verb, json.dumps(document).encode()


WRONG = [
    Lab.forged_by_a_bit,
    Lab.forged_with_a_key_of_its_own,
    Lab.unsigned,
    Lab.of_another_lab_or_verb,
    Lab.late_or_early,
    Lab.expired,
    Lab.of_the_wrong_role,
    Lab.speaking_for_another,
    Lab.replayed,
    Lab.replayed_as_another,
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.mark.timeout(0)
@pytest.mark.fault("F76", "F68")
def test_none_of_a_million_wrong_commands_gets_in(lab, trials, figure, monkeypatch):
    monkeypatch.setattr("daq.control.answers.MOST", 10**9)
    number = trials(10_000)
    accepted = []
    for trial in range(number):
        wrong = WRONG[trial % len(WRONG)]
        verb, payload = wrong(lab)
        if lab.gets_in(verb, payload):
            accepted.append((wrong.__name__, verb, payload))
        if trial % 1000 == 0:
            assert lab.gets_in(*lab.right())  # the gate is not simply shut
    assert accepted == []
    figure("wrong commands tried", number, "commands")
    figure("wrong commands accepted", len(accepted), "commands")


@pytest.mark.timeout(0)
@pytest.mark.fault("F76")
def test_no_retained_command_gets_in_whoever_signed_it(lab, trials):
    for _ in range(trials(2000)):
        verb, payload = lab.right()
        with pytest.raises(EnvelopeRefused, match="retained"):
            parse(verb, payload, retained=True, now_utc_s=NOW)
    for verb in OFF_VERBS:
        key = lab.keys[Role.ADMIN]
        text = {"id": "x", "client": key.client, "issued": NOW, "expires": NOW + 9}
        with pytest.raises(EnvelopeRefused, match="retained"):
            payload = seal(key.client, key.secret, f"daq/bench-3/cmd/{verb}", text)
            parse(verb, payload, retained=True, now_utc_s=NOW)


SECRET = bytes(range(32))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@pytest.mark.fault("F75", "F76")
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_whatever_is_changed_in_a_signed_command_it_is_out(lab, data):
    verb, key = data.draw(st.sampled_from(sorted(ARGUMENTS))), lab.keys[Role.ADMIN]
    text = {"id": "h", "client": key.client, "station": "A1", "issued": NOW, "expires": NOW + 20}
    payload = seal(key.client, SECRET, f"daq/bench-3/cmd/{verb}", text | ARGUMENTS[verb])
    document = json.loads(payload)
    how = data.draw(st.sampled_from(["value", "drop", "add", "inside", "bytes"]))
    if how == "bytes":
        at = data.draw(st.integers(0, len(payload) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda b: b != payload[at]))
        changed = payload[:at] + bytes([byte]) + payload[at + 1 :]
        if _same(changed, document):
            return
    else:
        field = data.draw(st.sampled_from(sorted(document)))
        if how == "value":
            document[field] = data.draw(JSON.filter(lambda value: value != document[field]))
        elif how == "drop":
            del document[field]
        elif how == "add":
            document[data.draw(st.text(max_size=8).filter(lambda k: k not in document))] = 1
        else:
            inside = json.loads(document["signed"])
            key = data.draw(st.sampled_from(sorted(inside)))
            inside[key] = data.draw(JSON.filter(lambda value: value != inside[key]))
            document["signed"] = json.dumps(inside)
        changed = json.dumps(document).encode()
    assert not lab.gets_in(verb, changed)


def _same(payload, document):
    """Whether a changed byte (a space that became a tab) left the same JSON."""
    try:
        return json.loads(payload) == document
    except ValueError:
        return False


@pytest.mark.fault("F75", "F76")
@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_signature_does_not_make_a_number_of_what_is_none(lab, value):
    key = lab.keys[Role.ADMIN]
    text = lab.message("maintenance", Role.ADMIN, for_s=value)
    payload = seal(key.client, key.secret, "daq/bench-3/cmd/maintenance", text)
    assert not lab.gets_in("maintenance", payload)
