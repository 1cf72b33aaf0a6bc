"""The trial balance: now, at an instant, over a period; made to be printed."""

from __future__ import annotations

from datetime import datetime

from starlette.responses import Response

from tallystick.api.keys import Scope
from tallystick.console.ledger.periods import AsOf, Days
from tallystick.console.routing import Pages
from tallystick.console.visits import Visit
from tallystick.db.session import snapshot
from tallystick.errors import InvalidRequestError
from tallystick.ledger import trial_balances


class TrialBalanceQuery(AsOf, Days):
    """At a time, or over days."""

    def over_days(self) -> bool:
        """Whether it is of a period. Raises InvalidRequestError when a time is given besides."""
        period = self.first is not None or self.last is not None
        if period and (self.on is not None or self.at is not None):
            raise InvalidRequestError("Ask at a time, or over days, not both.", param="first")
        return period


def trial_balance_pages(pages: Pages) -> None:
    """The page at /console/ledger/trial-balance."""

    @pages.get("/ledger/trial-balance", Scope.LEDGER_READ)
    async def trial_balance(visit: Visit) -> Response:
        query = visit.query(TrialBalanceQuery)
        if query.over_days():
            return await _over(visit, query, *query.bounds())
        async with snapshot(visit.app.engine) as connection:
            lines = await trial_balances.trial_balance(connection, query.instant())
        return visit.page(
            "trial_balance.html",
            query=query,
            instant=query.instant(),
            lines=lines,
            totals=trial_balances.totals(lines),
        )


async def _over(
    visit: Visit, query: TrialBalanceQuery, since: datetime | None, until: datetime | None
) -> Response:
    async with snapshot(visit.app.engine) as connection:
        lines = await trial_balances.period_balance(connection, since, until)
    return visit.page(
        "trial_balance_period.html", query=query, lines=lines, totals=trial_balances.turnovers(lines)
    )
