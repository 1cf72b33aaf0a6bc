"""Thin events: they name what happened, and the rest is fetched. Pure.

An event destination of Stripe's can send them instead of snapshots
(https://docs.stripe.com/webhooks#thin-events). A thin event about an object of API v1 is called ``v1.`` and
the snapshot's type. Where it names its snapshot, that is what is fetched, else the object as it stands: our
rules read states, so a later state than the event's is as good.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from tallystick.errors import PayloadError
from tallystick.events.spec import Event, Facts, Question
from tallystick.stripe_gateway.fields import JsonObject

SNAPSHOT: Final = "event"
"""A question for an event by its id."""
OBJECT: Final = "object"
"""A question for what a path of Stripe's API shows; ``EVENT@PATH``, so that each event asks for itself."""

_THIN: Final = "v2.core.event"
_PREFIX: Final = "v1."


def snapshot_type(event_type: str) -> str:
    """The type that EVENTS knows: a thin event's without its prefix, any other as it is."""
    return event_type.removeprefix(_PREFIX)


def is_thin(body: JsonObject) -> bool:
    """Whether this is a thin event."""
    return body.get("object") == _THIN


def resolve(body: JsonObject, facts: Facts) -> Event | Question:
    """The event that a thin one stands for, or what has to be fetched first.

    Raises PayloadError for one that names nothing, and for one whose object Stripe does not know any more.
    """
    question = _question(body)
    if question not in facts:
        return question
    found = facts[question]
    if found is None:
        raise PayloadError("Stripe no longer knows what the thin event is about.", param="related_object")
    if question.kind == SNAPSHOT:
        return Event.read(found)
    return Event.about(
        found,
        id=str(body.get("id")),
        type=snapshot_type(str(body.get("type"))),
        created=_seconds(body.get("created")),
        api_version=None,
    )


def _question(body: JsonObject) -> Question:
    snapshot = body.get("snapshot_event")
    if isinstance(snapshot, str) and snapshot:
        return Question(SNAPSHOT, snapshot)
    related = body.get("related_object")
    url = related.get("url") if isinstance(related, Mapping) else None
    if not isinstance(url, str) or not url.startswith("/v1/"):
        raise PayloadError("The thin event names no object of API v1.", param="related_object")
    return Question(OBJECT, f"{body.get('id')}@{url}")


def _seconds(created: object) -> int:
    try:
        return int(datetime.fromisoformat(str(created)).timestamp())
    except (ValueError, OverflowError) as error:
        raise PayloadError("event.created is no time.", param="created") from error
