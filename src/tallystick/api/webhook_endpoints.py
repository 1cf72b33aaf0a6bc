"""/webhook-endpoints: where the merchant's own systems are told what became true.

A signing secret is in the first answer alone. What is kept under an Idempotency-Key is the answer without it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from tallystick.api import notice_bodies as bodies
from tallystick.api.auth import Gate
from tallystick.api.idempotent import Once
from tallystick.api.keys import Scope
from tallystick.api.routing import guarded_router, json_answer, needs
from tallystick.api.values import Shape
from tallystick.app import App
from tallystick.db.ids import new_id
from tallystick.errors import InvalidRequestError
from tallystick.idempotency import Claim
from tallystick.pipeline.notices import endpoints
from tallystick.pipeline.notices.notice_test import send_test
from tallystick.pipeline.notices.webhook_client import WebhookClient
from tallystick.vault import open_vault

EndpointCursor = Annotated[str, Shape("^whe_[0-9a-z]+$", "must be a cursor that this list gave")]
Change = Callable[[AsyncConnection], Awaitable[None]]
Make = Callable[[AsyncConnection, str], Awaitable[str]]


def webhook_endpoint_routes(app: App, gate: Gate) -> APIRouter:
    """The routes, over an App."""
    router = guarded_router(gate, "webhook endpoints")
    _add_reading(router, app)
    _add_secrets(router, app)
    _add_changes(router, app)
    _add_test(router, app)
    return router


def _add_reading(router: APIRouter, app: App) -> None:
    reads = needs(Scope.WEBHOOKS_READ)

    @router.get("/webhook-endpoints", response_model=bodies.WebhookEndpointPage, openapi_extra=reads)
    async def list_webhook_endpoints(
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        cursor: Annotated[EndpointCursor | None, Query(max_length=100)] = None,
    ) -> Response:
        """Webhook endpoints, oldest first."""
        async with app.engine.connect() as connection:
            found = await endpoints.list_endpoints(connection, limit=limit, after=cursor or "")
        return json_answer(bodies.endpoint_page(*found))

    @router.get("/webhook-endpoints/{id}", response_model=bodies.WebhookEndpoint, openapi_extra=reads)
    async def get_webhook_endpoint(id: str) -> Response:  # noqa: A002 - the name of the path parameter
        """A webhook endpoint as it stands; its secret cannot be had again."""
        async with app.engine.connect() as connection:
            return json_answer(bodies.WebhookEndpoint.of(await endpoints.get_endpoint(connection, id)))


def _add_secrets(router: APIRouter, app: App) -> None:
    once = Once(app)
    vault = open_vault(app.settings)

    async def answer_secret(
        request: Request, body: BaseModel, endpoint_id: str | None, make: Make, status: int
    ) -> Response:
        """``make(connection, endpoint id)`` gives a secret, which is added to what is shown and not kept."""
        secrets: list[str] = []

        async def work(claim: Claim) -> endpoints.Endpoint:
            name = endpoint_id or claim.resource_id or new_id("whe")
            async with app.engine.begin() as connection:
                await claim.start(connection, name)
                secrets.append(await make(connection, name))
                made = await endpoints.get_endpoint(connection, name)
                await claim.finish(connection, made)
            return made

        show = bodies.WebhookEndpointWithSecret.of
        response = await once.answer(request, body, work, show, status=status)
        if not secrets or response.status_code != status:
            return response
        shown = bodies.WebhookEndpointWithSecret.model_validate_json(bytes(response.body))
        return json_answer(shown.model_copy(update={"secret": secrets[0]}), status)

    @router.post(
        "/webhook-endpoints",
        response_model=bodies.WebhookEndpointWithSecret,
        status_code=201,
        openapi_extra=needs(Scope.WEBHOOKS_WRITE),
    )
    async def create_webhook_endpoint(request: Request, body: bodies.CreateWebhookEndpoint) -> Response:
        """Have notices sent to a URL of yours; the secret that signs them is shown once."""
        _check_url(app.webhooks, body.url)

        async def make(connection: AsyncConnection, endpoint_id: str) -> str:
            return await endpoints.create_endpoint(connection, vault, endpoint_id, **body.model_dump())

        return await answer_secret(request, body, None, make, 201)

    @router.post(
        "/webhook-endpoints/{id}/rotate-secret",
        response_model=bodies.WebhookEndpointWithSecret,
        openapi_extra=needs(Scope.WEBHOOKS_WRITE),
    )
    async def rotate_webhook_secret(request: Request, id: str, body: bodies.RotateSecret) -> Response:  # noqa: A002
        """Sign with another secret, which is shown once; for a grace the old one signs as well."""

        async def make(connection: AsyncConnection, endpoint_id: str) -> str:
            grace = timedelta(seconds=body.grace_s)
            return await endpoints.rotate_secret(connection, vault, endpoint_id, grace)

        return await answer_secret(request, body, id, make, 200)


def _add_changes(router: APIRouter, app: App) -> None:
    once = Once(app)
    writes = needs(Scope.WEBHOOKS_WRITE)

    async def answer_changed(request: Request, endpoint_id: str, body: BaseModel, change: Change) -> Response:
        async def work(claim: Claim) -> endpoints.Endpoint:
            async with app.engine.begin() as connection:
                await change(connection)
                await claim.start(connection, endpoint_id)
                found = await endpoints.get_endpoint(connection, endpoint_id)
                await claim.finish(connection, found)
            return found

        return await once.answer(request, body, work, bodies.WebhookEndpoint.of, status=200)

    @router.post("/webhook-endpoints/{id}", response_model=bodies.WebhookEndpoint, openapi_extra=writes)
    async def update_webhook_endpoint(
        request: Request,
        id: str,  # noqa: A002
        body: bodies.UpdateWebhookEndpoint,
    ) -> Response:
        """Change an endpoint's URL, the types it gets, or its description."""
        changes = body.changes()
        if "url" in changes:
            _check_url(app.webhooks, changes["url"])
        return await answer_changed(
            request, id, body, lambda connection: endpoints.update_endpoint(connection, id, changes)
        )

    @router.post(
        "/webhook-endpoints/{id}/enable", response_model=bodies.WebhookEndpoint, openapi_extra=writes
    )
    async def enable_webhook_endpoint(
        request: Request,
        id: str,  # noqa: A002
        body: bodies.Nothing | None = None,
    ) -> Response:
        """Send notices to it again, from now on; what it missed is sent again on request."""
        return await answer_changed(
            request, id, body or bodies.Nothing(), lambda each: endpoints.enable_endpoint(each, id)
        )

    @router.post(
        "/webhook-endpoints/{id}/disable", response_model=bodies.WebhookEndpoint, openapi_extra=writes
    )
    async def disable_webhook_endpoint(
        request: Request,
        id: str,  # noqa: A002
        body: bodies.Nothing | None = None,
    ) -> Response:
        """Send no notices to it; what it misses is in its delivery log as failed."""
        return await answer_changed(
            request, id, body or bodies.Nothing(), lambda each: endpoints.disable_endpoint(each, id)
        )

    @router.delete(
        "/webhook-endpoints/{id}", response_model=bodies.DeletedWebhookEndpoint, openapi_extra=writes
    )
    async def delete_webhook_endpoint(id: str) -> Response:  # noqa: A002
        """Remove an endpoint and its secrets for good."""
        async with app.engine.begin() as connection:
            await endpoints.delete_endpoint(connection, id)
        return json_answer(bodies.DeletedWebhookEndpoint(id=id))


def _add_test(router: APIRouter, app: App) -> None:
    once = Once(app)
    vault = open_vault(app.settings)

    @router.post(
        "/webhook-endpoints/{id}/test",
        response_model=bodies.TestResult,
        openapi_extra=needs(Scope.WEBHOOKS_WRITE),
    )
    async def test_webhook_endpoint(
        request: Request,
        id: str,  # noqa: A002
        body: bodies.Nothing | None = None,
    ) -> Response:
        """Send a test notice now, also to a disabled endpoint, and say what came back."""

        async def work(claim: Claim) -> bodies.TestResult:
            del claim  # nothing is written, so nothing is kept under a key: a repeated test is another test
            return bodies.TestResult.of(*await send_test(app.engine, app.webhooks, vault, id))

        return await once.answer(request, body or bodies.Nothing(), work, lambda told: told, status=200)


def _check_url(client: WebhookClient, url: str) -> None:
    if fault := client.fault_of(url):
        raise InvalidRequestError(fault, param="url")
