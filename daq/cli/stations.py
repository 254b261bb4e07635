"""What a command without a daemon knows of a station: its limits, what its drivers can do."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from daq import units
from daq.config import Lab, StationConfig
from daq.driver import Range
from daq.errors import InputError
from daq.model import EVERYWHERE, Cell, ChannelRef, Limits
from daq.protocol.build import Tier
from daq.protocol.compile import Compiled, compile_placed
from daq.protocol.program import Program
from daq.protocol.source import ProtocolSource, Value
from daq.registry.cells import Cells

if TYPE_CHECKING:
    from daq.review.finding import Finding


def need_lab(lab: Path | None, station: str, cell: str) -> None:
    """Refuse the name of a station or a cell where no lab says what it is.

    Raises:
        InputError: one was given without a lab.
    """
    if lab is None and (station or cell):
        option = "--station" if station else "--cell"
        raise InputError(f"{option} is a name in a lab file", remedy="say which with --lab")


def known_station(lab: Lab, station: str) -> StationConfig:
    """A station by its name.

    Raises:
        InputError: the lab has none of that name.
    """
    if station not in lab.stations:
        known = ", ".join(lab.stations)
        raise InputError(f"lab {lab.name} has no station {station!r}", remedy=f"it has {known}")
    return lab.stations[station]


def known_cell(lab: Lab, cell: str) -> Cell:
    """A cell by its id, of the lab file or of the registry.

    Raises:
        InputError: nobody has described it.
    """
    return Cells(lab.data, lab.cells).cell(cell)


def nominal_Ah(capacity: str) -> float:
    """What `--capacity` says: '2.5 Ah', '80 mAh', or a plain number of Ah.

    Raises:
        InputError: no charge, or none at all.
    """
    try:
        value = float(capacity)
    except ValueError:
        value = units.parse(capacity, units.CHARGE)
    if not 0.0 < value < inf:
        raise InputError(f"--capacity {capacity} is no capacity", remedy="--capacity '2.5 Ah'")
    return value


def compiled_for(
    source: ProtocolSource,
    cell: Cell,
    lab: Lab | None = None,
    station: StationConfig | None = None,
    parameters: Mapping[str, Value] | None = None,
) -> Program:
    """A protocol compiled as a start at this station would; without one, for the file alone.

    Raises:
        InputError: it cannot be carried out there.
    """
    return _compiled(source, cell, lab, station, parameters).program


def _compiled(
    source: ProtocolSource,
    cell: Cell,
    lab: Lab | None,
    station: StationConfig | None,
    parameters: Mapping[str, Value] | None,
) -> Compiled:
    range_ = offline_range(lab, station) if lab and station else None
    return compile_placed(source, cell, tiers(station, cell), range_, parameters)


def review_at(
    source: ProtocolSource,
    cell: Cell,
    lab: Lab | None = None,
    station: StationConfig | None = None,
) -> list[Finding]:
    """What is to be said of a protocol for a cell at a station; without one, of the file alone.

    Raises:
        InputError: it cannot be carried out there.
    """
    # Here and not above: `daq serve` must not load what only the check wants.
    from daq.review.flow import flow_of
    from daq.review.rules import review
    from daq.review.subject import Station, Subject

    compiled = _compiled(source, cell, lab, station, None)
    where = None
    if lab and station:
        real = lab.clock_factor == 1.0
        cycler = lab.instruments[station.cycler.instrument]
        pauses_s = cycler.driver_class.read_messages * cycler.settings.gap_s
        where = Station(
            station.name,
            period_s=cycler.period_s if real else 0.0,
            chamber=station.chamber is not None,
            eis=station.eis is not None,
            window=station.checks.Q2,
            currents_known=offline_range(lab, station).current_A != EVERYWHERE,
            fastest_s=pauses_s if real else 0.0,
        )
    return review(Subject(source, compiled, flow_of(compiled.program), where))


def tiers(station: StationConfig | None, cell: Cell) -> list[Tier]:
    """The limits of a station; none for a file alone."""
    if station is None:
        return []
    found: list[Tier] = [(f"station {station.name}", station.limits)]
    if station.checks.Q1 < inf:
        most_Ah = Limits(charge_Ah=station.checks.Q1 * cell.nominal_capacity_Ah)
        found.append((f"check Q1 of station {station.name}", most_Ah))
    return found


def offline_range(lab: Lab, station: StationConfig) -> Range:
    """What the station's instruments can do, as far as their options and nameplates tell."""
    cycler, chamber, sweeper = (
        _known(lab, ref) for ref in (station.cycler, station.chamber, station.eis)
    )
    return Range(
        voltage_V=cycler.voltage_V,
        current_A=cycler.current_A,
        temperature_degC=chamber.temperature_degC,
        frequency_Hz=sweeper.frequency_Hz,
    )


def _known(lab: Lab, ref: ChannelRef | None) -> Range:
    if ref is None:
        return Range()
    instrument = lab.instruments[ref.instrument]
    return instrument.driver_class.known_range(instrument.options).within(instrument.nameplate)
