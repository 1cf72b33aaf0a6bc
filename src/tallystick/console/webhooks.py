"""Webhook endpoints: where notices go, what became of each, and sending one again."""

from __future__ import annotations

from starlette.responses import Response

from tallystick.api import notice_bodies as bodies
from tallystick.api.choices import DeliveryStatus
from tallystick.api.keys import Scope
from tallystick.api.webhook_deliveries import delivery_number
from tallystick.api.webhook_endpoints import EndpointCursor
from tallystick.console.fields import PAGE, Cursor
from tallystick.console.routing import Pages
from tallystick.console.visits import Done, NoQuery, Query, Visit
from tallystick.pipeline.notices import delivery_log
from tallystick.pipeline.notices.endpoints import get_endpoint, list_endpoints

_STATUSES = ("pending", "delivered", "failed")


class EndpointQuery(Query):
    """Which page of endpoints."""

    cursor: EndpointCursor | None = None


class DeliveryQuery(Query):
    """What an endpoint's log is narrowed to."""

    status: DeliveryStatus | None = None
    cursor: Cursor = None


def webhook_pages(pages: Pages) -> None:
    """The pages below /console/webhooks."""

    @pages.get("/webhooks", Scope.WEBHOOKS_READ)
    async def endpoints(visit: Visit) -> Response:
        query = visit.query(EndpointQuery)
        async with visit.app.engine.connect() as connection:
            found = await list_endpoints(connection, limit=PAGE, after=query.cursor or "")
        return visit.page("webhooks.html", query=query, page=bodies.endpoint_page(*found))

    @pages.get("/webhooks/{id}", Scope.WEBHOOKS_READ)
    async def endpoint(visit: Visit) -> Response:
        query = visit.query(DeliveryQuery)
        async with visit.app.engine.connect() as connection:
            found = await get_endpoint(connection, visit.name("id"))
            log = await delivery_log.list_deliveries(
                connection, found.id, status=query.status, limit=PAGE, cursor=query.cursor
            )
        return visit.page(
            "webhook.html",
            query=query,
            statuses=_STATUSES,
            endpoint=bodies.WebhookEndpoint.of(found),
            page=bodies.delivery_page(*log),
        )

    @pages.get("/webhooks/deliveries/{id}", Scope.WEBHOOKS_READ)
    async def delivery(visit: Visit) -> Response:
        visit.query(NoQuery)
        async with visit.app.engine.connect() as connection:
            found = await delivery_log.get_delivery(connection, delivery_number(visit.name("id")))
        return visit.page("webhook_delivery.html", delivery=bodies.WebhookDeliveryInFull.shown(*found))

    @pages.post("/webhooks/deliveries/{id}/redeliver", Scope.WEBHOOKS_WRITE)
    async def redeliver(visit: Visit) -> Response:
        name = visit.name("id")
        async with visit.app.engine.begin() as connection:
            await delivery_log.redeliver(connection, delivery_number(name))
        return visit.go(f"/console/webhooks/deliveries/{name}", done=Done.REDELIVERED)
