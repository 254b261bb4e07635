"""The gateway as a process, with a real journal, against real brokers."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from daq.journal import Journal
from daq.model import EventKind
from tests.system.gateway_bench import (
    LAB,
    Bench,
    Ear,
    GatewayProcess,
    heard_rows,
    is_alive,
    require,
    rows,
    wait_until,
)

SCRIPT = Path(__file__).parents[2] / "docs" / "examples" / "run_over_mqtt.py"

both_brokers = pytest.mark.parametrize("kind", ["mosquitto", "embedded"])


@pytest.fixture
def bench(kind, tmp_path):
    """A bench whose parts a test may kill."""
    require(kind)
    bench = Bench(tmp_path, kind)
    yield bench
    bench.close()


@pytest.fixture(scope="module", params=["mosquitto", "embedded"])
def running(request, tmp_path_factory):
    require(request.param)
    bench = Bench(tmp_path_factory.mktemp(request.param), request.param)
    bench.online()
    yield bench
    bench.close()


@pytest.fixture
def calm(running):
    """A bench that runs already, with both brokers in turn; a test leaves it as it was."""
    running.forget()
    return running


# Birth, last will, state.


@both_brokers
def test_birth_and_last_will_share_a_session_and_the_next_birth_has_a_higher_one(bench):
    birth = bench.online()
    assert birth["pid"] == bench.gateway.process.pid
    bench.gateway.kill()
    will = bench.ear.wait_for("status", lambda m: not m["online"])
    assert (will["session"], will["reason"]) == (birth["session"], "connection lost")
    bench.gateway.start()
    assert bench.online(birth["session"])["session"] > birth["session"]


@both_brokers
def test_the_end_of_control_ends_the_gateway_and_says_so(bench):
    bench.online()
    assert bench.gateway.end() == 0
    assert bench.ear.wait_for("status", lambda m: not m["online"])["reason"] == "ended"


@both_brokers
def test_a_late_will_of_an_earlier_connection_does_not_stay(bench):
    first = bench.online()["session"]
    bench.gateway.kill()
    bench.gateway.start()
    session = bench.online(first)["session"]
    bench.ear.heard.clear()
    late = {"online": False, "session": first, "reason": "connection lost"}
    bench.ear.publish("status", late, retain=True)
    assert bench.ear.wait_for("status", lambda m: m["online"])["session"] == session


def test_the_state_is_retained_and_shows_null_for_what_is_not_measured(calm):
    calm.keep_state(run="run-1", step=3)
    calm.ear.wait_for("A1/state", lambda m: m["step"] == 3)
    late_listener = Ear(calm.broker.port)
    try:
        found = late_listener.wait_for("A1/state")
    finally:
        late_listener.close()
    assert ("A1/state", True, found) in late_listener.heard
    assert (found["step"], found["voltage_V"]) == (3, None)


@both_brokers
def test_a_broker_that_forgot_everything_is_told_every_state_again(bench):
    first = bench.online()
    for station in ("A1", "B2"):
        bench.keep_state(station)
        bench.ear.wait_for(f"{station}/state")
    bench.broker.kill()
    bench.ear.heard.clear()
    bench.restart_broker()
    bench.online(first["session"])
    assert {bench.ear.wait_for(f"{name}/state")["station"] for name in ("A1", "B2")} == {"A1", "B2"}


# Samples and events.


def test_samples_are_complete_in_order_and_chained(calm):
    recorded = calm.count
    for _ in range(20):
        calm.record(30, "C3")
        calm.record(20, "D4")
    calm.wait_complete()
    for station, count in (("C3", 600), ("D4", 400)):
        batches = calm.ear.on(f"{station}/samples")
        numbers = [row["seq"] for row in rows(batches)]
        assert len(numbers) == count
        assert numbers == sorted(set(numbers))
        for before, after in pairwise(batches):
            assert after["previous_seq"] == rows([before])[-1]["seq"]
    first = heard_rows(calm.ear, "samples")[0]
    assert (first["test_time_s"], first["chamber_degC"]) == (recorded + 1.0, None)


def test_events_come_once_each_in_order_and_those_of_the_daemon_on_the_lab(calm):
    for number in range(50):
        calm.happen(EventKind.NOTE, number=number)
    calm.happen(EventKind.ALARM, station="", run="", severity="page")
    calm.wait_complete()
    assert [event["data"]["number"] for event in calm.ear.on("A1/events")] == list(range(50))
    assert [event["kind"] for event in calm.ear.on("events")] == ["alarm"]


def test_a_quiet_journal_makes_no_traffic(calm):
    calm.keep_state()
    calm.ear.wait_for("A1/state")
    before = len(calm.ear.heard)
    time.sleep(1.5)  # longer than every period of the gateway
    assert len(calm.ear.heard) == before


# Outages.


@both_brokers
def test_what_a_dead_broker_missed_comes_on_history_in_order_with_its_numbers(bench):
    first = bench.online()
    bench.record(100)
    bench.wait_complete()
    bench.broker.kill()
    head = bench.journal.committed
    bench.record(1200)
    bench.happen(EventKind.NOTE, text="nobody listened")
    bench.record(300)
    bench.restart_broker()
    birth = bench.ear.wait_for("status", lambda m: m["session"] > first["session"] and m["online"])
    gap_end = birth["backlog"]["last_seq"]
    bench.record(10)
    bench.wait_complete()
    assert birth["backlog"]["first_seq"] <= head + 1
    history = bench.ear.on("A1/history")
    numbers = [row["seq"] for row in rows(history)]
    assert numbers == sorted(set(numbers))
    assert all(message["backfill"] for message in history)
    assert all(message["gap"]["last_seq"] == gap_end for message in history)
    assert [m["event"]["data"]["text"] for m in history if m["kind"] == "event"] == [
        "nobody listened"
    ]
    for row in heard_rows(bench.ear, "history"):
        assert row["test_time_s"] == float(row["step_record"])  # the same row, not another
    assert bench.online(first["session"])["backlog"] is None


@both_brokers
def test_live_data_does_not_wait_for_the_back_fill(bench):
    first = bench.online()
    bench.broker.kill()
    bench.record(40_000)
    bench.restart_broker()
    birth = bench.ear.wait_for("status", lambda m: m["session"] > first["session"] and m["online"])
    assert birth["backlog"]["entries"] >= 40_000
    bench.record(1, "B2")
    bench.ear.wait_for("B2/samples")
    assert len(heard_rows(bench.ear, "history")) < 40_000
    assert bench.ear.on("B2/samples")[0]["previous_seq"] is None


@both_brokers
def test_a_gateway_killed_in_the_middle_of_a_back_fill_goes_on_and_loses_nothing(bench):
    first = bench.online()
    bench.broker.kill()
    bench.record(40_000)
    bench.restart_broker()
    # The second page has come, so the broker had acknowledged the first.
    wait_until(lambda: len(heard_rows(bench.ear, "history")) >= 1000, "the back-fill has begun")
    bench.gateway.kill()
    bench.record(500)
    heard_before = len(heard_rows(bench.ear, "history"))
    assert heard_before < 40_000
    first_number = heard_rows(bench.ear, "history")[0]["seq"]
    bench.gateway.start()
    bench.record(500)
    bench.wait_complete()
    bench.online(first["session"] + 1)
    again = heard_rows(bench.ear, "history")[heard_before:]
    assert again[0]["seq"] >= first_number + 500, "it began again from the beginning"
    seen = {}
    for row in heard_rows(bench.ear, "samples") + heard_rows(bench.ear, "history"):
        assert seen.setdefault(row["seq"], row) == row  # twice is allowed, changed is not


@both_brokers
@pytest.mark.fault("F66")
def test_a_stranger_with_our_client_id_does_not_keep_us_out(bench):
    first = bench.online()
    stranger = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"daq-{LAB}")
    stranger.connect("127.0.0.1", bench.broker.port)
    stranger.loop_write()
    try:
        bench.online(first["session"])
    finally:
        stranger.disconnect()


# Commands.


def states(bench, command_id):
    return [reply["state"] for reply in bench.ear.replies(command_id)]


def test_a_command_is_accepted_then_done_with_the_answer_of_control(calm):
    asked = calm.ear.command("start", cell="C1", protocol="formation.yaml")
    final = calm.ear.final_reply(asked)
    assert states(calm, asked) == ["accepted", "done"]
    assert final["data"]["run"] == "run-9"
    request = calm.control.requests[0]
    assert (request["verb"], request["id"], request["client"]) == ("start", asked, "ana")
    assert request["station"] == "A1"
    assert request["arguments"] == {"cell": "C1", "protocol": "formation.yaml"}
    assert request["expires"] > time.time()


@both_brokers
def test_commands_that_must_not_be_carried_out_never_reach_control(bench):
    bench.ear.command("stop", id="kept", retain=True)  # before anybody listens
    assert "retained" in bench.ear.final_reply("kept")["reason"]
    now = time.time()
    late = bench.ear.command("resume", issued=now - 20, expires=now - 1)
    assert "expired" in bench.ear.final_reply(late)["reason"]
    odd = bench.ear.command("stop", volts=12)
    assert "volts" in bench.ear.final_reply(odd)["reason"]
    unknown = bench.ear.command("energise")
    assert "unknown verb" in bench.ear.final_reply(unknown)["reason"]
    for garbage in (b"{", b"[]", b"\xff\x00", b'{"id": "../x", "client": "ana"}', b"[" * 60_000):
        bench.ear.publish("cmd/stop", garbage)
    bench.ear.final_reply(bench.ear.command("status"))  # everything before has been judged
    assert bench.control.verbs() == ["status"]
    wait_until(lambda: sum(told["count"] for told in bench.control.reported) == 9, "all reported")
    carried_out = {m["verb"] for t, _, m in bench.ear.heard if m.get("state") == "done"}
    assert carried_out == {"status"}


def test_the_same_id_again_gets_the_same_answer(calm):
    asked = calm.ear.command("start", cell="C1", protocol="formation.yaml")
    first = calm.ear.final_reply(asked)
    calm.ear.command("start", cell="C1", protocol="formation.yaml", id=asked)
    wait_until(lambda: len(calm.ear.replies(asked)) == 4, "the answer again")
    assert calm.ear.replies(asked)[-1]["data"] == first["data"]


def test_a_stop_overtakes_any_number_of_commands_that_are_not_answered(calm):
    calm.control.held = {"start"}
    starts = [calm.ear.command("start", cell="C1", protocol="a.yaml") for _ in range(40)]
    wait_until(lambda: calm.control.verbs().count("start") == 32, "as many as are served at once")
    stop = calm.ear.command("stop", station="*")
    assert calm.ear.final_reply(stop)["state"] == "done"
    assert not [start for start in starts if "done" in states(calm, start)]
    calm.control.release()
    finals = [calm.ear.final_reply(start) for start in starts]
    refused = [final["reason"] for final in finals if final["state"] == "refused"]
    assert 0 < len(refused) < len(starts)
    assert all("too many" in reason for reason in refused)


@both_brokers
def test_a_command_is_refused_when_no_daemon_runs(bench):
    bench.online()
    (bench.data / "control.sock").unlink()
    asked = bench.ear.command("stop")
    final = bench.ear.final_reply(asked)
    assert (final["state"], final["reason"]) == ("refused", "the daemon does not run")


# The automation script.


def script(bench, *words):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), bench.broker.url, LAB, "A1", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_script_of_the_docs_starts_a_run_and_waits_for_its_end(calm, tmp_path):
    protocol = tmp_path / "short.yaml"
    protocol.write_text("protocol: short\n")
    process = script(calm, str(protocol), "C1")
    wait_until(lambda: "start" in calm.control.verbs(), "the start arrives")
    calm.keep_state(run="run-9", step=1, step_kind="rest", voltage_V=3.7, current_A=0.0)
    calm.ear.wait_for("A1/state", lambda m: m["run"] == "run-9")
    calm.happen(EventKind.RUN_ENDED, run="run-9", outcome="completed")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert output.splitlines()[0] == "started run-9"
    assert output.splitlines()[-1] == "completed"
    arguments = calm.control.requests[0]["arguments"]
    assert arguments == {"cell": "C1", "text": "protocol: short\n", "name": "short.yaml"}


def test_the_script_of_the_docs_stops_a_run(calm):
    process = script(calm, "--stop")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert calm.control.verbs() == ["stop"]
    assert calm.control.requests[0]["station"] == "A1"


# A broker of our own.


@pytest.fixture
def own(kind, tmp_path):
    """A gateway that brings its own broker, beside a journal."""
    require(kind)
    journal = Journal(tmp_path / "journal.sqlite")
    gateway = GatewayProcess(tmp_path, "--broker", "auto" if kind == "mosquitto" else kind)
    yield gateway
    if gateway.process.poll() is None:
        gateway.kill()
    journal.close()


def note_in(data):
    wait_until((data / "broker.json").exists, "the broker is announced")
    return json.loads((data / "broker.json").read_text())


def port_of(note):
    return int(note["url"].rpartition(":")[2])


@both_brokers
def test_auto_brings_a_broker_that_ends_with_the_gateway(kind, own, tmp_path):
    note = note_in(tmp_path)
    assert note["kind"] == kind
    assert is_alive(note["pid"])
    ear = Ear(port_of(note))
    ear.wait_for("status", lambda m: m["online"])
    assert own.end() == 0
    ear.close()
    assert not is_alive(note["pid"])


@both_brokers
def test_even_a_killed_gateway_leaves_no_broker_behind(own, tmp_path):
    note = note_in(tmp_path)
    own.kill()
    wait_until(lambda: not is_alive(note["pid"]), "the broker is gone")


@both_brokers
def test_our_own_broker_comes_back_on_the_same_port_when_it_dies(own, tmp_path):
    before = note_in(tmp_path)
    ear = Ear(port_of(before))
    try:
        first = ear.wait_for("status", lambda m: m["online"])
        os.kill(before["pid"], signal.SIGKILL)
        ear.wait_for("status", lambda m: m["session"] > first["session"])
        after = note_in(tmp_path)
    finally:
        ear.close()
    assert after["url"] == before["url"]
    assert after["pid"] != before["pid"]


@pytest.mark.parametrize("kind", ["embedded"])
def test_a_new_gateway_finds_its_clients_on_the_port_of_last_time(own, tmp_path):
    before = note_in(tmp_path)
    own.end()
    own.start()
    wait_until(lambda: note_in(tmp_path)["pid"] != before["pid"], "a new broker")
    assert note_in(tmp_path)["url"] == before["url"]


def test_a_bad_broker_address_ends_the_gateway_with_exit_code_2(tmp_path):
    Journal(tmp_path / "journal.sqlite").close()
    for address in ("http://x", "mqtt://", "mqtt://ana:s3cret@host:1883", "mqtt://host:99999"):
        gateway = GatewayProcess(tmp_path, "--broker", address)
        assert gateway.process.wait(30) == 2
        gateway.process.stdin.close()
    assert "s3cret" not in (tmp_path / "logs" / "gateway.jsonl").read_text()
