"""What lies in suspense: money that moved for a reason that no rule knew, until a person clears it.

Nothing posted is changed when a later version has a rule. A journal entry takes the money out to where it
belongs; it clears the balance transactions that its description names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.ledger import chart
from tallystick.ledger.opening import POSTED_ANEW, SUPERSEDED
from tallystick.ledger.statements import StatementLine, read_statement

_BALANCES: Final = text("""
SELECT a.currency, b.debits - b.credits AS balance
  FROM ledger_accounts a JOIN account_balances b ON b.account_id = a.id
 WHERE a.name = :account ORDER BY a.currency
""")
_PAGE: Final = 1000
_BY_HAND: Final = "journal_entry"
_ENDINGS: Final = re.compile(f"(:reversed|{SUPERSEDED}|{POSTED_ANEW})+$")
"""Of the keys of what takes a posting back, or posts it anew."""
_NAME: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class SuspenseItem:
    """A posting to suspense of which something is left. Amounts in minor units, a debit positive.

    ``source`` is the balance transaction, or the journal entry that clears nothing it names.
    """

    effect_key: str
    kind: str
    description: str
    source: str
    occurred_at: datetime
    posted_at: datetime
    currency: str
    amount: int
    left: int


async def suspense_balances(connection: AsyncConnection) -> dict[str, int]:
    """What stands in suspense, by currency; without those at zero. For an alert: anything at all is one."""
    rows = await connection.execute(_BALANCES, {"account": chart.SUSPENSE})
    return {row.currency: row.balance for row in rows if row.balance}


async def open_items(connection: AsyncConnection) -> list[SuspenseItem]:
    """What of suspense is not cleared, oldest first in each currency; wants one snapshot.

    What is left of all items of a currency is the balance of suspense in it.
    """
    found: list[SuspenseItem] = []
    rows = await connection.execute(_BALANCES, {"account": chart.SUSPENSE})
    for currency in [row.currency for row in rows]:
        found += _uncleared(currency, await _lines(connection, currency))
    return found


async def _lines(connection: AsyncConnection, currency: str) -> list[StatementLine]:
    lines: list[StatementLine] = []
    cursor: str | None = None
    while True:
        page = await read_statement(connection, chart.SUSPENSE, currency, limit=_PAGE, cursor=cursor)
        lines += page.lines
        cursor = page.next_cursor
        if cursor is None:
            return lines


def _uncleared(currency: str, lines: Iterable[StatementLine]) -> list[SuspenseItem]:
    """Each posting less its reversal, and less what journal entries that name it take out."""
    items: dict[str, SuspenseItem] = {}
    by_hand: dict[str, SuspenseItem] = {}
    for line in lines:
        made = by_hand if line.kind.startswith(_BY_HAND) else items
        amount = line.amount if line.direction == "debit" else -line.amount
        key = _ENDINGS.sub("", line.effect_key)
        known = made.get(key)
        if known is not None:  # a second leg, or its reversal
            made[key] = replace(known, amount=known.amount + amount, left=known.left + amount)
            continue
        made[key] = SuspenseItem(
            key, line.kind, line.description, line.source, line.occurred_at, line.posted_at, currency,
            amount, amount,
        )  # fmt: skip
    keys = {item.source: key for key, item in items.items()}
    for name, entry in by_hand.items():
        left = entry.left
        for key in (keys[word] for word in _NAME.findall(entry.description) if word in keys):
            cleared = _part(left, items[key].left)
            left -= cleared
            items[key] = replace(items[key], left=items[key].left + cleared)
        by_hand[name] = replace(entry, left=left)
    return [item for item in (*items.values(), *by_hand.values()) if item.left]


def _part(entry: int, item: int) -> int:
    """How much of an entry clears an item: no more than is left of it, and only from the other side."""
    if entry * item >= 0:
        return 0
    return max(entry, -item) if entry < 0 else min(entry, -item)
