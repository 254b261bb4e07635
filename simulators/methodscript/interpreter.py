"""A script on a potentiostat: the commands that touch the cell, and the measurement loops."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import repeat

from simulators.methodscript.language import Abort, AbortLoop, BreakLoop, Language, Time
from simulators.methodscript.parser import Argument, Command, Script
from simulators.methodscript.potentiostat import Potentiostat
from simulators.methodscript.values import ScriptError, Value

_RELAY_S = 5e-3
_SHORTEST_POINT_S = 0.2  # of a spectrum, above about 15 Hz
_PERIODS = 3.0  # measured per point below that
_MOST_POINTS = 1e9
_MODES = (0, 2, 3, 4, 5, 6)
_GALVANOSTAT = 6

Point = tuple[float, Callable[[], None]]
"""How long a point takes, and what measures it at its end."""


class Run(Language):
    """One execution of a script.

    Args:
        script: what to run.
        pgstat: what to run it on.
        emit: takes each line of output.
        finish_after_error: whether `on_finished:` runs after a runtime error.

    Attributes:
        measuring: within a measurement loop.
        finishing: within `on_finished:`, which nothing aborts.
    """

    def __init__(
        self,
        script: Script,
        pgstat: Potentiostat,
        emit: Callable[[str], None],
        *,
        finish_after_error: bool,
    ) -> None:
        super().__init__(emit)
        self.measuring = False
        self.finishing = False
        self._script = script
        self._pgstat = pgstat
        self._finish_after_error = finish_after_error

    def run(self) -> Generator[float, None, None]:
        """Run to the empty line that ends the output."""
        try:
            finish = yield from self._main()
            self.finishing = True
            if finish:
                yield from self.block(self._script.finish)
        except Abort:
            pass  # `abort` within on_finished
        except ScriptError as error:
            self._report(error)
        self.emit("")

    def _main(self) -> Generator[float, None, bool]:
        try:
            yield from self.block(self._script.main)
        except Abort:
            return True
        except ScriptError as error:
            self._report(error)
            return self._finish_after_error
        return True

    def _report(self, error: ScriptError) -> None:
        error.where = f"Line {self.line}"
        self.emit(str(error))

    # --- potentiostat ------------------------------------------------------------------------

    def do_set_pgstat_chan(self, command: Command) -> Time:
        """Choose a potentiostat channel."""
        self._pgstat.select(self.whole(command.arguments[0]))
        return iter(())

    def do_set_pgstat_mode(self, command: Command) -> Time:
        """Choose the mode of the channel; 0 is off."""
        (mode,) = self.numbers(*command.arguments)
        if mode not in _MODES or (mode == _GALVANOSTAT and not self._pgstat.family.galvanostat):
            raise ScriptError(0x0021)
        self._pgstat.channel.mode = int(mode)
        return iter(())

    def do_set_autoranging(self, command: Command) -> Time:
        """Limit the current ranges; potential ranges make no difference here."""
        kind, low, high = command.arguments
        if kind == "ba":
            low_A, high_A = self.numbers(low, high)
            self._pgstat.channel.autorange_A = (low_A, high_A)
        return iter(())

    def do_set_range(self, command: Command) -> Time:
        """Fix the current range."""
        kind, value = command.arguments
        if kind == "ba":
            (amps,) = self.numbers(value)
            self._pgstat.channel.autorange_A = (amps, amps)
        return iter(())

    def _no_effect(self, command: Command) -> Time:
        """Accept what changes nothing that the model has (bandwidth, filters)."""
        return iter(())

    do_set_max_bandwidth = do_set_cr = do_set_range_minmax = _no_effect
    do_set_acquisition_frac = do_set_acquisition_frac_autoadjust = _no_effect

    def do_set_e(self, command: Command) -> Time:
        """Set the potential."""
        self._pgstat.set_e(*self.numbers(*command.arguments))
        return iter(())

    def do_set_i(self, command: Command) -> Time:
        """Set the current of a galvanostat."""
        self._pgstat.set_i(*self.numbers(*command.arguments))
        return iter(())

    def do_cell_on(self, command: Command) -> Time:
        """Close the cell relay."""
        self._pgstat.switch_on()
        return self.spend(_RELAY_S)

    def do_cell_off(self, command: Command) -> Time:
        """Open the cell relay."""
        self._pgstat.switch_off()
        return self.spend(_RELAY_S)

    def do_set_gpio_cfg(self, command: Command) -> Time:
        """Make digital lines outputs (mode 1)."""
        mask, mode = (self.whole(argument) for argument in command.arguments)
        mux = self._pgstat.mux
        mux.gpio_outputs = mux.gpio_outputs | mask if mode == 1 else mux.gpio_outputs & ~mask
        return iter(())

    def do_set_gpio(self, command: Command) -> Time:
        """Drive the output lines."""
        lines = self.whole(command.arguments[0])
        if lines & ~self._pgstat.mux.gpio_outputs:
            raise ScriptError(0x00BA)
        self._pgstat.mux.gpio = lines
        self._pgstat.rewire()
        return iter(())

    def do_get_gpio(self, command: Command) -> Time:
        """Read the lines."""
        self.store(command.arguments[0], Value(self._pgstat.mux.gpio, integer=True))
        return iter(())

    def do_mux_config(self, command: Command) -> Time:
        """Initialise a multiplexer; type 3 is the MUX8-R2."""
        if self._pgstat.multiplexer != "mux8r2":
            raise ScriptError(0x0046)
        if self.numbers(command.arguments[0]) != [3]:
            raise ScriptError(0x00BD)
        self._pgstat.mux.configured = True
        return iter(())

    def do_mux_set_channel(self, command: Command) -> Time:
        """Switch the multiplexer, channels from 1."""
        if not self._pgstat.mux.configured:
            raise ScriptError(0x4021)
        self._pgstat.mux.address = self.whole(command.arguments[0]) - 1
        self._pgstat.rewire()
        return self.spend(_RELAY_S)

    def do_mux_get_channel_count(self, command: Command) -> Time:
        """Count the multiplexer's channels."""
        self.store(command.arguments[0], Value(8, integer=True))
        return iter(())

    # --- measuring ---------------------------------------------------------------------------

    def do_meas(self, command: Command) -> Time:
        """Measure once."""
        duration, name, kind = command.arguments
        yield from self.spend(*self.numbers(duration))
        self.store(name, self._pgstat.current() if kind == "ba" else self._pgstat.potential())

    def _measure(self, technique: int, points: Iterable[Point], body: list[Command]) -> Time:
        """Run a measurement loop: `M....`, the body once a point, `*`."""
        self.emit(f"M{technique:04X}")
        self.measuring = True
        try:
            for seconds, measure in points:
                yield from self.spend(seconds)
                measure()
                yield from self.block(body)
        except (BreakLoop, AbortLoop):
            self.drop_package()
        except Abort:
            self.emit("*")
            raise
        finally:
            self.measuring = False
        self.emit("*")

    def do_meas_loop_ocp(self, command: Command) -> Time:
        """Open-circuit potential, at intervals."""
        name, interval, duration = command.arguments
        if self._pgstat.is_on:
            raise ScriptError(0x0014)
        seconds, count = _grid(*self.numbers(interval, duration))

        def measure() -> None:
            self.store(name, self._pgstat.potential())

        return self._measure(0x000B, repeat((seconds, measure), count), command.body)

    def do_meas_loop_ca(self, command: Command) -> Time:
        """Current at a constant potential, at intervals."""
        potential, current, volts, interval, duration = command.arguments
        seconds, count = _grid(*self.numbers(interval, duration))
        self._hold(volts)

        def measure() -> None:
            self.store(potential, replace(self.value(volts), kind="da"))
            self.store(current, self._pgstat.current())

        return self._measure(0x0007, repeat((seconds, measure), count), command.body)

    def do_meas_loop_eis(self, command: Command) -> Time:
        """Impedance at frequencies on a logarithmic grid."""
        *results, amplitude, first, last, count, volts = command.arguments
        amplitude_V, first_Hz, last_Hz = self.numbers(amplitude, first, last)
        self._pgstat.check_sweep(amplitude_V, first_Hz, last_Hz)
        self._hold(volts)
        points = (
            (
                max(_PERIODS / hertz, _SHORTEST_POINT_S),
                partial(self._point, results, hertz, amplitude_V),
            )
            for hertz in _frequencies(first_Hz, last_Hz, self.whole(count))
        )
        return self._measure(0x000D, points, command.body)

    def do_meas_loop_geis(self, command: Command) -> Time:
        """Impedance at frequencies on a logarithmic grid, at a direct current."""
        *results, amplitude, first, last, count, amps = command.arguments
        amplitude_A, first_Hz, last_Hz, direct_A = self.numbers(amplitude, first, last, amps)
        self._pgstat.check_galvanic_sweep(amplitude_A, direct_A, first_Hz, last_Hz)
        if not self._pgstat.is_on:
            raise ScriptError(0x4027)
        self._pgstat.set_i(direct_A)
        peak_A = abs(direct_A) + 2.0**0.5 * amplitude_A
        points = (
            (
                max(_PERIODS / hertz, _SHORTEST_POINT_S),
                partial(self._galvanic_point, results, hertz, peak_A),
            )
            for hertz in _frequencies(first_Hz, last_Hz, self.whole(count))
        )
        return self._measure(0x000E, points, command.body)

    def _galvanic_point(self, results: list[Argument], hertz: float, peak_A: float) -> None:
        values = (Value(hertz, "dc"), *self._pgstat.impedance_at(hertz, peak_A))
        for name, value in zip(results, values, strict=True):
            self.store(name, value)

    def _point(self, results: list[Argument], hertz: float, amplitude_V: float) -> None:
        values = (Value(hertz, "dc"), *self._pgstat.impedance(hertz, amplitude_V))
        for name, value in zip(results, values, strict=True):
            self.store(name, value)

    def _hold(self, volts: Argument) -> None:
        if not self._pgstat.is_on:
            raise ScriptError(0x4027)
        self._pgstat.set_e(*self.numbers(volts))


def _frequencies(first_Hz: float, last_Hz: float, count: int) -> Iterator[float]:
    if count < 1:
        raise ScriptError(0x4204)
    steps = max(1, count - 1)
    return (first_Hz * (last_Hz / first_Hz) ** (k / steps) for k in range(count))


def _grid(interval_s: float, duration_s: float) -> tuple[float, int]:
    if not (interval_s > 0.0 and duration_s > 0.0):
        raise ScriptError(0x4204)
    steps = duration_s / interval_s + 1e-9
    if not 1.0 <= steps <= _MOST_POINTS:
        raise ScriptError(0x4029 if steps < 1.0 else 0x4205)
    return interval_s, int(steps)
