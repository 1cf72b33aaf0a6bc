"""Cursors of listings: opaque to callers, the sort key of a page's last row to us."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Final

from tallystick.errors import InvalidRequestError

NO_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""In the cursors of listings that are in no order of time."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def cursor_at(moment: datetime, row_id: str) -> str:
    """The cursor behind a row of a listing that is sorted by a time and an id."""
    microseconds = (moment - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"{microseconds}.{row_id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """What ``cursor_at`` was given; raises InvalidRequestError for any other text."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
        microseconds, _, row_id = text.partition(".")
        moment = _EPOCH + timedelta(microseconds=int(microseconds))
    except (ValueError, OverflowError) as error:
        raise _not_ours() from error
    if not row_id or not row_id.isprintable():
        raise _not_ours()
    return moment, row_id


def _not_ours() -> InvalidRequestError:
    return InvalidRequestError("The cursor is not one that a list gave.", param="cursor")
