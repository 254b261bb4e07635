"""The gate: who sent a command that came over MQTT, and may they.

It stands in the control process, behind the broker and the gateway, and believes neither: a
command is what its own text says, signed with a key that only control reads.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from daq.access.envelope import EnvelopeRefused, SignedCommand, open_envelope
from daq.access.keys import KeyRing
from daq.access.roles import OFF_VERBS, WrongRole, check_role
from daq.access.seal import fits
from daq.model import Command, Role

_NO_SECRET = secrets.token_bytes(32)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the lab file says.

    Attributes:
        anonymous: role of whoever signs nothing; NOBODY where every command must be signed.
    """

    lab: str
    anonymous: Role


class Gate:
    """Authenticates what was forwarded.

    Args:
        policy: the lab's.
        keys: of its clients.
    """

    def __init__(self, policy: Policy, keys: KeyRing) -> None:
        self._policy = policy
        self._keys = keys

    def admit(self, verb: str, payload: bytes, now_utc_s: float) -> Command:
        """The command in a payload, with the role of its sender.

        Args:
            verb: last level of the topic that it came on; a part of what is signed.
            payload: as it was published.
            now_utc_s: real time.

        Raises:
            EnvelopeRefused: it must not be carried out; says why.
        """
        opened = open_envelope(verb, payload)
        role = self._role_of(verb, opened.proof) if opened.proof else self._policy.anonymous
        command = replace(opened.command(now_utc_s), role=role)
        if opened.proof is None:
            self._check_unsigned(command)
        try:
            check_role(command)
        except WrongRole as error:
            raise EnvelopeRefused(str(error), client=command.client, id=command.id) from None
        return command

    def _role_of(self, verb: str, proof: SignedCommand) -> Role:
        key = self._keys.find(proof.client)
        topic = f"daq/{self._policy.lab}/cmd/{verb}"
        # An unknown client costs as much time as a wrong signature.
        right = fits(key.secret if key else _NO_SECRET, topic, proof.signed, proof.signature)
        if key is None or not right:
            raise EnvelopeRefused(
                f"the signature does not fit: {proof.client} has no key here, or another one, or "
                "the text or the topic is not what was signed"
            )
        return key.role

    def _check_unsigned(self, command: Command) -> None:
        asker = {"client": command.client, "id": command.id}
        if self._policy.anonymous is Role.NOBODY:
            raise EnvelopeRefused("unsigned: here every command must be signed", **asker)
        if command.verb not in OFF_VERBS and self._keys.find(command.client):
            raise EnvelopeRefused(f"unsigned, although {command.client} has a key", **asker)
