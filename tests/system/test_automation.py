"""The whole daemon obeyed from afar: a plain paho-mqtt script, and `daq --broker`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from daq.gateway.broker import find_mosquitto
from daq.model import EventKind
from tests.system.daemon import CHARGE, SHORT, Daemon, on, running_daemon, wait_until
from tests.system.gateway_bench import require

ACCESS = {"keys_file": "keys.yaml"}
SCRIPT = Path(__file__).parents[2] / "docs/examples/run_over_mqtt.py"


@pytest.fixture(params=["auto", "embedded"])
def broker(request) -> str:
    """The broker of the lab file: `auto` must mean mosquitto where it is installed."""
    if request.param == "auto":
        require("mosquitto")
    return request.param


def url_of(daemon: Daemon, broker: str) -> str:
    path = daemon.data / "broker.json"
    found = wait_until(lambda: path.exists() and json.loads(path.read_text()), "a broker")
    assert found["kind"] == ("mosquitto" if broker == "auto" and find_mosquitto() else "embedded")
    return found["url"]


def key_of(daemon: Daemon, role: str = "operator") -> Path:
    """A key for a client, made while the daemon runs."""
    path = daemon.lab.parent / f"{role}-1.key"
    words = ["key", "add", f"{role}-1", "--role", role, "--out", str(path)]
    subprocess.run(
        [sys.executable, "-m", "daq.cli", *words, "--lab", str(daemon.lab)], check=True, timeout=60
    )
    return path


def script(url: str, *arguments: str, key: Path | None = None) -> subprocess.Popen[str]:
    signed = ["--key", str(key)] if key else []
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), url, "test", *arguments, *signed],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def written(folder: Path, text: str) -> str:
    path = folder / "protocol.yaml"
    path.write_text(text)
    return str(path)


def test_a_script_starts_a_run_and_waits_for_its_end(tmp_path, broker):
    with running_daemon(tmp_path, factor=500.0, mqtt={"broker": broker}, access=ACCESS) as (
        bench,
        daemon,
    ):
        url = url_of(daemon, broker)
        running = script(url, "A1", written(tmp_path, SHORT), "c1", key=key_of(daemon))
        output, _ = running.communicate(timeout=100)
        assert running.returncode == 0, output
        assert daemon.events(EventKind.RUN_ENDED)[-1].data["outcome"] == "completed"
        assert not on(bench)


def test_a_script_that_is_interrupted_stops_its_run(tmp_path, broker):
    with running_daemon(tmp_path, mqtt={"broker": broker}, access=ACCESS) as (bench, daemon):
        url, key = url_of(daemon, broker), key_of(daemon)
        running = script(url, "A1", written(tmp_path, CHARGE), "c1", key=key)
        daemon.energised()
        assert running.stdout is not None
        assert running.stdout.readline()  # it knows its run; before, there is nothing to stop
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=60)
        assert running.returncode == 1, output
        assert daemon.events(EventKind.RUN_ENDED)[-1].data["outcome"] == "stopped"
        assert not on(bench)


def test_a_script_stops_what_another_started(tmp_path, broker):
    with running_daemon(tmp_path, mqtt={"broker": broker}, access=ACCESS) as (bench, daemon):
        url = url_of(daemon, broker)
        daemon.run(CHARGE)
        daemon.energised()
        running = script(url, "A1", "--stop")
        output, _ = running.communicate(timeout=60)
        assert running.returncode == 0, output
        assert not on(bench)


def test_the_command_line_does_the_same_from_another_machine(tmp_path, broker):
    def daq(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "daq.cli", *arguments, "--lab", "test", "--broker", url],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env=os.environ | {"DAQ_KEY_FILE": str(key)},
        )

    with running_daemon(tmp_path, mqtt={"broker": broker}, access=ACCESS) as (bench, daemon):
        url, key = url_of(daemon, broker), key_of(daemon)
        done = daq("start", "A1", written(tmp_path, CHARGE), "--cell", "c1", "--json")
        assert done.returncode == 0, done.stderr
        daemon.energised()
        status = json.loads(daq("status", "--json").stdout)
        assert status["stations"]["A1"]["run"] == json.loads(done.stdout)["run"]
        refused = daq("start", "A1", written(tmp_path, CHARGE), "--cell", "c1")
        assert refused.returncode == 4
        assert "runs at A1" in refused.stderr
        assert daq("stop", "A1").returncode == 0
        assert not on(bench)


@pytest.mark.fault("F76")
def test_who_has_no_key_or_the_wrong_role_may_only_look_and_switch_off(tmp_path):
    require("mosquitto")
    with running_daemon(tmp_path, mqtt={"broker": "auto"}, access=ACCESS) as (bench, daemon):
        url = url_of(daemon, "auto")
        protocol = written(tmp_path, CHARGE)
        for key in (None, key_of(daemon, "viewer")):
            refused = script(url, "A1", protocol, "c1", key=key)
            output, _ = refused.communicate(timeout=60)
            assert refused.returncode == 2, output
            assert "needs the role operator" in output
        daemon.run(CHARGE)
        daemon.energised()
        stopped = script(url, "A1", "--stop", key=key_of(daemon, "admin"))
        output, _ = stopped.communicate(timeout=60)
        assert stopped.returncode == 0, output
        assert not on(bench)
        refusals = wait_until(lambda: daemon.events(EventKind.REFUSED)[1:], "both in the journal")
        assert refusals[-1].data["client"] == "viewer-1"
