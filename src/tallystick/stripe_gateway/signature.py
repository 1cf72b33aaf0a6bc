"""Stripe's webhook signatures: HMAC-SHA256 over the raw bytes of the body. Pure.

The header is ``t=UNIX,v1=HEX[,v1=HEX…][,v0=…]``; what is signed is ``{t}.`` and the body. Only ``v1`` counts:
``v0`` is a test scheme that Stripe tells receivers to ignore, and honouring it would be a downgrade.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

from tallystick.errors import SignatureError, SignatureExpiredError

_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_SHA256_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LONGEST_HEADER: Final = 4096
_MOST_SIGNATURES: Final = 16
"""Stripe sends one, two during a rotation. The limits keep an unsigned request cheap."""


def sign(body: bytes, secret: str, at: int) -> str:
    """The ``Stripe-Signature`` header for ``body`` at ``at`` (Unix seconds)."""
    return f"t={at},v1={_digest(body, secret, str(at))}"


def verify(body: bytes, header: str | None, secrets: Sequence[str], *, tolerance_s: int, now: float) -> int:
    """Check that one of ``secrets`` signed these bytes; returns the signature's time in Unix seconds.

    ``now`` is in Unix seconds; the signature may be ``tolerance_s`` older or ahead of it, so that a captured
    request cannot be kept and sent later. Raises SignatureError when the header is missing, malformed or
    matches no secret, and SignatureExpiredError when it matches but its time is outside the tolerance.
    """
    timestamp, candidates = _read(header)
    genuine = False
    for secret in secrets:
        expected = _digest(body, secret, timestamp)
        for candidate in candidates:
            # No early exit: the time taken does not tell which secret or signature was right.
            genuine |= hmac.compare_digest(expected, candidate)
    if not genuine:
        raise SignatureError("No v1 signature in Stripe-Signature matches a secret of this endpoint.")
    at = int(timestamp)
    if abs(now - at) > tolerance_s:
        raise SignatureExpiredError(
            f"The signature's timestamp is more than {tolerance_s} seconds away from our clock."
        )
    return at


def _digest(body: bytes, secret: str, timestamp: str) -> str:
    signed = hmac.new(secret.encode(), timestamp.encode() + b".", hashlib.sha256)
    signed.update(body)
    return signed.hexdigest()


def _read(header: str | None) -> tuple[str, list[str]]:
    """Timestamp and v1 signatures of a header; raises SignatureError."""
    if not header:
        raise SignatureError("The Stripe-Signature header is missing.")
    if len(header) > _LONGEST_HEADER:
        raise SignatureError("The Stripe-Signature header is too long.")
    parts = [part.strip().partition("=") for part in header.split(",")]
    timestamps = [value for name, _, value in parts if name == "t"]
    signatures = [value for name, _, value in parts if name == "v1" and _SHA256_HEX.fullmatch(value)]
    if len(timestamps) != 1 or not _TIMESTAMP.fullmatch(timestamps[0]):
        raise SignatureError("The Stripe-Signature header carries no single timestamp.")
    if not signatures:
        raise SignatureError("The Stripe-Signature header carries no v1 signature.")
    if len(signatures) > _MOST_SIGNATURES:
        raise SignatureError("The Stripe-Signature header carries too many signatures.")
    return timestamps[0], signatures
