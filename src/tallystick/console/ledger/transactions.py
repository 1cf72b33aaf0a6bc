"""Ledger transactions: the list by what they belong to, and one with its legs, its seal and its reversal."""

from __future__ import annotations

from dataclasses import fields
from typing import Final

from starlette.responses import Response

from tallystick.api.keys import Scope
from tallystick.api.ledger_bodies import ledger_of
from tallystick.api.lists import Word
from tallystick.console.fields import PAGE, Cursor
from tallystick.console.ledger.periods import Days
from tallystick.console.routing import Pages
from tallystick.console.visits import NoQuery, Visit
from tallystick.db.session import snapshot
from tallystick.ledger.history import Among, TransactionFilter, get_transaction, list_transactions
from tallystick.ledger.seals import seal_of
from tallystick.pipeline.views.belonging import Belonging, among

_REVERSED: Final = ":reversed"
_TAKEN_BACK: Final = {":paid": ":unpaid"}
"""Keys of facts whose reversal has a name of its own."""


class TransactionQuery(Days):
    """What the list is narrowed to; of several all must hold."""

    payment: Word | None = None
    customer: Word | None = None
    charge: Word | None = None
    refund: Word | None = None
    dispute: Word | None = None
    payout: Word | None = None
    topup: Word | None = None
    balance_transaction: Word | None = None
    journal_entry: Word | None = None
    event: Word | None = None
    effect_key: Word | None = None
    kind: Word | None = None
    cursor: Cursor = None

    def belonging(self) -> Belonging:
        """As the reader takes it."""
        return Belonging(**{each.name: getattr(self, each.name) for each in fields(Belonging)})


def transaction_pages(pages: Pages) -> None:
    """The pages below /console/ledger/transactions."""

    @pages.get("/ledger/transactions", Scope.LEDGER_READ)
    async def transactions(visit: Visit) -> Response:
        query = visit.query(TransactionQuery)
        since, until = query.bounds()
        async with snapshot(visit.app.engine) as connection:
            narrowed = TransactionFilter(since, until, query.kind, await among(connection, query.belonging()))
            page = await list_transactions(connection, narrowed, limit=PAGE, cursor=query.cursor)
        return visit.page(
            "ledger_transactions.html",
            query=query,
            transactions=ledger_of(page.items),
            next_cursor=page.next_cursor,
        )

    @pages.get("/ledger/transactions/{name}", Scope.LEDGER_READ)
    async def transaction(visit: Visit) -> Response:
        """By number or effect key."""
        visit.query(NoQuery)
        async with snapshot(visit.app.engine) as connection:
            found = await get_transaction(connection, visit.name("name"))
            seal = await seal_of(connection, found.id)
            kin = TransactionFilter(among=(Among(keys=_counterparts(found.effect_key)),))
            related = await list_transactions(connection, kin, limit=PAGE)
        [transaction] = ledger_of([found])
        return visit.page(
            "ledger_transaction.html", transaction=transaction, seal=seal, related=ledger_of(related.items)
        )


def _counterparts(key: str) -> tuple[str, ...]:
    """The keys under which a fact's reversal can stand, or the fact that a reversal takes back."""
    found = [f"{key}{_REVERSED}"]
    if key.endswith(_REVERSED):
        found.append(key.removesuffix(_REVERSED))
    for done, undone in _TAKEN_BACK.items():
        if key.endswith(done):
            found.append(key.removesuffix(done) + undone)
        if key.endswith(undone):
            found.append(key.removesuffix(undone) + done)
    return tuple(found)
