"""What every route of the API has in common: the key before the body, and the database being away.

A route names its scope as ``openapi_extra={"x-required-scope": …}``; the description of the API and the
check come from the same word.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import APIRouter, Security, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from tallystick.api.auth import Gate
from tallystick.api.keys import ApiKey, Scope
from tallystick.api.rate_limits import KeyLimitedError
from tallystick.db.session import database_is_away
from tallystick.errors import (
    DatabaseUnavailableError,
    InvalidRequestError,
    StripeAccessError,
    StripeRefusedError,
    StripeUnavailableError,
    TallystickError,
)

SCOPE: Final = "x-required-scope"
PROBLEMS: Final = "x-problem-codes"
AT_STRIPE: Final = (StripeRefusedError, StripeUnavailableError, StripeAccessError)
"""What any call to Stripe can end in."""
_bearer = HTTPBearer(auto_error=False, scheme_name="ApiKey", description="An API key: tsk_…")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def guarded_router(gate: Gate, tag: str) -> APIRouter:
    """A router whose routes let nobody in without a key that carries the route's scope."""

    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            answer = super().get_route_handler()
            scope = Scope((self.openapi_extra or {})[SCOPE])
            known = _query_of(self)

            async def guarded(request: Request) -> Response:
                try:
                    key = await gate.admit(request.headers.get("authorization"), scope)
                    request.state.api_key = key
                    await _count(request, gate, key)
                    _check_query(request, known)
                    await _read_body(request)
                    return await answer(request)
                except Exception as error:
                    if database_is_away(error):
                        raise DatabaseUnavailableError("The database cannot be reached.") from error
                    raise

            return guarded

    return APIRouter(route_class=GuardedRoute, tags=[tag], dependencies=[Security(_bearer)])


def needs(scope: Scope, *raises: type[TallystickError]) -> dict[str, Any]:
    """The ``openapi_extra`` of a route; ``raises`` are the errors that it does not share with all others."""
    return {SCOPE: scope.value, PROBLEMS: [kind.code for kind in raises]}


def api_key(request: Request) -> ApiKey:
    """The key that a guarded route was called with."""
    key: ApiKey = request.state.api_key
    return key


def request_id(request: Request) -> str:
    """The id of this request, as its answer carries it."""
    found: str = request.state.request_id
    return found


def json_answer(model: BaseModel, status: int = 200) -> Response:
    """A model as the answer; FastAPI does not validate it a second time."""
    return Response(model.model_dump_json(by_alias=True), status_code=status, media_type="application/json")


def _query_of(route: APIRoute) -> tuple[frozenset[str], tuple[str, ...]]:
    """The names that a route knows in its query, and what those begin with that it reads by itself."""
    declared = get_flat_params(route.dependant)
    names = frozenset(each.alias for each in declared if isinstance(each.field_info, params.Query))
    return names, tuple(each["name"] for each in (route.openapi_extra or {}).get("parameters", ()))


def _check_query(request: Request, known: tuple[frozenset[str], tuple[str, ...]]) -> None:
    """A misspelt filter would show everything: raises InvalidRequestError for a name that means nothing."""
    names, beginnings = known
    for name in request.query_params:
        if name not in names and not name.startswith(beginnings):
            raise InvalidRequestError("There is no such parameter of this request.", param=name[:100])


async def _count(request: Request, gate: Gate, key: ApiKey) -> None:
    """Count the request; what the key has left goes into the headers of whatever the answer will be."""
    try:
        left = await gate.count(key)
    except KeyLimitedError as error:
        request.state.more_headers = error.allowance.headers()
        raise
    if left is not None:
        request.state.more_headers = left.headers()


async def _read_body(request: Request) -> None:
    """Read it here, where its limit is heard, and refuse what is not called JSON."""
    if request.method not in ("POST", "PUT", "PATCH") or not await request.body():
        return
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise InvalidRequestError("Send the body as application/json.", param="Content-Type")
