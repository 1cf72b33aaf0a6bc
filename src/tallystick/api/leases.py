"""Renews the leases of idempotency keys whose requests take long. See ``idempotency.py``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.db.session import autocommit
from tallystick.idempotency import Claim

log = structlog.get_logger(__name__)

_RENEW: Final = text("""
UPDATE idempotency_keys k SET leased_until = clock_timestamp() + CAST(:lease AS interval)
  FROM unnest(CAST(:api_keys AS text[]), CAST(:keys AS text[]), CAST(:locks AS timestamptz[]))
       AS held (api_key_id, key, locked_at)
 WHERE k.api_key_id = held.api_key_id AND k.key = held.key AND k.locked_at = held.locked_at
   AND k.finished_at IS NULL
""")


class Leases:
    """Renews the leases of this process's requests that take long; most finish before it is needed."""

    def __init__(self, engine: AsyncEngine, lease_s: float) -> None:
        self._engine = engine
        self._lease_s = lease_s
        self._held: set[Claim] = set()
        self._renewing: asyncio.Task[None] | None = None

    @contextmanager
    def renewed(self, claim: Claim) -> Iterator[None]:
        """Renew the claim's lease, once it is started, until the block ends."""
        if claim.request is None:
            yield
            return
        self._held.add(claim)
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew(), name="renew leases")
        try:
            yield
        finally:
            self._held.discard(claim)

    async def _renew(self) -> None:
        """Three times a lease; ends by itself when nothing is at work."""
        before: set[Claim] = set()
        while self._held:
            await asyncio.sleep(self._lease_s / 3)
            old = [claim.held for claim in self._held & before if claim.started]
            before = set(self._held)
            if not old:
                continue
            rows = {
                "api_keys": [row["api_key"] for row in old],
                "keys": [row["key"] for row in old],
                "locks": [row["locked_at"] for row in old],
                "lease": timedelta(seconds=self._lease_s),
            }
            try:
                async with autocommit(self._engine) as connection:
                    await connection.execute(_RENEW, rows)
            except Exception as error:  # they run out, and whoever retries takes over
                log.warning("leases_not_renewed", leases=len(old), error=type(error).__name__)
