"""What must hold between the parts of a lab file: a list of rules, each with a place.

A rule yields what is wrong; `check` raises what stands first in the file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from daq.bus.resource import Resource, is_local
from daq.config import InstrumentConfig, Lab, StationConfig
from daq.driver import Chamber, Cycler, Driver, Potentiostat, Switch
from daq.errors import InputError
from daq.filemodel import nearest
from daq.model import ChannelRef, Role
from daq.yamlfile import Document, Where

Rule = Callable[[Lab, Document], Iterator[InputError]]

ATTEMPTS = 2
"""An OFF may have to wait for the read in flight, and then for its own reply."""

OFF_MESSAGES = 2
"""OFF, and the question whether it is."""

TAKEN_TOPICS = frozenset({"status", "cmd", "reply"})

_NETWORK_TRANSACTION_S = 0.05  # a loaded instrument's answer over TCP
_SERIAL_CHARACTERS = 64  # of the longest OFF and its reply, both ways

_ROLES: dict[str, type[Driver[Any]]] = {
    "cycler": Cycler,
    "eis": Potentiostat,
    "chamber": Chamber,
    "temperature": Driver,
    "voltage_check": Driver,
    "relay": Driver,
}
SLOWEST_S = 1.0
"""A cell at 1C must be read every second; see `daq.control.pace` for more."""


def check(lab: Lab, document: Document) -> None:
    """Apply every rule.

    Raises:
        InputError: what stands first in the file.
    """
    found = [error for rule in RULES for error in rule(lab, document)]
    if found:
        raise min(found, key=_position)


def _position(error: InputError) -> tuple[int, int]:
    return (error.place.line, error.place.column) if error.place else (0, 0)


def _wrong(document: Document, where: Where, message: str, remedy: str = "") -> InputError:
    return InputError(message, place=document.place(where, value=True), remedy=remedy)


def fast_clock_needs_local_instruments(lab: Lab, document: Document) -> Iterator[InputError]:
    """Accelerated time would drive a real cell at the wrong pace.

    A port that does not exist yet may be a simulated one; `unfit_for_fast_clock` asks again
    before the daemon opens anything.
    """
    for name in unfit_for_fast_clock(lab, missing_is_fit=True):
        yield _wrong(
            document,
            ("instruments", name, "resource"),
            f"clock factor {lab.clock_factor:g} needs every instrument on this machine; "
            f"{name} is elsewhere, or real",
            "remove clock.factor, or use a loopback address or a pseudo-terminal",
        )


def unfit_for_fast_clock(lab: Lab, *, missing_is_fit: bool = False) -> list[str]:
    """The instruments that forbid the lab's accelerated time; none at factor 1."""
    if lab.clock_factor == 1.0:
        return []
    return [
        instrument.name
        for instrument in lab.instruments.values()
        if not is_local(instrument.resource)
        and not (missing_is_fit and _missing(instrument.resource))
    ]


def _missing(resource: Resource) -> bool:
    return bool(resource.device) and not os.path.exists(resource.device)


def stations_have_topics_of_their_own(lab: Lab, document: Document) -> Iterator[InputError]:
    """`daq/<lab>/cmd/...` and its like already mean something on the broker."""
    for name in TAKEN_TOPICS & set(lab.stations):
        where = ("stations", name)
        message = f"a station cannot be called {name!r}: that is an MQTT topic of the lab itself"
        yield InputError(message, place=document.place(where), remedy="give it another name")


def one_address_one_instrument(lab: Lab, document: Document) -> Iterator[InputError]:
    """Two drivers of one box would undo each other's setpoints."""
    first: dict[tuple[str, int], str] = {}
    for instrument in lab.instruments.values():
        key = instrument.resource.text, instrument.settings.unit
        if key in first:
            where = ("instruments", instrument.name, "resource")
            message = f"{instrument.name} has the same address as {first[key]}"
            yield _wrong(document, where, message, "one instrument serves all its channels")
        first.setdefault(key, instrument.name)


def one_bus_one_period(lab: Lab, document: Document) -> Iterator[InputError]:
    """One thread reads all instruments of a bus in one tick."""
    for shared in lab.buses().values():
        for other in shared[1:]:
            if other.period_s != shared[0].period_s:
                yield _wrong(
                    document,
                    ("instruments", other.name, "period"),
                    f"{other.name} is read every {other.period_s:g} s, {shared[0].name} on the "
                    f"same bus every {shared[0].period_s:g} s",
                    "give both the same period",
                )


def calibration_runs_forward(lab: Lab, document: Document) -> Iterator[InputError]:
    """A due date before the calibration is a typing mistake."""
    for instrument in lab.instruments.values():
        done, due = instrument.calibrated, instrument.calibration_due
        if done and due and due < done:
            where = ("instruments", instrument.name, "calibration_due")
            yield _wrong(document, where, f"due on {due}, before the calibration of {done}")


def references_exist(lab: Lab, document: Document) -> Iterator[InputError]:
    """A station's channels belong to instruments of the right kind."""
    for station, role, ref in _references(lab):
        where = ("stations", station.name, role)
        instrument = lab.instruments.get(ref.instrument)
        if instrument is None:
            message = f"no instrument is called {ref.instrument!r}"
            yield _wrong(document, where, message, nearest(ref.instrument, lab.instruments))
        elif not issubclass(instrument.driver_class, _ROLES[role]):
            yield _wrong_kind(document, where, instrument, _ROLES[role])


def _references(lab: Lab) -> Iterator[tuple[StationConfig, str, ChannelRef]]:
    for station in lab.stations.values():
        for role in _ROLES:
            ref: ChannelRef | None = getattr(station, role)
            if ref is not None:
                yield station, role, ref


def interlocks_exist(lab: Lab, document: Document) -> Iterator[InputError]:
    """A contact of an instrument that is not there would never open."""
    for station in lab.stations.values():
        for index, ref in enumerate(station.interlocks):
            if ref.instrument not in lab.instruments and ref != station.chamber:
                where = ("stations", station.name, "interlocks", index)
                message = f"no instrument is called {ref.instrument!r}"
                yield _wrong(document, where, message, nearest(ref.instrument, lab.instruments))


def sensors_exist(lab: Lab, document: Document) -> Iterator[InputError]:
    """A condition on a sensor of an instrument that is not there would never hold."""
    for station in lab.stations.values():
        for name, ref in station.sensors.items():
            if ref.instrument not in lab.instruments:
                where = ("stations", station.name, "sensors", name)
                message = f"no instrument is called {ref.instrument!r}"
                yield _wrong(document, where, message, nearest(ref.instrument, lab.instruments))


def outputs_can_be_switched(lab: Lab, document: Document) -> Iterator[InputError]:
    """An output is a channel of a switch, of one station, and no relay of a cell's circuit."""
    taken = {station.relay: f"relay of {name}" for name, station in lab.stations.items()}
    for station in lab.stations.values():
        for name, output in station.outputs.items():
            where = ("stations", station.name, "outputs", name)
            instrument = lab.instruments.get(output.channel.instrument)
            if instrument is None:
                known = nearest(output.channel.instrument, lab.instruments)
                message = f"no instrument is called {output.channel.instrument!r}"
                yield _wrong(document, where, message, known)
            elif not issubclass(instrument.driver_class, Switch):
                yield _wrong_kind(document, where, instrument, Switch)
            elif output.channel in taken:
                message = f"channel {output.channel} is {taken[output.channel]} already"
                yield _wrong(document, where, message, "one channel is one output, or one relay")
            taken.setdefault(output.channel, f"output {name} of {station.name}")


def a_back_check_is_independent(lab: Lab, document: Document) -> Iterator[InputError]:
    """The cycler's own reading agrees with itself."""
    for station in lab.stations.values():
        if station.voltage_check and station.voltage_check.instrument == station.cycler.instrument:
            where = ("stations", station.name, "voltage_check")
            message = f"{station.voltage_check} is of the cycler itself"
            yield _wrong(document, where, message, "name a channel of another instrument")


def cyclers_are_read_often_enough(lab: Lab, document: Document) -> Iterator[InputError]:
    """Between two readings nobody guards. Accelerated time is for simulated cells."""
    if lab.clock_factor != 1.0:
        return
    for station in lab.stations.values():
        cycler = lab.instruments.get(station.cycler.instrument)
        if cycler and cycler.period_s > SLOWEST_S:
            where = ("instruments", cycler.name, "period")
            message = f"{cycler.name} is read every {cycler.period_s:g} s, which guards no cell"
            yield _wrong(document, where, message, f"{SLOWEST_S:g} s or less; less above 1C")


def _wrong_kind(
    document: Document, where: Where, instrument: InstrumentConfig, kind: type[Driver[Any]]
) -> InputError:
    wanted = kind.__name__.lower()
    return _wrong(
        document,
        where,
        f"{instrument.name} ({instrument.driver}) is not a {wanted}",
        f"name an instrument whose driver is a {wanted}",
    )


def one_position_one_channel(lab: Lab, document: Document) -> Iterator[InputError]:
    """Two stations on one cycler channel would run two programs on one cell."""
    first: dict[ChannelRef, str] = {}
    for station, role, ref in _references(lab):
        if role not in ("cycler", "eis"):
            continue
        if ref in first:
            where = ("stations", station.name, role)
            yield _wrong(document, where, f"channel {ref} already belongs to {first[ref]}")
        first.setdefault(ref, f"station {station.name}")


def reaction_is_possible(lab: Lab, document: Document) -> Iterator[InputError]:
    """The transport's timeouts must leave room for OFF within the reaction time."""
    for station in lab.stations.values():
        cycler = lab.instruments.get(station.cycler.instrument)
        if cycler is None:
            continue
        worst_s = worst_reaction_s(lab, cycler)
        if worst_s > station.reaction_s:
            where = ("stations", station.name, "reaction")
            yield _wrong(
                document,
                where,
                f"OFF of station {station.name} may leave {worst_s:.3g} s after a sample, its "
                f"reaction time is {station.reaction_s:g} s",
                f"shorten the timeout of {cycler.name}'s bus or allow a longer reaction",
            )


def worst_reaction_s(lab: Lab, cycler: InstrumentConfig) -> float:
    """Longest time from a sample on any bus to a confirmed OFF of this cycler.

    Its own bus may be waiting for a silent instrument (one timeout), then comes the OFF itself
    (a transaction, and one more timeout if the instrument is silent). Before each message of both
    the line keeps its pause.
    """
    sharing = lab.buses()[cycler.resource.bus_key]
    in_flight_s = max(other.settings.timeout_s for other in sharing)
    pauses_s = max(_busy_s(other) for other in sharing) + OFF_MESSAGES * cycler.settings.gap_s
    others_s = (ATTEMPTS - 1) * cycler.settings.timeout_s
    return in_flight_s + others_s + pauses_s + _transaction_s(cycler)


def _read_s(instrument: InstrumentConfig) -> float:
    """The pauses of one read: it cannot take less."""
    return instrument.driver_class.read_messages * instrument.settings.gap_s


def _busy_s(instrument: InstrumentConfig) -> float:
    """The same for whichever is longer, a read or a look at its counters."""
    driver = instrument.driver_class
    counting = driver.count_messages if issubclass(driver, Cycler) else 0
    return max(driver.read_messages, counting) * instrument.settings.gap_s


def _transaction_s(instrument: InstrumentConfig) -> float:
    if not instrument.resource.device:
        return _NETWORK_TRANSACTION_S
    return 10.0 * _SERIAL_CHARACTERS / instrument.settings.baud


def period_leaves_time_to_read(lab: Lab, document: Document) -> Iterator[InputError]:
    """An instrument that wants pauses between messages cannot be read faster than they allow."""
    for sharing in lab.buses().values():
        least_s = sum(_read_s(instrument) for instrument in sharing)
        slowest = max(sharing, key=_read_s)
        if sharing[0].period_s < least_s:
            yield _wrong(
                document,
                ("instruments", slowest.name, "period"),
                f"{slowest.name} cannot be read every {sharing[0].period_s:g} s: the pauses before "
                f"the messages on its bus take {least_s:g} s",
                f"a period of at least {least_s:g} s",
            )


def watchdog_outlasts_the_period(lab: Lab, document: Document) -> Iterator[InputError]:
    """A watchdog shorter than two reads would open the output in normal running."""
    for station in lab.stations.values():
        cycler = lab.instruments.get(station.cycler.instrument)
        if cycler is not None and station.watchdog_s <= 2.0 * cycler.period_s:
            yield _wrong(
                document,
                ("stations", station.name, "watchdog"),
                f"the watchdog of {station.watchdog_s:g} s would fire between two reads of "
                f"{cycler.name}, which are {cycler.period_s:g} s apart",
                "make the watchdog longer than two periods",
            )


def a_broker_elsewhere_is_locked(lab: Lab, document: Document) -> Iterator[InputError]:
    """Whoever reaches an open broker on the network could give commands and see all results."""
    mqtt = lab.mqtt
    if mqtt.is_loopback:
        return
    where = ("mqtt", "broker")
    if not mqtt.tls:
        message = f"the broker at {mqtt.host} is on the network and would be spoken to in the clear"
        yield _wrong(document, where, message, f"write mqtts://{mqtt.host}:8883")
    elif not mqtt.has_login:
        yield _wrong(
            document,
            where,
            f"the broker at {mqtt.host} is on the network and would not know who we are",
            "give it cert_file and key_file, or username and password_file",
        )
    if lab.access.anonymous == Role.OPERATOR:
        yield _wrong(
            document,
            ("access", "anonymous"),
            f"nobody unknown may operate over the network: the broker is at {mqtt.host}",
            "delete the line, and give each client a key: daq key add NAME --role operator",
        )


def logins_are_whole(lab: Lab, document: Document) -> Iterator[InputError]:
    """Half a login would be found out only when the broker refuses it."""
    mqtt = lab.mqtt
    pairs = (
        ("username", mqtt.username, "password_file", mqtt.password_file),
        ("cert_file", mqtt.cert_file, "key_file", mqtt.key_file),
    )
    for one, given, other, its in pairs:
        if bool(given) != bool(its):
            there, missing = (one, other) if given else (other, one)
            yield _wrong(document, ("mqtt", there), f"{there} without {missing}", f"add {missing}")


RULES: tuple[Rule, ...] = (
    fast_clock_needs_local_instruments,
    stations_have_topics_of_their_own,
    one_address_one_instrument,
    one_bus_one_period,
    calibration_runs_forward,
    references_exist,
    interlocks_exist,
    sensors_exist,
    outputs_can_be_switched,
    a_back_check_is_independent,
    cyclers_are_read_often_enough,
    one_position_one_channel,
    reaction_is_possible,
    period_leaves_time_to_read,
    watchdog_outlasts_the_period,
    a_broker_elsewhere_is_locked,
    logins_are_whole,
)
