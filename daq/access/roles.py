"""Who may do what: the one table of verbs and roles.

Switching OFF needs no more than to be known, so that nobody hesitates; a verb that is not in the
table needs an admin, so that a new one is never open by mistake.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from daq.errors import CommandRefused
from daq.model import Command, Role

OFF_VERBS = frozenset({"stop", "pause"})
"""They end in OFF, whatever else: taken from everybody who is known, at any rate, however late."""

NEEDED: Mapping[str, Role] = MappingProxyType(
    {
        "status": Role.VIEWER,
        "instruments": Role.VIEWER,
        "timing": Role.VIEWER,
        "alarms": Role.VIEWER,
        "protocols": Role.VIEWER,
        "stop": Role.VIEWER,
        "pause": Role.VIEWER,
        "start": Role.OPERATOR,
        "resume": Role.OPERATOR,
        "clear": Role.OPERATOR,
        "ack": Role.OPERATOR,
        "maintenance": Role.OPERATOR,
        "rollback": Role.OPERATOR,  # to what an admin had let run there before
        "release": Role.ADMIN,
        "rollout": Role.ADMIN,
        "forget": Role.ADMIN,
        "report": Role.ADMIN,  # the daemon's own processes
    }
)
_RANK = {Role.NOBODY: 0, Role.VIEWER: 1, Role.OPERATOR: 2, Role.ADMIN: 3}


class WrongRole(CommandRefused):
    """Who asks is known and may not do that."""


def needed(verb: str) -> Role:
    """The least role that may give a command."""
    return NEEDED.get(verb, Role.ADMIN)


def at_least(role: Role, least: Role) -> bool:
    """Whether a role may do what another one may."""
    return _RANK[role] >= _RANK[least]


def check_role(command: Command) -> None:
    """Refuse a command that its sender may not give.

    Raises:
        WrongRole: says which role is needed.
    """
    least = needed(command.verb)
    if not at_least(command.role, least):
        who = f"{command.client} is {command.role.value}" if command.role else command.client
        raise WrongRole(
            f"{command.verb} needs the role {least.value}; {who}",
            remedy=f"ask somebody who is {least.value}, or daq key add NAME --role {least.value}",
        )
