"""Which events of the inbox are meant: by id, type, time, status, and what went wrong."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tallystick.errors import InvalidRequestError


class EventStatus(StrEnum):
    """Where an event of the inbox stands."""

    PENDING = "pending"
    PROCESSED = "processed"
    IGNORED = "ignored"
    DEAD = "dead"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Selection:
    """Events that fit every part that is given. Times include ``…_after`` and exclude ``…_before``.

    ``types`` are shell patterns such as ``charge.*``, of which one must fit. ``created`` is Stripe's time of
    the event, ``received`` ours. ``error`` is a part of the error of one of its attempts, in any case.
    """

    ids: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    statuses: tuple[EventStatus, ...] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    received_after: datetime | None = None
    received_before: datetime | None = None
    error: str | None = None

    @property
    def everything(self) -> bool:
        """Whether nothing is given, so that every event fits."""
        return self == Selection()

    def as_json(self) -> dict[str, Any]:
        """The parts that are given, JSON-ready, for the record of a replay."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else _plain(value)
            for name, value in asdict(self).items()
            if value not in ((), None)
        }

    def where(self) -> tuple[str, dict[str, Any]]:
        """A condition on ``webhook_events e``, and its parameters."""
        parts = {
            "e.id = ANY(CAST(:ids AS text[]))": ("ids", list(self.ids) or None),
            "e.type ~ :types": ("types", type_regex(self.types) if self.types else None),
            "e.status = ANY(CAST(:statuses AS text[]))": ("statuses", list(self.statuses) or None),
            "e.created_at >= :created_after": ("created_after", self.created_after),
            "e.created_at < :created_before": ("created_before", self.created_before),
            "e.received_at >= :received_after": ("received_after", self.received_after),
            "e.received_at < :received_before": ("received_before", self.received_before),
            "EXISTS (SELECT 1 FROM event_attempts x WHERE x.event_id = e.id"
            " AND strpos(lower(x.error), lower(:error)) > 0)": ("error", self.error),
        }
        given = {condition: part for condition, part in parts.items() if part[1] is not None}
        return " AND ".join(given) or "true", dict(given.values())


def _plain(value: tuple[str, ...] | str) -> list[str] | str:
    return value if isinstance(value, str) else [str(each) for each in value]


def type_regex(patterns: tuple[str, ...]) -> str:
    """Shell patterns as one regular expression of PostgreSQL that the whole text must match.

    Raises InvalidRequestError for a set such as ``[z-a]``.
    """
    regex = f"^(?:{'|'.join(map(_regex, patterns))})$"
    try:
        re.compile(regex)
    except re.error as error:
        raise InvalidRequestError("The pattern cannot be read.", param="type") from error
    return regex


def _regex(pattern: str) -> str:
    def one(found: re.Match[str]) -> str:
        if found["set"]:
            return re.sub(r"^\[!", "[^", found["set"])
        return {"*": ".*", "?": "."}.get(found[0]) or re.escape(found[0])

    return re.sub(r"(?P<set>\[!?[\w.-]+\])|.", one, pattern, flags=re.DOTALL)
