"""Kinds of fields that the forms of several pages have."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, PlainSerializer

from tallystick.api.event_bodies import Words
from tallystick.api.values import Moment
from tallystick.console.formats import for_input

PAGE: Final = 50
"""Rows of a list."""

Cursor = Annotated[str | None, Field(max_length=600)]
Reason = Words


def in_utc(value: Any) -> Any:
    """What ``<input type=datetime-local>`` sends has no offset: on our pages it is UTC."""
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


Time = Annotated[Moment, BeforeValidator(in_utc), PlainSerializer(for_input)]
"""A moment in UTC, as ``2026-11-24T08:30``."""
