"""Books that are opened when they hold something already: what stands otherwise than it would is superseded.

Every stored input is read by the cut-over. An effect that some input implies exactly as it stands may stand.
Any other one is taken back whole, and what the inputs say of it since the cut-over is posted anew under a key
of its own. A superseded effect and its mirror come to nothing, so the books hold what they would hold, had
they been opened before the first event; and what is heard later only adds, as ever.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.errors import InvalidStateError
from tallystick.ledger.book import NOTHING_POSTED, Book, Posted
from tallystick.ledger.entries import LedgerEntry, LedgerTransaction
from tallystick.ledger.opening import EFFECT_KEY, POSTED_ANEW, taken_back
from tallystick.ledger.openings import supersede
from tallystick.pipeline.rebuild.inputs import Bearing, all_inputs

_AT_ONCE: Final = 1000

_OCCURRED: Final = """
least(t.occurred_at, (SELECT min(d.occurred_at) FROM effect_dates d WHERE d.transaction_id = t.id))
"""
_STANDING: Final = text(f"""
SELECT t.effect_key, t.digest, {_OCCURRED} AS occurred_at FROM ledger_transactions t
 WHERE t.kind NOT LIKE 'journal%' AND t.effect_key <> :opening
""")
_TRANSACTIONS: Final = text(f"""
SELECT t.effect_key, t.kind, t.description, t.source, t.payment_id, t.rule_version,
       {_OCCURRED} AS occurred_at,
       array_agg(a.name ORDER BY e.position) AS accounts,
       array_agg(e.direction ORDER BY e.position) AS directions,
       array_agg(e.amount ORDER BY e.position) AS amounts,
       array_agg(e.currency ORDER BY e.position) AS currencies
  FROM ledger_transactions t
  JOIN ledger_entries e ON e.transaction_id = t.id
  JOIN ledger_accounts a ON a.id = e.account_id
 WHERE t.effect_key = ANY(CAST(:keys AS text[])) GROUP BY t.id ORDER BY t.effect_key
""")


@dataclass(frozen=True, slots=True)
class _Standing:
    digest: bytes
    occurred_at: datetime


async def supersede_what_stood(connection: AsyncConnection, book: Book) -> Posted:
    """Bring what was posted before to what the opening, which was just written, makes of it.

    Balances are the caller's to settle, and nobody posts until the caller's transaction ends. Holds the keys
    of the ledger in memory. Raises InvalidStateError when the inputs contradict each other.
    """
    rows = await connection.execute(_STANDING, {"opening": EFFECT_KEY})
    standing = {row.effect_key: _Standing(bytes(row.digest), row.occurred_at) for row in rows}
    if not standing:
        return NOTHING_POSTED
    superseded = sorted(standing.keys() - await _that_may_stand(connection, standing))
    await supersede(connection, superseded)
    posted = NOTHING_POSTED
    for first in range(0, len(superseded), _AT_ONCE):
        posted += await _take_back(connection, book, superseded[first : first + _AT_ONCE])
    async for made in _implied(connection):
        posted += await book.post(connection, made)
    contradicted = sorted(key for key, _ in posted.conflicts if key.endswith(POSTED_ANEW))
    if contradicted:
        raise InvalidStateError(f"{contradicted[0]} is told in two ways: see 'tallystick ledger rebuild'.")
    return posted


async def _that_may_stand(connection: AsyncConnection, standing: Mapping[str, _Standing]) -> set[str]:
    """Effects that are implied, by the cut-over, as they stand: with the same legs and the same time."""
    implied: dict[str, datetime] = {}
    async for batch in _implied(connection):
        for made in batch:
            known = standing.get(made.effect_key)
            if known is not None and known.digest == made.digest:
                earlier = implied.get(made.effect_key, made.occurred_at)
                implied[made.effect_key] = min(earlier, made.occurred_at)
    return {key for key, at in implied.items() if standing[key].occurred_at == at}


async def _implied(connection: AsyncConnection) -> AsyncIterator[list[LedgerTransaction]]:
    """What the inputs that were acted upon imply; those that are open will be read again."""
    async for batch in all_inputs(connection):
        yield [made for each in batch if each.bearing is Bearing.DONE for made in each.transactions]


async def _take_back(connection: AsyncConnection, book: Book, keys: Sequence[str]) -> Posted:
    rows = await connection.execute(_TRANSACTIONS, {"keys": list(keys)})
    standing = [
        LedgerTransaction(
            effect_key=row.effect_key,
            kind=row.kind,
            description=row.description,
            occurred_at=row.occurred_at,
            entries=tuple(map(LedgerEntry, row.accounts, row.directions, row.amounts, row.currencies)),
            source=row.source,
            payment_id=row.payment_id,
            rule_version=row.rule_version,
        )
        for row in rows
    ]
    return await book.post(connection, [taken_back(each) for each in standing])
