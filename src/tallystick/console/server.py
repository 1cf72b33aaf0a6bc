"""The console as an ASGI application; the API's server puts it at /console."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tallystick.api.downloads import Downloads
from tallystick.api.journal_entries import Acts
from tallystick.api.rate_limits import RateLimits
from tallystick.app import App
from tallystick.console.dead_letters import dead_letter_pages
from tallystick.console.events import event_pages, replay_pages
from tallystick.console.journal.pages import journal_pages
from tallystick.console.journal.writing import writing_pages
from tallystick.console.ledger.accounts import account_pages
from tallystick.console.ledger.exports import export_pages
from tallystick.console.ledger.payouts import payout_pages
from tallystick.console.ledger.proof import proof_pages
from tallystick.console.ledger.statements import statement_pages
from tallystick.console.ledger.transactions import transaction_pages
from tallystick.console.ledger.trial_balances import trial_balance_pages
from tallystick.console.overview import overview_pages
from tallystick.console.payments import payment_pages
from tallystick.console.rendering import static_file
from tallystick.console.routing import COOKIE, Pages, refused
from tallystick.console.sessions import Session, Sessions
from tallystick.console.signing_in import SigningIn, sign_out_pages
from tallystick.console.webhooks import webhook_pages
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
    _add_ledger(pages)
    webhook_pages(pages)
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


def _add_ledger(pages: Pages) -> None:
    acts, downloads = Acts(pages.app), Downloads()
    account_pages(pages)
    statement_pages(pages, downloads)
    trial_balance_pages(pages)
    transaction_pages(pages)
    payout_pages(pages)
    proof_pages(pages)
    export_pages(pages, downloads)
    writing_pages(pages, acts)
    journal_pages(pages, acts)


async def _session(sessions: Sessions, request: Request) -> Session | None:
    """Whose page it is that is not there; nobody's, where that cannot be told."""
    try:
        return await sessions.find(request.cookies.get(COOKIE))
    except Exception:  # the page is an error already
        return None
