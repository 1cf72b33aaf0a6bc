"""The ledger: one transaction with its legs."""

from __future__ import annotations

from starlette.responses import Response

from tallystick.api.keys import Scope
from tallystick.api.ledger_bodies import ledger_of
from tallystick.console.routing import Pages
from tallystick.console.visits import NoQuery, Visit
from tallystick.db.session import autocommit
from tallystick.ledger.history import get_transaction


def ledger_pages(pages: Pages) -> None:
    """The pages below /console/ledger."""

    @pages.get("/ledger/transactions/{name}", Scope.LEDGER_READ)
    async def transaction(visit: Visit) -> Response:
        """By number or effect key."""
        visit.query(NoQuery)
        async with autocommit(visit.app.engine) as connection:
            found = await get_transaction(connection, visit.name("name"))
        [transaction] = ledger_of([found])
        return visit.page("ledger_transaction.html", transaction=transaction)
