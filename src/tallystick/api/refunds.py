"""/refunds: read one. Refunds are made at /payments/{id}/refund."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from tallystick.api import bodies
from tallystick.api.auth import Gate
from tallystick.api.keys import Scope
from tallystick.api.routing import guarded_router, json_answer, needs
from tallystick.app import App
from tallystick.db.session import autocommit
from tallystick.payments import reading


def refund_routes(app: App, gate: Gate) -> APIRouter:
    """The routes, over an App."""
    router = guarded_router(gate, "refunds")

    @router.get("/refunds/{id}", response_model=bodies.Refund, openapi_extra=needs(Scope.PAYMENTS_READ))
    async def get_refund(id: str) -> Response:  # noqa: A002 - the name of the path parameter
        """A refund as it stands."""
        async with autocommit(app.engine) as connection:
            refund = await reading.get_refund(connection, id)
        return json_answer(bodies.Refund.of(refund))

    return router
