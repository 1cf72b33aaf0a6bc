"""The statement of an account: its entries in order of time, with the balance after each.

The order is that of the facts, then of the postings: the earliest time heard, the transaction's id, the
entry's position. A page costs the same wherever it lies and whatever the account holds: the spans
(``sums.py``) say where its entries are. What is not sealed yet is read beside them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.cursors import cursor_at, read_cursor
from tallystick.errors import InvalidRequestError
from tallystick.ledger.balances import BEGINNING, EVER, TICK, Account, before, find_account, sums_at
from tallystick.ledger.chart import AccountType
from tallystick.ledger.entries import direction_word
from tallystick.ledger.sums import ALL_DATES, IN_SPAN, SEALED, UNSEALED, occurred

_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_MORE_SPANS: Final = 8
"""Read beyond as many spans as there are lines on a page: some hold only what is before it."""

# Up to when the next spans hold a page: read all that meets it, and nothing of the page is missing.
_REACH: Final = text("""
WITH ahead AS (
  SELECT last_at, sum(CASE WHEN first_at > :since THEN entries ELSE 0 END)
                    OVER (ORDER BY last_at ROWS UNBOUNDED PRECEDING) AS filled
    FROM (SELECT first_at, last_at, entries FROM entry_spans
           WHERE account_id = :account AND last_at >= :since ORDER BY last_at LIMIT :spans) AS next
)
SELECT coalesce(min(last_at) FILTER (WHERE filled >= CAST(:lines AS bigint)),
                CASE WHEN count(*) = :spans THEN max(last_at) END)
  FROM ahead
""")

_LINES: Final = text(f"""
WITH {SEALED}, found AS (
  SELECT e.*
    FROM sealed s, entry_spans u CROSS JOIN LATERAL {IN_SPAN} AS e
   WHERE u.account_id = :account AND u.first_at <= :until AND u.last_at >= :since AND u.entries > 0
     AND u.last_at < date_trunc('hour', CAST(:until AS timestamptz), 'UTC') + interval '1 hour'
     AND e.at >= u.hour AND e.at < u.hour + interval '1 hour' AND e.id NOT IN (SELECT r.id FROM redated r)
  UNION ALL
  SELECT t.id, t.at, e.position, e.direction, e.amount
    FROM sealed s CROSS JOIN LATERAL {UNSEALED} AS t
   CROSS JOIN LATERAL (
     SELECT * FROM ledger_entries WHERE transaction_id = t.id AND account_id = :account OFFSET 0) AS e
  UNION ALL
  SELECT t.id, {occurred(ALL_DATES)}, e.position, e.direction, e.amount
    FROM redated r JOIN ledger_transactions t ON t.id = r.id JOIN ledger_entries e ON e.transaction_id = r.id
   WHERE e.account_id = :account
), summed AS (
  SELECT f.*, CAST(sum(f.direction * f.amount) OVER (ORDER BY f.at, f.id, f.position) AS bigint) AS net
    FROM found f WHERE f.at BETWEEN :since AND :until
), page AS (
  SELECT * FROM summed f
   WHERE (f.at, f.id, f.position)
       > (CAST(:since AS timestamptz), CAST(:after_id AS bigint), CAST(:after_position AS bigint))
   ORDER BY f.at, f.id, f.position LIMIT :lines
)
SELECT p.id, p.at, p.position, p.direction, p.amount, p.net, t.effect_key, t.kind, t.description, t.source,
       t.payment_id, t.posted_at
  FROM page p JOIN ledger_transactions t ON t.id = p.id ORDER BY p.at, p.id, p.position
""")


@dataclass(frozen=True, slots=True)
class StatementLine:
    """An entry of the account; ``balance`` is what stood on it after this one, by its normal balance."""

    transaction_id: int
    position: int
    effect_key: str
    kind: str
    description: str
    source: str
    payment: str | None
    occurred_at: datetime
    posted_at: datetime
    direction: str
    amount: int
    balance: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A page of an account's statement, oldest line first; amounts in minor units.

    ``opening_balance`` and ``closing_balance`` are those of the whole period, from ``since`` on and ending
    before ``until``. ``next_cursor`` is None on the last page.
    """

    account: str
    type: AccountType
    currency: str
    since: datetime | None
    until: datetime | None
    opening_balance: int
    closing_balance: int
    lines: list[StatementLine]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    """After which entry to go on."""

    at: datetime
    transaction_id: int = 0
    position: int = 0


async def read_statement(
    connection: AsyncConnection,
    account: str,
    currency: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> Statement:
    """A page of at most ``limit`` lines, after ``cursor``; wants one snapshot.

    Raises NotFoundError, and InvalidRequestError when the cursor is none of ours.
    """
    found = await find_account(connection, account, currency)
    start = max(since or BEGINNING, BEGINNING)
    end = before(until or EVER)
    place = _read_place(cursor) if cursor is not None else _Place(start)
    place = place if place.at >= start else _Place(start)
    instants = (before(start), end, before(place.at))
    opening, closing, behind = await sums_at(connection, [(found, at) for at in instants])
    lines = await _lines(connection, found, place, end, wanted=limit + 1, sums=behind)
    more = len(lines) > limit
    return Statement(
        found.name,
        found.type,
        found.currency,
        since,
        until,
        found.type.signed(opening[0] - opening[1]),
        found.type.signed(closing[0] - closing[1]),
        lines[:limit],
        _cursor_of(lines[limit - 1]) if more else None,
    )


async def _lines(
    connection: AsyncConnection,
    account: Account,
    place: _Place,
    end: datetime,
    *,
    wanted: int,
    sums: tuple[int, int],
) -> list[StatementLine]:
    """The next lines from a place on, up to ``end``: fewer than wanted only where there are no more.

    ``sums`` are debits and credits before the time of the place.
    """
    lines: list[StatementLine] = []
    while place.at <= end:
        left = {"account": account.id, "since": place.at, "lines": wanted - len(lines)}
        reach = (
            await connection.execute(_REACH, {**left, "spans": wanted + _MORE_SPANS})
        ).scalar_one_or_none()
        until = end if reach is None else min(reach, end)
        after = {"until": until, "after_id": place.transaction_id, "after_position": place.position}
        rows = await connection.execute(_LINES, {**left, **after})
        lines += [_line(row, account.type.signed(sums[0] - sums[1] + row.net)) for row in rows]
        if until == end or len(lines) >= wanted:
            break
        place = _Place(until + TICK)
        [sums] = await sums_at(connection, [(account, until)])
    return lines


def _line(row: Any, balance: int) -> StatementLine:
    return StatementLine(
        row.id, row.position, row.effect_key, row.kind, row.description, row.source, row.payment_id, row.at,
        row.posted_at, direction_word(row.direction), row.amount, balance,
    )  # fmt: skip


def _cursor_of(line: StatementLine) -> str:
    return cursor_at(line.occurred_at, f"{line.transaction_id}.{line.position}")


def _read_place(cursor: str) -> _Place:
    at, rest = read_cursor(cursor)
    transaction_id, dot, position = rest.partition(".")
    if not (dot and _NUMBER.fullmatch(transaction_id) and _NUMBER.fullmatch(position)):
        raise InvalidRequestError("The cursor is not one that a statement gave.", param="cursor")
    return _Place(at, int(transaction_id), int(position))
