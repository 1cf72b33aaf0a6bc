"""/healthz: the process lives. /readyz: it can do its work. Neither needs a key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import structlog
from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import Response

from tallystick.api.choices import Presence, ReadinessStatus, SchemaState
from tallystick.api.routing import json_answer
from tallystick.app import App
from tallystick.db.migrate import is_current
from tallystick.stripe_gateway.breaker import BreakerState

log = structlog.get_logger(__name__)

_PATIENCE_S: Final = 2.0


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """``degraded``: it works, but without Redis (events wait for the sweep) or without Stripe.

    ``stripe`` is ``away`` while the circuit breaker of this process holds calls back.
    """

    status: ReadinessStatus
    database: Presence
    schema_: SchemaState = Field(alias="schema")
    redis: Presence
    stripe: Presence


def health_routes(app: App) -> APIRouter:
    """The routes, over an App."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", response_model=Health)
    async def healthz() -> Response:
        """The process lives."""
        return json_answer(Health())

    @router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}})
    async def readyz() -> Response:
        """Whether the database, its schema, Redis and Stripe are there."""
        schema, rings = await asyncio.gather(_schema(app.engine), _answers("redis", lambda: _ping(app)))
        usable = schema == "current"
        answers = app.stripe.breaker is BreakerState.CLOSED
        whole = rings and answers
        ready = "ready" if usable and whole else "degraded" if usable else "unavailable"
        state = Readiness(
            status=ready,
            database="away" if schema == "unknown" else "ok",
            schema=schema,
            redis="ok" if rings else "away",
            stripe="ok" if answers else "away",
        )
        return json_answer(state, 200 if usable else 503)

    return router


async def _schema(engine: AsyncEngine) -> SchemaState:
    current: list[bool] = []

    async def look() -> None:
        current.append(await is_current(engine))

    if not await _answers("database", look):
        return "unknown"
    return "current" if current[0] else "outdated"


async def _ping(app: App) -> None:
    await app.redis.ping()


async def _answers(what: str, look: Callable[[], Awaitable[None]]) -> bool:
    """Whether it answers in time; why it does not is in the log."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await look()
    except Exception as error:
        log.warning("not_ready", part=what, error=type(error).__name__)
        return False
    return True
