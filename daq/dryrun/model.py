"""Cell models: what a program is played on. Other packages bring them, as they bring drivers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from daq.driver import find_plugin, installed
from daq.errors import InputError

ENTRY_POINT_GROUP = "daq.cells"
DEFAULT = "nmc"


class CellModel(Protocol):
    """A cell with a cycler on it, in a chamber. Charge current is positive."""

    @property
    def voltage_V(self) -> float:
        """At the terminals."""
        ...

    @property
    def current_A(self) -> float:
        """Through the cell."""
        ...

    @property
    def temperature_degC(self) -> float:
        """Of the cell."""
        ...

    @property
    def chamber_degC(self) -> float:
        """Of the chamber's air."""
        ...

    @property
    def soc(self) -> float:
        """State of charge, 1 is full."""
        ...

    @property
    def longest_s(self) -> float:
        """How long may pass at once, as things stand."""
        ...

    def drive(self, voltage_V: float, charge_A: float, discharge_A: float) -> None:
        """Regulate towards a voltage within a current each way, as `daq.model.Setpoint` says."""
        ...

    def off(self) -> None:
        """No current."""
        ...

    def set_chamber(self, degC: float) -> None:
        """Ask the chamber for a temperature."""
        ...

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        ...

    def save(self) -> Any:
        """Its state, for `restore`."""
        ...

    def restore(self, saved: Any) -> None:
        """Go back to a state; any number of times to the same."""
        ...


class MakeCell(Protocol):
    """What an entry point names: makes a cell model."""

    def __call__(self, capacity_Ah: float, soc: float, *, formed: bool) -> CellModel:
        """A cell of this capacity and state of charge, formed or fresh."""
        ...


def find_model(name: str) -> MakeCell:
    """The cell model of a name: an entry point of `daq.cells`, or `module:function`.

    Raises:
        InputError: there is none; names the known ones.
    """
    target, found = find_plugin(ENTRY_POINT_GROUP, name, "cell model")
    if not callable(found):
        raise InputError(f"{target} makes no cell")
    return cast(MakeCell, cast(Callable[..., Any], found))


def model_for(chemistry: str) -> str:
    """The name of the model that a chemistry names: "NMC622/graphite" is played on `nmc`.

    Raises:
        InputError: no model is of that chemistry.
    """
    if not chemistry:
        return DEFAULT
    known = installed(ENTRY_POINT_GROUP)
    named = [name for name in known if name.lower() in chemistry.lower()]
    if not named:
        remedy = f"choose one: --model {' or '.join(known) or 'module:function'}"
        raise InputError(f"there is no model of a cell of {chemistry!r}", remedy=remedy)
    return max(named, key=len)
