"""tomato's payloads of all versions as one list of techniques."""

from __future__ import annotations

from dataclasses import dataclass

from daq.filemodel import show
from daq.protocol.exchange import saying, times
from daq.protocol.exchange.draft import Task
from daq.protocol.exchange.structured import Item

VERSIONS = ("0.1", "0.2", "1.0", "2.0", "2.1", "2.2")
_TASK = (
    *("component_role", "component_tag", "technique_name", "max_duration", "sampling_interval"),
    *("polling_interval", "task_name", "task_params", "technique_params"),
)
_PARALLEL = ("start_with_task_name", "stop_with_task_name")


@dataclass(frozen=True, slots=True)
class Technique:
    """One entry of `method`, whatever the version.

    Attributes:
        item: its parameters.
        outer: the task around them; the same in versions 0.x.
    """

    name: str
    item: Item
    outer: Item
    time_s: float | None
    every_s: float | None


def version_of(top: Item) -> str:
    """Which of tomato's payloads this is.

    Raises:
        InputError: it is none that is known, or reaches for other files.
    """
    given = top.values.get("version")
    if str(given) not in VERSIONS:
        message = f"{show(given)} is not a version of tomato's payload"
        raise top.refuse(message, "version", f"known: {', '.join(VERSIONS)}")
    for key in ("samplefile", "methodfile"):
        if key in top.values:
            raise top.refuse(
                f"{key} names another file", key, f"put the contents in here, as {key[:-4]}"
            )
    return str(given)


def capacity_Ah_of(sample: Item) -> float | None:
    """Nominal, as tomato 0.2 and unicycler write it; None if neither does."""
    if mAh := sample.number("capacity_mAh"):
        return saying.scaled(mAh, -3)
    return sample.number("capacity")


def techniques_of(top: Item, version: str, task: Task) -> list[Technique | None]:
    """In order; None for one that is wrong, which the findings say."""
    found: list[Technique | None] = []
    for item in top.items("method"):
        found.append(None)
        with task.findings.collecting():
            found[-1] = _early(item) if version[0] == "0" else _late(item, task)
    return found


def _early(item: Item) -> Technique:
    name = item.text("technique")
    every_s = every(item, "dt")
    return Technique(name, item, item, item.number("time"), every_s)


def _late(item: Item, task: Task) -> Technique:
    for key in _PARALLEL:
        if item.given(key):
            raise item.refuse(
                f"{key}: two tasks at once", key, "a protocol of ours does one thing after another"
            )
    item.only((*_TASK, *_PARALLEL))
    if item.given("polling_interval"):
        task.findings.leave(item.place("polling_interval"), "polling_interval")
    key = "technique_params" if "technique_params" in item.values else "task_params"
    return Technique(
        item.text("technique_name"),
        item.item(key),
        item,
        _seconds(item, "max_duration"),
        _seconds(item, "sampling_interval"),
    )


def _seconds(item: Item, key: str) -> float | None:
    value = item.values.get(key)
    if isinstance(value, str):
        found = times.seconds(value)
        if found is None:
            raise item.refuse(f"{key}: {show(value)} is not a duration", key, "such as '3 h'")
        return found
    return item.number(key)


def every(item: Item, by: str) -> float | None:
    """How finely to record, by `dt`, `dE` or `dI`."""
    return item.number(f"record_every_{by}") or item.number(f"measure_every_{by}")
