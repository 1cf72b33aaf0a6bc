"""What the inbox needs of an event, read from its raw bytes: of a snapshot, and of a thin one.

What the event means is the worker's affair: here only its envelope is looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson

from tallystick.errors import InvalidEventError, InvalidJsonError
from tallystick.stripe_gateway.fields import as_mapping, optional_time_field

_ID: Final = re.compile(r"[!-~]{1,255}")
_TYPE: Final = re.compile(r"[!-~]{1,255}")
_VERSION: Final = re.compile(r"[!-~]{1,64}")
_OF_PAYMENTS: Final = frozenset({"payment_intent", "charge", "refund", "dispute"})
_SNAPSHOT: Final = "event"
_THIN: Final = "v2.core.event"

FoundBy = Literal["delivery", "gap_audit"]


@dataclass(frozen=True, slots=True)
class IncomingEvent:
    """A Stripe event that is known to be Stripe's. ``body`` is byte for byte what was signed.

    ``found_by``: it was delivered to our endpoint, or the gap audit came upon it. ``about`` is the payment at
    Stripe that it seems to be about; once it is processed, its rule has the say.
    """

    id: str
    type: str
    api_version: str | None
    livemode: bool
    created_at: datetime
    body: bytes
    found_by: FoundBy = "delivery"
    about: str | None = None


def read_event(body: bytes, *, found_by: FoundBy = "delivery") -> IncomingEvent:
    """What the inbox needs of an event; raises InvalidJsonError and InvalidEventError."""
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidJsonError("The body is not JSON.") from error
    if not isinstance(event, dict) or event.get("object") not in (_SNAPSHOT, _THIN):
        raise InvalidEventError("The body is not a Stripe event.")
    version = event.get("api_version")
    return IncomingEvent(
        id=_matching(event, "id", _ID),
        type=_matching(event, "type", _TYPE),
        api_version=None if version is None else _matching(event, "api_version", _VERSION),
        livemode=event.get("livemode") is True,
        created_at=_created(event),
        body=body,
        found_by=found_by,
        about=_about(event),
    )


def _about(event: dict[str, Any]) -> str | None:
    """A PaymentIntent, or a charge without one. Nothing here may refuse an event."""
    data = event.get("data")
    about = data.get("object") if isinstance(data, dict) else None
    kind = about.get("object") if isinstance(about, dict) else None
    if not isinstance(about, dict) or not isinstance(kind, str) or kind not in _OF_PAYMENTS:
        return None
    named = [about.get("payment_intent"), about.get("charge"), about.get("id")]
    if kind == "payment_intent":
        named = named[2:]
    for each in named:
        found = each.get("id") if isinstance(each, dict) else each
        if isinstance(found, str) and _ID.fullmatch(found):
            return found
    return None


def _created(event: dict[str, Any]) -> datetime:
    """Unix seconds in a snapshot, RFC 3339 in a thin event."""
    created = event.get("created")
    if event["object"] == _THIN:
        try:
            moment = datetime.fromisoformat(created) if isinstance(created, str) else None
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise InvalidEventError("event.created is no time.", param="created")
        return moment
    seconds = optional_time_field(event, "created")
    if seconds is None and created is not None:
        raise InvalidEventError("event.created is no time in Unix seconds.", param="created")
    if seconds is None:  # not Stripe's doing: as old as its object, or as its arrival
        seconds = optional_time_field(as_mapping(as_mapping(event.get("data")).get("object")), "created")
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else datetime.now(UTC)


def _matching(event: dict[str, Any], name: str, shape: re.Pattern[str]) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not shape.fullmatch(value):
        raise InvalidEventError(f"event.{name} is missing, too long, or no plain text.", param=name)
    return value
