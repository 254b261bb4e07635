"""The language without the instrument: variables, flow, time, and output."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from math import nan

from simulators.methodscript.parser import Argument, Command
from simulators.methodscript.values import ScriptError, Value, package

_STATEMENT_S = 50e-6
_LARGEST = 0xFFFFFFFF

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

Time = Iterator[float]


class Abort(Exception):  # noqa: N818 - a request, thrown into a running script
    """`Z`, or the script's own `abort`: go to `on_finished:`."""


class AbortLoop(Exception):  # noqa: N818 - as above
    """`Y`: end the measurement loop and go on behind it."""


class BreakLoop(Exception):  # noqa: N818
    """`breakloop`."""


class Language:
    """Executes commands; a generator yields the bench seconds that each thing takes.

    Attributes:
        seconds: script time since the start.
        line: the script's line that runs.
    """

    def __init__(self, emit: Callable[[str], None]) -> None:
        self.seconds = 0.0
        self.line = 0
        self.emit = emit
        self._variables: dict[str, Value] = {}
        self._package: list[Value] | None = None
        self._output = True
        self._timer_s = 0.0
        self._interval_s = 0.0
        self._tick_s = 0.0

    def block(self, commands: list[Command]) -> Time:
        """Run commands one after the other."""
        for command in commands:
            self.line = command.line
            yield from self.spend(_STATEMENT_S)
            yield from getattr(self, f"do_{command.name}")(command)

    def whole(self, argument: Argument) -> int:
        """An argument that must be an integer of 32 bits."""
        (number,) = self.numbers(argument)
        if not abs(number) <= _LARGEST:
            raise ScriptError(0x4205)
        return int(number)

    def spend(self, seconds: float) -> Time:
        """Let script time pass."""
        if not 0.0 <= seconds <= _LARGEST:
            raise ScriptError(0x4205)
        self.seconds += seconds
        yield seconds

    # --- arguments ---------------------------------------------------------------------------

    def value(self, argument: Argument) -> Value:
        """Give the value of a literal or of a variable."""
        if isinstance(argument, Value):
            return argument
        value = self._variables.get(argument)
        return Value(nan) if value is None else value

    def numbers(self, *arguments: Argument) -> list[float]:
        """The bare numbers of arguments."""
        return [self.value(argument).number for argument in arguments]

    def store(self, name: Argument, value: Value) -> None:
        """Give a variable a value."""
        self._variables[str(name)] = value

    def drop_package(self) -> None:
        """Forget a package that a broken loop left open."""
        self._package = None

    # --- variables ---------------------------------------------------------------------------

    def do_var(self, command: Command) -> Time:
        """Declare; the parser knows the name."""
        self.store(command.arguments[0], Value(0.0))
        return iter(())

    def do_store_var(self, command: Command) -> Time:
        """Store a number under a type."""
        name, value, kind = command.arguments
        self.store(name, replace(self.value(value), kind=str(kind)))
        return iter(())

    def do_copy_var(self, command: Command) -> Time:
        """Copy a value with its type."""
        source, name = command.arguments
        self.store(name, self.value(source))
        return iter(())

    def _arithmetic(self, command: Command, work: Callable[[float, float], float]) -> Time:
        name, operand = command.arguments
        left, right = self.value(name), self.value(operand)
        if work is operator.truediv and right.number == 0.0:
            raise ScriptError(0x0028)
        self.store(name, replace(left, number=work(float(left.number), right.number)))
        return iter(())

    def do_add_var(self, command: Command) -> Time:
        """Add in place."""
        return self._arithmetic(command, operator.add)

    def do_sub_var(self, command: Command) -> Time:
        """Subtract in place."""
        return self._arithmetic(command, operator.sub)

    def do_mul_var(self, command: Command) -> Time:
        """Multiply in place."""
        return self._arithmetic(command, operator.mul)

    def do_div_var(self, command: Command) -> Time:
        """Divide in place."""
        return self._arithmetic(command, operator.truediv)

    def do_int_to_float(self, command: Command) -> Time:
        """Make it a float."""
        (name,) = command.arguments
        self.store(name, replace(self.value(name), integer=False))
        return iter(())

    def do_float_to_int(self, command: Command) -> Time:
        """Make it an integer."""
        (name,) = command.arguments
        self.store(name, replace(self.value(name), number=self.whole(name), integer=True))
        return iter(())

    def do_alter_vartype(self, command: Command) -> Time:
        """Give it another type."""
        name, kind = command.arguments
        self.store(name, replace(self.value(name), kind=str(kind)))
        return iter(())

    # --- flow --------------------------------------------------------------------------------

    def _holds(self, command: Command) -> bool:
        left, comparison, right = command.arguments
        return _COMPARE[str(comparison)](*self.numbers(left, right))

    def do_if(self, command: Command) -> Time:
        """Run one of two branches."""
        return self.block(command.body if self._holds(command) else command.otherwise)

    def do_loop(self, command: Command) -> Time:
        """Repeat while a comparison holds."""
        self.emit("L")
        try:
            while self._holds(command):
                yield from self.block(command.body)
                yield from self.spend(_STATEMENT_S)
        except BreakLoop:
            pass
        self.emit("+")

    def do_breakloop(self, command: Command) -> Time:
        """Leave the innermost loop."""
        raise BreakLoop

    def do_abort(self, command: Command) -> Time:
        """Go to `on_finished:`."""
        raise Abort

    def do_wait(self, command: Command) -> Time:
        """Let time pass."""
        return self.spend(*self.numbers(*command.arguments))

    def do_set_int(self, command: Command) -> Time:
        """Start an interval that `await_int` waits for."""
        (self._interval_s,) = self.numbers(*command.arguments)
        self._tick_s = self.seconds
        return iter(())

    def do_await_int(self, command: Command) -> Time:
        """Wait for the end of the interval, and start the next."""
        self._tick_s += self._interval_s
        return self.spend(max(0.0, self._tick_s - self.seconds))

    def do_timer_start(self, command: Command) -> Time:
        """Start the stop-watch."""
        self._timer_s = self.seconds
        return iter(())

    def do_timer_get(self, command: Command) -> Time:
        """Read the stop-watch."""
        self.store(command.arguments[0], Value(self.seconds - self._timer_s, "eb"))
        return iter(())

    # --- output ------------------------------------------------------------------------------

    def do_pck_start(self, command: Command) -> Time:
        """Open a package."""
        if self._package is not None:
            raise ScriptError(0x401B)
        self._package = []
        return iter(())

    def do_pck_add(self, command: Command) -> Time:
        """Put a value into it."""
        if self._package is None:
            raise ScriptError(0x401B)
        self._package.append(self.value(command.arguments[0]))
        return iter(())

    def do_pck_end(self, command: Command) -> Time:
        """Send it."""
        values, self._package = self._package, None
        if values is None:
            raise ScriptError(0x401B)
        if self._output:
            self.emit(package(values))
        return iter(())

    def do_send_string(self, command: Command) -> Time:
        """Send a text; `f"..."` fills in variables."""
        text = str(command.arguments[0])
        if text.startswith("f"):
            text = re.sub(r"\{(\w+)\}", lambda m: f"{self.value(m[1]).number:g}", text[1:])
        self.emit("T" + text.strip('"'))
        return iter(())

    def do_set_script_output(self, command: Command) -> Time:
        """Switch packages off and on."""
        self._output = self.numbers(*command.arguments) != [0.0]
        return iter(())
