"""The broker absent, flapping, mute, forgetful, hostile, and doubling what it says (F61-F68)."""

import subprocess
import threading
import time
from contextlib import contextmanager

import paho.mqtt.client as mqtt
import psutil
import pytest

from daq.journal import JournalReader
from daq.model import EventKind
from simulators.line import Line
from tests.faults import broker_account
from tests.system.daemon import CHARGE, running_daemon
from tests.system.gateway_bench import (
    LAB,
    Bench,
    BrokerProcess,
    Ear,
    GatewayProcess,
    a_record,
    heard_numbers,
    require,
    wait_until,
)

STATIONS = [f"A{number}" for number in range(1, 65)]
MOST_GROWTH_MB = 20.0
LIVE_AGAIN_S = 10.0

both_brokers = pytest.mark.parametrize("kind", ["mosquitto", "embedded"])
only_mosquitto = pytest.mark.parametrize("kind", ["mosquitto"])


@pytest.fixture
def bench(kind, tmp_path):
    """A bench whose gateway has a line to the broker that a test may harm."""
    require(kind)
    bench = Bench(tmp_path, kind, through_line=True)
    yield bench
    bench.close()


def rss_mb(pid):
    return psutil.Process(pid).memory_info().rss / 2**20


def wait_for_silence(bench, silent_s=0.5):
    """Until the broker has said nothing to the gateway for a while: all is acknowledged."""
    last = [time.monotonic()]

    def note(chunk):
        last[0] = time.monotonic()
        return chunk

    bench.line.to_client = note
    wait_until(lambda: time.monotonic() - last[0] > silent_s, "nothing is on its way")


def reported(bench, words):
    """The report to control that says so, once it has come."""
    return wait_until(
        lambda: [r for r in list(bench.control.reports) if words in r["message"]],
        lambda: f"{words}; {bench.control.reports}",
    )[0]


def live_within_s(bench, since_s):
    """How soon after a moment something that was recorded after it was heard live."""
    before = bench.journal.committed

    def look():
        bench.record()  # what is recorded before it is connected again comes on history
        time.sleep(0.1)
        return any(m["first_seq"] > before for m in bench.ear.on("A1/samples"))

    wait_until(look, "live again")
    return time.monotonic() - since_s


@contextmanager
def recording(bench, period_s=0.25):
    """64 stations record while something else goes on, and something happens now and then."""
    ended = threading.Event()

    def run():
        while not ended.wait(period_s):
            for station in STATIONS:
                bench.record(station=station, run=f"run-{station}")
            bench.happen(EventKind.NOTE, station=STATIONS[0])

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


# F61 and F63: absent, mute.


@only_mosquitto
@pytest.mark.fault("F61")
@pytest.mark.fault("F63")
@pytest.mark.fault("F68")
def test_a_run_neither_waits_for_the_broker_nor_notices_that_it_is_mute(kind, tmp_path, figure):
    require(kind)
    broker = BrokerProcess(kind, tmp_path)
    line = Line(broker.port)
    line.cut()
    ear = Ear(broker.port, lab="test")
    try:
        url = {"broker": f"mqtt://127.0.0.1:{line.port}"}
        with running_daemon(tmp_path, mqtt=url) as (_, daemon):
            control = daemon.process.pid
            daemon.run(CHARGE)
            daemon.energised()
            before_mb = rss_mb(control)
            wait_until(lambda: records(daemon) >= 3, "it records")
            assert not ear.heard
            line.mend()
            ear.wait_for("A1/state", lambda m: m["mode"] == "running")
            line.hold()
            mute_from = records(daemon)
            wait_until(lambda: records(daemon) >= mute_from + 5, "it records on")
            assert daemon.station()["mode"] == "running"
            line.release()
            line.to_client = _doubled()
            asked = ear.command("pause", reason="to be done once")
            assert ear.final_reply(asked)["state"] == "done"
            daemon.wait_for(mode="paused")
            wait_until(
                lambda: heard_numbers(ear) >= set(range(1, head(daemon) + 1)), "everything heard"
            )
            assert len(daemon.events(EventKind.PAUSED)) == 1
            growth_mb = rss_mb(control) - before_mb
            figure("growth of control without a broker", growth_mb, "MB")
            assert growth_mb < MOST_GROWTH_MB
    finally:
        ear.close()
        line.close()
        broker.kill()


def records(daemon):
    with JournalReader(daemon.data / "journal.sqlite") as journal:
        return sum(len(rows) for run in journal.runs() for rows in journal.record_rows(run.id))


def head(daemon):
    with JournalReader(daemon.data / "journal.sqlite") as journal:
        return journal.head()


def _doubled():
    """Each PUBLISH on its way to the client comes twice, the second time marked DUP."""
    rest = b""

    def edit(chunk):
        nonlocal rest
        rest += chunk
        out = b""
        while (packet := _first_packet(rest)) is not None:
            rest = rest[len(packet) :]
            out += packet
            if packet[0] & 0xF6 == 0x32:  # PUBLISH, QoS 1, not yet DUP
                out += bytes([packet[0] | 0x08]) + packet[1:]
        return out

    return edit


def _first_packet(stream):
    length = shift = 0
    for index, byte in enumerate(stream[1:5], start=1):
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            end = index + 1 + length
            return stream[:end] if len(stream) >= end else None
    return None


@both_brokers
@pytest.mark.fault("F61")
def test_everything_is_published_once_a_broker_that_was_down_at_the_start_comes(bench):
    bench.gateway.kill()
    bench.line.cut()
    bench.gateway.start()
    with recording(bench):
        time.sleep(2.0)
    assert not heard_numbers(bench.ear)
    bench.line.mend()
    began_s = time.monotonic()
    bench.online()
    assert live_within_s(bench, began_s) < LIVE_AGAIN_S
    broker_account.check(bench)


@both_brokers
@pytest.mark.fault("F63")
def test_a_mute_broker_is_given_up_and_tried_again_without_losing_anything(bench, figure):
    bench.online()
    gateway = psutil.Process(bench.gateway.process.pid)
    with recording(bench):
        bench.line.hold()
        began_s = time.monotonic()
        connections = bench.line.connections
        wait_until(lambda: bench.line.connections > connections, "it is given up")
        figure("mute broker given up after", time.monotonic() - began_s, "s")
        descriptors = gateway.num_fds()
        wait_until(lambda: bench.line.connections > connections + 2, "it is tried again")
        assert gateway.num_fds() <= descriptors + 10
        bench.line.release()
        began_s = time.monotonic()
        live_s = live_within_s(bench, began_s)
    figure("live again after the mute broker spoke", live_s, "s")
    assert live_s < LIVE_AGAIN_S
    broker_account.check(bench)


# F62: comes and goes.


@both_brokers
@pytest.mark.fault("F62")
def test_nothing_is_lost_or_out_of_order_while_the_broker_comes_and_goes(bench, seconds, figure):
    bench.online()
    with recording(bench):
        time.sleep(2.0)
        before_mb = rss_mb(bench.gateway.process.pid)
        most_mb = before_mb
        deadline = time.monotonic() + seconds(12.0)
        while time.monotonic() < deadline:
            bench.line.cut()
            time.sleep(1.0)
            bench.line.mend()
            time.sleep(2.0)
            most_mb = max(most_mb, rss_mb(bench.gateway.process.pid))
        began_s = time.monotonic()
        live_s = live_within_s(bench, began_s)
    figure("live again after the last flap", live_s, "s")
    figure("growth of the gateway while the broker flaps", most_mb - before_mb, "MB")
    assert live_s < LIVE_AGAIN_S
    assert most_mb - before_mb < MOST_GROWTH_MB
    assert "again and again" in reported(bench, "again and again")["message"]
    broker_account.check(bench)


# F64: forgets.


@both_brokers
@pytest.mark.fault("F64")
def test_a_forgetful_broker_is_told_the_states_of_64_stations_again(bench):
    first = bench.online()
    for number, station in enumerate(STATIONS):
        bench.keep_state(station, step=number)
    bench.ear.wait_for(f"{STATIONS[-1]}/state")
    bench.broker.kill()
    bench.ear.heard.clear()
    bench.restart_broker()
    bench.online(first["session"])
    for number, station in enumerate(STATIONS):
        bench.ear.wait_for(f"{station}/state", lambda m, n=number: m["step"] == n)
    late = Ear(bench.broker.port)
    try:
        wait_until(lambda: len({t for t, kept, _ in list(late.heard) if kept}) >= 65, "retained")
    finally:
        late.close()


# F65: refuses.


@only_mosquitto
@pytest.mark.fault("F65")
def test_a_refused_login_is_told_plainly_and_tried_again_slowly(bench):
    first = bench.online()
    bench.broker.kill()
    bench.broker.configure("allow_anonymous false")
    bench.broker.start()
    assert "refuses us" in reported(bench, "refuses us")["message"]
    before = bench.line.connections
    with recording(bench):
        time.sleep(6.0)
    assert bench.line.connections - before <= 4
    bench.broker.kill()
    bench.broker.configure("allow_anonymous true")
    bench.gateway.suspend()  # until the ear is there
    bench.broker.start()
    bench.ear.wait_subscribed()
    bench.gateway.resume()
    bench.online(first["session"])
    wait_until(lambda: bench.control.reports[-1]["over"], "it is over")
    broker_account.check(bench)


@only_mosquitto
@pytest.mark.fault("F65")
def test_an_expired_certificate_is_told_plainly_and_tried_again_slowly(bench, tmp_path):
    _make_expired_certificate(tmp_path)
    bench.gateway.kill()
    bench.broker.kill()
    bench.broker.configure(
        "allow_anonymous true", f"certfile {tmp_path / 'c.pem'}", f"keyfile {tmp_path / 'k.pem'}"
    )
    bench.broker.start()
    where = ("--broker", f"mqtts://127.0.0.1:{bench.line.port}")
    bench.gateway = GatewayProcess(bench.data, *where, "--ca-file", str(tmp_path / "c.pem"))
    assert "expired" in reported(bench, "refuses us")["message"]
    before = bench.line.connections
    time.sleep(6.0)
    assert bench.line.connections - before <= 4


def _make_expired_certificate(folder):
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\nserial = serial\nnew_certs_dir = .\n"
        "default_md = sha256\npolicy = any\n[any]\ncommonName = supplied\n"
        "[names]\nsubjectAltName = IP:127.0.0.1\nbasicConstraints = CA:TRUE\n"
    )
    (folder / "index.txt").touch()
    (folder / "serial").write_text("01\n")
    request = "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k.pem -out r.pem"
    sign = "ca -batch -selfsign -config ca.cnf -in r.pem -keyfile k.pem -out c.pem -notext"
    dates = "-startdate 20200101000000Z -enddate 20200102000000Z -extensions names"
    for words in (f"{request} -subj /CN=localhost", f"{sign} {dates}"):
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)


# F66: somebody has our id.


@both_brokers
@pytest.mark.fault("F66")
def test_a_war_over_our_client_id_is_told_of_and_fought_slowly(bench, figure):
    bench.online()
    stranger = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"daq-{LAB}")
    stranger.reconnect_delay_set(1, 1)
    stranger.connect("127.0.0.1", bench.broker.port)
    stranger.loop_start()
    try:
        with recording(bench):
            message = reported(bench, "another client")["message"]
            assert f"daq-{LAB}" in message
            before = bench.line.connections
            time.sleep(8.0)
            attempts = bench.line.connections - before
    finally:
        stranger.disconnect()
        stranger.loop_stop()
    figure("connections in 8 s of a war over the client id", attempts, "")
    assert attempts <= 4
    assert live_within_s(bench, time.monotonic()) < LIVE_AGAIN_S
    broker_account.check(bench)


# F68: doubled.


@both_brokers
@pytest.mark.fault("F68")
def test_what_was_not_acknowledged_comes_again_with_the_same_numbers(bench):
    bench.online()
    wait_for_silence(bench)
    bench.line.to_client = lambda chunk: b""  # messages get through, acknowledgements do not
    bench.record(40)
    # Without an acknowledgement there is no second batch, however the records fell into batches.
    wait_until(lambda: heard_numbers(bench.ear), "the first batch is heard")
    bench.line.reset()
    bench.line.to_client = None
    wait_until(lambda: bench.ear.on("A1/history"), "it comes again")
    broker_account.check(bench)
    again = [row[0] for m in bench.ear.on("A1/history") for row in m["rows"]]
    first = [row[0] for m in bench.ear.on("A1/samples") for row in m["rows"]]
    assert set(again) & set(first)


@both_brokers
@pytest.mark.fault("F68")
def test_a_command_that_is_delivered_twice_is_answered_alike_and_done_once(bench):
    bench.online()
    bench.line.to_client = _doubled()
    asked = bench.ear.command("start", cell="C1", protocol="a.yaml")
    wait_until(lambda: len(bench.ear.replies(asked)) == 4, "both are answered")
    done = [m["data"]["served"] for m in bench.ear.replies(asked) if m["state"] == "done"]
    assert done == [done[0]] * 2  # control, which gives one answer to one id, has done it once


# A slow line.


@only_mosquitto
@pytest.mark.fault("F63")
def test_on_a_slow_line_history_gets_through_and_what_happens_now_does_not_wait(bench, figure):
    first = bench.online()
    bench.line.cut()
    bench.record(15_000)
    bench.line.bytes_per_s = 100_000.0
    before_mb = rss_mb(bench.gateway.process.pid)
    bench.line.mend()
    bench.ear.wait_for("status", lambda m: m["online"] and m["session"] > first["session"])
    waits = [live_within_s(bench, time.monotonic()) for _ in range(3)]
    assert bench.ear.on("status")[-1]["backlog"], "history was through before it was measured"
    figure("live data on a line of 100 kB/s during back-fill, longest wait", max(waits), "s")
    bench.online(first["session"])
    assert rss_mb(bench.gateway.process.pid) - before_mb < MOST_GROWTH_MB
    broker_account.check(bench)


@both_brokers
@pytest.mark.fault("F63")
def test_a_slow_subscriber_hears_everything(bench):
    bench.online()
    bench.line.cut()
    for number in range(900):  # each a message of its own
        bench.journal.append(a_record(number, run=f"run-{number}"))
    assert bench.journal.sync().wait(30.0)
    bench.ear.slow_s = 0.01
    bench.line.mend()
    broker_account.check(bench)


# What people are told.


@only_mosquitto
@pytest.mark.fault("F65")
def test_trouble_with_the_broker_is_an_alarm_of_the_daemon_until_it_is_over(kind, tmp_path):
    require(kind)
    broker = BrokerProcess(kind, tmp_path)
    broker.kill()
    broker.configure("allow_anonymous false")
    broker.start()
    try:
        with running_daemon(tmp_path, mqtt={"broker": broker.url}) as (_, daemon):
            began = wait_until(lambda: alarms(daemon, "began"), "the alarm")[0]
            assert began["severity"] == "ticket"
            assert "refuses us" in began["message"]
            broker.kill()
            broker.configure("allow_anonymous true")
            broker.start()
            wait_until(lambda: alarms(daemon, "ended"), "its end", 90.0)
    finally:
        broker.kill()


def alarms(daemon, state):
    """What the journal holds of alarms about the broker."""
    found = [event.data for event in daemon.events(EventKind.ALARM)]
    return [one for one in found if (one.get("cause"), one.get("state")) == ("broker-away", state)]
