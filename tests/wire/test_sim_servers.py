"""A simulated bench in its own process: real sockets, real serial ports, real Modbus, faults."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pymodbus import FramerType
from pymodbus.client import ModbusSerialClient, ModbusTcpClient

from simulators.client import RunningBench, running_bench

PATIENCE_S = 20.0
SHORT_S = 0.3  # how long a test listens for something that must not come


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBench]:
    with running_bench(config(tmp_path_factory.mktemp("ports"))) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_fault_survives_its_test(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "bench" in request.fixturenames:
        request.getfixturevalue("bench").clear_faults()


def config(folder: Path) -> dict:
    chamber = {"dialect": "binder", "chamber": "room"}
    return {
        "clock": {"factor": 100},
        "cells": {
            "cell-1": {"model": "nmc", "capacity": 2.5, "soc": 0.5},
            "cell-2": {"model": "lfp", "capacity": 2.5, "soc": 0.5},
        },
        "chambers": {"room": {"temperature": 23.5}},
        "instruments": {
            "aps1": aps("cell-1"),
            "aps2": aps("cell-2"),
            "pico": {
                "dialect": "palmsens",
                "listen": f"pty:{folder}/pico",
                "channels": {1: "cell-1"},
            },
            "mk-raw": chamber | {"listen": "modbus+rtu+tcp://127.0.0.1:0"},
            "mk-tcp": chamber | {"listen": "modbus+tcp://127.0.0.1:0"},
            "mk-serial": chamber | {"listen": f"modbus+rtu:{folder}/mk"},
        },
        "control": "tcp://127.0.0.1:0",
    }


def aps(cell: str) -> dict:
    options = {"sink": 1.0, "noise": 0}
    return {
        "dialect": "keysight_aps",
        "listen": "tcp://127.0.0.1:0",
        "channels": {1: cell},
        "options": options,
    }


class Client:
    """A plain socket with a line in and a line out."""

    def __init__(self, bench: RunningBench, name: str = "aps1") -> None:
        self.socket = socket.create_connection(bench.endpoint(name), PATIENCE_S)
        self.lines = self.socket.makefile("rb")

    def ask(self, message: bytes) -> bytes:
        self.send(message)
        return self.lines.readline()

    def send(self, message: bytes) -> None:
        self.socket.sendall(message + b"\n")

    def hears(self, seconds: float = SHORT_S) -> bytes:
        """What comes within some seconds; empty if nothing does."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(4096)
        except TimeoutError:
            return b""
        finally:
            self.socket.settimeout(PATIENCE_S)

    def close(self) -> None:
        self.lines.close()
        self.socket.close()


@pytest.fixture
def client(bench: RunningBench) -> Iterator[Client]:
    with closing(Client(bench)) as connected:
        yield connected


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def reachable(bench: RunningBench, name: str) -> bool:
    try:
        socket.create_connection(bench.endpoint(name), PATIENCE_S).close()
    except ConnectionRefusedError:
        return False
    return True


# Sockets --------------------------------------------------------------------------------------


def test_an_instrument_answers_on_its_printed_address(client):
    assert client.ask(b"*IDN?").startswith(b"Keysight Technologies,N6974A,")


def test_a_message_may_be_cut_anywhere(client):
    for byte in b"*OPC?\n":
        client.socket.sendall(bytes([byte]))
        time.sleep(0.002)
    assert client.lines.readline() == b"1\n"


def test_six_clients_are_served_and_a_seventh_is_sent_away(bench):
    clients = [Client(bench, "aps2") for _ in range(6)]
    try:
        assert all(c.ask(b"*OPC?") == b"1\n" for c in clients)
        with closing(Client(bench, "aps2")) as surplus:
            assert surplus.lines.read() == b""
    finally:
        for each in clients:
            each.close()


def test_a_box_for_one_client_lets_the_second_wait_for_the_first_to_leave(bench):
    request, reply = bytes.fromhex("01 03 10 04 00 02 81 0A"), b"\x01\x03\x04"
    first = socket.create_connection(bench.endpoint("mk-raw"), PATIENCE_S)
    first.sendall(request)
    assert first.recv(64).startswith(reply)
    with closing(Client(bench, "mk-raw")) as second:
        second.socket.sendall(request)
        assert second.hears() == b""
        first.close()
        assert second.hears(PATIENCE_S).startswith(reply)


# Faults on the wire ---------------------------------------------------------------------------


def test_a_silent_instrument_obeys_and_says_nothing(bench, client):
    bench.fault("aps1", "silence")
    client.send(b"VOLT:PROT 5;:VOLT:PROT?")
    assert client.hears() == b""
    bench.clear_faults()
    assert float(client.ask(b"VOLT:PROT?")) == pytest.approx(5.0, abs=2e-3)


def test_an_unplugged_instrument_does_not_even_hear(bench, client):
    client.ask(b"VOLT:PROT 6;:VOLT:PROT?")
    bench.fault("aps1", "unplugged")
    client.send(b"VOLT:PROT 7;:VOLT:PROT?")
    assert client.hears() == b""
    bench.clear_faults()
    assert float(client.ask(b"VOLT:PROT?")) == pytest.approx(6.0, abs=2e-3)


def test_a_late_reply_arrives_whole_in_front_of_the_next(bench, client):
    bench.fault("aps1", "late", delay=1.5, count=1)
    client.send(b"OUTP?")
    assert client.hears(0.1) == b""
    assert client.ask(b"FUNC?") == b"0\n"
    assert client.lines.readline() == b"VOLT\n"


def test_half_a_line_never_ends(bench, client):
    bench.fault("aps1", "half", count=1)
    client.send(b"FUNC?")
    assert client.hears(PATIENCE_S) == b"VO"
    assert client.hears() == b""


def test_garbage_is_no_reply(bench, client):
    bench.fault("aps1", "garbage", count=1)
    noise = client.ask(b"*IDN?")
    assert noise.endswith(b"\n")
    assert b"Keysight" not in noise


def test_a_slow_reply_comes_byte_by_byte(bench, client):
    bench.fault("aps1", "slow", bytes_per_s=20, count=1)
    client.send(b"FUNC?")
    pieces = [client.hears(PATIENCE_S) for _ in range(5)]
    assert pieces == [b"V", b"O", b"L", b"T", b"\n"]


def test_a_closed_connection_ends_in_order_and_a_new_one_is_served(bench, client):
    client.ask(b"*OPC?")
    bench.fault("aps1", "close")
    assert client.lines.read() == b""
    with closing(Client(bench)) as again:
        assert again.ask(b"*OPC?") == b"1\n"


def test_a_reset_connection_ends_with_rst(bench, client):
    client.ask(b"*OPC?")
    bench.fault("aps1", "reset")
    with pytest.raises(ConnectionResetError):
        client.lines.read()


def test_an_instrument_that_refuses_serves_who_is_there_and_comes_back(bench, client):
    client.ask(b"*OPC?")
    bench.fault("aps1", "refuse")
    until(lambda: not reachable(bench, "aps1"))
    assert client.ask(b"*OPC?") == b"1\n"
    bench.clear_faults()
    until(lambda: reachable(bench, "aps1"))


def test_a_fault_of_one_instrument_leaves_the_others_alone(bench):
    bench.fault("aps1", "silence")
    with closing(Client(bench, "aps2")) as other:
        assert other.ask(b"*OPC?") == b"1\n"


def test_a_stuck_reading_does_not_follow_the_cell(bench, client):
    bench.fault("aps1", "stuck", quantity="voltage_V")
    before = client.ask(b"MEAS:VOLT?")
    client.send(b"VOLT 4.1;:CURR:LIM 2;:OUTP 1")
    until(lambda: bench.state("cell-1")["current_A"] > 1.0)
    assert client.ask(b"MEAS:VOLT?") == before
    bench.clear_faults()
    assert client.ask(b"MEAS:VOLT?") != before
    client.ask(b"OUTP 0;*OPC?")


def test_an_ignored_off_shows_in_the_ledger_and_nowhere_else(bench, client):
    client.send(b"VOLT 4.1;:CURR:LIM 1;:OUTP 1")
    until(lambda: bench.ledger("cell-1")["on"])
    bench.fault("aps1", "ignored_off")
    client.ask(b"OUTP 0;*OPC?")
    assert bench.ledger("cell-1")["on"]
    bench.clear_faults()
    client.ask(b"OUTP 0;*OPC?")
    assert not bench.ledger("cell-1")["on"]


# Serial ports ---------------------------------------------------------------------------------


def open_port(path: Path) -> int:
    port = os.open(path, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(port)
    return port


def test_a_serial_port_is_a_tty_that_answers_and_does_not_echo(bench):
    port = open_port(bench.path("pico"))
    try:
        assert os.isatty(port)
        os.write(port, b"v\n")
        assert os.read(port, 64).startswith(b"v0")
    finally:
        os.close(port)


def test_an_unplugged_serial_port_is_gone_and_comes_back_under_its_name(bench):
    path = bench.path("pico")
    device = path.resolve()
    port = open_port(path)
    bench.fault("pico", "refuse")
    try:
        until(lambda: not path.exists())
        with pytest.raises(OSError, match="Input/output"):
            os.write(port, b"v\n")
    finally:
        os.close(port)
    bench.clear_faults()
    until(path.exists)
    assert device.parent == path.resolve().parent
    port = open_port(path)
    try:
        os.write(port, b"v\n")
        assert os.read(port, 64).startswith(b"v0")
    finally:
        os.close(port)


# Modbus, asked by a client of another make ----------------------------------------------------


def modbus_client(bench: RunningBench, name: str) -> ModbusTcpClient | ModbusSerialClient:
    if name == "mk-serial":
        return ModbusSerialClient(str(bench.path(name)), baudrate=9600, timeout=5, retries=0)
    host, port = bench.endpoint(name)
    framer = FramerType.RTU if name == "mk-raw" else FramerType.SOCKET
    return ModbusTcpClient(host, port=port, framer=framer, timeout=5, retries=0)


@pytest.mark.parametrize("name", ["mk-raw", "mk-tcp", "mk-serial"])
def test_pymodbus_reads_and_writes_through_every_framing(bench, name):
    with modbus_client(bench, name) as client:
        low, high = client.read_holding_registers(0x1004, count=2, device_id=1).registers
        value = client.convert_from_registers(
            [high, low], data_type=client.DATATYPE.FLOAT32, word_order="big"
        )
        assert value == pytest.approx(23.5, abs=0.5)
        assert not client.write_registers(0x114C, [0x0000, 0x41C8], device_id=1).isError()
        read = client.read_holding_registers(0x114C, count=2, device_id=1).registers
        assert read == [0x0000, 0x41C8]


@pytest.mark.parametrize("name", ["mk-raw", "mk-tcp", "mk-serial"])
def test_pymodbus_sees_the_exception_of_undefined_memory(bench, name):
    with modbus_client(bench, name) as client:
        assert client.read_holding_registers(0x2FFF, count=1, device_id=1).exception_code == 3


# The control socket ---------------------------------------------------------------------------


def test_edges_carry_stamps_that_other_processes_share(bench):
    with closing(Client(bench, "aps2")) as client:
        before = time.monotonic()
        client.send(b"FUNC CURR;:VOLT:LIM 3.6;:CURR 1;:OUTP 1")
        until(lambda: bench.ledger("cell-2")["on"])
        client.ask(b"OUTP 0;*OPC?")
        after = time.monotonic()
    edges = bench.ledger("cell-2")["edges"][-2:]
    assert [edge["on"] for edge in edges] == [True, False]
    assert before <= edges[0]["real_s"] <= edges[1]["real_s"] <= after
    assert [edge["by"] for edge in edges] == ["aps2/1"] * 2


def test_a_marked_limit_counts_what_flows_beyond_it(bench, client):
    before = bench.ledger("cell-1")["charged_Ah"]
    client.send(b"VOLT 4.1;:CURR:LIM 2;:OUTP 1")
    until(lambda: bench.ledger("cell-1")["charged_Ah"] > before)
    bench.mark("cell-1", "soon", "voltage_V", above=bench.state("cell-1")["voltage_V"] + 0.005)
    until(lambda: bench.ledger("cell-1")["marks"]["soon"]["charged_Ah"] > 0.0)
    client.ask(b"OUTP 0;*OPC?")
    mark = bench.ledger("cell-1")["marks"]["soon"]
    assert mark["crossed_real_s"] <= bench.ledger("cell-1")["edges"][-1]["real_s"]
    assert mark["charged_Ah"] < bench.ledger("cell-1")["charged_Ah"] - before


def test_the_tape_holds_what_passed_both_ways_with_stamps_that_other_processes_share(bench, client):
    began = time.monotonic()
    identity = client.ask(b"*IDN?").decode()
    (asked_at, *asked), (told_at, *told) = bench.tape("aps1", since=began)
    assert (asked, told) == (["heard", "*IDN?\n"], ["said", identity])
    assert began <= asked_at <= told_at <= time.monotonic()


def test_the_state_of_the_bench_can_be_set(bench):
    bench.ask("set", position="cell-2", temperature_degC=70.0)
    assert bench.state("cell-2")["temperature_degC"] > 60.0
    bench.ask("set", chamber="room", door_open=True)
    bench.ask("set", chamber="room", door_open=False)


def test_an_instrument_names_the_ledgers_of_its_cells(bench):
    assert set(bench.ask("ledger", instrument="aps1")["ledgers"]) == {"cell-1"}
    assert set(bench.ask("ledger")["ledgers"]) == {"cell-1", "cell-2"}


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"do": "dance"}, "must be one of"),
        ({"do": "state", "position": "cell-9"}, "'cell-9' is none of"),
        ({"do": "state"}, "position: is missing"),
        ({"do": "set", "position": "cell-1", "mass": 1}, "cannot be set"),
        ({"do": "set", "chamber": "room", "door_open": 1}, "must be a bool"),
        ({"do": "mark", "position": "cell-1", "quantity": "colour", "above": 1}, "quantity"),
        ({"do": "mark", "position": "cell-1", "quantity": "voltage_V"}, "below: is missing"),
        ({"do": "fault", "instrument": "pico", "kind": "fire"}, "unknown fault kind"),
        ({"do": "clear_faults", "instrument": "x"}, "'x' is none of"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_with_a_reason(bench, request_, why):
    verb = request_["do"]
    with pytest.raises(ValueError, match=why):
        bench.ask(verb, **{k: v for k, v in request_.items() if k != "do"})


# The process ----------------------------------------------------------------------------------


def start(path: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "simulators", str(path), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def small(folder: Path, **more: object) -> Path:
    """A bench file with one serial port."""
    content = {
        "cells": {"cell-1": {"model": "nmc", "capacity": 1.0}},
        "instruments": {
            "pico": {
                "dialect": "palmsens",
                "listen": f"pty:{folder}/deep/pico",
                "channels": {"1": "cell-1"},
            }
        },
    } | more
    path = folder / "bench.yaml"
    path.write_text(json.dumps(content).replace('"1": ', "1: "))
    return path


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_bench_with_ports_removed_and_ledgers_written(tmp_path, signum):
    book = tmp_path / "book.json"
    with start(small(tmp_path), "--ledger", str(book)) as process:
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert lines == [
            {"instrument": "pico", "address": f"pty:{tmp_path}/deep/pico"},
            {"ready": True},
        ]
        assert (tmp_path / "deep" / "pico").is_symlink()
        process.send_signal(signum)
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr.read() == ""
    assert not (tmp_path / "deep" / "pico").is_symlink()
    assert json.loads(book.read_text())["cell-1"]["charged_Ah"] == 0.0


def test_a_quit_on_the_control_socket_ends_the_bench(tmp_path):
    with running_bench(small(tmp_path, control="tcp://127.0.0.1:0")) as bench:
        bench.ask("quit")
        assert bench.process.wait(PATIENCE_S) == 0


def failure(path: Path) -> str:
    """The one line that a bench says which does not start."""
    with start(path) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 2
        assert out == ""
        assert err.count("\n") == 1
        return err


def test_a_wrong_file_is_one_line_with_file_and_key(tmp_path):
    path = small(tmp_path, clock={"factr": 3})
    assert failure(path) == f"error: {path}: clock.factr: unknown key; known: factor\n"


def test_a_missing_file_is_one_line(tmp_path):
    assert "cannot be read" in failure(tmp_path / "none.yaml")


def test_a_taken_address_is_one_line_and_leaves_nothing_behind(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = small(tmp_path)
        text = path.read_text().replace(
            '"pico": {', f'"aps": {json.dumps(aps("cell-1"))}, "pico": {{'
        )
        path.write_text(text.replace('"1": ', "1: ").replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        assert "instruments.aps.listen" in failure(path)
    assert not (tmp_path / "deep" / "pico").is_symlink()


def test_a_file_in_the_place_of_a_port_is_left_alone(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "pico").write_text("precious")
    assert "instruments.pico.listen" in failure(small(tmp_path))
    assert (tmp_path / "deep" / "pico").read_text() == "precious"


def test_the_control_socket_is_for_this_machine_only(tmp_path):
    assert "loopback" in failure(small(tmp_path, control="tcp://0.0.0.0:0"))


def test_a_bug_in_a_dialect_ends_the_bench_instead_of_half_of_it(tmp_path):
    bug = (
        "import sys; from simulators.__main__ import main;"
        "from simulators.palmsens import PalmSens;"
        "PalmSens.advance = lambda box: 1 / 0; sys.exit(main())"
    )
    command = [sys.executable, "-c", bug, str(small(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert not (tmp_path / "deep" / "pico").is_symlink()


def test_a_scripted_fault_strikes_by_itself(tmp_path):
    content = {
        "cells": {"cell-1": {"model": "nmc", "capacity": 1.0}},
        "instruments": {"aps1": aps("cell-1")},
        "faults": [{"instrument": "aps1", "at": 0.5, "kind": "reset"}],
    }
    with running_bench(content) as bench, closing(Client(bench)) as client:
        with pytest.raises(ConnectionResetError):
            client.lines.read()
