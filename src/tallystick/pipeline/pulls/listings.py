"""Keeps in step with a list of Stripe's, by windows of time that overlap.

A list is read window by window, each beginning well before the last one's end, since a row can appear after
its ``created``. Where a window stands (its bounds and the cursor in it) is stored: what an outage, a crash or
a rate limit cut short is taken up where it stood, by whichever worker is there, and after an outage of any
length the next window reaches back to the last one's end. One worker at a time reads a list; a lease that it
renews with every page says which.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.db.session import autocommit
from tallystick.errors import StripeRefusedError

log = structlog.get_logger(__name__)

_LEASE: Final = timedelta(seconds=30)

_TAKE: Final = text("""
INSERT INTO stripe_listings AS l (name, since, until, lease, leased_until, started_at)
VALUES (
  :name, now() - CAST(:first AS interval), now() - CAST(:lag AS interval), :lease,
  now() + CAST(:lease_for AS interval), now()
)
ON CONFLICT (name) DO UPDATE SET
  since = CASE WHEN l.until IS NULL THEN l.through - CAST(:reach AS interval) ELSE l.since END,
  until = coalesce(l.until, excluded.until),
  seen = CASE WHEN l.until IS NULL THEN 0 ELSE l.seen END,
  found = CASE WHEN l.until IS NULL THEN 0 ELSE l.found END,
  started_at = CASE WHEN l.until IS NULL THEN now() ELSE l.started_at END,
  lease = excluded.lease,
  leased_until = excluded.leased_until
WHERE (l.leased_until IS NULL OR l.leased_until < now())
  AND (l.until IS NOT NULL OR l.finished_at + CAST(:every AS interval) <= now())
RETURNING since, until, cursor
""")

_TURN_PAGE: Final = text("""
UPDATE stripe_listings
   SET cursor = :cursor, seen = seen + :seen, found = found + :found, found_in_all = found_in_all + :found,
       leased_until = now() + CAST(:lease_for AS interval)
 WHERE name = :name AND lease = :lease
RETURNING name
""")

_CLOSE: Final = text("""
UPDATE stripe_listings
   SET through = until, since = NULL, until = NULL, cursor = NULL, lease = NULL, leased_until = NULL,
       finished_at = now()
 WHERE name = :name AND lease = :lease
RETURNING seen, found
""")

_LET_GO: Final = text("""
UPDATE stripe_listings SET lease = NULL, leased_until = NULL WHERE name = :name AND lease = :lease
""")

# A window in hand ends with nothing lost: what lay before its cursor is read again.
_AT_ONCE: Final = text("""
UPDATE stripe_listings
   SET through = least(through, since, CAST(:since AS timestamptz)),
       since = NULL, until = NULL, cursor = NULL, lease = NULL, leased_until = NULL, finished_at = '-infinity'
 WHERE name = :name AND through IS NOT NULL
""")

# As if everything before had been read: the next window begins there, less its reach.
_BEGIN: Final = text("""
INSERT INTO stripe_listings AS l (name, through, started_at, finished_at)
VALUES (:name, CAST(:since AS timestamptz), now(), '-infinity')
ON CONFLICT (name) DO UPDATE SET
  through = least(l.through, l.since, excluded.through), since = NULL, until = NULL, cursor = NULL,
  lease = NULL, leased_until = NULL, finished_at = '-infinity'
""")

_STANDING: Final = text("""
SELECT name, through, since, until, seen, found, found_in_all, started_at, finished_at
  FROM stripe_listings ORDER BY name
""")


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of Stripe's that is read ``every`` so often.

    A window ends ``lag`` before now, and begins ``reach`` before the end of the one before it; the very
    first reaches back to ``first``.
    """

    name: str
    every: timedelta
    reach: timedelta
    first: timedelta
    lag: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Window:
    """Where a list is being read: ``since`` ≤ created < ``until``, newest first, after ``cursor``."""

    since: datetime
    until: datetime
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a window came to: rows seen, and how many of them were not known yet."""

    seen: int
    found: int


ReadPage = Callable[[Window], Awaitable[Mapping[str, Any]]]
TakeRows = Callable[[Sequence[Mapping[str, Any]]], Awaitable[int]]


async def pull(engine: AsyncEngine, listing: Listing, page: ReadPage, take: TakeRows) -> Pulled | None:
    """Read the window that is due to its end; None when none is due, or another worker is at it.

    ``page`` asks Stripe for a page of a window; ``take`` stores its rows, and says how many were new. Raises
    what they raise; the next call goes on after the last page that was taken.
    """
    held = {"name": listing.name, "lease": secrets.token_hex(8)}
    window = await _take(engine, listing, held)
    if window is None:
        return None
    try:
        return await _read(engine, held, window, page, take)
    except BaseException:
        with suppress(SQLAlchemyError, OSError, TimeoutError):  # then it ends by itself
            async with autocommit(engine) as connection:
                await connection.execute(_LET_GO, held)
        raise


async def standing(connection: AsyncConnection) -> list[dict[str, Any]]:
    """How far each list is read (``through``), and what the present window, or else the last, has come to."""
    return [dict(row) for row in (await connection.execute(_STANDING)).mappings()]


async def read_at_once(connection: AsyncConnection, name: str, *, since: datetime | None = None) -> None:
    """Make a list's next window due now, and have it begin at ``since``, if that is given and earlier."""
    await connection.execute(_AT_ONCE, {"name": name, "since": since})


async def begin_at(connection: AsyncConnection, name: str, since: datetime) -> None:
    """Have a list read from ``since`` on, whether or not it was ever read; at once."""
    await connection.execute(_BEGIN, {"name": name, "since": since})


async def _take(engine: AsyncEngine, listing: Listing, held: Mapping[str, str]) -> Window | None:
    parameters = {
        **held,
        "first": max(listing.first, listing.lag),
        "lag": listing.lag,
        "reach": listing.reach,
        "every": listing.every,
        "lease_for": _LEASE,
    }
    async with autocommit(engine) as connection:
        row = (await connection.execute(_TAKE, parameters)).first()
    return None if row is None else Window(row.since, row.until, row.cursor)


async def _read(
    engine: AsyncEngine, held: Mapping[str, str], window: Window, page: ReadPage, take: TakeRows
) -> Pulled | None:
    while True:
        try:
            body = await page(window)
        except StripeRefusedError:
            if window.cursor is None:
                raise
            # The row that the cursor names is gone, as events are after 30 days: from the top once more.
            log.warning("listing_starts_over", listing=held["name"], cursor=window.cursor)
            window = Window(window.since, window.until, None)
            continue
        rows = body["data"]
        found = await take(rows)
        if rows:
            window = Window(window.since, window.until, rows[-1]["id"])
        turned = {"cursor": window.cursor, "seen": len(rows), "found": found, "lease_for": _LEASE}
        async with autocommit(engine) as connection:
            if (await connection.execute(_TURN_PAGE, {**turned, **held})).first() is None:
                return None  # a page took so long that another worker took over
            if not body["has_more"] or not rows:
                row = (await connection.execute(_CLOSE, held)).one()
                return Pulled(row.seen, row.found)
