"""The end of certificates: read from their bytes, told a month ahead."""

from __future__ import annotations

import shutil
import ssl
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.errors import DaqError, InputError
from daq.gateway.broker import Address
from daq.gateway.certificates import AHEAD_S, CAUSE, CertificateWatch, not_after
from daq.model import Reply
from tests.certificates import make_authority, make_certificate

DAY_S = 86400.0
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    make_authority(folder)
    make_certificate(folder, "long")
    make_certificate(folder, "short", days=20)
    make_certificate(folder, "century", days=40_000)  # beyond 2050 the time has another form
    return folder


@pytest.mark.parametrize(("name", "days"), [("long", 400), ("short", 20), ("century", 40_000)])
def test_the_end_is_what_openssl_wrote(folder, name, days):
    der = ssl.PEM_cert_to_DER_cert((folder / f"{name}.pem").read_text())
    assert not_after(der) == pytest.approx(time.time() + days * DAY_S, abs=600)
    for cut in range(0, 200, 7):
        with pytest.raises(InputError):
            not_after(der[:cut])


@given(st.binary(max_size=60))
def test_what_is_no_certificate_is_said_to_be_none(data):
    with pytest.raises(InputError, match="not a certificate"):
        not_after(data)


class Control:
    def __init__(self):
        self.reports = []
        self.there = True

    async def ask(self, command, timeout_s):
        if not self.there:
            raise DaqError("the daemon does not run")
        self.reports.append(dict(command.arguments))
        return Reply(command.id, "done")


@pytest.fixture
def control():
    return Control()


NOBODY = Address("127.0.0.1", 1, tls=True)


async def test_it_is_told_once_a_month_ahead_and_when_it_is_over(folder, control):
    files = {"our certificate": folder / "short.pem", "another": folder / "none.pem", "no": None}
    watch = CertificateWatch(ssl.create_default_context, files, control.ask)
    now = time.time()
    for _ in range(3):
        await watch.look(NOBODY, now)
    (told,) = control.reports
    assert told["cause"] == CAUSE
    assert "our certificate expires on" in told["message"]
    await watch.look(NOBODY, now + 21 * DAY_S)
    assert "our certificate has expired" in control.reports[-1]["message"]
    (folder / "short.pem").write_text((folder / "long.pem").read_text())  # somebody renewed it
    await watch.look(NOBODY, now)
    assert control.reports[-1]["over"] is True
    assert len(control.reports) == 3
    assert AHEAD_S == 30 * DAY_S


async def test_what_could_not_be_told_is_told_again(folder, control):
    make_certificate(folder, "short", days=20)
    watch = CertificateWatch(
        ssl.create_default_context, {"our certificate": folder / "short.pem"}, control.ask
    )
    control.there = False
    await watch.look(NOBODY, time.time())
    control.there = True
    await watch.look(NOBODY, time.time())
    assert len(control.reports) == 1


async def test_without_tls_there_is_nothing_to_look_at(control):
    await CertificateWatch(ssl.create_default_context, {}, control.ask).run(Address("h", 1))
    assert control.reports == []
