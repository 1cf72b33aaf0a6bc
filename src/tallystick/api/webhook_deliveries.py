"""/webhook-deliveries and the delivery log of an endpoint: what was sent, what came back, sending again."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from tallystick.api import notice_bodies as bodies
from tallystick.api.auth import Gate
from tallystick.api.choices import DeliveryStatus
from tallystick.api.idempotent import Once
from tallystick.api.keys import Scope
from tallystick.api.routing import guarded_router, json_answer, needs
from tallystick.app import App
from tallystick.errors import InvalidStateError, NotFoundError
from tallystick.idempotency import Claim
from tallystick.pipeline.notices import delivery_log
from tallystick.pipeline.notices.endpoints import get_endpoint

_ID: Final = re.compile(rf"{bodies.DELIVERY_PREFIX}([0-9]{{1,18}})", re.ASCII)


def webhook_delivery_routes(app: App, gate: Gate) -> APIRouter:
    """The routes, over an App."""
    router = guarded_router(gate, "webhook endpoints")
    _add_reading(router, app)
    _add_redelivery(router, app)
    return router


def _add_reading(router: APIRouter, app: App) -> None:
    reads = needs(Scope.WEBHOOKS_READ)

    @router.get(
        "/webhook-endpoints/{id}/deliveries", response_model=bodies.WebhookDeliveryPage, openapi_extra=reads
    )
    async def list_webhook_deliveries(
        id: str,  # noqa: A002 - the name of the path parameter
        status: DeliveryStatus | None = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> Response:
        """What was sent to an endpoint and what became of it, the latest notice first."""
        async with app.engine.connect() as connection:
            await get_endpoint(connection, id)
            found = await delivery_log.list_deliveries(
                connection, id, status=status, limit=limit, cursor=cursor
            )
        return json_answer(bodies.delivery_page(*found))

    @router.get("/webhook-deliveries/{id}", response_model=bodies.WebhookDeliveryInFull, openapi_extra=reads)
    async def get_webhook_delivery(id: str) -> Response:  # noqa: A002
        """A delivery with what is sent, and every attempt with the beginning of the answer to it."""
        async with app.engine.connect() as connection:
            found = await delivery_log.get_delivery(connection, delivery_number(id))
        return json_answer(bodies.WebhookDeliveryInFull.shown(*found))


def _add_redelivery(router: APIRouter, app: App) -> None:
    once = Once(app)
    writes = needs(Scope.WEBHOOKS_WRITE, InvalidStateError)

    @router.post(
        "/webhook-deliveries/{id}/redeliver", response_model=bodies.WebhookDelivery, openapi_extra=writes
    )
    async def redeliver_webhook_delivery(
        request: Request,
        id: str,  # noqa: A002
        body: bodies.Nothing | None = None,
    ) -> Response:
        """Send a finished delivery again, under the same id."""
        number = delivery_number(id)

        async def work(claim: Claim) -> delivery_log.LoggedDelivery:
            async with app.engine.begin() as connection:
                await delivery_log.redeliver(connection, number)
                await claim.start(connection, id)
                found, _ = await delivery_log.get_delivery(connection, number)
                await claim.finish(connection, found)
            return found

        given = body or bodies.Nothing()
        return await once.answer(request, given, work, bodies.WebhookDelivery.of, status=200)

    @router.post("/webhook-endpoints/{id}/redeliver", response_model=bodies.Redelivery, openapi_extra=writes)
    async def redeliver_failed_deliveries(request: Request, id: str, body: bodies.Redeliver) -> Response:  # noqa: A002
        """Send again what an endpoint did not get in a time, each notice under its old id."""

        async def work(claim: Claim) -> int:
            async with app.engine.begin() as connection:
                count = await delivery_log.redeliver_failed(
                    connection, id, body.created_after, body.created_before
                )
                await claim.start(connection, id)
                await claim.finish(connection, count)
            return count

        def show(count: int) -> bodies.Redelivery:
            return bodies.Redelivery(deliveries=count)

        return await once.answer(request, body, work, show, status=200)


def delivery_number(delivery_id: str) -> int:
    """The number in a delivery's id; raises NotFoundError."""
    found = _ID.fullmatch(delivery_id)
    if found is None:
        raise NotFoundError(f"There is no webhook delivery {delivery_id!r}.", param="id")
    return int(found[1])
