"""/refunds: list, read, update. Refunds are made at /payments/{id}/refund."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from tallystick.api import bodies
from tallystick.api.auth import Gate
from tallystick.api.idempotent import Once
from tallystick.api.keys import Scope
from tallystick.api.lists import Created, Cursor, Limit, Word
from tallystick.api.routing import AT_STRIPE, guarded_router, json_answer, needs
from tallystick.app import App
from tallystick.db.session import autocommit
from tallystick.errors import InvalidStateError
from tallystick.idempotency import Claim
from tallystick.payments import reading, refund_updates
from tallystick.payments.status import RefundStatus


def refund_routes(app: App, gate: Gate) -> APIRouter:
    """The routes, over an App."""
    router = guarded_router(gate, "refunds")
    once = Once(app)

    @router.get("/refunds", response_model=bodies.RefundPage, openapi_extra=needs(Scope.PAYMENTS_READ))
    async def list_refunds(
        created: Created,
        payment: Annotated[
            Word | None, Query(description="Our id of a payment, or its PaymentIntent's")
        ] = None,
        status: RefundStatus | None = None,
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> Response:
        """Refunds, newest first."""
        async with autocommit(app.engine) as connection:
            page = await reading.list_refunds(
                connection, created, payment=payment, status=status, limit=limit, cursor=cursor
            )
        return json_answer(
            bodies.RefundPage(
                data=[bodies.Refund.of(refund) for refund in page.items],
                has_more=page.next_cursor is not None,
                next_cursor=page.next_cursor,
            )
        )

    @router.get("/refunds/{id}", response_model=bodies.Refund, openapi_extra=needs(Scope.PAYMENTS_READ))
    async def get_refund(id: str) -> Response:  # noqa: A002 - the name of the path parameter
        """A refund as it stands, by our id or by Stripe's."""
        async with autocommit(app.engine) as connection:
            refund = await reading.find_refund(connection, id)
        return json_answer(bodies.Refund.of(refund))

    @router.post(
        "/refunds/{id}",
        response_model=bodies.Refund,
        openapi_extra=needs(Scope.REFUNDS_WRITE, *AT_STRIPE, InvalidStateError),
    )
    async def update_refund(request: Request, id: str, body: bodies.UpdateRefund) -> Response:  # noqa: A002
        """Change a refund's metadata."""
        metadata = body.change()

        async def work(claim: Claim) -> reading.Refund:
            return await refund_updates.update_refund(app.engine, app.stripe, id, metadata, claim)

        return await once.answer(request, body, work, bodies.Refund.of, status=200)

    return router
