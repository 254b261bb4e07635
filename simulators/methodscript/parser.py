"""A script's text to a tree of commands, with the errors of the instrument's own parser."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from simulators.methodscript.values import ScriptError, Value, literal

LONGEST_LINE = 255
LARGEST_SCRIPT = 16384

# Arguments of every command: a new name, a declared variable to write (`out`), a number or a
# declared variable (`num`), a variable type, a comparison, a text.
_LOOP_ARGUMENTS = {
    "loop": "num cmp num",
    "meas_loop_ocp": "out num num",
    "meas_loop_ca": "out out num num num",
    "meas_loop_eis": "out out out num num num num num",
    "meas_loop_geis": "out out out num num num num num",
}
ARGUMENTS = {
    **_LOOP_ARGUMENTS,
    "var": "new",
    "store_var": "out num type",
    "copy_var": "num out",
    "add_var": "out num",
    "sub_var": "out num",
    "mul_var": "out num",
    "div_var": "out num",
    "int_to_float": "out",
    "float_to_int": "out",
    "alter_vartype": "out type",
    "endloop": "",
    "breakloop": "",
    "if": "num cmp num",
    "elseif": "num cmp num",
    "else": "",
    "endif": "",
    "wait": "num",
    "set_int": "num",
    "await_int": "",
    "timer_start": "",
    "timer_get": "out",
    "set_pgstat_chan": "num",
    "set_pgstat_mode": "num",
    "set_max_bandwidth": "num",
    "set_cr": "num",
    "set_range": "type num",
    "set_range_minmax": "type num num",
    "set_autoranging": "type num num",
    "set_acquisition_frac": "num",
    "set_acquisition_frac_autoadjust": "num",
    "set_e": "num",
    "set_i": "num",
    "cell_on": "",
    "cell_off": "",
    "meas": "num out type",
    "pck_start": "",
    "pck_add": "num",
    "pck_end": "",
    "send_string": "text",
    "set_script_output": "num",
    "abort": "",
    "set_gpio_cfg": "num num",
    "set_gpio": "num",
    "get_gpio": "out",
    "mux_config": "num num",
    "mux_set_channel": "num",
    "mux_get_channel_count": "out",
}
COMPARISONS = ("==", "!=", "<=", ">=", "<", ">")

_TOKEN = re.compile(r'f?"[^"]*"|[^\s#]+')
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TYPE = re.compile(r"[a-j][a-z]")

Argument = Value | str
"""A literal, or the text of a name, a type, a comparison or a string."""


@dataclass(slots=True)
class Command:
    """One line of a script; loops and branches own the lines within them."""

    name: str
    line: int
    arguments: tuple[Argument, ...] = ()
    body: list[Command] = field(default_factory=list["Command"])
    otherwise: list[Command] = field(default_factory=list["Command"])

    @property
    def is_measurement(self) -> bool:
        """Whether it is a measurement loop."""
        return self.name.startswith("meas_loop_")


@dataclass(frozen=True, slots=True)
class Script:
    """What runs, and what runs after it in every case (`on_finished:`)."""

    main: list[Command]
    finish: list[Command]


def parse(lines: Sequence[str]) -> Script:
    """Parse the lines between `e` and the empty line.

    Raises:
        ScriptError: as the instrument reports it, with line and column.
    """
    return _Parser().parse(lines)


@dataclass(slots=True)
class _Scope:
    """An open block: who ends it, and where its commands go."""

    ends: tuple[str, ...]
    target: list[Command]
    opener: Command | None = None


class _Parser:
    def __init__(self) -> None:
        self._names: set[str] = set()
        self._script = Script([], [])
        self._scopes = [_Scope((), self._script.main)]
        self._line = 0
        self._column = 1

    def parse(self, lines: Sequence[str]) -> Script:
        if sum(len(line) + 1 for line in lines) > LARGEST_SCRIPT:
            raise ScriptError(0x4005, "Line 1, Col 1")
        for self._line, text in enumerate(lines, start=1):
            self._parse_line(text)
        if len(self._scopes) > 1:
            raise self._fault(0x4018)
        return self._script

    def _parse_line(self, text: str) -> None:
        self._column = 1
        if len(text) > LONGEST_LINE:
            raise self._fault(0x0008)
        tokens: list[tuple[str, int]] = []
        for match in _TOKEN.finditer(_without_comment(text)):
            tokens.append((match[0], match.end() + 1))
        if not tokens:
            return
        name, self._column = tokens[0]
        if name == "on_finished:":
            self._finish()
        elif name not in ARGUMENTS:
            raise self._fault(0x4001)
        else:
            self._place(Command(name, self._line, self._arguments(name, tokens[1:])))

    def _finish(self) -> None:
        if len(self._scopes) > 1 or self._scopes[0].target is self._script.finish:
            raise self._fault(0x400E)
        self._scopes = [_Scope((), self._script.finish)]

    def _arguments(self, name: str, tokens: list[tuple[str, int]]) -> tuple[Argument, ...]:
        kinds = ARGUMENTS[name].split()
        arguments: list[Argument] = []
        for kind, (token, self._column) in zip(kinds, tokens, strict=False):
            arguments.append(self._argument(kind, token))
        if len(tokens) < len(kinds):
            raise self._fault(0x4004)
        if len(tokens) > len(kinds):
            extra, self._column = tokens[len(kinds)]
            raise self._fault(0x4008 if extra.endswith(")") else 0x420A)
        return tuple(arguments)

    def _argument(self, kind: str, token: str) -> Argument:
        if kind == "new":
            return self._declare(token)
        if kind == "out" or (kind == "num" and _NAME.fullmatch(token)):
            return self._declared(token)
        if kind == "num":
            return self._literal(token)
        return self._word(kind, token)

    def _declare(self, token: str) -> str:
        if not _NAME.fullmatch(token):
            raise self._fault(0x402B)
        if token in self._names:
            raise self._fault(0x4026)
        self._names.add(token)
        return token

    def _declared(self, token: str) -> str:
        if not _NAME.fullmatch(token):
            raise self._fault(0x4208)
        if token not in self._names:
            raise self._fault(0x420B)
        return token

    def _literal(self, token: str) -> Value:
        try:
            return literal(token)
        except ValueError:
            raise self._fault(0x4004) from None

    def _word(self, kind: str, token: str) -> str:
        if kind == "type" and not _TYPE.fullmatch(token):
            raise self._fault(0x0002)
        if kind == "cmp" and token not in COMPARISONS:
            raise self._fault(0x4004)
        if kind == "text" and not token.endswith('"'):
            raise self._fault(0x4004)
        return token

    def _place(self, command: Command) -> None:
        """Put a command where it belongs, and open or close the block that it does."""
        scope = self._scopes[-1]
        name = command.name
        if name in ("endloop", "endif", "else", "elseif"):
            self._turn(command, scope)
            return
        if name == "breakloop" and not any("endloop" in s.ends for s in self._scopes):
            raise self._fault(0x400C)
        if command.is_measurement and any(
            s.opener and s.opener.is_measurement for s in self._scopes
        ):
            raise self._fault(0x400B)
        scope.target.append(command)
        if name in _LOOP_ARGUMENTS:
            self._scopes.append(_Scope(("endloop",), command.body, command))
        elif name == "if":
            self._scopes.append(_branch(command))

    def _turn(self, command: Command, scope: _Scope) -> None:
        if command.name not in scope.ends or scope.opener is None:
            raise self._fault(0x400E)
        self._scopes.pop()
        if command.name == "else":
            self._scopes.append(_Scope(("endif",), scope.opener.otherwise, scope.opener))
        elif command.name == "elseif":
            command.name = "if"
            scope.opener.otherwise.append(command)
            self._scopes.append(_branch(command))

    def _fault(self, code: int) -> ScriptError:
        return ScriptError(code, f"Line {self._line}, Col {self._column}")


def _branch(command: Command) -> _Scope:
    return _Scope(("elseif", "else", "endif"), command.body, command)


def _without_comment(text: str) -> str:
    """The line up to a `#` outside quotes."""
    quoted = False
    for at, character in enumerate(text):
        quoted ^= character == '"'
        if character == "#" and not quoted:
            return text[:at]
    return text
