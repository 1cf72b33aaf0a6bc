"""What an automatic payout paid out: its balance transactions, as Stripe lists them some time after it.

A balance transaction does not say which payout it went out with; only the list of a payout does. So the
payouts that the ledger knows as paid are looked for, each is asked for until Stripe says that its list is
complete, and the list is kept, page by page: what is cut short is taken up at its page by whichever worker
is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import orjson
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.db.cursors import NO_TIME, cursor_at, read_cursor
from tallystick.errors import NotFoundError, StripeRefusedError
from tallystick.events.spec import BalanceTransactionSeen, moment
from tallystick.pipeline.backoff import backoff_s
from tallystick.pipeline.effects import note_balance_transactions
from tallystick.stripe_gateway.balance_payloads import BalanceTransaction
from tallystick.stripe_gateway.client import StripeGateway

log = structlog.get_logger(__name__)

_AT_ONCE: Final = 20
_LEASE: Final = timedelta(minutes=2)
_REACH: Final = timedelta(days=60)
_BASE_S, _CAP_S = 15.0, 6 * 3600.0

# A payout or two a day: the spans of their kind lead to them.
_FIND: Final = text("""
INSERT INTO payout_listings (payout)
SELECT DISTINCT split_part(t.effect_key, ':', 2)
  FROM transaction_spans u CROSS JOIN LATERAL (
    SELECT effect_key FROM ledger_transactions
     WHERE id BETWEEN u.first_id AND u.last_id AND kind = u.kind OFFSET 0) AS t
 WHERE u.kind = 'payout_paid' AND u.hour >= now() - CAST(:reach AS interval)
ON CONFLICT (payout) DO NOTHING
""")

_TAKE: Final = text("""
UPDATE payout_listings SET due_at = now() + CAST(:lease AS interval)
 WHERE payout IN (SELECT payout FROM payout_listings WHERE status = 'pending' AND due_at <= now()
                   ORDER BY due_at LIMIT :at_once FOR UPDATE SKIP LOCKED)
RETURNING payout, attempts, cursor
""")

_POSTPONE: Final = text("""
UPDATE payout_listings SET attempts = attempts + 1, due_at = now() + CAST(:delay AS interval)
 WHERE payout = :payout AND status = 'pending'
""")

_CLOSE: Final = text("""
UPDATE payout_listings SET status = :status, listed_at = now() WHERE payout = :payout AND status = 'pending'
""")

_KEEP: Final = text("""
WITH new AS (
  INSERT INTO payout_transactions (payout, balance_transaction)
  SELECT CAST(:payout AS text), unnest(CAST(:ids AS text[])) ON CONFLICT DO NOTHING
  RETURNING balance_transaction
)
UPDATE payout_listings
   SET cursor = :cursor, due_at = now() + CAST(:lease AS interval), attempts = 0,
       transactions = transactions + (SELECT count(*) FROM new),
       net = net + coalesce((SELECT sum(n.net) FROM new
         JOIN unnest(CAST(:ids AS text[]), CAST(:nets AS bigint[])) AS n(id, net)
           ON n.id = new.balance_transaction), 0)
 WHERE payout = :payout
""")

_STANDING: Final = text("SELECT status, transactions, net FROM payout_listings WHERE payout = :payout")

_LINES: Final = text("""
SELECT p.balance_transaction, b.body, t.payment_id
  FROM (SELECT balance_transaction FROM payout_transactions
         WHERE payout = :payout AND balance_transaction > :after
         ORDER BY balance_transaction LIMIT :limit) AS p
  LEFT JOIN balance_transactions b ON b.id = p.balance_transaction
  LEFT JOIN ledger_transactions t ON t.effect_key = 'balance_transaction:' || p.balance_transaction
 ORDER BY p.balance_transaction
""")


class ListingStatus(StrEnum):
    """How far the list of a payout is."""

    PENDING = "pending"
    """Stripe has not put it together yet, or it is being read."""
    LISTED = "listed"
    NOT_AUTOMATIC = "not_automatic"
    """Stripe keeps no list of a payout that was made by hand."""
    UNKNOWN = "unknown"
    """Stripe knows no such payout."""


@dataclass(frozen=True, slots=True)
class PayoutLine:
    """A balance transaction that went out with a payout; ``payment`` is ours, where it belongs to one."""

    balance_transaction: str
    type: str
    amount: int
    fee: int
    net: int
    currency: str
    source: str | None
    payment: str | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class PayoutContents:
    """A page of what went out with a payout, by the balance transactions' ids; amounts in minor units.

    ``transactions`` and ``net`` are those of all pages, without the payout's own balance transaction: the
    net of a payout that is listed is its amount.
    """

    payout: str
    status: ListingStatus
    transactions: int
    net: int
    lines: list[PayoutLine]
    next_cursor: str | None


class PayoutListings:
    """Brings the lists in; one a process."""

    def __init__(self, engine: AsyncEngine, stripe: StripeGateway) -> None:
        self._engine = engine
        self._stripe = stripe

    async def step(self) -> None:
        """Look for payouts, and ask for those that are due. Raises StripeUnavailableError."""
        async with self._engine.begin() as connection:
            await connection.execute(_FIND, {"reach": _REACH})
            due = (await connection.execute(_TAKE, {"lease": _LEASE, "at_once": _AT_ONCE})).all()
        for row in due:
            try:
                await self._list(row)
            except StripeRefusedError as error:  # this one: it must not hold back the others
                log.warning("payout_not_listed", payout=row.payout, reason=str(error))
                await self._postpone(row)

    async def _list(self, row: Any) -> None:
        payout = await self._stripe.find_payout(row.payout)
        if payout is None:
            await self._close(row.payout, ListingStatus.UNKNOWN)
        elif not payout.get("automatic"):
            await self._close(row.payout, ListingStatus.NOT_AUTOMATIC)
        elif payout.get("reconciliation_status") != "completed":
            await self._postpone(row)
        else:
            cursor, more = row.cursor, True
            while more:
                page = await self._stripe.list_payout_transactions(row.payout, starting_after=cursor)
                rows = page["data"]
                cursor = rows[-1]["id"] if rows else cursor
                await self._keep(row.payout, rows, cursor)
                more = bool(page["has_more"] and rows)
            await self._close(row.payout, ListingStatus.LISTED)

    async def _keep(self, payout: str, rows: Sequence[Mapping[str, Any]], cursor: str | None) -> None:
        """A page, in one transaction with how far it reaches; what was not known yet is posted later."""
        others = [row for row in rows if BalanceTransaction.read(row).source != payout]  # not itself
        async with self._engine.begin() as connection:
            await note_balance_transactions(
                connection, [BalanceTransactionSeen(row["id"], row) for row in rows]
            )
            await connection.execute(
                _KEEP,
                {
                    "payout": payout,
                    "ids": [row["id"] for row in others],
                    "nets": [row["net"] for row in others],
                    "cursor": cursor,
                    "lease": _LEASE,
                },
            )

    async def _close(self, payout: str, status: ListingStatus) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(_CLOSE, {"payout": payout, "status": status})

    async def _postpone(self, row: Any) -> None:
        delay = timedelta(seconds=backoff_s(row.attempts + 1, base_s=_BASE_S, cap_s=_CAP_S))
        async with self._engine.begin() as connection:
            await connection.execute(_POSTPONE, {"payout": row.payout, "delay": delay})


async def read_contents(
    connection: AsyncConnection, payout: str, *, limit: int, cursor: str | None = None
) -> PayoutContents:
    """A page of at most ``limit`` lines, after ``cursor``.

    Raises NotFoundError for a payout that the ledger does not know as paid, and InvalidRequestError when the
    cursor is none of ours.
    """
    after = read_cursor(cursor)[1] if cursor is not None else ""
    standing = (
        (await connection.execute(_STANDING, {"payout": payout})).first() if "\0" not in payout else None
    )
    if standing is None:
        raise NotFoundError(f"There is no paid payout {payout!r}.", param="payout")
    found = {"payout": payout, "after": after, "limit": limit + 1}
    lines = [_line(row) for row in await connection.execute(_LINES, found)]
    return PayoutContents(
        payout,
        ListingStatus(standing.status),
        standing.transactions,
        standing.net,
        lines[:limit],
        cursor_at(NO_TIME, lines[limit - 1].balance_transaction) if len(lines) > limit else None,
    )


def _line(row: Any) -> PayoutLine:
    txn = BalanceTransaction.read(orjson.loads(row.body))
    return PayoutLine(
        txn.id, txn.type, txn.amount, txn.fee, txn.net, txn.currency, txn.source, row.payment_id,
        moment(txn.created),
    )  # fmt: skip
