"""One instrument, its driver, a real line: who may answer there, and a write that did not take."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from daq.bus.resource import make_line, parse_resource
from daq.control.guard import Output
from daq.control.instrument import Instrument, InstrumentSpec
from daq.control.output import CyclerOutput
from daq.driver import find_driver
from daq.errors import InstrumentError, WrongIdentity
from daq.model import Identity, Limits, Setpoint
from simulators.client import RunningBench, running_bench
from tests.system.daemon import FAMILIES, bench_file, on


class Listener:
    def __init__(self) -> None:
        self.errors: list[InstrumentError] = []

    def fault_began(self, instrument: Instrument, error: InstrumentError) -> None:
        self.errors.append(error)

    def fault_ended(self, instrument: Instrument, lasted_s: float) -> None:
        return


def instrument(
    bench: RunningBench, name: str, driver: str, expected: Identity | None = None
) -> tuple[Instrument, Listener]:
    """An instrument of the control loop on a bench's line."""
    host, port = bench.endpoint(name)
    found = find_driver(driver)
    resource = parse_resource(f"TCPIP::{host}::{port}::SOCKET")
    line = make_line(resource, found.settings)
    spec = InstrumentSpec(name, driver, resource.text, 0.1)
    listener = Listener()
    return Instrument(spec, line, found(line), listener, expected), listener


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            name, marks=[pytest.mark.fault(fault, family=name) for fault in ("F14", "F22")]
        )
        for name in FAMILIES
    ],
)
def family_bench(request: pytest.FixtureRequest) -> Iterator[tuple[str, RunningBench]]:
    with running_bench(bench_file(dialect=request.param)) as bench:
        yield request.param, bench


def test_a_unit_with_another_serial_number_is_only_ever_asked_who_it_is(family_bench):
    family, bench = family_bench
    first, _ = instrument(bench, "aps1", FAMILIES[family].driver)
    assert first.ready()
    known = first.identity
    first.close()
    assert known is not None
    stranger = Identity(known.manufacturer, known.model, "of another box", known.firmware)
    began = time.monotonic()
    second, listener = instrument(bench, "aps1", FAMILIES[family].driver, stranger)
    assert not second.ready()
    assert not second.reopen_now()
    assert isinstance(listener.errors[0], WrongIdentity)
    heard = [text for _, way, text in bench.tape("aps1", since=began) if way == "heard"]
    assert set("".join(heard).split()) == {"*IDN?"}


class Liar:
    """A line whose n-th read-back of a write before ON is not what the instrument said."""

    def __init__(self, line, at: int) -> None:
        self._line, self._at, self.seen = line, at, 0
        self._written = self.energised = False

    def __getattr__(self, name):
        return getattr(self._line, name)

    def tell(self, message: str) -> None:
        self._written = True
        self.energised |= message in ("OUTP 1", "OUTP ON")
        self._line.tell(message)

    def ask(self, message: str) -> str:
        reply = self._line.ask(message)
        if not self._written or self.energised:
            return reply
        self._written = False
        fields = reply.split(";")
        for n, field in enumerate(fields):
            if self.seen == self._at:
                fields[n] = _other(field)
            self.seen += 1
        return ";".join(fields)


def _other(field: str) -> str:
    """Another answer of the same form."""
    number, _, unit = field.partition(" ")
    try:
        return f"{float(number) * 1.3 + 1:g} {unit}".rstrip()
    except ValueError:
        return "-222,Data out of range" if "," in field else f"NOT{field}"


def test_whichever_read_back_differs_nothing_is_energised(family_bench, figure):
    family, bench = family_bench
    box, _ = instrument(bench, "aps1", FAMILIES[family].driver)
    assert box.ready()
    honest, at = box.driver.line, 0
    while True:
        output = CyclerOutput(
            box, 1, watchdog_s=10.0 + at, rule=Output(10.0), may_energise=lambda: ""
        )
        wide = 0.01 * at  # other values each time, so that each of them must be written
        limits = Limits((2.5 - wide, 4.2 + wide), (-5.0 - wide, 5.0 + wide))
        box.driver.line = liar = Liar(honest, at)
        try:
            output.regulate(Setpoint(4.1 + wide, 1.0 + wide, 0.0 + wide), limits)
        except InstrumentError:
            assert not liar.energised, f"read-back {at}"
            assert not output.on
        else:
            break  # there are no more to falsify
        finally:
            box.driver.line = honest
        at += 1
    assert on(bench)  # told the truth, it does switch on
    box.driver.off(1)
    box.close()
    assert [edge["on"] for edge in bench.ledger("cell-1")["edges"]] == [True, False]
    figure(f"read-backs falsified, {family}", at, "")
    assert at >= 6
