"""Certificates for tests, made with the openssl program: an authority, and what it signs."""

from __future__ import annotations

import subprocess
from pathlib import Path

_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


def openssl(folder: Path, words: str) -> None:
    subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)


def make_authority(folder: Path) -> None:
    """ca.pem and ca.key."""
    openssl(folder, f"req -x509 {_KEY} -keyout ca.key -out ca.pem -days 400 -subj /CN=authority")


def make_certificate(folder: Path, name: str, *, days: int = 400) -> None:
    """NAME.pem and NAME.key, signed by the authority, for 127.0.0.1 and the common name."""
    openssl(folder, f"req -new {_KEY} -keyout {name}.key -out {name}.csr -subj /CN={name}")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    signed = f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial"
    openssl(folder, f"{signed} -out {name}.pem -days {days} -extfile names")
    (folder / f"{name}.key").chmod(0o600)
