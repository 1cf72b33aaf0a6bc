"""Posts ledger transactions in bulk: a handful of statements for hundreds of them.

Posting is two calls in one database transaction. ``post`` writes headers and legs, under keys that make a
repetition do nothing; ``settle_balances`` adds the sums to the accounts' balances, last before the commit, so
that the rows every batch contends for are locked for the shortest time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.ledger.chart import account_type
from tallystick.ledger.entries import DEBIT, LedgerTransaction

log = structlog.get_logger(__name__)

Account = tuple[str, str]
"""An account's name and currency."""


Contradiction = tuple[str, bytes]
"""An effect key, and the digest of legs that it came with and does not stand with."""


@dataclass(frozen=True, slots=True)
class Posted:
    """What a call of ``post`` wrote, and what came with other legs than its key stands with."""

    new: frozenset[str]
    conflicts: frozenset[Contradiction]
    sums: Mapping[int, tuple[int, int]]
    """Debits and credits to add to each account (by id)."""

    def __add__(self, other: Posted) -> Posted:
        sums = dict(self.sums)
        for account, (debits, credits_) in other.sums.items():
            before = sums.get(account, (0, 0))
            sums[account] = (before[0] + debits, before[1] + credits_)
        return Posted(self.new | other.new, self.conflicts | other.conflicts, sums)


NOTHING_POSTED: Final = Posted(frozenset(), frozenset(), {})

_KNOWN_ACCOUNTS: Final = text("""
SELECT a.id, a.name, a.currency FROM ledger_accounts a
  JOIN unnest(CAST(:names AS text[]), CAST(:currencies AS text[])) AS w(name, currency)
    ON w.name = a.name AND w.currency = a.currency
""")

_NEW_ACCOUNTS: Final = text("""
INSERT INTO ledger_accounts (name, currency, type)
SELECT * FROM unnest(CAST(:names AS text[]), CAST(:currencies AS text[]), CAST(:types AS text[]))
ON CONFLICT (name, currency) DO NOTHING
""")

_POST: Final = text("""
WITH new AS (
  INSERT INTO ledger_transactions
    (effect_key, kind, description, occurred_at, accounting_on, source, payment_id, rule_version, digest)
  SELECT effect_key, kind, description, occurred_at, (occurred_at AT TIME ZONE 'UTC')::date,
         source, payment_id, rule_version, digest
    FROM unnest(
      CAST(:keys AS text[]), CAST(:kinds AS text[]), CAST(:descriptions AS text[]),
      CAST(:times AS timestamptz[]), CAST(:sources AS text[]), CAST(:payments AS text[]),
      CAST(:versions AS smallint[]), CAST(:digests AS bytea[])
    ) AS h(effect_key, kind, description, occurred_at, source, payment_id, rule_version, digest)
  ON CONFLICT (effect_key) DO NOTHING
  RETURNING id, effect_key
), legs AS (
  INSERT INTO ledger_entries (transaction_id, position, account_id, direction, amount, currency)
  SELECT new.id, l.position, l.account_id, l.direction, l.amount, l.currency
    FROM unnest(
      CAST(:leg_keys AS text[]), CAST(:positions AS smallint[]), CAST(:accounts AS int[]),
      CAST(:directions AS smallint[]), CAST(:amounts AS bigint[]), CAST(:currencies AS text[])
    ) AS l(effect_key, position, account_id, direction, amount, currency)
    JOIN new USING (effect_key)
)
SELECT effect_key FROM new
""")

_STANDING: Final = text("""
SELECT t.id, t.effect_key, t.digest,
       least(t.occurred_at, (SELECT min(d.occurred_at) FROM effect_dates d WHERE d.transaction_id = t.id))
         AS occurred_at
  FROM ledger_transactions t WHERE t.effect_key = ANY(CAST(:keys AS text[]))
""")

_EARLIER: Final = text("""
INSERT INTO effect_dates (transaction_id, occurred_at, source)
SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:times AS timestamptz[]), CAST(:sources AS text[]))
ON CONFLICT DO NOTHING
""")

_STAY_AS_THEY_ARE: Final = text(
    "SELECT pg_advisory_xact_lock_shared(hashtextextended('tallystick:opening', 0))"
)

_CUT_OVER: Final = text("SELECT cut_over FROM ledger_openings")

_ADD_TO_BALANCES: Final = text("""
INSERT INTO account_balances AS b (account_id, debits, credits)
SELECT * FROM unnest(CAST(:accounts AS int[]), CAST(:debits AS bigint[]), CAST(:credits AS bigint[]))
ON CONFLICT (account_id) DO UPDATE SET
  debits = b.debits + excluded.debits, credits = b.credits + excluded.credits, updated_at = now()
""")


class Book:
    """The ledger as a place to post to. One a process: it remembers the ids of accounts, and the cut-over."""

    def __init__(self) -> None:
        self._account_ids: dict[Account, int] = {}
        self._cut_over: datetime | None = None

    async def cut_over(self, connection: AsyncConnection) -> datetime | None:
        """When the books were opened on an account in use; None where they began with its first event.

        Neither changes until the caller's transaction ends: who opens books waits for those that post
        (``openings.py``). It is for good, and asked for no more.
        """
        if self._cut_over is None:
            await connection.execute(_STAY_AS_THEY_ARE)  # by itself: what is read must be seen under the lock
            self._cut_over = (await connection.execute(_CUT_OVER)).scalar()
        return self._cut_over

    async def post(self, connection: AsyncConnection, transactions: Iterable[LedgerTransaction]) -> Posted:
        """Write the transactions that do not stand yet.

        A key that stands with the same legs is left alone; an earlier ``occurred_at`` is added to
        ``effect_dates``. Legs other than those a key stands with, or comes with first here, are a conflict:
        they are not written, and the caller must not ignore it.
        """
        batch, conflicts = _by_key(transactions)
        if not batch:
            return replace(NOTHING_POSTED, conflicts=frozenset(conflicts))
        keys = sorted(batch)
        ids = await self._accounts(connection, batch.values())
        new = await self._insert(connection, [batch[key] for key in keys], ids)
        standing = [batch[key] for key in keys if key not in new]
        if standing:
            conflicts |= await _compare(connection, standing)
        sums: dict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for key in new:
            for leg in batch[key].entries:
                account = ids[leg.account, leg.currency]
                debits, credits_ = sums[account]
                sums[account] = (
                    (debits + leg.amount, credits_)
                    if leg.direction == DEBIT
                    else (debits, credits_ + leg.amount)
                )
        return Posted(frozenset(new), frozenset(conflicts), dict(sums))

    async def settle_balances(self, connection: AsyncConnection, posted: Posted) -> None:
        """Add what ``post`` wrote to the balances, in the order of the accounts' ids; last before commit."""
        accounts = sorted(posted.sums)
        if accounts:
            await connection.execute(
                _ADD_TO_BALANCES,
                {
                    "accounts": accounts,
                    "debits": [posted.sums[account][0] for account in accounts],
                    "credits": [posted.sums[account][1] for account in accounts],
                },
            )

    async def _insert(
        self, connection: AsyncConnection, batch: Sequence[LedgerTransaction], ids: Mapping[Account, int]
    ) -> set[str]:
        legs = [
            (item.effect_key, position, ids[leg.account, leg.currency], leg)
            for item in batch
            for position, leg in enumerate(item.entries, 1)
        ]
        parameters: dict[str, list[Any]] = {
            "keys": [item.effect_key for item in batch],
            "kinds": [item.kind for item in batch],
            "descriptions": [item.description for item in batch],
            "times": [item.occurred_at for item in batch],
            "sources": [item.source for item in batch],
            "payments": [item.payment_id for item in batch],
            "versions": [item.rule_version for item in batch],
            "digests": [item.digest for item in batch],
            "leg_keys": [key for key, _, _, _ in legs],
            "positions": [position for _, position, _, _ in legs],
            "accounts": [account for _, _, account, _ in legs],
            "directions": [leg.direction for _, _, _, leg in legs],
            "amounts": [leg.amount for _, _, _, leg in legs],
            "currencies": [leg.currency for _, _, _, leg in legs],
        }
        return set((await connection.execute(_POST, parameters)).scalars())

    async def _accounts(
        self, connection: AsyncConnection, batch: Iterable[LedgerTransaction]
    ) -> dict[Account, int]:
        """The ids of all accounts in the batch; those that do not exist yet are made.

        Only accounts found to exist are remembered: one made here is gone if the transaction rolls back.
        """
        wanted = {(leg.account, leg.currency) for item in batch for leg in item.entries}
        unknown = sorted(wanted - self._account_ids.keys())
        if not unknown:
            return self._account_ids
        found = await _find_accounts(connection, unknown)
        self._account_ids.update(found)
        missing = [account for account in unknown if account not in found]
        if not missing:
            return self._account_ids
        await connection.execute(
            _NEW_ACCOUNTS,
            {
                "names": [name for name, _ in missing],
                "currencies": [currency for _, currency in missing],
                "types": [account_type(name).value for name, _ in missing],
            },
        )
        return self._account_ids | await _find_accounts(connection, missing)


def _by_key(
    transactions: Iterable[LedgerTransaction],
) -> tuple[dict[str, LedgerTransaction], set[Contradiction]]:
    """One transaction a key, the earliest of equal ones; other legs than the first ones are conflicts."""
    batch: dict[str, LedgerTransaction] = {}
    conflicts: set[Contradiction] = set()
    for item in transactions:
        known = batch.get(item.effect_key)
        if known is None:
            batch[item.effect_key] = item
        elif known.digest != item.digest:
            conflicts.add((item.effect_key, item.digest))
        elif item.occurred_at < known.occurred_at:
            batch[item.effect_key] = item
    return batch, conflicts


async def _find_accounts(connection: AsyncConnection, wanted: Sequence[Account]) -> dict[Account, int]:
    rows = await connection.execute(
        _KNOWN_ACCOUNTS,
        {"names": [name for name, _ in wanted], "currencies": [currency for _, currency in wanted]},
    )
    return {(row.name, row.currency): row.id for row in rows}


async def _compare(connection: AsyncConnection, batch: Sequence[LedgerTransaction]) -> set[Contradiction]:
    """Compare with what stands: returns what has other legs, and notes earlier times."""
    by_key = {item.effect_key: item for item in batch}
    rows = (await connection.execute(_STANDING, {"keys": list(by_key)})).all()
    earlier: list[tuple[int, datetime, str]] = []
    conflicts = set()
    for row in rows:
        item = by_key[row.effect_key]
        if bytes(row.digest) != item.digest:
            log.error("effect_differs", effect_key=item.effect_key, source=item.source)
            conflicts.add((item.effect_key, item.digest))
        elif item.occurred_at < row.occurred_at:
            earlier.append((row.id, item.occurred_at, item.source))
    if earlier:
        earlier.sort()  # as all that several batches can write: in one order
        await connection.execute(
            _EARLIER,
            {
                "ids": [transaction for transaction, _, _ in earlier],
                "times": [time for _, time, _ in earlier],
                "sources": [source for _, _, source in earlier],
            },
        )
    return conflicts
