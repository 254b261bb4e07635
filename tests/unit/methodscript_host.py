"""A host that talks to one simulated potentiostat on a clock of its own."""

from __future__ import annotations

from typing import Any

from simulators.cell import Cell
from simulators.clock import ManualClock
from simulators.palmsens import PalmSens
from simulators.rig import Position

EIS = """\
var f
var r
var j
set_pgstat_chan 0
set_pgstat_mode 3
set_autoranging ba 1u 5m
set_e 1
cell_on
meas_loop_eis f r j 10m 1k 10 3 1
pck_start
pck_add f
pck_add r
pck_add j
pck_end
endloop
on_finished:
cell_off
"""


class Bench:
    """One simulated box and a host that talks to it on a clock of its own."""

    def __init__(self, cells: int = 1, capacity: float = 2.5, **options: Any) -> None:
        self.clock = ManualClock()
        self.leads = {
            n: Position(Cell("nmc", capacity, 0.3 + 0.2 * n), self.clock, owner=f"cell-{n}")
            for n in range(1, cells + 1)
        }
        self.box = PalmSens("pico", self.clock, self.leads, options)
        self.host = self.box.session()

    def say(self, text: str) -> str:
        return "".join(out.data.decode() for out in self.host.feed(text.encode()))

    def wait(self, seconds: float) -> str:
        """Let bench time pass as a server does, and return what arrived."""
        output = ""
        for _ in range(20):
            self.clock.advance(seconds / 20)
            self.box.advance()
            output += "".join(out.data.decode() for out in self.host.tick())
        return output

    def run(self, script: str, seconds: float = 30.0) -> list[str]:
        """Run a script and return its output lines after the `e`."""
        first = self.say(f"e\n{script.rstrip()}\n\n")
        output = first + self.wait(seconds)
        assert output.startswith("e\n"), output
        return output.split("\n")[1:-1]

    @property
    def cell_is_on(self) -> bool:
        return self.leads[1].regulation != "off"


def sweep_at_rest(bench: Bench, *, low: str = "10", channel: int = 1) -> str:
    """The EIS script at the cell's own voltage, on the largest ranges."""
    millivolts = round(1000 * bench.leads[channel].voltage_V)
    script = EIS.replace("set_e 1\n", f"set_e {millivolts}m\n").replace(
        "3 1\n", f"3 {millivolts}m\n"
    )
    return script.replace("1u 5m", "1u 1").replace("1k 10 3", f"1k {low} 3")


def number(text: str) -> float:
    scale = {"u": 1e-6, "m": 1e-3, "n": 1e-9, "p": 1e-12, " ": 1.0}[text[9]]
    return (int(text[2:9], 16) - 0x8000000) * scale
