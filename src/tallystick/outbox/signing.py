"""What goes over the wire: a notice as JSON, signed as Standard Webhooks has it. Pure."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from standardwebhooks import Webhook

PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32


def new_secret() -> str:
    """A fresh signing secret, ``whsec_`` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def notice_id(notice_key: str) -> str:
    """The id of a notice: of its key alone.

    So it is the same in every delivery and attempt, and also when the notice is staged anew in a database
    that was restored from a backup; no other notice ever gets it.
    """
    return f"ntc_{hashlib.sha256(notice_key.encode()).hexdigest()[:32]}"


def payload(message_id: str, notice_type: str, created_at: datetime, data: Mapping[str, Any]) -> str:
    """The body of a notice."""
    body = {"id": message_id, "type": notice_type, "created_at": created_at, "data": dict(data)}
    return orjson.dumps(body, option=orjson.OPT_UTC_Z).decode()


def signed_headers(
    message_id: str, body: str, signing_secrets: Sequence[str], at: datetime
) -> dict[str, str]:
    """The headers of an attempt at ``at`` (UTC), with a signature by each secret."""
    signatures = [Webhook(secret).sign(message_id, at, body) for secret in signing_secrets]
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.astimezone(UTC).timestamp())),
        "webhook-signature": " ".join(signatures),
    }
