"""`include`: the steps of another protocol, as one line."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from daq.errors import InputError
from daq.protocol.build import Builder, Source
from daq.protocol.context import Included, Value, reading
from daq.protocol.steps.base import Instruction, add_list
from daq.yamlfile import Where


class Include(Instruction):
    """Put the steps of another protocol here."""

    kind: ClassVar[str] = "include"

    include: str = Field(examples=["check-up.yaml"])
    """The file, in the folder of this one or in one below."""
    values: dict[str, str | int | float] = Field(
        default_factory=dict[str, str | int | float], alias="with"
    )
    """Its parameters."""

    _included: Included | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _load(self, info: ValidationInfo) -> Include:
        values: dict[str, Value] = dict(self.values)
        self._included = reading(info).include(self.include, values, "include")
        return self

    @property
    def included(self) -> Included:
        """What is put here."""
        if self._included is None:
            raise InputError(f"{self.include} has not come with the protocol")
        return self._included

    def compile(self, builder: Builder, where: Where) -> None:
        """Its steps, under its own `record` and `safety` besides those of the file around it."""
        file, nominal = self.included, builder.cell.nominal_capacity_Ah
        own = (f"safety of {file.name}", file.model.safety.limits_for(nominal, included=True))
        source = Source(
            document=file.document,
            data=file.data,
            tiers=(*builder.source.tiers, own),
            record=file.model.record.rule(builder.source.record, nominal),
            name=file.name,
        )
        with builder.within(source):
            add_list(builder, file.model.steps, ("steps",), closed=True)

    def moves(self) -> frozenset[str]:
        """Whatever its steps move."""
        return frozenset[str]().union(*(step.moves() for step in self.included.model.steps))

    def counts_cycles(self) -> bool:
        """Whether a loop in it counts cycles."""
        return any(step.counts_cycles() for step in self.included.model.steps)
