"""What an operator wants to see first: what waits and since when, how the books stand, the day's payments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from tallystick.console.routing import Pages
from tallystick.console.visits import NoQuery, Visit
from tallystick.db.session import snapshot
from tallystick.ledger import chart
from tallystick.ledger.balances import AccountBalance, AccountFilter, page_of_accounts
from tallystick.payments.reading import MOST_COUNTED, count_payments
from tallystick.payments.status import PaymentStatus
from tallystick.pipeline.pulls import gap_audit
from tallystick.pipeline.views.state import MOST_READ, ListingState, State, read_arrivals, read_state

_DAY: Final = timedelta(hours=24)
_HOUR: Final = timedelta(hours=1)
_MOST_CURRENCIES: Final = 200


@dataclass(frozen=True, slots=True)
class CurrencyLine:
    """What stands in one currency, in minor units on each account's normal side."""

    currency: str
    stripe_balance: int
    unapplied: int
    suspense: int


def overview_pages(pages: Pages) -> None:
    """The page at /console; each part of it is shown to whoever may read what is in it."""

    @pages.get("", None)
    async def overview(visit: Visit) -> Response:
        visit.query(NoQuery)
        async with snapshot(visit.app.engine) as connection:
            state = await read_state(connection)
            arrivals = await read_arrivals(connection, _HOUR)
            counts = await count_payments(connection, state.at - _DAY)
            lines = _lines(state, await _stripe_balances(connection))
        return visit.page(
            "overview.html",
            state=state,
            arrivals=arrivals,
            dead=sum(each.count for each in state.dead_letters),
            dead_since=min((each.oldest_at for each in state.dead_letters if each.oldest_at), default=None),
            settlement=_latest(
                each for each in state.listings if each.name.startswith("balance_transactions")
            ),
            audit=state.listing(gap_audit.NAME),
            lines=lines,
            counts=counts,
            statuses=PaymentStatus,
            day_ago=state.at - _DAY,
            most_read=MOST_READ,
            most_counted=MOST_COUNTED,
        )


def _latest(listings: Iterable[ListingState]) -> ListingState | None:
    finished = (each for each in listings if each.finished_at is not None)
    return max(finished, key=lambda each: each.finished_at, default=None)  # type: ignore[arg-type, return-value]


async def _stripe_balances(connection: AsyncConnection) -> list[AccountBalance]:
    narrowed = AccountFilter(name=chart.STRIPE_BALANCE)
    return (await page_of_accounts(connection, narrowed, limit=_MOST_CURRENCIES)).items


def _lines(state: State, balances: Iterable[AccountBalance]) -> list[CurrencyLine]:
    at_stripe = {each.currency: each.balance for each in balances}
    return [
        CurrencyLine(each, at_stripe.get(each, 0), state.unapplied.get(each, 0), state.suspense.get(each, 0))
        for each in sorted({*at_stripe, *state.unapplied, *state.suspense})
    ]
