r"""The signature of a command: HMAC-SHA256 over the topic and the very text that was signed.

    {"client": "scheduler-1", "signed": "{\"id\": …}", "signature": "64 hex digits"}

    signature = HMAC-SHA256(key, topic + "\n" + signed)        all as UTF-8

The command travels as a text inside the message, so that there is nothing to agree on about
spaces, the order of keys, or how a number is written; and the daemon looks into the text only
after the signature fits. The topic is `daq/<lab>/cmd/<verb>`: a stop signed for one lab is
nothing in another, and nothing as a start.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any


def sign(secret: bytes, topic: str, text: str) -> str:
    """The signature, in hex digits."""
    return hmac.new(secret, f"{topic}\n{text}".encode(), hashlib.sha256).hexdigest()


def fits(secret: bytes, topic: str, text: str, signature: str) -> bool:
    """Whether a signature is the right one; takes as long for a wrong one."""
    try:
        right = sign(secret, topic, text)
    except UnicodeEncodeError:  # half a surrogate pair: nobody can have signed that
        return False
    return hmac.compare_digest(right.encode(), signature.encode())


def seal(client: str, secret: bytes, topic: str, message: Mapping[str, Any]) -> bytes:
    """A command as it is published, signed."""
    text = json.dumps(message)
    sealed = {"client": client, "signed": text, "signature": sign(secret, topic, text)}
    return json.dumps(sealed).encode()
