"""GET /metrics: for Prometheus, which sends an API key as its bearer token.

No part of the description of the API: it answers in Prometheus's words, and no client is made for it.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from tallystick.api.auth import Gate
from tallystick.api.keys import Scope, digest
from tallystick.app import App
from tallystick.db.session import database_is_away
from tallystick.errors import DatabaseUnavailableError
from tallystick.exposition.listener import PATH

_MOST_KNOWN: Final = 100


def metrics_routes(app: App, gate: Gate) -> APIRouter:
    """The route, over an App."""
    router = APIRouter(include_in_schema=False)
    watch = _Watch(gate)

    @router.get(PATH)
    async def metrics(request: Request) -> Response:
        if not app.settings.metrics_public:
            await watch.admit(request.headers.get("authorization"))
        found = await app.scrape.answer("api", request.headers.get("accept", ""))
        return Response(found.body, headers={"Content-Type": found.media_type})

    return router


class _Watch:
    """Lets in who may read metrics, and while the database is away who could before: an outage is the last
    moment at which to stop watching."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._known: set[bytes] = set()

    async def admit(self, authorization: str | None) -> None:
        """Raises what ``Gate.admit`` raises, and DatabaseUnavailableError for a key not seen before."""
        hashed = digest(authorization or "")
        try:
            await self._gate.admit(authorization, Scope.METRICS_READ)
        except Exception as error:
            if not database_is_away(error):
                self._known.discard(hashed)
                raise
            if hashed not in self._known:
                raise DatabaseUnavailableError("The database cannot be reached.") from error
        else:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known.add(hashed)
