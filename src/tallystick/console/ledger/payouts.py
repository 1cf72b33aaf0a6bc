"""Payouts: those that arrived, and what went out with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from tallystick.api.keys import Scope
from tallystick.api.ledger_bodies import ledger_of
from tallystick.console.fields import PAGE, Cursor
from tallystick.console.ledger.periods import Days
from tallystick.console.routing import Pages
from tallystick.console.visits import Query, Visit
from tallystick.db.session import snapshot
from tallystick.errors import NotFoundError
from tallystick.ledger import chart
from tallystick.ledger.history import Among, PostedTransaction, TransactionFilter, list_transactions
from tallystick.pipeline.pulls.payout_contents import ListingStatus, PayoutContents, read_contents
from tallystick.pipeline.views.belonging import Belonging, among

_PAID: Final = "payout_paid"
_MOST_POSTINGS: Final = 100


class PayoutsQuery(Days):
    """Which days payouts arrived on."""

    cursor: Cursor = None


class PayoutQuery(Query):
    """Which page of what went out."""

    cursor: Cursor = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """A payout that arrived; ``amount`` in minor units, ``returned``: the bank sent it back."""

    payout: str
    transaction: int
    amount: int
    currency: str
    arrived_at: datetime
    returned: bool


def payout_pages(pages: Pages) -> None:
    """The pages below /console/ledger/payouts."""

    @pages.get("/ledger/payouts", Scope.LEDGER_READ)
    async def payouts(visit: Visit) -> Response:
        query = visit.query(PayoutsQuery)
        since, until = query.bounds()
        async with snapshot(visit.app.engine) as connection:
            paid = TransactionFilter(since, until, kind=_PAID)
            page = await list_transactions(connection, paid, limit=PAGE, cursor=query.cursor)
            returned = await _returned(connection, page.items)
        arrivals = [_arrival(item, returned) for item in page.items]
        return visit.page("payouts.html", query=query, payouts=arrivals, next_cursor=page.next_cursor)

    @pages.get("/ledger/payouts/{id}", Scope.LEDGER_READ)
    async def payout(visit: Visit) -> Response:
        query, ident = visit.query(PayoutQuery), visit.name("id")
        async with snapshot(visit.app.engine) as connection:
            contents = await _contents(connection, ident, query.cursor)
            postings = await _postings(connection, ident)
            returned = await _returned(connection, postings)
        if contents is None and not postings:
            raise NotFoundError(f"There is no payout {ident!r}.", param="payout")
        arrivals = [_arrival(item, returned) for item in postings if item.kind == _PAID]
        return visit.page(
            "payout.html",
            query=query,
            payout=ident,
            arrival=arrivals[0] if arrivals else None,
            contents=contents,
            listed=contents is not None and contents.status is ListingStatus.LISTED,
            postings=ledger_of(postings),
        )


async def _contents(connection: AsyncConnection, payout: str, cursor: str | None) -> PayoutContents | None:
    try:
        return await read_contents(connection, payout, limit=PAGE, cursor=cursor)
    except NotFoundError:  # one that has not arrived, or that was just heard of
        return None


async def _postings(connection: AsyncConnection, payout: str) -> list[PostedTransaction]:
    if "\0" in payout:
        return []
    belongs = TransactionFilter(among=await among(connection, Belonging(payout=payout)))
    return (await list_transactions(connection, belongs, limit=_MOST_POSTINGS)).items


async def _returned(connection: AsyncConnection, paid: Sequence[PostedTransaction]) -> set[str]:
    """Of payouts that arrived, those that came back."""
    keys = tuple(f"payout:{_payout_of(item)}:unpaid" for item in paid if item.kind == _PAID)
    if not keys:
        return set()
    found = TransactionFilter(among=(Among(keys=keys),))
    return {_payout_of(item) for item in (await list_transactions(connection, found, limit=len(keys))).items}


def _payout_of(item: PostedTransaction) -> str:
    return item.effect_key.split(":")[1]


def _arrival(item: PostedTransaction, returned: set[str]) -> Arrival:
    [bank] = [leg for leg in item.entries if leg.account == chart.BANK]
    amount = bank.amount if bank.direction == "debit" else -bank.amount
    payout = _payout_of(item)
    return Arrival(payout, item.id, amount, bank.currency, item.occurred_at, payout in returned)
