"""The gate of signed commands: a forger's bytes, and a true client's hand under any text."""

from __future__ import annotations

import json

from daq.access.envelope import EnvelopeRefused
from daq.access.gate import Gate, Policy
from daq.access.keys import KeyRing, new_key, save_keys
from daq.access.roles import OFF_VERBS
from daq.access.seal import sign
from daq.model import Role
from tests.fuzz.text_targets import FOLDER, NOW, judge_command

KEYS = FOLDER / "keys.yaml"
VERBS = ("stop", "start", "resume", "clear", "status", "forget", "")
OPERATOR = new_key("ana", Role.OPERATOR)
save_keys(KEYS, {"ana": OPERATOR})
GATES = {
    role: Gate(Policy("bench-3", role), KeyRing(KEYS))
    for role in (Role.NOBODY, Role.VIEWER)
}  # fmt: skip


def gate(data: bytes) -> None:
    """First byte: the verb; who may come unsigned; whether ana signs the rest, or it is forged."""
    head, payload = data[0] if data else 0, data[1:]
    verb, signed = VERBS[head % len(VERBS)], bool(head & 0x80)
    anonymous = Role.VIEWER if head & 0x40 else Role.NOBODY
    if signed:
        text = payload.decode("utf-8", "replace")
        signature = sign(OPERATOR.secret, f"daq/bench-3/cmd/{verb}", text)
        payload = json.dumps({"client": "ana", "signed": text, "signature": signature}).encode()
    try:
        command = GATES[anonymous].admit(verb, payload, NOW)
    except EnvelopeRefused as refusal:
        assert refusal.message
        return
    assert command.role is (Role.OPERATOR if signed else anonymous)
    assert not signed or command.client == "ana"
    assert command.role is not Role.NOBODY
    assert command.verb in OFF_VERBS or NOW < command.expires_utc_s
    judge_command(command)
