"""Commands: once each, in time, answered whatever happens, and a stop that waits for nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from math import inf
from pathlib import Path
from types import SimpleNamespace

import pytest

from daq.access.roles import NEEDED, at_least
from daq.bus.bus import Bus
from daq.clock import monotonic
from daq.control.alarms import Alarms
from daq.control.alarms.verbs import AlarmVerbs
from daq.control.answers import Answers
from daq.control.commands import Commands
from daq.control.rollout import ProtocolVerbs
from daq.control.start import Starter as RealStarter
from daq.errors import CommandRefused
from daq.journal import Kept
from daq.model import Command, EventKind, Reply, Role
from tests.unit.fakes import CHARGE, MemoryJournal, Stand, TurnedClock

PATIENCE_S = 20.0


class Ticket:
    def wait(self, timeout_s):
        return True


class Journal(MemoryJournal):
    def sync(self):
        return Ticket()


class Starter:
    """Makes runs at once, or holds until it is told to go on."""

    def __init__(self, made):
        self.made = made
        self.hold = threading.Event()
        self.hold.set()
        self._bench = SimpleNamespace(instruments=defaultdict(lambda: SimpleNamespace(online=True)))
        self.makes = 0
        self.at_once = 0
        self.most_at_once = 0

    def make(self, station, command):
        self.makes += 1
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        self.hold.wait(PATIENCE_S)
        self.at_once -= 1
        return self.made(station)

    def begin(self, station, run):
        RealStarter._refuse_if_busy(self, station)  # the last look, on the bus thread
        station.conductor.begin(run)


class Desk:
    """Commands on two stations whose home buses are real threads."""

    def __init__(self, replies=None, data=Path("there is none")):
        self.asked = 0
        self.journal = Journal()
        self.stands = {name: Stand(TurnedClock(), name) for name in ("A1", "A2")}
        self.crashes = []
        for name, stand in self.stands.items():
            stand.station.home = Bus(
                name, 60.0, tick=lambda: None, beat=lambda: None, crashed=self.crashes.append
            )
            stand.driver.line.open()
            stand.instrument.online = True
        self.why_not = ""
        self.starter = Starter(lambda station: self._run(station))
        self.pico = SimpleNamespace(forgotten=0)
        box = SimpleNamespace(forget_identity=lambda: setattr(self.pico, "forgotten", 1))
        bench = SimpleNamespace(
            stations={name: stand.station for name, stand in self.stands.items()},
            instruments={"pico": box},
            buses={name: stand.station.home for name, stand in self.stands.items()},
        )
        self.alarms = Alarms(self.journal, time.time)  # type: ignore[arg-type]
        self.commands = Commands(
            bench,  # type: ignore[arg-type]
            self.starter,  # type: ignore[arg-type]
            self.journal,  # type: ignore[arg-type]
            why_not=lambda _: self.why_not,
            replies=replies or {},
            extra=lambda: {"lab": "test"},
            more={
                **AlarmVerbs(self.alarms, bench.stations).handlers,
                **ProtocolVerbs(data, bench.stations).handlers,
            },
        )

    def _run(self, station):
        from daq.control.run import Run
        from daq.model import RunInfo
        from daq.protocol.engine import Engine
        from tests.unit.fakes import program

        info = RunInfo(f"run-{station.name}", station.name, "c1", "test", 0.0, {})
        return Run(info, Engine(program(CHARGE)), self.journal)  # type: ignore[arg-type]

    @property
    def one(self):
        return self.stands["A1"]

    async def ask(
        self, verb, station="A1", *, key="", expires=inf, role=Role.ADMIN, **arguments
    ) -> Reply:
        self.asked += 1
        key = key or f"id-{self.asked}"
        command = Command(verb, key, "ana", station, time.time(), expires, arguments, role)
        return await self.commands.handle(command)


@pytest.fixture
def desk(tmp_path):
    made = Desk(data=tmp_path)
    for stand in made.stands.values():
        stand.station.home.start()
    yield made
    made.starter.hold.set()
    for stand in made.stands.values():
        stand.station.home.finish()
        assert stand.station.home.join(PATIENCE_S)


def block(stand):
    """Keep a station's bus busy until the event that is returned is set."""
    entered, release = threading.Event(), threading.Event()

    def busy():
        entered.set()
        release.wait(PATIENCE_S)

    stand.station.home.post(busy)
    assert entered.wait(PATIENCE_S)
    return release


async def test_a_start_that_is_only_checked_begins_nothing(desk):
    reply = await desk.ask("start", check=True)
    assert reply.state == "done"
    assert set(reply.data) == {"expected_s"}
    assert desk.starter.makes == 1
    assert desk.one.station.conductor.run is None
    assert (await desk.ask("start")).data["run"] == "run-A1"
    assert desk.one.station.conductor.run is not None


# Once each.


async def test_the_same_id_again_gets_the_stored_answer(desk):
    first = await desk.ask("start", key="x")
    second = await desk.ask("start", key="x")
    assert first == second
    assert first.state == "done"
    assert desk.starter.makes == 1


async def test_the_same_id_while_the_first_is_still_under_way_waits_for_its_answer(desk):
    desk.starter.hold.clear()
    first = asyncio.create_task(desk.ask("start", key="x"))
    second = asyncio.create_task(desk.ask("start", key="x"))
    await asyncio.sleep(0.05)
    desk.starter.hold.set()
    assert await first == await second
    assert desk.starter.makes == 1


async def test_an_answer_of_an_earlier_session_is_known():
    desk = Desk({"x": {"state": "refused", "reason": "as I said", "data": {}}})
    assert (await desk.ask("start", key="x")).reason == "as I said"
    assert desk.starter.makes == 0


async def test_what_was_asked_without_an_id_is_carried_out_every_time(desk):
    command = Command("stop", "", "ana", "A1", time.time(), role=Role.VIEWER)
    for _ in range(2):
        assert (await desk.commands.handle(command)).state == "done"
    assert desk.one.driver.count("off") == 2


async def test_commands_and_answers_are_journalled_and_questions_are_not(desk):
    await desk.ask("pause", key="p")
    await desk.ask("status")
    (event,) = desk.journal.events(EventKind.COMMAND)
    assert (event.data["verb"], event.data["state"]) == ("pause", "refused")
    assert set(desk.journal.kept) == {(Kept.REPLY, "p")}


async def test_only_the_latest_answers_are_kept(desk, monkeypatch):
    monkeypatch.setattr("daq.control.answers.FEWEST", 2)
    for number in range(5):
        await desk.ask("pause", key=f"p{number}")
    assert {name for _, name in desk.journal.kept} == {f"p{number}" for number in range(5)}  # young
    monkeypatch.setattr("daq.control.answers.MOST", 4)
    await desk.ask("pause", key="p5")
    assert {name for _, name in desk.journal.kept} == {"p2", "p3", "p4", "p5"}
    monkeypatch.setattr("daq.control.answers.KEPT_S", 0.0)
    await desk.ask("pause", key="p6")
    assert {name for _, name in desk.journal.kept} == {"p5", "p6"}


@pytest.mark.fault("F76", "F68")
async def test_an_id_that_was_used_for_something_else_is_refused_and_noted(desk):
    assert (await desk.ask("start", key="x")).state == "done"
    for other in (
        desk.ask("resume", key="x"),
        desk.ask("start", "A2", key="x"),
        desk.ask("start", key="x", cell="c2"),
    ):
        assert "used for another command" in (await other).reason
    assert desk.starter.makes == 1
    states = [event.data["state"] for event in desk.journal.events(EventKind.COMMAND)]
    assert states == ["done", "refused", "refused", "refused"]


async def test_neither_may_it_join_a_command_that_is_under_way(desk):
    desk.starter.hold.clear()
    first = asyncio.create_task(desk.ask("start", key="x"))
    await asyncio.sleep(0.05)
    assert "used for another command" in (await desk.ask("start", "A2", key="x")).reason
    desk.starter.hold.set()
    assert (await first).state == "done"


async def test_ids_are_known_after_a_restart_in_the_order_of_their_time(desk, monkeypatch):
    for number in range(3):
        await desk.ask("pause", key=f"{9 - number}")
    kept = {name: document for (_, name), document in desk.journal.kept.items()}
    again = Answers(desk.journal, dict(sorted(kept.items())))
    monkeypatch.setattr("daq.control.answers.FEWEST", 2)
    monkeypatch.setattr("daq.control.answers.MOST", 2)
    again.remember(Command("pause", "z", "ana"), Reply("z", "done"))
    assert set(again._answers) == {"7", "z"}


# In time.


async def test_a_command_that_has_expired_is_refused_and_changes_nothing(desk):
    reply = await desk.ask("start", expires=time.time() - 1.0)
    assert "expired" in reply.reason
    assert desk.starter.makes == 0


@pytest.mark.parametrize("verb", ["stop", "pause"])
async def test_but_off_is_never_too_late(verb, desk):
    await desk.ask("start")
    assert (await desk.ask(verb, expires=time.time() - 1.0)).state == "done"
    assert not desk.one.driver.is_on


# By whom.


def test_every_verb_has_its_role(desk):
    assert set(desk.commands._handlers) == set(NEEDED)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("verb", sorted(NEEDED))
async def test_a_command_is_for_those_who_have_its_role(verb, role, desk):
    desk.one.latched()
    reply = await desk.ask(verb, role=role, reason="x", instrument="pico")
    allowed = at_least(role, NEEDED[verb])
    assert ("needs the role" in reply.reason) is not allowed
    (event,) = desk.journal.events(EventKind.COMMAND) or [None]
    assert event is None or event.data["role"] == role.value


async def test_a_refused_role_changes_nothing(desk):
    assert (await desk.ask("start", role=Role.VIEWER)).state == "refused"
    assert desk.starter.makes == 0


async def test_an_unknown_verb_is_refused_with_those_there_are(desk):
    reply = await desk.ask("energise")
    assert reply.state == "refused"
    assert "clear, forget" in reply.reason


@pytest.mark.parametrize("verb", ["start", "stop", "pause", "resume", "clear", "status"])
async def test_an_unknown_station_is_refused_with_those_there_are(verb, desk):
    reply = await desk.ask(verb, "B7", reason="x")
    assert reply.state == "refused"
    assert "A1, A2" in reply.reason


# Answered whatever happens.


async def test_a_bug_in_a_deed_is_a_refusal_and_off(desk):
    desk.one.driver.faults["clear"] = ZeroDivisionError("a bug")
    desk.one.latched()
    desk.one.guard.cycler.fresh(monotonic())
    reply = await desk.ask("clear", reason="x")
    assert reply.state == "refused"
    assert "ZeroDivisionError" in reply.reason
    assert isinstance(desk.crashes[0], ZeroDivisionError)
    assert desk.one.station.latch


async def test_a_bug_in_the_making_of_a_run_is_a_refusal(desk):
    desk.starter.made = lambda station: 1 / 0
    reply = await desk.ask("start")
    assert reply.state == "refused"
    assert "ZeroDivisionError" in reply.reason
    assert (await desk.ask("stop")).state == "done"


async def test_a_bus_that_does_not_answer_is_a_refusal_and_the_deed_is_not_done_later(
    desk, monkeypatch
):
    monkeypatch.setattr("daq.control.commands.DEED_S", 0.05)
    release = block(desk.one)
    reply = await desk.ask("start")
    assert "did not answer" in reply.reason
    release.set()
    desk.one.station.home.call(lambda: None).result(PATIENCE_S)
    assert desk.one.conductor.run is None


@pytest.mark.parametrize("verb", ["stop", "pause"])
async def test_but_off_is_done_however_late(verb, desk, monkeypatch):
    await desk.ask("start")
    desk.one.driver.is_on = True
    monkeypatch.setattr("daq.control.commands.DEED_S", 0.05)
    release = block(desk.one)
    assert "did not answer" in (await desk.ask(verb)).reason
    release.set()
    desk.one.station.home.call(lambda: None).result(PATIENCE_S)
    assert not desk.one.driver.is_on


# Stop.


async def test_stop_overtakes_what_is_queued_on_its_bus(desk):
    order = []
    release = block(desk.one)
    desk.one.driver.hooks["off"] = lambda: order.append("off")
    for _ in range(100):
        desk.one.station.home.post(lambda: order.append("queued"))
    stopping = asyncio.create_task(desk.ask("stop"))
    await asyncio.sleep(0.05)
    release.set()
    assert (await stopping).state == "done"
    assert order[0] == "off"


async def test_stop_does_not_wait_for_a_start_that_takes_long_elsewhere(desk):
    desk.starter.hold.clear()  # a large protocol is being compiled
    starting = asyncio.create_task(desk.ask("start", "A2"))
    await asyncio.sleep(0.05)
    reply = await asyncio.wait_for(desk.ask("stop", "*"), 5.0)
    assert reply.data["stopped"] == ["A1", "A2"]
    desk.starter.hold.set()
    await starting


async def test_one_run_is_made_at_a_time_so_that_two_cannot_take_the_same_cell(desk):
    desk.starter.hold.clear()
    tasks = [asyncio.create_task(desk.ask("start", name)) for name in ("A1", "A2")]
    await asyncio.sleep(0.1)
    desk.starter.hold.set()
    await asyncio.gather(*tasks)
    assert desk.starter.makes == 2
    assert desk.starter.most_at_once == 1


async def test_stop_is_off_at_every_station_although_one_of_them_is_blocked(desk, monkeypatch):
    monkeypatch.setattr("daq.control.commands.DEED_S", 0.2)
    release = block(desk.one)
    desk.stands["A2"].driver.is_on = True
    reply = await desk.ask("stop", "*")
    assert reply.state == "refused"
    assert not desk.stands["A2"].driver.is_on
    release.set()


async def test_stop_that_is_not_verified_is_not_done(desk):
    desk.one.driver.obeys_off = False
    reply = await desk.ask("stop")
    assert reply.state == "refused"
    assert "not verified yet at A1" in reply.reason


async def test_a_stop_that_is_verified_is_done_although_another_is_on_its_way(desk):
    """Two people stop the same station: one OFF is owed while the other is answered."""
    off, late, offs = desk.one.driver.off, threading.Event(), []

    def second_off_is_late(channel):
        offs.append(channel)
        if len(offs) == 2:
            late.wait(PATIENCE_S)
        off(channel)

    desk.one.driver.off = second_off_is_late
    first, second = (asyncio.create_task(desk.ask("stop", "A1")) for _ in range(2))
    assert (await first).state == "done"
    late.set()
    assert (await second).state == "done"


@pytest.mark.parametrize("with_run", [True, False])
async def test_a_clear_says_whether_a_run_waits(with_run, desk):
    if with_run:
        await desk.ask("start")
    desk.one.station.home.call(lambda: desk.one.latched()).result(PATIENCE_S)
    desk.one.guard.cycler.fresh(monotonic())
    reply = await desk.ask("clear", reason="x")
    assert (reply.state, bool(reply.data["run"])) == ("done", with_run)


async def test_stop_without_a_station_is_stop_everywhere(desk):
    assert (await desk.ask("stop", "")).data["stopped"] == ["A1", "A2"]


# Released protocols.

RELEASED = "protocol: rest\nversion: {}\nsteps:\n  - rest: 1 min\n"


async def release(desk, *versions):
    for version in versions:
        reply = await desk.ask("release", "", text=RELEASED.format(version), name="rest.yaml")
        assert reply.state == "done", reply.reason


async def test_a_protocol_is_released_rolled_out_and_rolled_back(desk):
    await release(desk, "1.0.0", "1.1.0")
    reply = await desk.ask("rollout", "", protocol="rest", version="1.0.0")
    assert reply.data["stations"] == {"A1": "1.0.0", "A2": "1.0.0"}
    reply = await desk.ask("rollout", "", protocol="rest", version="1.1.0", stations=["A2"])
    assert reply.data["stations"] == {"A1": "1.0.0", "A2": "1.1.0"}
    listed = (await desk.ask("protocols", "")).data["protocols"]["rest"]
    assert list(listed["versions"]) == ["1.0.0", "1.1.0"]
    assert listed["stations"] == {"*": "1.0.0", "A2": "1.1.0"}
    reply = await desk.ask("rollback", "", protocol="rest", role=Role.OPERATOR)
    assert reply.data["stations"] == {"A1": "1.0.0", "A2": "1.0.0"}


async def test_the_audit_log_has_what_was_rolled_out_where_by_whom_and_no_long_text(desk):
    await release(desk, "1.0.0")
    reason = {"reason": "trial"}
    await desk.ask("rollout", "", protocol="rest", version="1.0.0", stations=["A1"], **reason)
    await desk.ask("rollout", "", protocol="rest", version="2.0.0")
    await desk.ask("start", text="x" * 10_000, cell="c1", unregistered=True, capacity="1 Ah")
    released, rolled, refused, started = desk.journal.events(EventKind.COMMAND)
    assert released.data["asked"] == {"name": "rest.yaml"}
    wanted = {"protocol": "rest", "version": "1.0.0", "stations": ["A1"], "reason": "trial"}
    assert rolled.data["asked"] == wanted
    assert (rolled.data["client"], rolled.data["role"]) == ("ana", "admin")
    assert refused.data["state"] == "refused"
    asked = {"cell": "c1", "unregistered": True, "capacity": "1 Ah"}
    assert started.data["asked"] == asked


async def test_absurdly_long_arguments_do_not_swell_the_audit_log(desk):
    await desk.ask("pause", reason="x" * 10_000)
    (event,) = desk.journal.events(EventKind.COMMAND)
    assert event.data["asked"] == {"too_long": 10_014}


@pytest.mark.parametrize(
    ("verb", "arguments", "says"),
    [
        ("release", {}, "release needs 'text'"),
        ("release", {"text": "protocol: x\n"}, "'version' is missing"),
        ("rollout", {"version": "1.0.0"}, "needs 'protocol'"),
        ("rollout", {"protocol": "rest"}, "needs 'version'"),
        ("rollout", {"protocol": "rest", "version": "1.0.0"}, "no released protocol 'rest'"),
        ("rollout", {"protocol": "../x", "version": "1.0.0"}, "no released protocol '../x'"),
        ("rollback", {"protocol": "rest", "stations": ["A1", "A9"]}, "no station 'A9'"),
        ("rollback", {"protocol": "rest", "stations": "A1"}, "must be a list"),
        ("rollback", {"protocol": "rest"}, "no released protocol 'rest'"),
    ],
)
async def test_a_rollout_that_says_too_little_or_too_much_is_refused(verb, arguments, says, desk):
    reply = await desk.ask(verb, "", **arguments)
    assert reply.state == "refused"
    assert says in reply.reason
    assert "bug" not in reply.reason


# The others.


async def test_a_start_waits_a_moment_for_what_is_still_missing(desk, monkeypatch):
    monkeypatch.setattr("daq.control.commands.READY_S", 0.3)
    desk.why_not = "the sentinel does not run"
    starting = asyncio.create_task(desk.ask("start"))
    await asyncio.sleep(0.05)
    desk.why_not = ""
    assert (await starting).state == "done"
    desk.why_not = "the sentinel does not run"
    reply = await desk.ask("resume")
    assert "cannot be energised: the sentinel does not run" in reply.reason


async def test_pause_and_resume(desk):
    await desk.ask("start")
    assert (await desk.ask("pause", reason="lunch")).state == "done"
    assert desk.one.conductor.paused == "lunch"
    assert "paused already" in (await desk.ask("pause")).reason
    assert (await desk.ask("resume")).state == "done"
    assert "not paused" in (await desk.ask("resume")).reason


async def test_a_tripped_station_is_not_resumed_and_says_what_to_do(desk):
    desk.one.station.home.call(lambda: desk.one.latched()).result(PATIENCE_S)
    desk.why_not = "tripped"
    assert "clear it first" in (await desk.ask("resume")).reason


@pytest.mark.fault("F77")
@pytest.mark.parametrize("verb", ["start", "resume"])
async def test_a_trip_wins_against_a_command_that_was_there_before_it(verb, desk):
    if verb == "resume":
        await desk.ask("start")
        await desk.ask("pause")
    release = block(desk.one)
    asking = asyncio.create_task(desk.ask(verb))
    await asyncio.sleep(0.05)  # its deed waits on the bus
    desk.one.latched()
    release.set()
    reply = await asking
    assert reply.state == "refused"
    assert "tripped" in reply.reason
    assert not desk.one.driver.is_on
    assert desk.one.station.latch


@pytest.mark.fault("F78")
@pytest.mark.parametrize("verb", ["start", "resume"])
async def test_clear_and_start_in_one_burst_do_not_start(verb, desk):
    desk.one.station.home.call(lambda: desk.one.latched()).result(PATIENCE_S)
    desk.one.guard.cycler.fresh(monotonic())
    burst = [desk.ask("clear", reason="x"), desk.ask(verb), desk.ask(verb)]
    cleared, *started = await asyncio.gather(*burst)
    assert cleared.state == "done", cleared.reason
    assert {reply.state for reply in started} == {"refused"}
    assert not desk.one.driver.is_on
    after = await desk.ask("resume")
    assert "cleared a moment ago" in after.reason


@pytest.mark.parametrize("reason", ["", "   "])
async def test_clearing_needs_a_reason(reason, desk):
    assert "needs a reason" in (await desk.ask("clear", reason=reason)).reason


async def test_a_refusal_of_the_station_is_a_refusal(desk):
    assert "no trip" in (await desk.ask("clear", reason="x")).reason


async def test_an_exchanged_instrument_is_forgotten_in_the_journal_too(desk):
    desk.journal.keep(Kept.IDENTITY, "pico", {})
    assert (await desk.ask("forget", instrument="pico")).state == "done"
    assert desk.pico.forgotten
    assert (Kept.IDENTITY, "pico") not in desk.journal.kept
    assert "pico" in (await desk.ask("forget", instrument="nobody")).reason


async def test_status_tells_of_every_station_or_of_one(desk):
    assert set((await desk.ask("status", "")).data["stations"]) == {"A1", "A2"}
    reply = await desk.ask("status", "A2")
    assert set(reply.data["stations"]) == {"A2"}
    assert reply.data["lab"] == "test"


async def test_timing_tells_how_each_bus_kept_its_grid(desk):
    assert set((await desk.ask("timing", "")).data) == {"A1", "A2"}


async def test_a_refusal_at_the_last_moment_is_a_refusal(desk, monkeypatch):
    def refuse(station, run):
        raise CommandRefused("it has tripped meanwhile")

    monkeypatch.setattr(desk.starter, "begin", refuse)
    assert "meanwhile" in (await desk.ask("start")).reason
    assert desk.crashes == []
