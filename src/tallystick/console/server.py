"""The console as an ASGI application; the API's server puts it at /console."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tallystick.api.rate_limits import RateLimits
from tallystick.app import App
from tallystick.console.dead_letters import dead_letter_pages
from tallystick.console.events import event_pages, replay_pages
from tallystick.console.ledger import ledger_pages
from tallystick.console.overview import overview_pages
from tallystick.console.payments import payment_pages
from tallystick.console.rendering import static_file
from tallystick.console.routing import COOKIE, Pages, refused
from tallystick.console.sessions import Session, Sessions
from tallystick.console.signing_in import SigningIn, sign_out_pages
from tallystick.errors import TallystickError


def create_console(app: App) -> ASGIApp:
    """The console over an App; its owner opens and closes the App."""
    sessions, limits = Sessions(app.engine, app.settings), RateLimits(app)
    pages = Pages(app, sessions, limits)
    overview_pages(pages)
    payment_pages(pages)
    event_pages(pages)
    dead_letter_pages(pages)
    replay_pages(pages)
    ledger_pages(pages)
    sign_out_pages(pages, sessions)

    async def on_error(request: Request, error: Exception) -> Response:
        session = await _session(sessions, request)
        return refused(request, error, session)

    return Starlette(
        routes=[
            *SigningIn(sessions, limits).routes,
            Route("/console/static/{name}", static_file),
            *pages.routes,
        ],
        exception_handlers={404: on_error, 405: on_error, TallystickError: on_error},
    )


async def _session(sessions: Sessions, request: Request) -> Session | None:
    """Whose page it is that is not there; nobody's, where that cannot be told."""
    try:
        return await sessions.find(request.cookies.get(COOKIE))
    except Exception:  # the page is an error already
        return None
