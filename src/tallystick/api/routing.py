"""What every route of the API has in common: the key before the body, and the database being away.

A route names its scope as ``openapi_extra={"x-required-scope": …}``; the description of the API and the
check come from the same word.
"""

from __future__ import annotations

import json
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
    InvalidJsonError,
    InvalidRequestError,
    NotFoundError,
    StripeAccessError,
    StripeRefusedError,
    StripeUnavailableError,
    TallystickError,
    UnsupportedMediaTypeError,
)

SCOPE: Final = "x-required-scope"
PROBLEMS: Final = "x-problem-codes"
AT_STRIPE: Final = (StripeRefusedError, StripeUnavailableError, StripeAccessError)
"""What any call to Stripe can end in."""
_bearer = HTTPBearer(auto_error=False, scheme_name="ApiKey", description="An API key: tsk_…")

_LONGEST_NAME: Final = 100
_LONGEST_ID: Final = 500
"""Effect keys and names of accounts are the longest that there are."""
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def guarded_router(gate: Gate, tag: str) -> APIRouter:
    """A router whose routes let nobody in without a key that carries the route's scope."""

    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            answer = super().get_route_handler()
            scope = Scope((self.openapi_extra or {})[SCOPE])
            known = _query_of(self)

            async def guarded(asked: Request) -> Response:
                request = _JsonRequest(asked.scope, asked.receive)
                try:
                    key = await gate.admit(request.headers.get("authorization"), scope)
                    request.state.api_key = key
                    await _count(request, gate, key)
                    _check_path(request)
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


class _JsonRequest(Request):
    """A request whose body is read more strictly than Starlette reads it."""

    _read: Any = None

    async def json(self) -> Any:
        """The body. Raises InvalidJsonError: not UTF-8, not JSON, or a name twice in one object."""
        if self._read is None:
            try:
                written = (await self.body()).decode("utf-8-sig")
                self._read = json.loads(written, object_pairs_hook=_without_repeats)
            except (ValueError, RecursionError) as error:
                raise InvalidJsonError("The body is not JSON in UTF-8.") from error
        return self._read


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that comes twice one reader takes the first value, another the last: neither is safe."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        param = twice[:_LONGEST_NAME].encode("utf-8", "replace").decode()
        raise InvalidJsonError("An object of the body has this name twice.", param=param)
    return found


def _query_of(route: APIRoute) -> tuple[frozenset[str], tuple[str, ...]]:
    """The names that a route knows in its query, and what those begin with that it reads by itself."""
    declared = get_flat_params(route.dependant)
    names = frozenset(each.alias for each in declared if isinstance(each.field_info, params.Query))
    return names, tuple(each["name"] for each in (route.openapi_extra or {}).get("parameters", ()))


def _check_path(request: Request) -> None:
    """What no object can be called does not exist, on any route; PostgreSQL would refuse the NUL."""
    for name, value in request.path_params.items():
        if "\0" in value or len(value) > _LONGEST_ID:
            raise NotFoundError("There is nothing of this name.", param=name)


def _check_query(request: Request, known: tuple[frozenset[str], tuple[str, ...]]) -> None:
    """A misspelt filter would show everything: raises InvalidRequestError for a name that means nothing."""
    names, beginnings = known
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in names and not name.startswith(beginnings):
            raise InvalidRequestError(
                "There is no such parameter of this request.", param=name[:_LONGEST_NAME]
            )
        if name in seen:
            raise InvalidRequestError("Send the parameter once.", param=name[:_LONGEST_NAME])
        seen.add(name)


async def _count(request: Request, gate: Gate, key: ApiKey) -> None:
    """Count the request; what the key has left goes into the headers of whatever the answer will be."""
    try:
        left = await gate.count(key)
    except KeyLimitedError as error:
        request.state.more_headers = error.allowance.headers()
        raise
    if left is not None:
        request.state.more_headers = left.headers()


async def _read_body(request: _JsonRequest) -> None:
    """Read it here, where its limit is heard, and refuse what is not JSON, or not called so."""
    if request.method not in ("POST", "PUT", "PATCH") or not await request.body():
        return
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaTypeError("Send the body as application/json.", param="Content-Type")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaTypeError("Send the body as it is, not compressed.", param="Content-Encoding")
    await request.json()
