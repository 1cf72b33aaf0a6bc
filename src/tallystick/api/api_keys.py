"""/api-keys: make, list, read, rotate and revoke API keys, for a key with the scope admin.

A new key is in the first answer alone. What is kept under an Idempotency-Key is the answer without it, so
that the key is nowhere at rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from tallystick.api import keys
from tallystick.api.auth import Gate
from tallystick.api.bodies import Description
from tallystick.api.idempotent import Once
from tallystick.api.keys import Scope
from tallystick.api.routing import guarded_router, json_answer, needs
from tallystick.api.values import Moment, Shape, up_to
from tallystick.app import App
from tallystick.db.ids import new_id
from tallystick.errors import InvalidStateError
from tallystick.idempotency import Claim
from tallystick.settings import RATE

_LONGEST_GRACE_S: Final = 30 * 86_400

RateLimit = Annotated[
    str,
    up_to(32),
    Shape(RATE, "must be a rate such as 100/second, 600/minute or 10000/hour"),
    Field(description="Requests a second, minute or hour", examples=["100/second"]),
]

_Cursor = Annotated[str, Shape("^key_[0-9a-z]+$", "must be a cursor that this list gave")]
Make = Callable[[AsyncConnection, str], Awaitable[tuple[str, str]]]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CreateApiKey(_In):
    """A key to make. Without ``rate_limit`` the limit of the settings holds."""

    name: Description
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
    expires_at: Moment | None = None
    rate_limit: RateLimit | None = None


class RotateApiKey(_In):
    """How a key is replaced. Without ``expires_at`` the new key ends when the old one would have."""

    grace_s: Annotated[StrictInt, Field(ge=0, le=_LONGEST_GRACE_S)] = Field(
        86_400, description="Seconds for which the old key still works"
    )
    expires_at: Moment | None = None


class ApiKey(BaseModel):
    """An API key. ``hint`` is its last four characters; ``last_used_at`` is to the minute."""

    id: str
    object: Literal["api_key"] = "api_key"
    name: str
    hint: str
    scopes: list[str]
    rate_limit: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, key: keys.ApiKey) -> Self:
        """As the API shows it."""
        return cls(**keys.shown(key))


class CreatedApiKey(ApiKey):
    """A new key. ``api_key`` is the key itself, in the first answer alone; a repeated one has null."""

    api_key: str | None = None


class ApiKeyPage(BaseModel):
    """API keys, oldest first, revoked and expired ones too."""

    data: list[ApiKey]
    has_more: bool
    next_cursor: str | None


def api_key_routes(app: App, gate: Gate) -> APIRouter:
    """The routes, over an App."""
    router = guarded_router(gate, "API keys")
    _add_reading(router, app)
    _add_commands(router, app)
    return router


def _add_reading(router: APIRouter, app: App) -> None:
    @router.get("/api-keys", response_model=ApiKeyPage, openapi_extra=needs(Scope.ADMIN))
    async def list_api_keys(
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        cursor: Annotated[_Cursor | None, Query(max_length=100)] = None,
    ) -> Response:
        """API keys, oldest first."""
        async with app.engine.connect() as connection:
            found = await keys.list_keys(connection, after=cursor or "", limit=limit + 1)
        page = [ApiKey(**row) for row in found[:limit]]
        more = len(found) > limit
        next_cursor = page[-1].id if more else None
        return json_answer(ApiKeyPage(data=page, has_more=more, next_cursor=next_cursor))

    @router.get("/api-keys/{id}", response_model=ApiKey, openapi_extra=needs(Scope.ADMIN))
    async def get_api_key(id: str) -> Response:  # noqa: A002 - the name of the path parameter
        """An API key; the key itself cannot be had again."""
        async with app.engine.connect() as connection:
            return json_answer(ApiKey.of(await keys.get_key(connection, id)))


def _add_commands(router: APIRouter, app: App) -> None:
    once = Once(app)

    async def answer_new(request: Request, body: BaseModel, make: Make) -> Response:
        """``make(connection, key id)`` makes a key, as ``keys`` does."""
        secrets: list[str] = []

        async def work(claim: Claim) -> keys.ApiKey:
            key_id = claim.resource_id or new_id("key")
            async with app.engine.begin() as connection:
                await claim.start(connection, key_id)
                secrets.append((await make(connection, key_id))[1])
                made = await keys.get_key(connection, key_id)
                await claim.finish(connection, made)
            return made

        response = await once.answer(request, body, work, CreatedApiKey.of, status=201)
        if not secrets or response.status_code != 201:
            return response
        shown = CreatedApiKey.model_validate_json(bytes(response.body))
        return json_answer(shown.model_copy(update={"api_key": secrets[0]}), 201)

    @router.post("/api-keys", status_code=201, response_model=CreatedApiKey, openapi_extra=needs(Scope.ADMIN))
    async def create_api_key(request: Request, body: CreateApiKey) -> Response:
        """Make an API key; it is shown once."""

        async def make(connection: AsyncConnection, key_id: str) -> tuple[str, str]:
            return await keys.create_key(connection, **body.model_dump(), key_id=key_id)

        return await answer_new(request, body, make)

    @router.post(
        "/api-keys/{id}/rotate",
        status_code=201,
        response_model=CreatedApiKey,
        openapi_extra=needs(Scope.ADMIN, InvalidStateError),
    )
    async def rotate_api_key(request: Request, id: str, body: RotateApiKey | None = None) -> Response:  # noqa: A002
        """Make another key like this one, which ends after a grace."""
        given = body or RotateApiKey()

        async def make(connection: AsyncConnection, key_id: str) -> tuple[str, str]:
            grace = timedelta(seconds=given.grace_s)
            return await keys.rotate_key(
                connection, id, grace=grace, expires_at=given.expires_at, new_key_id=key_id
            )

        return await answer_new(request, given, make)

    @router.post("/api-keys/{id}/revoke", response_model=ApiKey, openapi_extra=needs(Scope.ADMIN))
    async def revoke_api_key(request: Request, id: str) -> Response:  # noqa: A002
        """End an API key for good, within three seconds everywhere."""

        async def work(claim: Claim) -> keys.ApiKey:
            async with app.engine.begin() as connection:
                await keys.revoke_key(connection, id)
                found = await keys.get_key(connection, id)
                await claim.start(connection, id)
                await claim.finish(connection, found)
            return found

        return await once.answer(request, _In(), work, ApiKey.of, status=200)
