"""How long the certificates of the way to the broker are good, told a month before they are not."""

from __future__ import annotations

import asyncio
import ssl
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from daq.errors import DaqError, InputError
from daq.gateway.broker import Address
from daq.logs import get_logger
from daq.model import Command, Reply

AHEAD_S = 30 * 86400.0
LOOK_S = 6 * 3600.0
ANSWER_S = 10.0
CAUSE = "certificate-expiring"
_SEQUENCE, _UTC_TIME, _VERSION = 0x30, 0x17, 0xA0  # tags of X.690 and of RFC 5280, 4.1
_FORMS = {_UTC_TIME: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}

log = get_logger()
Ask = Callable[[Command, float], Awaitable[Reply]]


class CertificateWatch:
    """Looks now and then, and reports to control, which makes an alarm of it.

    Args:
        context: makes the TLS settings of a connection; None: there is no TLS.
        files: our own certificates, by what they are.
    """

    def __init__(
        self, context: Callable[[], ssl.SSLContext], files: dict[str, Path | None], ask: Ask
    ) -> None:
        self._context = context
        self._files = files
        self._ask = ask
        self._told = ""

    async def run(self, address: Address) -> None:
        """Look until cancelled."""
        while address.tls:
            await self.look(address, time.time())
            await asyncio.sleep(LOOK_S)

    async def look(self, address: Address, now_utc_s: float) -> None:
        """Look once, and report what has changed."""
        ends = {what: _end_of(path) for what, path in self._files.items() if path}
        ends["the broker's certificate"] = await self._end_of_brokers(address)
        said = "; ".join(_soon(ends, now_utc_s))
        if said != self._told:
            await self._report(said)

    async def _end_of_brokers(self, address: Address) -> float | None:
        try:
            async with asyncio.timeout(ANSWER_S):
                _, writer = await asyncio.open_connection(
                    address.host, address.port, ssl=self._context()
                )
                found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
                writer.close()
        except OSError:
            return None  # who cannot connect is told so by others
        return not_after(found) if found else None

    async def _report(self, message: str) -> None:
        arguments = {"cause": CAUSE, "message": message} if message else {"cause": CAUSE}
        report = Command(
            "report", uuid.uuid4().hex, "gateway", arguments=arguments | {"over": not message}
        )
        log.warning("certificates", said=message or "all good for a month")
        try:
            self._told = message if (await self._ask(report, ANSWER_S)).state == "done" else ""
        except DaqError:
            self._told = ""  # tell it again next time


def _end_of(path: Path) -> float | None:
    try:
        return not_after(ssl.PEM_cert_to_DER_cert(_first(path.read_text())))
    except (OSError, ValueError, InputError):
        return None  # who cannot be loaded is told of when it is


def _first(pem: str) -> str:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    at = pem.index(begin)
    return pem[at : pem.index(end, at) + len(end)]


def _soon(ends: dict[str, float | None], now_utc_s: float) -> Iterator[str]:
    for what, end in ends.items():
        if end is None or end - now_utc_s > AHEAD_S:
            continue
        day = datetime.fromtimestamp(end, timezone.utc).date()  # noqa: UP017 - as typeshed has it
        yield f"{what} {'has expired' if end <= now_utc_s else 'expires'} on {day}"


def not_after(certificate: bytes) -> float:
    """The end of a certificate's validity, Unix seconds.

    Args:
        certificate: as DER. Certificate > tbsCertificate > [version] serial algorithm issuer
            validity > notBefore notAfter (RFC 5280, 4.1).

    Raises:
        InputError: it is none.
    """
    try:
        _, body, _ = _element(certificate)
        _, rest, _ = _element(body)
        tag, _, after = _element(rest)
        rest = after if tag == _VERSION else rest
        for _ in range(3):
            _, _, rest = _element(rest)
        tag, validity, _ = _element(rest)
        if tag != _SEQUENCE:
            raise ValueError("no validity")
        _, _, rest = _element(validity)
        tag, text, _ = _element(rest)
        moment = datetime.strptime(text.decode(), _FORMS[tag]).replace(tzinfo=timezone.utc)  # noqa: UP017
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(f"not a certificate: {error}") from error
    return moment.timestamp()


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content, and what follows the first element of DER."""
    length, at = data[1], 2
    if length >= 0x80:
        at += length & 0x7F
        length = int.from_bytes(data[2:at], "big")
    if at + length > len(data):
        raise ValueError("it is cut off")
    return data[0], data[at : at + length], data[at + length :]
