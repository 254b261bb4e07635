"""The whole daemon with registered cells and released protocols: what runs is what was meant."""

from __future__ import annotations

import json
import os
import signal
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import pytest

from daq import cli
from daq.model import EventKind
from tests.system.daemon import CHARGE, Daemon, on, running_daemon, wait_until
from tests.system.gateway_bench import require
from tests.system.test_automation import ACCESS, key_of, url_of

RESTS = "protocol: pause\nversion: {}\nrecord: {{every: 1 s}}\nsteps:\n  - rest: {}\n"


class Desk:
    """Types commands about the lab of a daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.folder = daemon.lab.parent

    def types(self, *words: str, code: int = 0, env: dict[str, str] | None = None) -> str:
        """One command line, in this process, which saves its start; what it says."""
        with chdir(self.folder), patch.dict(os.environ, env or {}):
            with StringIO() as out, StringIO() as err:
                with redirect_stdout(out), redirect_stderr(err):
                    found = cli.run(list(words))
                assert found == code, err.getvalue()
                return out.getvalue() or err.getvalue()

    def release(self, version: str, rest: str) -> None:
        path = self.folder / f"pause-{version}.yaml"
        path.write_text(RESTS.format(version, rest))
        self.types("protocol", "add", str(path))


def facts_of(daemon: Daemon, run: str) -> dict[str, Any]:
    """What the closed file of a run says."""
    path = daemon.data / "runs" / f"{run}.h5"
    wait_until(path.exists, "the recorder closed the file")
    with h5py.File(path) as file:
        return json.loads(file.attrs["metadata"])


def test_what_the_registry_knew_at_the_start_is_in_the_event_and_the_file_for_ever(tmp_path):
    with running_daemon(tmp_path, factor=500.0) as (_, daemon):
        desk = Desk(daemon)
        facts = ("supplier_lot=L2291", "positive.material=NMC622", "limits.voltage=2.6 V to 4.15 V")
        said = [word for fact in facts for word in ("-s", fact)]
        desk.types("batch", "add", "B7", "--capacity", "2.5 Ah", *said)
        desk.types("cell", "add", "C-1", "--batch", "B7", "-s", "positive.active_mass=14.1 g")
        run = daemon.run(RESTS.format("1.0.0", "2 h"), cell="C-1")
        desk.types("cell", "change", "C-1", "-s", "positive.active_mass=99 g", "--reason", "wrong")
        daemon.wait_for(mode="idle", run=None)
        metadata = facts_of(daemon, run)
        cell = metadata["battery_daq"]["cell"]
        assert cell["metadata"]["positive"] == {"material": "NMC622", "active_mass_g": 14.1}
        assert (cell["batch"], cell["limits"]["voltage_V"]) == ("B7", [2.6, 4.15])
        assert cell["origin"]["source"] == "registry"
        assert metadata["battery"]["cathode"]["name"] == "NMC622"
        (started,) = daemon.events(EventKind.RUN_STARTED)
        assert started.data["about_cell"] == cell
        texts = desk.types("cell", "show", "C-1", "--history", "--json")
        assert cell["origin"]["sha256"] == json.loads(texts)[0]["sha256"]
        shown = json.loads(desk.types("cell", "show", "C-1", "--json"))
        assert shown["metadata"]["positive"]["active_mass_g"] == 99.0
        assert shown["runs"] == [run]
        refused = daemon.call("start", text=CHARGE, name="t.yaml", cell="C-1")
        assert "4.15 V of cell C-1" in refused.reason  # the batch's limit is a tier


def test_an_unknown_cell_energises_nothing_and_an_unregistered_one_is_called_so(tmp_path):
    with running_daemon(tmp_path) as (bench, daemon):
        arguments = {"text": CHARGE, "name": "t.yaml", "cell": "C1"}
        refused = daemon.call("start", **arguments)
        assert refused.state == "refused"
        assert "did you mean 'c1'" in refused.reason
        assert daemon.station()["run"] is None
        assert not on(bench)
        refused = daemon.call("start", unregistered=True, **arguments)
        assert refused.state == "refused"
        assert not on(bench)
        run = daemon.run(CHARGE, cell="x2", unregistered=True, capacity="1.25 Ah")
        seen = daemon.energised(at_least_A=1.0)
        assert seen["current_A"] == pytest.approx(1.25, rel=0.02)  # 1C of what was said
        daemon.call("stop")
        assert facts_of(daemon, run)["battery_daq"]["cell"]["origin"] == {"source": "unregistered"}
        audited = [
            one.data for one in daemon.events(EventKind.COMMAND) if one.data["verb"] == "start"
        ]
        assert audited[-1]["asked"]["unregistered"] is True
        assert audited[-1]["asked"]["capacity"] == "1.25 Ah"


def test_a_cell_is_at_one_station_also_when_it_has_tripped_and_after_a_restart(tmp_path):
    def elsewhere() -> str:
        reply = daemon.call("start", "A2", text=CHARGE, name="t.yaml", cell="c1")
        assert reply.state == "refused"
        assert not on(bench, "cell-2")
        return reply.reason

    with running_daemon(tmp_path, stations=2, resume={"automatic": False}) as (bench, daemon):
        run = daemon.run(CHARGE, cell="c1")
        daemon.energised()
        wanted = f"cell c1 is being tested at A1, in run {run}"
        assert wanted in elsewhere()
        assert daemon.call("pause").state == "done"
        assert wanted in elsewhere()
        daemon.call("resume")
        daemon.energised()
        daemon.signal(signal.SIGKILL)
        daemon.process.wait(10.0)
        wait_until(lambda: not on(bench), "the sentinel switched off")
        daemon.start()
        assert daemon.station()["mode"] == "paused"
        assert wanted in elsewhere()
        assert Desk(daemon).types("cell", "list", "--json").count('"station": "A1"') == 1
        daemon.call("resume")
        daemon.energised()
        bench.fault("aps1", "offset", quantity="voltage_V", by=1.0)
        daemon.wait_for(mode="tripped")
        assert wanted in elsewhere()
        bench.clear_faults()
        daemon.stop()
        daemon.start()
        assert daemon.station()["mode"] == "tripped"
        assert wanted in elsewhere()
        assert daemon.call("stop").state == "done"  # now it is free, and the trip is A1's affair
        assert daemon.call("start", "A2", text=CHARGE, name="t.yaml", cell="c1").state == "done"


def test_a_run_keeps_its_version_whatever_is_rolled_out_also_after_a_crash(tmp_path):
    with running_daemon(tmp_path, stations=2) as (_, daemon):
        desk = Desk(daemon)
        desk.release("1.0.0", "12 h")
        desk.release("1.1.0", "10 h")
        desk.types("protocol", "rollout", "pause", "1.0.0")
        first = daemon.call("start", "A1", protocol="pause", cell="c1").data["run"]
        desk.types("protocol", "rollout", "pause", "1.1.0")
        assert daemon.station("A1")["version"] == "1.0.0"
        daemon.signal(signal.SIGKILL)
        daemon.process.wait(10.0)
        daemon.start()
        seen = daemon.station("A1")
        assert (seen["run"], seen["version"]) == (first, "1.0.0")
        assert seen["step_text"].startswith("rest 12 h")
        assert daemon.call("start", "A2", protocol="pause", cell="c2").state == "done"
        assert daemon.station("A2")["version"] == "1.1.0"
        started = daemon.events(EventKind.RUN_STARTED)
        assert [one.data["version"] for one in started] == ["1.0.0", "1.1.0"]
        assert all(one.data["released"]["who"].startswith("cli-") for one in started)


def test_over_mqtt_an_operator_starts_by_name_and_an_admin_rolls_out(tmp_path):
    require("mosquitto")
    with running_daemon(tmp_path, mqtt={"broker": "auto"}, access=ACCESS) as (_, daemon):
        desk, url = Desk(daemon), url_of(daemon, "auto")
        admin, operator = ({"DAQ_KEY_FILE": str(key_of(daemon, r))} for r in ("admin", "operator"))

        def daq(*words: str, env: dict[str, str], code: int = 0) -> str:
            return desk.types(*words, "--lab", "test", "--broker", url, env=env, code=code)

        path = Path(tmp_path / "pause.yaml")
        for version, rest in (("1.0.0", "12 h"), ("1.1.0", "10 h")):
            path.write_text(RESTS.format(version, rest))
            assert "is released" in daq("protocol", "add", str(path), env=admin)
        refused = daq("protocol", "rollout", "pause", "1.0.0", env=operator, code=4)
        assert "needs the role admin" in refused
        daq("protocol", "rollout", "pause", "1.0.0", env=admin)
        daq("protocol", "rollout", "pause", "1.1.0", "--stations", "A1", env=admin)
        assert "1.0.0" in daq("protocol", "rollback", "pause", env=operator)
        assert '"A1": "1.0.0"' in daq("protocol", "list", "--json", env=operator)
        daq("start", "A1", "pause", "--cell", "c1", env=operator)
        assert daemon.station()["version"] == "1.0.0"
        refused = daq("start", "A1", "pause", "--cell", "c9", env=operator, code=4)
        assert "runs at A1" in refused
        daemon.call("stop")
        words = ("start", "A1", "pause", "--cell", "c9", "--unregistered", "--capacity", "1 Ah")
        daq(*words, env=operator)
        assert daemon.station()["cell"] == "c9"
