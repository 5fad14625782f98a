"""Signed webhooks, as the Standard Webhooks specification has them, so that receivers find libraries for it.

`webhook-id` names the message, the same at each attempt; `webhook-timestamp` is the second in which this attempt left;
`webhook-signature` is `v1,` and the base 64 of HMAC-SHA256 over `id.timestamp.body` with the connection's key. A receiver checks the
signature, refuses timestamps that are old, and remembers ids. A key written `whsec_` + base 64 is the bytes behind it, any other its
UTF-8 bytes.

It refuses to be: a transport. It makes headers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

_MARK = "whsec_"


def signed_headers(key: str, message_id: str, at_ms: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt."""
    seconds = at_ms // 1000
    return {"webhook-id": message_id, "webhook-timestamp": str(seconds), "webhook-signature": signature(key, message_id, seconds, body)}


def signature(key: str, message_id: str, seconds: int, body: bytes) -> str:
    """`v1,` and the base 64 of the HMAC-SHA256."""
    signed = f"{message_id}.{seconds}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key_bytes(key), signed, hashlib.sha256).digest()).decode()


def key_bytes(key: str) -> bytes:
    """The bytes that a key's text stands for."""
    if key.startswith(_MARK):
        try:
            return base64.b64decode(key.removeprefix(_MARK), validate=True)
        except binascii.Error:
            return key.encode()
    return key.encode()
