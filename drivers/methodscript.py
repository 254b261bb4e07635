"""MethodSCRIPT as text: scripts, packages and error codes. No line and no state but a sweep's.

The dialect of PalmSens potentiostats: the host sends a script, the instrument runs it alone and
streams what the script packs (MethodSCRIPT manual v1.8, maker's public examples).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log10, nan

from daq.errors import BadReply, InstrumentRefused
from daq.model import MeasurementState, Span, Spectrum, SpectrumPoint

EXPONENTS = {
    "a": -18, "f": -15, "p": -12, "n": -9, "u": -6, "m": -3, " ": 0, "i": 0,
    "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
ZERO = 0x8000000  # the offset of a package's 28-bit numbers
OVERLOAD = 0x2  # status bit of a package: the current left its range, the value is clipped

BUSY = 0x0006
UNKNOWN_COMMAND = 0x0003
ERRORS = {
    UNKNOWN_COMMAND: "unknown command",
    BUSY: "not allowed while a script runs, or nothing to abort",
    0x0007: "unexpected argument",
    0x0008: "line too long",
    0x0009: "timeout while receiving",
    0x000C: "no script loaded",
    0x000F: "potential outside the instrument's range",
    0x0011: "frequency outside the instrument's range",
    0x0012: "amplitude outside the instrument's range",
    0x0014: "open-circuit measurement with the cell on",
    0x001A: "calibration invalid",
    0x001F: "technique not licensed",
    0x0021: "potentiostat mode not supported",
    0x0023: "command invalid in this potentiostat mode",
    0x002F: "no such channel",
    0x0032: "critical cell overload, measurement aborted",
    0x0046: "multiplexer not found",
    0x0052: "characters lost on the serial line",
    0x0058: "timing error during a fast measurement",
    0x005A: "timing cannot be met",
    0x0080: "counter electrode oscillates",
    0x4001: "unknown script command",
    0x4004: "unexpected character in the script",
    0x4005: "script too large",
    0x4018: "script ended unexpectedly",
    0x4021: "multiplexer not configured",
    0x4027: "cell must be on",
    0x4028: "cell must be off",
    0x420B: "variable not declared",
    0x7FFF: "fatal error, the instrument needs a reset",
}

_ERROR = re.compile(r"[A-Za-z]?!([0-9A-Fa-f]{4})(?::\s*(.*))?")
_VARIABLE = re.compile(
    r"([a-z]{2})(?:([0-9A-Fa-f]{7})([afpnum kMGTPEi])| {5}nan)((?:,[0-9A-Fa-f]+)*)"
)
_SCRIPT_OUTPUT = re.compile(r"|[PT].*|[ML*+C-][0-9A-Fa-f]*")


class Refused(InstrumentRefused):
    """An error reply `x!XXXX`, with its code."""

    def __init__(self, code: int, where: str = "") -> None:
        meaning = ERRORS.get(code, "see the MethodSCRIPT manual, appendix of error codes")
        super().__init__(f"error {code:04X}: {meaning}" + (f" at {where}" if where else ""))
        self.code = code


def refusal(line: str) -> Refused | None:
    """The error that a reply or an output line carries, if it is one."""
    match = _ERROR.fullmatch(line)
    return Refused(int(match[1], 16), match[2] or "") if match else None


def is_script_output(line: str) -> bool:
    """Whether a running script may have sent this line (which no command's reply looks like)."""
    return _SCRIPT_OUTPUT.fullmatch(line) is not None


@dataclass(frozen=True, slots=True)
class Variable:
    """One value of a package: SI units, `nan` where the instrument says so.

    Attributes:
        kind: two letters, e.g. "dc" frequency, "cc" and "cd" real and imaginary impedance.
        status: bit mask; 1 timing not met, 2 overload, 4 underload, 8 overload warning.
        range_code: the instrument's own number of the range in use.
    """

    kind: str
    value: float
    status: int = 0
    range_code: int | None = None


def parse_package(line: str) -> tuple[Variable, ...]:
    """Parse `P...;...` into its variables.

    Raises:
        BadReply: not a whole package.
    """
    if not line.startswith("P"):
        raise BadReply(f"not a package: {line!r}")
    return tuple(_variable(text) for text in line[1:].split(";"))


def _variable(text: str) -> Variable:
    match = _VARIABLE.fullmatch(text)
    if match is None:
        raise BadReply(f"not a variable of a package: {text!r}")
    kind, digits, prefix, metadata = match.groups()
    value = float(f"{int(digits, 16) - ZERO}e{EXPONENTS[prefix]}") if digits else nan
    items = {item[0]: item[1:] for item in metadata.split(",")[1:]}
    ranged = items.get("2")
    return Variable(
        kind, value, int(items.get("1") or "0", 16), int(ranged, 16) if ranged else None
    )


def literal(value: float) -> str:
    """A number as a script's literal: an integer with an SI prefix, seven digits or more.

    Raises:
        ValueError: not a number, or too small to matter.
    """
    if value == 0.0:
        return "0"
    for prefix in ("M", "k", "", "m", "u", "n", "p"):
        scaled = value / 10.0 ** EXPONENTS[prefix or " "]
        if _is_whole(scaled) or 1e6 <= abs(scaled) < 2**31:
            return f"{round(scaled)}{prefix}"
    raise ValueError(f"not a number for a script: {value}")


def _is_whole(value: float) -> bool:
    whole = round(value) if isfinite(value) else 0
    return whole != 0 and abs(value - whole) <= 1e-9 * abs(value)


def count_points(spectrum: Spectrum) -> int:
    """How many frequencies a sweep has, both ends included."""
    decades = abs(log10(spectrum.from_Hz / spectrum.to_Hz))
    return round(decades * spectrum.per_decade) + 1


def spectrum_script(
    spectrum: Spectrum, select: Sequence[str], current_A: Span, voltage_V: float
) -> str:
    """A sweep about the open-circuit voltage, which the script itself measures first.

    A galvanostatic one needs no voltage: it is about its direct current.

    `meas_loop_eis` takes an absolute potential, and the host's last reading is older than the
    instrument's own. Single letters name the variables because old firmware knows no others.
    Autoranging spans `current_A` and potentials up to `voltage_V`.

    Args:
        spectrum: what is asked for.
        select: lines that choose the channel.
        current_A: smallest and largest current range, amperes.
        voltage_V: largest potential that may have to be ranged, volts.
    """
    if spectrum.galvanostatic:
        return _galvanostatic_script(spectrum, select, voltage_V)
    low, high = (literal(value) for value in current_A)
    most = literal(voltage_V)
    sweep = (
        f"{literal(spectrum.amplitude_V)} {literal(spectrum.from_Hz)} {literal(spectrum.to_Hz)}"
        f" {count_points(spectrum)}i p"
    )
    bias = [f"add_var p {literal(spectrum.bias_V)}"] if spectrum.bias_V else []
    return _script(
        *("var p", "var f", "var r", "var j", "var t", "cell_off"),
        *select,
        *("set_pgstat_mode 3", "set_max_bandwidth 1M"),
        *(f"set_range ba {high}", f"set_autoranging ba {low} {high}"),
        *(f"set_range ab {most}", f"set_autoranging ab 50m {most}"),
        *("meas_loop_ocp p 100m 1", "endloop"),
        *bias,
        *("set_range_minmax da p p", "set_e p", "cell_on", "timer_start"),
        f"meas_loop_eis f r j {sweep}",
        *_points(spectrum),
    )


def _galvanostatic_script(spectrum: Spectrum, select: Sequence[str], voltage_V: float) -> str:
    """A sweep at a direct current (0: none), which flows as long as the sweep takes.

    The current has one range, that of its peak: with a fixed current there is nothing to look for.
    """
    direct = literal(spectrum.bias_A)
    most = literal(voltage_V)
    sweep = (
        f"{literal(spectrum.amplitude_A)} {literal(spectrum.from_Hz)} {literal(spectrum.to_Hz)}"
        f" {count_points(spectrum)}i {direct}"
    )
    return _script(
        *("var f", "var r", "var j", "var t", "cell_off"),
        *select,
        *("set_pgstat_mode 6", "set_max_bandwidth 1M"),
        f"set_range ba {literal(spectrum.peak_A)}",
        *(f"set_range ab {most}", f"set_autoranging ab 50m {most}"),
        *(f"set_i {direct}", "cell_on", "timer_start"),
        f"meas_loop_geis f r j {sweep}",
        *_points(spectrum),
    )


def _points(spectrum: Spectrum) -> tuple[str, ...]:
    """The body of a sweep's loop, and its end."""
    return (
        *("pck_start", "pck_add f", "pck_add r", "pck_add j", "pck_end"),
        *("timer_get t", f"if t > {literal(spectrum.at_most_s)}"),
        *('send_string "time limit"', "breakloop", "endif"),
        "endloop",
    )


def voltage_script(selections: Sequence[Sequence[str]], mark: str) -> str:
    """One open-circuit voltage per selection, each in a package of its own; then the mark.

    The mark tells this script's output from that of an earlier one that arrives late or twice.
    """
    lines = ["var p", "cell_off"]
    for select in selections:
        lines += [*select, "set_pgstat_mode 3", "meas_loop_ocp p 50m 50m"]
        lines += ["pck_start", "pck_add p", "pck_end", "endloop"]
    return _script(*lines, f'send_string "{mark}"')


def off_script(select: Sequence[str]) -> str:
    """Open the cell relay."""
    return "\n".join(("e", *select, "cell_off", ""))


def _script(*lines: str) -> str:
    """Lines as one message; whatever ends the script, the cell ends off."""
    return "\n".join(("e", *lines, "on_finished:", "cell_off", ""))


class Sweep:
    """What is known of a sweep from the lines that its script has sent.

    Attributes:
        channel: the channel it runs on.
        state: RUNNING, then DONE or FAILED for good.
        message: why it failed, or what is wrong with a finished one.
        broken: the instrument ended the script by an error; nothing is known of its relay.
    """

    def __init__(self, channel: int, expected: int) -> None:
        self.channel = channel
        self.state = MeasurementState.RUNNING
        self.message = ""
        self.broken = False
        self._expected = expected
        self._seen = 0
        self._clipped = 0
        self._notes: list[str] = []
        self._points: list[SpectrumPoint] = []

    def take(self, line: str) -> None:
        """Take one line; lines after the end are ignored.

        Raises:
            BadReply: a line that no script sends.
        """
        if self.state is not MeasurementState.RUNNING:
            return
        line = line.lstrip("\x11\x13")  # XON and XOFF of a UART
        error = refusal(line)
        if error is not None:
            self.broken = True
            self.fail(error.message)
        elif not is_script_output(line):
            raise BadReply(f"not the output of a script: {line!r}")
        elif line == "":
            self._end()
        elif line.startswith("T"):
            self._notes.append(line[1:])
        elif line.startswith("P"):
            self._package(line)

    def points(self) -> tuple[SpectrumPoint, ...]:
        """The points since the last call."""
        points, self._points = tuple(self._points), []
        return points

    def fail(self, message: str) -> None:
        """End it as failed, unless it has ended already."""
        if self.state is MeasurementState.RUNNING:
            self.state, self.message = MeasurementState.FAILED, message

    def _package(self, line: str) -> None:
        variables = {variable.kind: variable for variable in parse_package(line)}
        try:
            parts = [variables[kind] for kind in ("dc", "cc", "cd")]
        except KeyError as missing:
            raise BadReply(f"a package without {missing}: {line!r}") from missing
        self._seen += 1
        if any(part.status & OVERLOAD or not isfinite(part.value) for part in parts):
            self._clipped += 1  # a clipped current makes the impedance a number without meaning
        else:
            self._points.append(SpectrumPoint(*(part.value for part in parts)))

    def _end(self) -> None:
        if self._clipped:
            self._notes.append(f"{self._clipped} points left out: overloaded or not a number")
        if self._seen < self._expected:
            self._notes.append(f"ended after {self._seen} of {self._expected} points")
        whole = self._seen == self._expected and self._clipped < self._seen
        self.state = MeasurementState.DONE if whole else MeasurementState.FAILED
        self.message = "; ".join(self._notes)
