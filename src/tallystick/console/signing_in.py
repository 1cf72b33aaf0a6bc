"""Signing in with an API key, and out again."""

from __future__ import annotations

import secrets
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tallystick.api.rate_limits import RateLimits
from tallystick.console.forgery import check_token, seen_over_https
from tallystick.console.rendering import HEADERS, render
from tallystick.console.routing import COOKIE, SIGN_IN, Pages, refused, sent_form
from tallystick.console.sessions import Sessions, form_token
from tallystick.console.visits import Visit
from tallystick.errors import InvalidApiKeyError

log = structlog.get_logger(__name__)

HOME: Final = "/console"
_BEFORE: Final = "tallystick_sign_in"
"""The cookie that a form for signing in is bound to: nobody is signed in by a page of somebody else's."""


class SigningIn:
    """The pages of those who are not signed in."""

    def __init__(self, sessions: Sessions, limits: RateLimits) -> None:
        self._sessions = sessions
        self._limits = limits
        self.routes = [
            Route(SIGN_IN, self._show, methods=["GET"]),
            Route(SIGN_IN, self._take, methods=["POST"]),
        ]

    async def _show(self, request: Request) -> Response:
        return _form(request, request.query_params.get("next", ""))

    async def _take(self, request: Request) -> Response:
        wanted = ""
        try:
            form = await sent_form(request)
            wanted = str(form.get("next", ""))
            bound = request.cookies.get(_BEFORE) or secrets.token_urlsafe()  # without it, nothing fits
            check_token(str(form.get("form_token", "")), form_token(bound))
            await self._limits.attempt(request.client.host if request.client else "")
            session = await self._sessions.begin(str(form.get("api_key", "")).strip())
        except InvalidApiKeyError as error:
            log.warning("console_sign_in_refused", client=request.client.host if request.client else None)
            return _form(request, wanted, problem=error.detail, status=error.status)
        except Exception as error:
            return refused(request, error, None)
        log.info("console_signed_in", api_key=session.key.id)
        answer = RedirectResponse(_inside(wanted), status_code=303, headers=HEADERS)
        _set(answer, request, COOKIE, session.token)
        answer.delete_cookie(_BEFORE, path=SIGN_IN)
        return answer


def sign_out_pages(pages: Pages, sessions: Sessions) -> None:
    """The form in the corner of every page."""

    @pages.post("/sign-out", None)
    async def sign_out(visit: Visit) -> Response:
        await sessions.end(visit.session.token)
        log.info("console_signed_out", api_key=visit.session.key.id)
        answer = RedirectResponse(SIGN_IN, status_code=303, headers=HEADERS)
        answer.delete_cookie(COOKIE, path=HOME)
        return answer


def _form(request: Request, wanted: str, *, problem: str | None = None, status: int = 200) -> Response:
    bound = secrets.token_urlsafe(32)
    answer = render(
        "sign_in.html", status=status, form_token=form_token(bound), next=_inside(wanted), problem=problem
    )
    _set(answer, request, _BEFORE, bound, path=SIGN_IN)
    return answer


def _set(answer: Response, request: Request, name: str, value: str, *, path: str = HOME) -> None:
    secure = seen_over_https(request)
    answer.set_cookie(name, value, path=path, secure=secure, httponly=True, samesite="strict")


def _inside(wanted: str) -> str:
    """Where they were going, if that is a page of the console: nobody is led elsewhere."""
    return wanted if wanted.startswith((f"{HOME}/", f"{HOME}?")) and wanted.isprintable() else HOME
