"""Times as options: an instant, a day, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

_AGO: Final = re.compile(r"(?P<number>\d{1,6})(?P<unit>[smhd])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_moment(text: str) -> datetime:
    """``2026-11-24``, ``2026-11-24T08:30:00Z``, or an age such as ``90m``, ``12h`` or ``3d``; UTC."""
    if found := _AGO.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{_UNITS[found["unit"]]: int(found["number"])})
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text!r} is no time such as 2026-11-24T08:30:00Z or 12h") from error


Moment = Annotated[datetime | None, typer.Option(parser=parse_moment, metavar="TIME")]
