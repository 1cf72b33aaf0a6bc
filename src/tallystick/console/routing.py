"""What every page of the console has in common: who asks, whether they may, and how a refusal reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tallystick.api.keys import Scope
from tallystick.api.problems import unexpected
from tallystick.api.rate_limits import RateLimits
from tallystick.app import App
from tallystick.console import formats
from tallystick.console.forgery import check_origin, check_token
from tallystick.console.rendering import HEADERS
from tallystick.console.sessions import Session, Sessions
from tallystick.console.visits import Visit, refusal
from tallystick.db.session import database_is_away
from tallystick.errors import (
    AuthenticationRequiredError,
    DatabaseUnavailableError,
    InsufficientScopeError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    TallystickError,
)

log = structlog.get_logger(__name__)

COOKIE: Final = "tallystick_console"
SIGN_IN: Final = "/console/sign-in"
_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 1000

Handler = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Pages:
    """Collects the pages; each names the scope that its visitor's API key must carry, as the API's routes do.

    ``None``: any key will do.
    """

    def __init__(self, app: App, sessions: Sessions, limits: RateLimits) -> None:
        self.routes: list[Route] = []
        self.app = app
        self._sessions = sessions
        self._limits = limits

    def get(self, path: str, scope: Scope | None) -> Callable[[Handler], Handler]:
        """A page that is read; ``path`` is below /console."""
        return self._add(path, scope, "GET")

    def post(self, path: str, scope: Scope | None) -> Callable[[Handler], Handler]:
        """A form that is sent; only from a page of ours."""
        return self._add(path, scope, "POST")

    def _add(self, path: str, scope: Scope | None, method: str) -> Callable[[Handler], Handler]:
        def add(handler: Handler) -> Handler:
            self.routes.append(Route(f"/console{path}", self._guarded(handler, scope), methods=[method]))
            return handler

        return add

    def _guarded(self, handler: Handler, scope: Scope | None) -> Endpoint:
        async def page(request: Request) -> Response:
            session: Session | None = None
            try:
                session = await self._sessions.find(request.cookies.get(COOKIE))
                request.state.api_key = session.key
                await self._limits.spend(session.key)
                form = await sent_form(request)
                if request.method == "POST":
                    check_token(str(form.get("form_token", "")), session.form_token)
                _check_scope(session, scope)
                return await handler(Visit(self.app, request, session, form))
            except AuthenticationRequiredError:
                return _to_sign_in(request)
            except Exception as error:
                return refused(request, error, session)

        return page


async def sent_form(request: Request) -> FormData:
    """The form that came with a POST from a page of ours. Raises ForgedFormError, InvalidRequestError."""
    if request.method != "POST":
        return FormData()
    check_origin(request)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _FORM:
        raise InvalidRequestError("Send a form.", param="Content-Type")
    try:
        return await request.form(max_fields=_MOST_FIELDS)
    except HTTPException as error:
        raise InvalidRequestError("The form cannot be read.") from error


def refused(request: Request, error: Exception, session: Session | None) -> Response:
    """The page that says why not, and a line in the log where it is our fault."""
    if database_is_away(error):
        found: TallystickError = DatabaseUnavailableError("The database cannot be reached.")
        log.error("request_refused", code=found.code, cause=repr(error)[:300])
    elif isinstance(error, TallystickError):
        found = error
        write = log.error if error.status >= 500 else log.info
        write("request_refused", code=error.code)
    elif isinstance(error, HTTPException) and error.status_code == 405:
        found = MethodNotAllowedError(f"{request.method} is not possible here.")
    elif isinstance(error, HTTPException) and error.status_code == 404:
        found = NotFoundError("There is no such page.")
    else:
        found = unexpected()
        log.error("request_failed", path=request.url.path, exc_info=error)
    return refusal(request, found, session)


def _check_scope(session: Session, scope: Scope | None) -> None:
    if scope is not None and not session.key.may(scope):
        raise InsufficientScopeError(f"This needs the scope {scope}.", extra={"scope": scope})


def _to_sign_in(request: Request) -> Response:
    """And back to where they were going, if that was a page to read."""
    wanted = str(request.url.replace(scheme="", netloc="")) if request.method == "GET" else ""
    return RedirectResponse(formats.address(SIGN_IN, {"next": wanted}), status_code=303, headers=HEADERS)
