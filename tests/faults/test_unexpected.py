"""What nobody expected: an exception in a task of the event loop, and no descriptor left."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import time
from types import SimpleNamespace

import pytest

from daq.control.alarms import Cause
from daq.control.supervisor import Supervisor
from tests.faults.control import charging
from tests.system.daemon import on


@pytest.mark.fault("F45")
async def test_an_exception_in_the_supervisor_itself_ends_with_everything_off(tmp_path):
    order = []

    async def fail():
        raise RuntimeError("a bug")

    async def go_down():
        order.append("everything off")
        return True

    daemon = Supervisor.__new__(Supervisor)
    daemon.__dict__.update(
        _stopping=asyncio.Event(),
        _server=SimpleNamespace(start=lambda: asyncio.sleep(0)),
        _bench=SimpleNamespace(stations={}),
        _lab=SimpleNamespace(name="test"),
        _come_up=lambda: None,
        _watch=fail,
        _go_down=go_down,
    )
    with pytest.raises(RuntimeError, match="a bug"):
        await daemon.run()
    assert order == ["everything off"]


@pytest.mark.fault("F45")
async def test_an_exception_in_any_other_task_is_told_and_never_silent():
    told = []
    daemon = Supervisor.__new__(Supervisor)
    daemon.__dict__["_alarms"] = SimpleNamespace(
        raise_=lambda cause, message, **about: told.append((cause, message))
    )
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(daemon._unexpected)

    async def fail():
        raise RuntimeError("a bug in a task")

    task = loop.create_task(fail())
    await asyncio.sleep(0.01)
    del task
    gc.collect()
    loop.set_exception_handler(before)
    ((cause, message),) = told
    assert cause is Cause.UNEXPECTED_ERROR
    assert "RuntimeError: a bug in a task" in message


@pytest.mark.fault("F47")
def test_with_no_descriptor_left_what_runs_goes_on_and_a_lost_link_is_safe(tmp_path, figure):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with charging(tmp_path, "keysight_aps") as control:
        charged = control.bench.ledger("cell-1")["charged_Ah"]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # what is open stays open
            with pytest.raises(OSError, match="Too many open files"):
                os.open("/dev/null", os.O_RDONLY)
            time.sleep(1.0)
            assert on(control.bench)
            assert control.bench.ledger("cell-1")["charged_Ah"] > charged
            struck = time.monotonic()
            control.bench.fault("aps1", "reset")  # it cannot be opened again
            control.until(lambda: not on(control.bench), "OFF by the instrument's own watchdog")
            control.until(lambda: control.station.latch, "it trips")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        figure(
            "link lost with no descriptor left, to OFF", control.edges[-1]["real_s"] - struck, "s"
        )
        assert control.edges[-1]["real_s"] - struck < 5.0
        assert control.faults  # and it was told
        control.until(lambda: not control.station.output.owed, "OFF is verified when it can be")
