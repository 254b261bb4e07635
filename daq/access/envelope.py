"""Commands as they come from the broker: who asks what, and whether it may still be done.

Whatever bytes come in, `open_envelope` and `Opened.command` return what they promise or raise
`EnvelopeRefused`; nothing else. Everything is checked before a word of it is believed: size,
depth, duplicate keys, types, names, finite numbers, unknown keys, age. Whether a signature fits is
not known here: see daq/access/gate.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from daq.access.names import NAME, is_name
from daq.access.roles import OFF_VERBS
from daq.errors import CommandRefused, InputError
from daq.jsontext import read_object
from daq.model import Command

MAX_VALIDITY_S = 3600.0
"""Longest time from `issued` to `expires`: nobody knows what a bench looks like in an hour."""
WINDOW_S = 30.0
"""How far from now a command may have been issued, either way; so long is a copy of it any use."""
OFF_WINDOW_S = 24 * 3600.0
"""The same for what switches OFF, which a wrong clock must not forbid: as long as its id is
remembered, so that a copy finds the answer of the first and nothing else."""
_LATEST_UTC_S = 1e11  # the year 5138; a time in milliseconds is beyond it


class EnvelopeRefused(CommandRefused):
    """A command that is not carried out.

    Attributes:
        id: id of the command; empty when it could not be read, so that nobody can be answered.
        client: who sent it; empty in the same cases.
    """

    def __init__(self, reason: str, *, client: str = "", id: str = "") -> None:  # noqa: A002
        super().__init__(reason)
        self.client = client
        self.id = id


def _moment(value: Any) -> float:
    if isinstance(value, str):
        return _iso(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("a time is Unix seconds or ISO 8601 with a zone")
    if not 0 < value < _LATEST_UTC_S:
        raise ValueError("a time is in Unix seconds, not milliseconds")
    return float(value)


def _iso(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("a time is Unix seconds or ISO 8601 with a zone") from None
    if moment.tzinfo is None:
        raise ValueError("an ISO 8601 time needs a zone, as in 2026-01-31T12:00:00Z")
    return moment.timestamp()


_EITHER_TIME: dict[str, Any] = {
    "oneOf": [
        {"type": "number", "description": "Unix seconds"},
        {"type": "string", "format": "date-time", "description": "ISO 8601 with a zone"},
    ]
}
Moment = Annotated[float, BeforeValidator(_moment), WithJsonSchema(_EITHER_TIME)]
Name = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
Station = Annotated[str, Field(pattern=f"^(|[*]|{NAME.pattern})$")]
Text = Annotated[str, Field(max_length=1000)]


class Envelope(BaseModel):
    """What every command carries, beside the arguments of its verb."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )

    id: Name = Field(description="made up by the client; the same id is carried out once")
    client: Name = Field(description="who asks; the replies go to this name")
    station: Station = Field(default="", description="a station; * is all of them")
    issued: Moment
    expires: Moment = Field(description="after this time the command is refused")


class StatusCommand(Envelope):
    """Ask what the stations do; the answer is the data of the reply."""


class InstrumentsCommand(Envelope):
    """Ask for the instruments; the answer is the data of the reply."""


class StartCommand(Envelope):
    """Start a run of a protocol on a cell of the registry or the lab file."""

    cell: Name
    unregistered: bool = Field(
        default=False, description="true for a cell that nobody has described; with `capacity`"
    )
    capacity: Text = Field(
        default="", description="nominal capacity of such a cell, as in '2.5 Ah'"
    )
    protocol: Text = Field(
        default="",
        description="name of a released protocol, or a file in the lab's protocols folder; or:",
    )
    text: str = Field(default="", description="the protocol itself, as YAML")
    name: Text = Field(default="", description="what to call the text in error messages")
    files: dict[str, str] = Field(
        default_factory=dict, description="name -> text of what the protocol includes and plays"
    )
    operator: Text = ""
    parameters: dict[str, str] = Field(default_factory=dict, description="as in '4.2 V'")
    check: bool = Field(default=False, description="true: say whether it could, start nothing")

    @model_validator(mode="after")
    def _one_protocol(self) -> StartCommand:
        if bool(self.protocol) == bool(self.text):
            raise ValueError("either `protocol` or `text` is needed")
        return self


class StopCommand(Envelope):
    """Switch OFF and end the run (station `*`: of all); overtakes every other command."""

    reason: Text = ""


class PauseCommand(Envelope):
    """Switch OFF and keep the run."""

    reason: Text = ""


class ResumeCommand(Envelope):
    """Go on with a run that was paused."""


class ClearCommand(Envelope):
    """Take back a trip; never energises."""

    reason: Annotated[str, Field(min_length=1, max_length=1000)]


class ProtocolsCommand(Envelope):
    """Ask for the released protocols; the answer is the data of the reply."""


class ReleaseCommand(Envelope):
    """Release a protocol: its version is kept as it is, for ever. It runs nowhere by that."""

    text: Annotated[str, Field(min_length=1, description="the protocol itself, as YAML")]
    name: Text = Field(default="", description="what to call the text in error messages")
    files: dict[str, str] = Field(
        default_factory=dict, description="name -> text of what the protocol includes and plays"
    )
    reason: Text = ""


class RolloutCommand(Envelope):
    """Let stations start a released version from now on; what runs goes on as it is."""

    protocol: Name
    version: Annotated[str, Field(min_length=1, max_length=64)]
    stations: list[Name] = Field(default_factory=list[str], description="none: every station")
    reason: Text = ""


class RollbackCommand(Envelope):
    """Let stations start again what they started before the last rollout."""

    protocol: Name
    stations: list[Name] = Field(
        default_factory=list[str], description="none: those with the newest version"
    )
    reason: Text = ""


class ForgetCommand(Envelope):
    """Accept another unit at an instrument's address: it was exchanged on purpose."""

    instrument: Name


class AlarmsCommand(Envelope):
    """Ask for the open alarms (of a station, or all); the answer is the data of the reply."""


class AckCommand(Envelope):
    """Acknowledge an alarm: somebody has taken it on."""

    alarm: Annotated[str, Field(pattern="^[0-9]{1,15}$", description="its id")]
    reason: Annotated[str, Field(min_length=1, max_length=1000)]


class MaintenanceCommand(Envelope):
    """Open a maintenance window at a station, or end it; its alarms call nobody meanwhile."""

    for_s: float | None = Field(default=None, gt=0, le=86400, description="how long, at most 24 h")
    end: bool = Field(default=False, description="close the window that is open")
    reason: Text = ""


VERBS: dict[str, type[Envelope]] = {
    "status": StatusCommand,
    "instruments": InstrumentsCommand,
    "start": StartCommand,
    "stop": StopCommand,
    "pause": PauseCommand,
    "resume": ResumeCommand,
    "clear": ClearCommand,
    "forget": ForgetCommand,
    "protocols": ProtocolsCommand,
    "release": ReleaseCommand,
    "rollout": RolloutCommand,
    "rollback": RollbackCommand,
    "alarms": AlarmsCommand,
    "ack": AckCommand,
    "maintenance": MaintenanceCommand,
}
_ENVELOPE = frozenset(Envelope.model_fields)


class SignedCommand(BaseModel):
    """A command as a text, and who signed it: the form of every command off loopback."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    client: Name = Field(description="whose key it is; the same name stands in the command")
    signed: str = Field(description="the command, as JSON text")
    signature: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] = Field(
        description="HMAC-SHA256(key, topic + newline + signed), in hex digits"
    )


@dataclass(frozen=True, slots=True)
class Opened:
    """A payload whose outside is in order.

    Attributes:
        proof: what has to fit before `command` may be believed; None for an unsigned one.
    """

    verb: str
    proof: SignedCommand | None
    _document: dict[str, Any] | None = None

    def command(self, now_utc_s: float) -> Command:
        """The command inside, checked.

        Args:
            now_utc_s: real time (never the lab's accelerated time).

        Raises:
            EnvelopeRefused: it must not be carried out; why, and to whom if that is readable.
        """
        document = self._document
        if document is None:
            assert self.proof is not None  # noqa: S101 - one of the two is there
            document = _document(self.proof.signed.encode())
        return _checked(self.verb, document, self.proof, now_utc_s)


def open_envelope(verb: str, payload: bytes, *, retained: bool = False) -> Opened:
    """The outside of a payload, checked; nothing of a signed command has been looked at.

    Args:
        verb: last level of the topic.
        payload: the bytes as received.
        retained: the broker's flag: the command was sent before we listened.

    Raises:
        EnvelopeRefused: as for `Opened.command`.
    """
    document = _document(payload)
    proof = _proof(document)
    if retained:
        asker = _asker(document)
        raise EnvelopeRefused("a retained command is never carried out", **asker)
    return Opened(verb, proof, None if proof else document)


def parse(verb: str, payload: bytes, *, retained: bool, now_utc_s: float) -> Command:
    """A command, checked but for its signature: what a forwarder looks at.

    Raises:
        EnvelopeRefused: as for `Opened.command`.
    """
    return open_envelope(verb, payload, retained=retained).command(now_utc_s)


def _proof(document: dict[str, Any]) -> SignedCommand | None:
    if "signature" not in document:
        return None
    try:
        return SignedCommand.model_validate(document)
    except ValidationError as error:
        raise EnvelopeRefused(_first_problem(error)) from None


def _checked(
    verb: str, document: dict[str, Any], proof: SignedCommand | None, now_utc_s: float
) -> Command:
    asker = _asker(document)
    model = VERBS.get(verb)
    if model is None:
        raise EnvelopeRefused(f"unknown verb; there are {', '.join(VERBS)}", **asker)
    try:
        message = model.model_validate(document)
    except ValidationError as error:
        raise EnvelopeRefused(_first_problem(error), **asker) from None
    if proof and proof.client != message.client:
        raise EnvelopeRefused("signed by another client than the one that asks", **asker)
    _check_age(verb, message, now_utc_s, asker)
    return _command(verb, message)


def _document(payload: bytes) -> dict[str, Any]:
    try:
        return read_object(payload)
    except InputError as error:
        raise EnvelopeRefused(error.message) from None


def _asker(document: dict[str, Any]) -> dict[str, str]:
    # Both or nothing: a reply topic needs both, and only names that are safe as topic levels.
    found = {key: document.get(key) for key in ("client", "id")}
    if all(isinstance(value, str) and is_name(value) for value in found.values()):
        return cast("dict[str, str]", found)
    return {}


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in problem["loc"])[:100]
    return f"{place}: {problem['msg']}" if place else problem["msg"]


def _check_age(verb: str, message: Envelope, now_utc_s: float, asker: dict[str, str]) -> None:
    window_s = OFF_WINDOW_S if verb in OFF_VERBS else WINDOW_S
    if abs(message.issued - now_utc_s) > window_s:
        raise EnvelopeRefused(
            f"issued more than {window_s:.0f} s from now: is the sender's clock right?", **asker
        )
    if verb in OFF_VERBS:
        return  # OFF is never too late
    if message.expires <= now_utc_s:
        raise EnvelopeRefused("the command has expired", **asker)
    if message.expires - message.issued > MAX_VALIDITY_S:
        raise EnvelopeRefused(f"valid for more than {MAX_VALIDITY_S:.0f} s", **asker)


def _command(verb: str, message: Envelope) -> Command:
    arguments = message.model_dump(exclude=set(_ENVELOPE), exclude_unset=True)
    return Command(
        verb=verb,
        id=message.id,
        client=message.client,
        station=message.station,
        issued_utc_s=message.issued,
        expires_utc_s=message.expires,
        arguments=arguments,
    )
