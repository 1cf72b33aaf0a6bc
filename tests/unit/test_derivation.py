"""The position at a cut-over, derived from a Stripe that goes on booking while it is asked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tallystick.errors import InvalidRequestError, UnsteadyBalanceError
from tallystick.ledger.opening import OpeningBalance
from tallystick.pipeline.pulls.adoption import Derived, derive
from tallystick.stripe_gateway.operator import OperatorGateway

CUT = 1_790_000_000
DAY = 86_400
BALANCE = "assets:stripe:balance"


class BusyStripe:
    """Books a payment at every so many calls, and answers as Stripe does, ``page`` rows at a time."""

    def __init__(self, *, every: int | None, page: int = 3) -> None:
        self.rows: list[dict[str, Any]] = []
        self.off = 0
        self._numbers = itertools.count(1)
        self._calls = itertools.count(1)
        self._every = every
        self._page = page

    def book(self, created: int, net: int, **more: Any) -> None:
        self.rows.append(
            {
                "id": f"txn_{next(self._numbers):04d}", "object": "balance_transaction", "type": "charge",
                "amount": net, "net": net, "currency": "usd", "created": created, "balance_type": "payments",
                **more,
            }
        )  # fmt: skip

    def _ticks(self) -> None:
        call = next(self._calls)
        if self._every and call % self._every == 0:
            self.book(CUT + 20 * DAY + call, 1000 + call)

    async def balance(self) -> dict[str, Any]:
        self._ticks()
        held: dict[str, int] = {}
        for row in self.rows:
            if row["balance_type"] == "payments":
                held[row["currency"]] = held.get(row["currency"], 0) + row["net"]
        funds = [{"amount": amount - 7 + self.off, "currency": code} for code, amount in held.items()]
        return {
            "object": "balance",
            "available": [{"amount": 7, "currency": code} for code in held],
            "pending": funds,
            "instant_available": funds,
        }

    async def page_of_movements(self, narrowed: Mapping[str, Any], after: str | None) -> dict[str, Any]:
        self._ticks()
        found = list(self._among(narrowed))
        if after is not None:
            found = found[[row["id"] for row in found].index(after) + 1 :]
        return {"data": found[: self._page], "has_more": len(found) > self._page}

    def _among(self, narrowed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        created = narrowed["created"]
        for row in reversed(self.rows):
            late = row["created"] >= created.get("gte", 0) and row["created"] < created.get("lt", 10**12)
            if late and narrowed.get("type") in (None, row["type"]):
                yield row


async def derived(stripe: BusyStripe) -> Derived:
    return await derive(cast("OperatorGateway", stripe), datetime.fromtimestamp(CUT, UTC), pause_s=0)


@pytest.mark.parametrize("every", [None, 2, 3, 5, 7])
async def test_the_position_is_the_same_however_busy_stripe_is(every: int | None) -> None:
    stripe = BusyStripe(every=every)
    stripe.book(CUT - 2 * DAY, 5000)
    stripe.book(CUT - 1, 30)
    stripe.book(CUT - 1, -70, currency="eur")
    stripe.book(CUT, 100)
    for day in range(1, 20):
        stripe.book(CUT + day * DAY, -13 * day)
    found = await derived(stripe)
    assert found.opening.balances == (
        OpeningBalance(BALANCE, "eur", -70),
        OpeningBalance(BALANCE, "usd", 5030),
    )


async def test_what_is_held_and_what_only_its_history_tells_is_opened_too() -> None:
    stripe = BusyStripe(every=None)
    stripe.book(CUT - 9, 1000)
    stripe.book(CUT - 8, -300, type="reserve_hold")
    stripe.book(CUT - 7, 100, type="reserve_release")
    stripe.book(CUT + 7, 200, type="reserve_release")
    stripe.book(CUT - 6, 40, type="reserve_hold", balance_type="risk_reserved")
    stripe.book(CUT - 5, -50, type="adjustment", reporting_category="dispute")
    assert (await derived(stripe)).opening.balances == (
        OpeningBalance(BALANCE, "usd", 750),
        OpeningBalance("assets:stripe:held", "usd", 160),
        OpeningBalance("assets:stripe:risk_reserved", "usd", 40),
    )


async def test_an_account_that_held_nothing_opens_with_nothing() -> None:
    stripe = BusyStripe(every=None)
    assert (await derived(stripe)).opening.balances == ()
    stripe.book(CUT + 5, 1000)
    assert (await derived(stripe)).opening.balances == ()


async def test_figures_that_never_agree_are_refused() -> None:
    class Erring(BusyStripe):
        async def balance(self) -> dict[str, Any]:
            self.off += 1
            return await super().balance()

    stripe = Erring(every=None)
    stripe.book(CUT - 1, 100)
    with pytest.raises(UnsteadyBalanceError):
        await derived(stripe)


async def test_a_cut_over_lies_in_the_past() -> None:
    ahead = datetime(2100, 1, 1, tzinfo=UTC)
    with pytest.raises(InvalidRequestError, match="future"):
        await derive(cast("OperatorGateway", BusyStripe(every=None)), ahead)
