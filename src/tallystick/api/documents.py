"""FastAPI with our routes and our problem documents."""

from __future__ import annotations

from typing import Final

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from tallystick import __version__
from tallystick.api.alerts import alert_routes
from tallystick.api.api_keys import api_key_routes
from tallystick.api.auth import Gate
from tallystick.api.customers import customer_routes
from tallystick.api.dead_letters import dead_letter_routes
from tallystick.api.description import description
from tallystick.api.disputes import dispute_routes
from tallystick.api.events import event_routes
from tallystick.api.findings import invalid_request
from tallystick.api.health import health_routes
from tallystick.api.journal_entries import journal_entry_routes
from tallystick.api.ledger import ledger_routes
from tallystick.api.ledger_export import ledger_export_routes
from tallystick.api.metrics import metrics_routes
from tallystick.api.payments import payment_routes
from tallystick.api.problems import problem_response, unexpected
from tallystick.api.rate_limits import RateLimits
from tallystick.api.reference import reference_routes
from tallystick.api.refunds import refund_routes
from tallystick.api.routing import request_id
from tallystick.api.webhook_deliveries import webhook_delivery_routes
from tallystick.api.webhook_endpoints import webhook_endpoint_routes
from tallystick.app import App
from tallystick.errors import (
    MethodNotAllowedError,
    NotFoundError,
    TallystickError,
)

log = structlog.get_logger(__name__)

_SUMMARY: Final = "Payments on Stripe with a ledger that proves itself."
_DESCRIPTION: Final = (
    "JSON over HTTP. Amounts are integers in minor units, currencies ISO 4217 in lower case, times RFC 3339"
    " in UTC.\n\nSend an API key as `Authorization: Bearer tsk_…`, and an `Idempotency-Key` with every POST."
    " Every refusal is a problem document (RFC 9457) with a stable `code`."
)


def build_api(app: App) -> FastAPI:
    """The API over an App."""
    api = FastAPI(
        title="Tallystick",
        version=__version__,
        summary=_SUMMARY,
        description=_DESCRIPTION,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        docs_url=None,  # FastAPI's own pages load their scripts from a CDN
        redoc_url=None,
    )
    gate = Gate(app.engine, RateLimits(app))
    api.state.routers = [
        payment_routes(app, gate),
        refund_routes(app, gate),
        dispute_routes(app, gate),
        customer_routes(app, gate),
        ledger_routes(app, gate),
        journal_entry_routes(app, gate),
        ledger_export_routes(app, gate),
        event_routes(app, gate),
        dead_letter_routes(app, gate),
        alert_routes(app, gate),
        api_key_routes(app, gate),
        webhook_endpoint_routes(app, gate),
        webhook_delivery_routes(app, gate),
        health_routes(app),
        metrics_routes(app, gate),
        reference_routes(),
    ]
    for router in api.state.routers:
        api.include_router(router)
    api.add_exception_handler(TallystickError, _on_refusal)
    api.add_exception_handler(RequestValidationError, _on_invalid)
    api.add_exception_handler(HTTPException, _on_http)
    api.add_exception_handler(Exception, _on_unexpected)
    api.openapi = lambda: description(api)  # type: ignore[method-assign]
    return api


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, TallystickError)
    if error.status >= 500:
        log.error("request_refused", code=error.code, detail=error.detail, cause=repr(error.__cause__)[:300])
    return problem_response(error, request_id(request))


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(invalid_request(error.errors()), request_id(request))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    found: TallystickError
    if error.status_code == 404:
        found = NotFoundError(_no_route(request.url.path))
    elif error.status_code == 405:
        found = MethodNotAllowedError(f"{request.method} is not possible here.")
        return problem_response(found, request_id(request), {"Allow": ", ".join(_methods(request))})
    else:
        found = TallystickError("The request could not be completed.")
    return problem_response(found, request_id(request))


async def _on_unexpected(request: Request, _error: Exception) -> Response:
    """The answer only: Starlette raises the error again, and the front logs it."""
    return problem_response(unexpected(), request_id(request))


def _no_route(path: str) -> str:
    if len(path) > 1 and path.endswith("/"):
        return "There is no such route: leave out the slash at the end."
    return "There is no such route; /docs shows all that there are."


def _methods(request: Request) -> list[str]:
    """All methods of a path: several routes may share it, and Starlette names those of the first.

    HEAD is answered wherever GET is, by the front.
    """
    found: set[str] = set()
    for router in request.app.state.routers:
        for route in router.routes:
            if route.matches(request.scope)[0] is not Match.NONE:
                found |= route.methods
    return sorted(found | {"HEAD"} if "GET" in found else found)
