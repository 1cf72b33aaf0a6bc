"""Looks whether something is wrong, keeps it, and tells of it: a step of the worker's, once a minute."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.alerting.conditions import conditions
from tallystick.alerting.record import Alert, claim_untold, record, told
from tallystick.alerting.telling import Teller
from tallystick.db.session import autocommit
from tallystick.pipeline.views.state import read_state
from tallystick.settings import Settings

log = structlog.get_logger(__name__)

_LOCK: Final = 0x7A11_A1E7
"""Of PostgreSQL's advisory locks: one worker looks at a time."""
_LEASE: Final = timedelta(minutes=2)
"""Whoever tells and dies is followed by another one after this."""

_TURN: Final = text("SELECT pg_try_advisory_xact_lock(:lock)")


class Alerting:
    """One a worker; ``close`` it at the end."""

    def __init__(self, engine: AsyncEngine, settings: Settings) -> None:
        """Raises ConfigurationError when the settings name nobody that can be told."""
        self._engine = engine
        self._settings = settings
        self._teller = Teller(settings)
        self._repeat = timedelta(seconds=settings.alert_repeat_s)

    async def step(self) -> None:
        """Evaluate all rules, and tell what is new, over, or has not been said for a while.

        What cannot be told is tried again at the next step.
        """
        for alert in await self._evaluate():
            write = log.error if alert.resolved_at is None else log.info
            write(f"alert_{alert.status}", alert=alert.name, about=alert.about, summary=alert.summary)
            if await self._teller.tell(alert):
                async with autocommit(self._engine) as connection:
                    await told(connection, alert, self._repeat)

    async def close(self) -> None:
        """Close all connections."""
        await self._teller.close()

    async def _evaluate(self) -> list[Alert]:
        async with self._engine.begin() as connection:
            if not (await connection.execute(_TURN, {"lock": _LOCK})).scalar_one():
                return []
            state = await read_state(connection)
            await record(connection, conditions(state, self._settings))
            return await claim_untold(connection, _LEASE)
