"""What is written about a cell or a batch: the models of its keys, and the `Cell` made of them.

The same keys stand in a lab file's `cells`, in a file of cells, and in the registry's file of one
cell or one batch. A cell has what its batch says, and what it says itself goes before; of limits
both hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, Field, WithJsonSchema

from daq import units
from daq.errors import InputError
from daq.filemodel import FileModel, Name, mistake
from daq.model import Cell, Limits, nothing
from daq.quantities import Capacity, Duration, LimitsModel, Quantity, Temperature

Mass = Annotated[float, Quantity((units.MASS,), above=0.0)]
Length = Annotated[float, Quantity((units.LENGTH,), above=0.0)]
CoatWeight = Annotated[float, Quantity((units.AREAL_MASS,), above=0.0)]


def _calendar_date(value: object) -> date:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else _no_date(value)
    except ValueError as error:
        raise mistake(f"{value!r} is not a date", "write it like 2025-03-31") from error


def _no_date(value: object) -> date:
    raise mistake(f"{value!r} is not a date", "write it like 2025-03-31")


CalendarDate = Annotated[
    date,
    BeforeValidator(_calendar_date),
    WithJsonSchema({"type": "string", "format": "date", "examples": ["2025-03-31"]}),
]


class DryingModel(FileModel):
    """How an electrode was dried."""

    temperature: Temperature | None = None
    """Of the oven."""
    time: Duration | None = None
    """In the oven."""
    atmosphere: str | None = Field(default=None, examples=["vacuum"])
    """Vacuum, argon, dry air."""


class ElectrodeModel(FileModel):
    """One electrode."""

    material: str | None = None
    """Active material."""
    supplier_lot: str | None = None
    """Lot of the coated foil or of the powder."""
    mass: Mass | None = None
    """Of the whole electrode, with its foil."""
    active_mass: Mass | None = None
    """Active material in the cell."""
    coat_weight: CoatWeight | None = None
    """Coating per area and side."""
    thickness: Length | None = None
    """Of the coating, after calendering."""
    drying: DryingModel | None = None
    """Its drying profile."""


class FactsModel(FileModel):
    """What may be known of a cell, or of all cells of a batch."""

    chemistry: str = ""
    """Like `NMC622/graphite`."""
    format: str | None = Field(default=None, examples=["18650", "pouch", "CR2032"])
    """Housing."""
    supplier: str | None = None
    """Who made it."""
    supplier_lot: str | None = None
    """The maker's lot."""
    mass: Mass | None = None
    """Of the whole cell."""
    positive: ElectrodeModel | None = None
    """Positive electrode."""
    negative: ElectrodeModel | None = None
    """Negative electrode."""
    electrolyte: str | None = None
    """Salt, solvents, additives."""
    separator: str | None = None
    """Material and thickness."""
    assembled: CalendarDate | None = None
    """When it was put together."""
    filled: CalendarDate | None = None
    """When the electrolyte was filled in."""
    received: CalendarDate | None = None
    """When it came in."""
    operator: str | None = None
    """Who made it, or took it in."""
    limits: LimitsModel = LimitsModel()
    """Limits of this cell; they may only tighten the station's."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Anything else worth keeping."""


class CellModel(FactsModel):
    """The thing under test. What is known about it travels with every file that it fills."""

    nominal_capacity: Capacity = Field(examples=["2.5 Ah"])
    """What C-rates and percentages refer to."""
    batch: str = ""
    """Batch id, as on its label."""


class CellsFileModel(FileModel):
    """A file of cells, named by `cells:` in a lab file."""

    cells: dict[Name, CellModel]
    """Cell id (barcode) -> cell."""


class CellFileModel(FactsModel):
    """A registered cell: one file of the registry."""

    cell: Name = Field(examples=["C2025-0117"])
    """Its id, as on its barcode; the file has the same name."""
    batch: Name | None = None
    """Id of its batch; what the batch says holds for this cell too, unless it is said here."""
    nominal_capacity: Capacity | None = Field(default=None, examples=["2.5 Ah"])
    """What C-rates and percentages refer to; here, or in its batch."""


class BatchFileModel(FactsModel):
    """A registered batch: what all of its cells have in common."""

    batch: Name = Field(examples=["B2025-07"])
    """Its id, as on its label; the file has the same name."""
    nominal_capacity: Capacity | None = Field(default=None, examples=["2.5 Ah"])
    """What C-rates and percentages refer to, for cells that do not say it."""


_UNITS: Mapping[str, str] = {
    "mass": "mass_g",
    "active_mass": "active_mass_g",
    "coat_weight": "coat_weight_mg_cm2",
    "thickness": "thickness_m",
    "temperature": "temperature_degC",
    "time": "time_s",
}
_OWN_FIELDS = frozenset({"cell", "nominal_capacity", "chemistry", "batch", "limits", "metadata"})


def described(
    cell_id: str,
    model: CellModel | CellFileModel,
    batch: BatchFileModel | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Cell:
    """A cell, as a file describes it.

    Args:
        cell_id: its id.
        model: what is said of the cell.
        batch: what is said of its batch.
        origin: where this comes from, for the record.

    Raises:
        InputError: nobody says its capacity, or its limits leave nothing of its batch's.
    """
    facts = _merged(_said(batch) if batch else {}, _said(model))
    nominal_Ah = facts.get("nominal_capacity")
    if nominal_Ah is None:
        either = f"neither cell {cell_id} nor its batch says" if batch else f"cell {cell_id} lacks"
        raise InputError(f"{either} a nominal capacity", remedy="add nominal_capacity, like 2.5 Ah")
    free = cast("Mapping[str, Any]", facts.get("metadata", {}))
    known = {key: value for key, value in facts.items() if key not in _OWN_FIELDS}
    return Cell(
        id=cell_id,
        nominal_capacity_Ah=nominal_Ah,
        chemistry=facts.get("chemistry", ""),
        batch=facts.get("batch", ""),
        limits=_limits(cell_id, model, batch),
        metadata=MappingProxyType({**free, **_named(known)}),
        origin=nothing() if origin is None else MappingProxyType(dict(origin)),
    )


def _said(model: FactsModel) -> dict[str, Any]:
    return model.model_dump(exclude_unset=True, exclude={"limits"})


def _merged(batch: Mapping[str, Any], cell: Mapping[str, Any]) -> dict[str, Any]:
    """The cell's facts upon the batch's, key by key at every depth."""
    merged = dict(batch)
    for key, value in cell.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            inner = cast("Mapping[str, Any]", before), cast("Mapping[str, Any]", value)
            merged[key] = _merged(*inner)
        else:
            merged[key] = value
    return merged


def _limits(cell_id: str, model: FactsModel, batch: BatchFileModel | None) -> Limits:
    own = model.limits.limits()
    if batch is None:
        return own
    both = batch.limits.limits().tighten(own)
    spans = {"voltage": both.voltage_V, "current": both.current_A}
    spans["temperature"] = both.temperature_degC
    for name, (low, high) in spans.items():
        if not low < high:
            raise InputError(
                f"the {name} limits of cell {cell_id} and of its batch {batch.batch} have nothing "
                "in common"
            )
    return both


def _named(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same with units in the names of numbers, so that they may leave the process."""
    return {_UNITS.get(key, key): _plain(value) for key, value in fields.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _named(cast("Mapping[str, Any]", value))
    return value.isoformat() if isinstance(value, date) else value
