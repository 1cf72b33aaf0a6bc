"""The gap audit: Stripe's list of events against the inbox. What is missing is fetched and processed.

Stripe gives up on an endpoint after days, and drops nothing else silently; but an endpoint can be disabled,
subscribed to too little, or answered 200 by something in between. Stripe keeps events for 30 days, so a gap
that is older cannot be filled any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.events.catalog import EVENTS
from tallystick.pipeline.inbox import Inbox
from tallystick.pipeline.incoming import read_event
from tallystick.pipeline.pulls.listings import Listing, Pulled, Window, pull
from tallystick.settings import Settings
from tallystick.stripe_gateway.client import StripeGateway

log = structlog.get_logger(__name__)

NAME: Final = "events"
STRIPE_KEEPS_EVENTS: Final = timedelta(days=30)
"""https://docs.stripe.com/api/events: "access to events … is guaranteed only for 30 days"."""
_ALARM: Final = timedelta(days=7)
"""Not audited for so long, it is time to do something: there are three weeks left to do it in."""
_OVERLAP: Final = timedelta(hours=2)

_KNOWN: Final = text("SELECT id FROM webhook_events WHERE id = ANY(CAST(:ids AS text[]))")
_THROUGH: Final = text("SELECT through FROM stripe_listings WHERE name = :name")


class GapAudit:
    """Audits the inbox, window by window; one a process."""

    def __init__(self, engine: AsyncEngine, stripe: StripeGateway, inbox: Inbox, settings: Settings) -> None:
        self._engine = engine
        self._stripe = stripe
        self._inbox = inbox
        self._listing = Listing(
            NAME,
            every=timedelta(seconds=settings.audit_interval_s),
            reach=_OVERLAP,
            first=timedelta(days=settings.audit_first_days),
            lag=timedelta(seconds=settings.audit_lag_s),
        )

    async def run(self) -> Pulled | None:
        """Audit the window that is due, the first one back to the installation's ``audit_first_days``.

        None when none is due, or another worker is at it. Raises StripeUnavailableError and its kin; the next
        run goes on where this one stood.
        """
        await self._warn_of_the_edge()
        pulled = await pull(self._engine, self._listing, self._page, self._take)
        if pulled is not None:
            log.info("gap_audit_finished", events=pulled.seen, missing=pulled.found)
        return pulled

    async def _warn_of_the_edge(self) -> None:
        async with self._engine.connect() as connection:
            through = (await connection.execute(_THROUGH, {"name": NAME})).scalar()
        behind = datetime.now(UTC) - through if through is not None else timedelta(0)
        if behind > _ALARM:
            left = max(STRIPE_KEEPS_EVENTS - behind, timedelta(0))
            log.error("gap_audit_behind", days_behind=behind.days, days_until_events_are_lost=left.days)

    async def _page(self, window: Window) -> Mapping[str, Any]:
        return await self._stripe.list_events(
            created_gte=int(window.since.timestamp()),
            created_lt=int(window.until.timestamp()),
            starting_after=window.cursor,
        )

    async def _take(self, rows: Sequence[Mapping[str, Any]]) -> int:
        """Store the events that we act on and do not have; types that we ignore are no gap."""
        ours = [row for row in rows if row["type"] in EVENTS]
        async with self._engine.connect() as connection:
            found = await connection.execute(_KNOWN, {"ids": [row["id"] for row in ours]})
            known = set(found.scalars())
        missing = [row for row in ours if row["id"] not in known]
        events = [read_event(orjson.dumps(row), found_by="gap_audit") for row in missing]
        await asyncio.gather(*(self._inbox.receive(event) for event in events))
        if missing:
            log.warning("events_were_missing", events=len(missing), first=missing[-1]["id"])
        return len(missing)
