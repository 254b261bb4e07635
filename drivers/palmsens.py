"""PalmSens EmStat Pico, EmStat4, Sensit and Nexus: potentiostats that run MethodSCRIPT.

ASCII lines ended by LF on USB-CDC or a UART (8N1; 230400 baud for Pico and Sensit, 921600 for
EmStat4 and Nexus). The first letter of a command is echoed; an error is `<letter>!XXXX`, after
which the instrument is deaf for up to 100 ms. A sweep is a script that the instrument runs alone:
it measures the open-circuit voltage, holds it, and opens the cell whatever ends it, the host's
death included. There is no watchdog on the wire; the script's own time limit stands in for it.

UNCONFIRMED (no manual page or instrument seen): frequency limits of each family below 1 Hz and
Nexus above 200 kHz; whether the amplitude is rms on a Pico; `mux_config` bits of a MUX8-R2 for
four wires a channel; potential ranges beside those of the maker's examples; whether `on_finished:`
runs after a runtime error (the driver opens the cell itself then); of galvanostatic sweeps
(`meas_loop_geis`, mode 6: EmStat4 and Nexus have it, Pico and Sensit have not): that a positive
current charges a cell whose positive pole is the working electrode, that the amplitude is rms, and
that `set_range ba` takes the smallest range that holds its value.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from daq.bus.line import Exchange, LineSettings, TextLine
from daq.driver import DriverOptions, Potentiostat, Progress, Range
from daq.errors import BadReply, InputError, InstrumentRefused, ReadbackMismatch
from daq.model import Identity, MeasurementState, Reading, Span, Spectrum
from drivers import methodscript
from drivers.methodscript import Refused, Sweep, is_script_output, parse_package, refusal

_DEAF_S = 0.11  # input is ignored for 50 to 100 ms after an error reply
_LAST_MARK = 9999  # then from 1 again
_MOST_LINES = 1000  # of output that may come before the answer to a command


@dataclass(frozen=True, slots=True)
class Family:
    """What one kind of instrument can do (manual, appendix B; current: largest range)."""

    model: str
    voltage_V: Span
    current_A: float
    frequency_Hz: Span
    galvanostat: bool = True


FAMILIES = {
    "espico": Family("EmStat Pico", (-1.7, 2.0), 5e-3, (0.016, 200e3), False),
    "senswb": Family("Sensit Wearable", (-1.7, 2.0), 5e-3, (0.016, 200e3), False),
    "es4_lr": Family("EmStat4 LR", (-3.0, 3.0), 10e-3, (1e-5, 200e3)),
    "es4_hr": Family("EmStat4 HR", (-6.0, 6.0), 100e-3, (1e-5, 200e3)),
    "mes4lr": Family("MultiEmStat4 LR", (-3.0, 3.0), 10e-3, (1e-5, 200e3)),
    "mes4hr": Family("MultiEmStat4 HR", (-6.0, 6.0), 100e-3, (1e-5, 200e3)),
    "nexus1": Family("Nexus", (-10.0, 10.0), 1.0, (1e-5, 1e6)),
}


class Options(DriverOptions):
    """Options of a PalmSens potentiostat.

    Attributes:
        multiplexer: `none`: channel n is the potentiostat's own channel n - 1; `mux8`: a MUX8 on
            the digital lines d0 to d2; `mux8r2`: a MUX8-R2 on its own connector (MethodSCRIPT 1.8).
        channels: how many channels are wired.
        read_voltage: measure the open-circuit voltage of every channel at each `read`.
    """

    multiplexer: Literal["none", "mux8", "mux8r2"] = "none"
    channels: int = Field(default=1, ge=1, le=128)
    read_voltage: bool = False


class PalmSens(Potentiostat[TextLine]):
    """PalmSens EmStat Pico, EmStat4, Sensit and Nexus: one channel measures at a time."""

    settings = LineSettings(baud=230400)
    Options = Options

    def __init__(self, line: TextLine, options: Options | None = None) -> None:
        wired = options or Options()
        super().__init__(line, wired)
        if wired.multiplexer == "mux8" and wired.channels > 8:
            raise InputError(f"channels: a MUX8 has 8 channels, not {wired.channels}")
        self._multiplexer = wired.multiplexer
        self._read_voltage = wired.read_voltage
        self.channels = range(1, wired.channels + 1)
        self._family = FAMILIES["espico"]
        self._serial = ""
        self._mark = 0
        self._sweep: Sweep | None = None

    def identify(self) -> Identity:
        """Ask for firmware (`t`), serial number (`i`) and script version (`v`).

        A script that a dead host has left running would refuse `i`; it is aborted then, the one
        change of state without which nobody can tell who answers.
        """
        try:
            return self._identity()
        except Refused as refused:
            if refused.code != methodscript.BUSY:
                raise
        self._end_script()
        return self._identity()

    def _identity(self) -> Identity:
        firmware = self._command("t")
        release = self.line.read_line()
        prefix = next((name for name in FAMILIES if firmware.startswith(name)), None)
        if prefix is None or not release.endswith("*"):
            raise BadReply(f"not a PalmSens potentiostat: {firmware!r}, {release!r}")
        self._family = FAMILIES[prefix]
        self._serial = self._command("i")
        version = self._script_version()
        number = firmware.removeprefix(prefix).partition("#")[0]
        return Identity("PalmSens", self._family.model, self._serial, f"{number} {version}".strip())

    def _script_version(self) -> str:
        try:
            return "MethodSCRIPT " + self._command("v")
        except Refused as refused:  # firmware older than the command
            if refused.code != methodscript.UNKNOWN_COMMAND:
                raise
            return ""

    def setup(self) -> None:
        """End a half-sent command and any script; both leave the cell off."""
        self.line.tell("")
        self._end_script()
        if self._sweep is not None:
            self._sweep.fail("the line was lost; the sweep was aborted")

    def range(self, channel: int) -> Range:
        """The family's limits; a full lithium cell is beyond a Pico and an EmStat4 LR."""
        family, most = self._family, self._family.current_A
        return Range(
            family.voltage_V,
            (-most, most),
            frequency_Hz=family.frequency_Hz,
            galvanostatic_A=most if family.galvanostat else 0.0,
        )

    def read(self) -> Mapping[int, Reading]:
        """Open-circuit voltages where the options ask for them; silent while a sweep runs."""
        if self._running() is not None:
            return {}
        if not self._read_voltage:
            self._alive()
            return {}
        self._mark = self._mark % _LAST_MARK + 1
        mark = str(self._mark)
        selections = [self._select(number) for number in self.channels]
        output = self._run(methodscript.voltage_script(selections, mark))
        if output[-1:] != [f"T{mark}"]:
            raise BadReply(f"the output of another script: {output!r}, without {mark!r} at its end")
        packages = [parse_package(line) for line in output if line.startswith("P")]
        if len(packages) != len(self.channels):
            raise BadReply(f"{len(packages)} voltages for {len(self.channels)} channels")
        voltages = (package[0].value for package in packages)
        return {
            channel: Reading(voltage_V=voltage, output_on=False)
            for channel, voltage in zip(self.channels, voltages, strict=True)
        }

    def _alive(self) -> None:
        serial = self._command("i")
        if serial != self._serial:
            raise BadReply(f"serial number {serial!r} where {self._serial!r} was identified")

    def start(self, channel: int, spectrum: Spectrum) -> None:
        """Send the sweep's script; its output is `poll`'s.

        Raises:
            InstrumentRefused: a sweep runs already, a frequency or a current is out of range, or
                the instrument does not take the script.
        """
        if (running := self._running()) is not None:
            raise InstrumentRefused(f"a sweep runs on channel {running.channel} already")
        low, high = self._family.frequency_Hz
        for frequency in (spectrum.from_Hz, spectrum.to_Hz):
            if not low <= frequency <= high:
                raise InstrumentRefused(f"{frequency} Hz is outside {low} to {high} Hz")
        most_A = self.range(channel).galvanostatic_A
        if spectrum.galvanostatic and spectrum.peak_A > most_A:
            raise InstrumentRefused(
                f"a sweep with a peak of {spectrum.peak_A:g} A; it can do {most_A:g} A"
            )
        script = methodscript.spectrum_script(
            spectrum, self._select(channel), (1e-6, self._family.current_A), self._top_voltage()
        )
        self._load(script)
        self._sweep = Sweep(channel, methodscript.count_points(spectrum))

    def poll(self) -> Progress:
        """Take the output that has arrived; DONE and FAILED are told once, then IDLE.

        After a runtime error the cell is opened by a script of its own, one exchange more.
        """
        sweep = self._sweep
        if sweep is None:
            return Progress(MeasurementState.IDLE)
        if sweep.state is MeasurementState.RUNNING:
            for line in self.line.read_ready():
                sweep.take(line)
        if sweep.broken:
            time.sleep(_DEAF_S)
            self._open_cell(sweep.channel)
        if sweep.state is not MeasurementState.RUNNING:
            self._sweep = None
        return Progress(sweep.state, sweep.points(), sweep.message)

    def abort(self) -> None:
        """Abort the script, which opens the cell, and read its output to the end."""
        if self._sweep is not None:
            self._end_script()
            self._sweep = None

    def off(self, channel: int) -> None:
        """Abort a sweep of this channel, open the cell, and see that the script did.

        While another channel is swept this one is not connected: every script starts with the
        cell off and switches one channel on.
        """
        running = self._running()
        if running is not None and running.channel != channel:
            return
        self.abort()
        self._open_cell(channel)

    def off_exchanges(self, channel: int) -> tuple[Exchange, ...]:
        """Abort and wait for the script's end, at which every one of this driver opens the cell."""
        return (Exchange(b"\nZ\n", rb"(?s:.*)Z(!0006\n|\n(?s:.*\n)?\n)"),)

    def _running(self) -> Sweep | None:
        """The sweep that the instrument runs; one that has failed is only waiting to be told."""
        sweep = self._sweep
        return sweep if sweep and sweep.state is MeasurementState.RUNNING else None

    def _open_cell(self, channel: int) -> None:
        output = self._run(methodscript.off_script(self._select(channel)))
        if output:
            raise ReadbackMismatch(f"opening the cell, the instrument said {output!r}")

    def _select(self, channel: int) -> Sequence[str]:
        """Script lines that choose a channel."""
        if channel not in self.channels:
            raise InstrumentRefused(f"no channel {channel}; wired are 1 to {len(self.channels)}")
        if self._multiplexer == "none":
            return (f"set_pgstat_chan {channel - 1}",)
        if self._multiplexer == "mux8":
            return ("set_pgstat_chan 0", "set_gpio_cfg 0b111 1", f"set_gpio {channel - 1}i")
        return ("set_pgstat_chan 0", "mux_config 3i 0x0000", f"mux_set_channel {channel}i")

    def _top_voltage(self) -> float:
        return max(abs(limit) for limit in self._family.voltage_V)

    def _command(self, message: str) -> str:
        """Ask, skip the output of a script that may still run, strip the echoed letter."""
        line = self.line.ask(message)
        for _ in range(_MOST_LINES):
            if not is_script_output(line):
                break
            line = self.line.read_line()
        self._check(line)
        if not line.startswith(message):
            raise BadReply(f"{line!r} does not answer {message!r}")
        return line[len(message) :]

    def _load(self, script: str) -> None:
        reply = self.line.ask(script)
        self._check(reply)
        if reply != "e":
            raise BadReply(f"{reply!r} does not accept a script")

    def _run(self, script: str) -> list[str]:
        """Run a short script to its end; each of its lines is due within the timeout."""
        self._load(script)
        lines: list[str] = []
        while (line := self.line.read_line()) != "":
            self._check(line)
            lines.append(line)
        return lines

    def _check(self, line: str) -> None:
        error = refusal(line)
        if error is not None:
            time.sleep(_DEAF_S)
            raise error

    def _end_script(self) -> None:
        """Abort, and read up to the end of the script's output (at once if none runs)."""
        self.line.tell("Z")
        aborting = False
        for _ in range(_MOST_LINES):
            line = self.line.read_line().lstrip("\x11\x13")
            if line == "Z!0006":  # nothing runs, or not any more
                time.sleep(_DEAF_S)
                return
            if aborting and line == "":
                return
            aborting = aborting or line == "Z"
        raise BadReply("the output of an aborted script does not end")
