"""Opens the books on a Stripe account that is in use: derives its position at the cut-over, and posts it.

Stripe tells its balance now, and what was booked since any time; the position at the cut-over is the one
less the other. Stripe goes on booking meanwhile, and says nowhere up to which row a balance reaches, so the
position is derived again and again until all derivations agree: whenever the balance was read, the position
at the cut-over was one and the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.errors import InvalidRequestError, UnsteadyBalanceError
from tallystick.events.posting_table import posting_rule
from tallystick.ledger import chart
from tallystick.ledger.book import Book
from tallystick.ledger.opening import Opening, OpeningBalance
from tallystick.ledger.openings import check_unopened, open_books
from tallystick.pipeline.account_maps import hold_maps
from tallystick.pipeline.pulls import gap_audit, settlement
from tallystick.pipeline.pulls.late_opening import supersede_what_stood
from tallystick.pipeline.pulls.listings import begin_at
from tallystick.stripe_gateway.balance_payloads import BALANCE_TYPES, BalanceTransaction, funds
from tallystick.stripe_gateway.operator import OperatorGateway

_STILL_APPEARING: Final = 3600
"""Seconds for which Stripe may still add a row to what it listed already."""
_DERIVATIONS: Final = 20
_AGREEING: Final = 2

_STANDING: Final = frozenset({chart.HELD, chart.ADVANCES, chart.CUSTOMER_CASH, chart.FINANCING})
"""Accounts that a balance transaction fills and a later one empties, neither of which names the other: what
stood there at the cut-over is the sum of all before."""
_TYPES: Final = (
    "adjustment",  # its category says whether it is such
    "advance",
    "advance_funding",
    "anticipation_repayment",
    "issuing_authorization_hold",
    "issuing_authorization_release",
    "obligation_outbound",
    "obligation_reversal_inbound",
    "payment_network_reserve_hold",
    "payment_network_reserve_release",
    "payment_unreconciled",
    "payout_minimum_balance_hold",
    "payout_minimum_balance_release",
    "reserve_hold",
    "reserve_release",
    "reserve_transaction",
    "reserved_funds",
)
"""Types of such balance transactions: Stripe's list can be narrowed to a type, not to a category."""

Watch = Callable[[int], None]
"""Hears how many balance transactions were read so far."""
Position = frozenset[tuple[str, str, int]]
"""Account, currency and amount, positive on the debit side; zero amounts are left out."""
Sums = Counter[tuple[str, str]]
"""By account and currency. Only ``update`` and ``subtract``: the operators drop what is negative."""


@dataclass(slots=True)
class Derived:
    """The opening, and what it was derived from: as it was when all derivations agreed."""

    opening: Opening
    evidence: dict[str, Any]


@dataclass(slots=True)
class _Derivation:
    """What was read of Stripe so far."""

    stripe: OperatorGateway
    cut_over: int
    watch: Watch
    rows: int = 0
    settled: Sums = field(default_factory=Counter)
    """What was booked between the cut-over and ``edge``, after which rows may still appear."""
    edge: int = 0
    balance: Mapping[str, Any] = field(default_factory=dict)

    async def read_history(self) -> None:
        """Read everything since the cut-over once."""
        self.edge = self.cut_over
        newest: int | None = None
        async for txn in self._movements({"created": {"gte": self.cut_over}}):
            if newest is None:
                newest = txn.created
                self.edge = max(self.cut_over, newest - _STILL_APPEARING)
            if txn.created < self.edge:
                self.settled.update(_own_side([txn]))

    async def candidates(self) -> set[Position]:
        """The positions that a balance read now allows: several, where Stripe booked something meanwhile."""
        before = await self._since_edge()
        self.balance = await self.stripe.balance()
        after = await self._since_edge()
        held: Sums = Counter()
        for (balance_type, currency), amount in funds(self.balance).items():
            held[chart.stripe_balance(balance_type), currency] += amount
        known = {txn.id for txn in before}
        held.subtract(self.settled)
        held.subtract(_own_side(before))
        found = {_position(held)}
        for txn in reversed(after):
            if txn.id not in known:
                held.subtract(_own_side([txn]))
                found.add(_position(held))
        return found

    async def standing(self) -> Sums:
        """What stood at the cut-over on accounts that only the sum of all movements tells."""
        found: Sums = Counter()
        for kind in _TYPES:
            async for txn in self._movements({"created": {"lt": self.cut_over}, "type": kind}):
                account = posting_rule(txn.reporting_category, txn.type).account
                if account not in _STANDING:
                    continue
                found[account, txn.currency] -= txn.amount
                if (txn.balance_type or "payments") not in BALANCE_TYPES:  # Stripe's Balance does not show it
                    found[chart.stripe_balance(txn.balance_type), txn.currency] += txn.net
        return found

    async def _since_edge(self) -> list[BalanceTransaction]:
        return [txn async for txn in self._movements({"created": {"gte": self.edge}})]

    async def _movements(self, narrowed: Mapping[str, Any]) -> AsyncIterator[BalanceTransaction]:
        after: str | None = None
        while True:
            page = await self.stripe.page_of_movements(narrowed, after)
            for row in page["data"]:
                yield BalanceTransaction.read(row)
            self.rows += len(page["data"])
            self.watch(self.rows)
            if not page["has_more"] or not page["data"]:
                return
            after = page["data"][-1]["id"]


async def derive(
    stripe: OperatorGateway,
    cut_over: datetime,
    *,
    watch: Watch = lambda _rows: None,
    pause_s: float = 1.0,
) -> Derived:
    """The position at ``cut_over``; ``watch`` hears how many balance transactions were read so far.

    Raises InvalidRequestError for a cut-over that is not past, UnsteadyBalanceError when Stripe's figures do
    not come to agree, and what the gateway raises.
    """
    if cut_over > datetime.now(UTC):
        raise InvalidRequestError("The cut-over is in the future.", param="from")
    work = _Derivation(stripe, int(cut_over.timestamp()), watch)
    await work.read_history()
    agreed = await _agreed(work, pause_s)
    standing = await work.standing()
    balances: Sums = Counter({(account, currency): amount for account, currency, amount in agreed})
    balances.update(standing)
    opening = Opening(
        cut_over.replace(microsecond=0),
        tuple(
            OpeningBalance(account, currency, amount)
            for (account, currency), amount in sorted(balances.items())
            if amount
        ),
    )
    evidence = {
        "balance": dict(work.balance),
        "balance_read_at": datetime.now(UTC).isoformat(),
        "balance_transactions_read": work.rows,
        "before_the_cut_over": _listed(standing),
    }
    return Derived(opening, evidence)


async def adopt(engine: AsyncEngine, derived: Derived, actor: str) -> None:
    """Open the books, and have Stripe's lists read from the cut-over on; all of it or nothing.

    What was posted before is superseded as far as it is in the opening (``late_opening``). Raises
    InvalidStateError when the books were opened already, or hold an entry by hand of before the cut-over.
    """
    cut_over = derived.opening.cut_over
    kept = datetime.now(UTC) - gap_audit.STRIPE_KEEPS_EVENTS
    book = Book()
    async with engine.begin() as connection:
        await hold_maps(connection)  # first, as whoever posts does
        posted = await open_books(connection, book, derived.opening, derived.evidence, actor)
        posted += await supersede_what_stood(connection, book)
        await begin_at(connection, settlement.DAILY, cut_over)
        await begin_at(connection, gap_audit.NAME, max(cut_over, kept))
        await book.settle_balances(connection, posted)


async def check(engine: AsyncEngine, cut_over: datetime) -> None:
    """Whether the books can be opened at all, before Stripe is asked for long. Raises InvalidStateError."""
    async with engine.connect() as connection:
        await check_unopened(connection, cut_over)


async def _agreed(work: _Derivation, pause_s: float) -> Position:
    """The one position that derivations at different times have in common."""
    common: set[Position] = set()
    agreeing = 0
    for _ in range(_DERIVATIONS):
        found = await work.candidates()
        agreeing = agreeing + 1 if common & found else 1
        common = common & found or found
        if agreeing >= _AGREEING and len(common) == 1:
            return next(iter(common))
        await asyncio.sleep(pause_s)
    raise UnsteadyBalanceError(
        "Stripe's balance and its balance transactions do not agree for long enough: try again when fewer"
        " payments are made."
    )


def _own_side(txns: Iterable[BalanceTransaction]) -> Sums:
    """What they moved on the balances that Stripe's Balance object shows."""
    found: Sums = Counter()
    for txn in txns:
        if (txn.balance_type or "payments") in BALANCE_TYPES:
            found[chart.stripe_balance(txn.balance_type), txn.currency] += txn.net
    return found


def _position(sums: Sums) -> Position:
    return frozenset((account, currency, amount) for (account, currency), amount in sums.items() if amount)


def _listed(sums: Sums) -> list[dict[str, Any]]:
    return [
        {"account": account, "currency": currency, "amount": amount}
        for (account, currency), amount in sorted(sums.items())
        if amount
    ]
