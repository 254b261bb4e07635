"""PalmSens potentiostats (EmStat Pico, EmStat4, Sensit, Nexus) over a serial line.

ASCII lines that end with LF. A command echoes its first letter; an error is `<letter>!XXXX`, after
which the box is deaf for 100 ms. Scripts run on bench time by themselves: a host that goes away
misses their output and nothing else.

Options: `model` (prefix of the firmware's name: nexus1, es4_hr, es4_lr, espico, senswb), `serial`,
`multiplexer` (none, mux8, mux8r2), `on_finished_after_error` (whether a runtime error still runs
`on_finished:`; sources disagree, so the default is the worse for the host: it does not), `seed`.
The default is a Nexus because a lithium cell of some ampere-hours is beyond the others: a Pico
ends at 2 V, an EmStat4 LR at 3 V, and 5 mV drive more than the HR's 100 mA through 20 mohm.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any

from simulators.clock import Clock
from simulators.methodscript.interpreter import Run
from simulators.methodscript.language import Abort, AbortLoop
from simulators.methodscript.parser import ARGUMENTS, Script, parse
from simulators.methodscript.potentiostat import FAMILIES, Potentiostat
from simulators.methodscript.values import ScriptError
from simulators.rig import Position
from simulators.wire import Out, Perturb

_DEAF_S = 0.1
_LONGEST_COMMAND = 255
_STATEMENTS_A_TICK = 5000  # an endless loop in a script must not hold the bench
_MULTIPLEXERS = ("none", "mux8", "mux8r2")

# Bits of the capability fields that CC and CM answer with.
_COMMANDS = {
    "t": 1, "CC": 32, "CM": 33, "l": 36, "r": 37, "e": 38, "i": 48, "v": 49,
    "h": 96, "H": 97, "Z": 98, "Y": 99,
}  # fmt: skip
_SCRIPT_COMMANDS = {
    "var": 1, "store_var": 3, "copy_var": 4, "add_var": 5, "sub_var": 6, "mul_var": 7,
    "div_var": 8, "set_e": 9, "set_int": 10, "await_int": 11, "wait": 12, "loop": 13,
    "endloop": 14, "breakloop": 15, "if": 16, "else": 17, "elseif": 18, "endif": 19, "meas": 21,
    "meas_loop_ca": 28, "meas_loop_ocp": 30, "meas_loop_eis": 31, "set_autoranging": 32,
    "pck_start": 33, "pck_add": 34, "pck_end": 35, "set_max_bandwidth": 36, "set_cr": 37,
    "cell_on": 38, "cell_off": 39, "set_pgstat_mode": 40, "send_string": 41,
    "set_pgstat_chan": 42, "set_gpio_cfg": 43, "set_gpio": 45, "get_gpio": 46,
    "set_script_output": 52, "abort": 62, "timer_start": 63, "timer_get": 64, "set_range": 65,
    "set_range_minmax": 66, "int_to_float": 71, "float_to_int": 72, "set_acquisition_frac": 80,
    "mux_config": 81, "mux_get_channel_count": 82, "mux_set_channel": 83,
    "set_i": 68, "meas_loop_geis": 70, "set_acquisition_frac_autoadjust": 91, "alter_vartype": 92,
}  # fmt: skip


class PalmSens:
    """One potentiostat on one serial line."""

    max_connections = 1

    def __init__(
        self,
        name: str,
        clock: Clock,
        wiring: Mapping[int, Position],
        options: Mapping[str, Any],
    ) -> None:
        self.name = name
        self.clock = clock
        self.perturb = Perturb()
        model = str(options.get("model", "nexus1"))
        self._multiplexer = str(options.get("multiplexer", "none"))
        _check(options, model, self._multiplexer)
        self.serial = str(options.get("serial", f"{model.upper().replace('_', '')}26A0001"))
        self.pgstat = Potentiostat(
            FAMILIES[model],
            wiring,
            self._multiplexer,
            self.perturb,
            random.Random(f"palmsens {options.get('seed', name)}"),
        )
        self._finish_after_error = bool(options.get("on_finished_after_error", False))
        self._host: _Session | None = None
        self._run: Run | None = None
        self._steps: Generator[float, None, None] | None = None
        self._due_s = 0.0
        self._halted_s: float | None = None

    def session(self) -> _Session:
        """Open the serial line."""
        self._host = _Session(self)
        return self._host

    def close(self, session: _Session) -> None:
        """Forget the host; a script runs on and its output is lost."""
        if self._host is session:
            self._host = None

    @property
    def running(self) -> bool:
        """Whether a script runs."""
        return self._run is not None

    def start(self, script: Script) -> None:
        """Run a script from now on."""
        self._run = Run(
            script, self.pgstat, self._emit, finish_after_error=self._finish_after_error
        )
        self._steps = self._run.run()
        self._due_s = self.clock.now()
        self._halted_s = None
        self._resume(self._steps.__next__)

    def _emit(self, line: str) -> None:
        if self._host is not None:
            self._host.say(line)

    def advance(self) -> None:
        """Let the script do all that is due."""
        now = self.clock.now()
        for _ in range(_STATEMENTS_A_TICK):
            if self._steps is None or self._halted_s is not None or self._due_s > now:
                return
            self._resume(self._steps.__next__)

    def _resume(self, step: Callable[[], float]) -> None:
        try:
            self._due_s += step()
        except StopIteration:
            self._run = self._steps = None

    def interrupt(self, request: Abort | AbortLoop) -> None:
        """Throw a request into the script where it stands."""
        run, steps = self._run, self._steps
        if run is None or steps is None or run.finishing:
            return
        if isinstance(request, AbortLoop) and not run.measuring:
            return
        self.resume()
        self._due_s = self.clock.now()
        self._resume(lambda: steps.throw(request))

    def halt(self) -> None:
        """Hold the script."""
        if self._halted_s is None:
            self._halted_s = self.clock.now()

    def resume(self) -> None:
        """Go on with it."""
        if self._halted_s is not None:
            self._due_s += self.clock.now() - self._halted_s
            self._halted_s = None


def _check(options: Mapping[str, Any], model: str, multiplexer: str) -> None:
    known = {"model", "serial", "multiplexer", "on_finished_after_error", "seed"}
    for key in options:
        if key not in known:
            raise ValueError(f"{key}: unknown option; known are {', '.join(sorted(known))}")
    if model not in FAMILIES:
        raise ValueError(f"model: {model!r} is none of {', '.join(FAMILIES)}")
    if multiplexer not in _MULTIPLEXERS:
        raise ValueError(f"multiplexer: {multiplexer!r} is none of {', '.join(_MULTIPLEXERS)}")


class _Session:
    """The command interpreter on one line."""

    def __init__(self, box: PalmSens) -> None:
        self._box = box
        self._input = bytearray()
        self._output = bytearray()
        self._deaf_until_s = 0.0
        self._script: list[str] | None = None  # lines of a script that is being received
        self._loader = ""
        self._loaded: Script | None = None

    def feed(self, data: bytes) -> Iterable[Out]:
        """Take bytes; those that come while the box is deaf are lost."""
        self._input += data
        while True:
            if self._box.clock.real() < self._deaf_until_s:
                self._input.clear()
            line, end, rest = self._input.partition(b"\n")
            if not end:
                return self.tick()
            self._input = rest
            self._line(line.decode("latin-1").rstrip("\r"))

    def tick(self) -> Iterable[Out]:
        """Hand over what the script has sent."""
        data, self._output = bytes(self._output), bytearray()
        return [Out(data)] if data else []

    def close(self) -> None:
        """Hang up."""
        self._box.close(self)

    def say(self, line: str) -> None:
        """Queue a line for the host."""
        self._output += line.encode("latin-1") + b"\n"

    def _refuse(self, letter: str, error: ScriptError) -> None:
        self.say(f"{letter}{error}")
        self._deaf_until_s = self._box.clock.real() + _DEAF_S

    def _line(self, line: str) -> None:
        if self._script is not None:
            self._take_script(self._script, line)
        elif self._box.running:
            self._command_while_running(line)
        else:
            self._command(line)

    def _take_script(self, lines: list[str], line: str) -> None:
        if line != "":
            lines.append(line)
            return
        self._script = None
        try:
            self._loaded = parse(lines)
        except ScriptError as error:
            self._refuse(self._loader, error)
            return
        self.say(self._loader)
        if self._loader == "e":
            self._box.start(self._loaded)

    def _command(self, line: str) -> None:
        box = self._box
        answers = {
            "": "",
            "t": self._firmware(),
            "i": f"i{box.serial}",
            "v": "v01.09.00",
            "CC": "C" + _bits(_COMMANDS.values()),
            "CM": "C" + _bits(_SCRIPT_COMMANDS[name] for name in ARGUMENTS),
        }
        if line in answers:
            self.say(answers[line])
        elif line in ("e", "l"):
            self._script, self._loader = [], line
        elif line == "r":
            self._run_loaded()
        elif line in ("Z", "Y", "h", "H"):
            self._refuse(line, ScriptError(0x0006))
        else:
            code = 0x0008 if len(line) > _LONGEST_COMMAND else 0x0003
            self._refuse(line[0], ScriptError(code))

    def _run_loaded(self) -> None:
        if self._loaded is None:
            self._refuse("r", ScriptError(0x000C))
        else:
            self.say("r")
            self._box.start(self._loaded)

    def _command_while_running(self, line: str) -> None:
        if line == "t":
            self.say(self._firmware())
        elif line in ("Z", "Y", "h", "H"):
            self.say(line)
            self._control(line)
        elif line:
            self._refuse(line[0], ScriptError(0x0006))

    def _control(self, letter: str) -> None:
        if letter == "h":
            self._box.halt()
        elif letter == "H":
            self._box.resume()
        else:
            self._box.interrupt(Abort() if letter == "Z" else AbortLoop())

    def _firmware(self) -> str:
        return f"t{self._box.pgstat.family.prefix}1500#Mar 12 2026 14:28:01\nR*"


def _bits(numbers: Iterable[int]) -> str:
    return f"{sum(1 << number for number in numbers):064X}"


DIALECT = PalmSens
