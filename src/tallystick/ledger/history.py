"""What was posted: ledger transactions with their entries, one by one, by what they are of, or all of them.

The order is that of the facts, newest first as in every list, and of the postings where facts fall together.
A page of all of them costs the same wherever it lies: the spans (``sums.py``) say where it has to look.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.cursors import cursor_at, read_cursor
from tallystick.errors import InvalidRequestError, NotFoundError
from tallystick.ledger.balances import BEGINNING, EVER, TICK, before
from tallystick.ledger.entries import direction_word
from tallystick.ledger.sums import ALL_DATES, SEALED, UNSEALED, occurred

_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_AFTER_ALL: Final = 10**18
"""Above every id: the place of a page that begins at a time and after no transaction."""
_MORE_SPANS: Final = 8

_HEADERS: Final = f"""
SELECT t.id, t.effect_key, t.kind, t.description, t.source, t.payment_id, t.posted_at,
       {occurred(ALL_DATES)} AS occurred_at
  FROM ledger_transactions t
"""

_OF_PAYMENTS: Final = text(_HEADERS + "WHERE t.payment_id = ANY(CAST(:payments AS text[])) ORDER BY t.id")
_OF_KEY: Final = text(_HEADERS + "WHERE t.effect_key = :key")
_OF_ID: Final = text(_HEADERS + "WHERE t.id = :id")

_ENTRIES: Final = text("""
SELECT e.transaction_id, a.name AS account, e.direction, e.amount, e.currency
  FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
 WHERE e.transaction_id = ANY(CAST(:ids AS bigint[])) ORDER BY e.transaction_id, e.position
""")

# Down to when the next spans hold a page: as in a statement, backwards.
_REACH: Final = text("""
WITH behind AS (
  SELECT first_at, sum(CASE WHEN last_at < :until THEN transactions ELSE 0 END)
                     OVER (ORDER BY first_at DESC ROWS UNBOUNDED PRECEDING) AS filled
    FROM (SELECT first_at, last_at, transactions FROM transaction_spans
           WHERE first_at <= :until ORDER BY first_at DESC LIMIT :spans) AS next
)
SELECT coalesce(max(first_at) FILTER (WHERE filled >= CAST(:lines AS bigint)),
                CASE WHEN count(*) = :spans THEN min(first_at) END)
  FROM behind
""")
_REACH_OF_KIND: Final = text(_REACH.text.replace("WHERE first_at", "WHERE kind = :kind AND first_at"))


def _page(kind: str) -> Any:
    """The page's query: of all kinds, or with a condition on one."""
    return text(f"""
WITH {SEALED}, found AS (
  SELECT l.*
    FROM sealed s, transaction_spans u
   CROSS JOIN LATERAL (
     SELECT t.id, {occurred("s.last_date_id")} AS at FROM ledger_transactions t
      WHERE t.id BETWEEN u.first_id AND u.last_id AND t.kind = u.kind
        AND t.id NOT IN (SELECT r.id FROM redated r)
     OFFSET 0) AS l
   WHERE u.last_at >= :since AND u.first_at <= :until AND u.transactions > 0 {kind.format("u")}
     AND u.first_at >= date_trunc('hour', CAST(:since AS timestamptz), 'UTC')
     AND l.at >= u.hour AND l.at < u.hour + interval '1 hour'
  UNION ALL
  SELECT t.id, t.at FROM sealed s CROSS JOIN LATERAL {UNSEALED} AS t
   WHERE true {kind.format("t")}
  UNION ALL
  SELECT t.id, {occurred(ALL_DATES)} FROM redated r JOIN ledger_transactions t ON t.id = r.id
   WHERE true {kind.format("t")}
)
SELECT t.id, t.effect_key, t.kind, t.description, t.source, t.payment_id, t.posted_at, f.at AS occurred_at
  FROM (SELECT * FROM found WHERE at BETWEEN :since AND :until
           AND (at, id) < (CAST(:until AS timestamptz), CAST(:before_id AS bigint))
         ORDER BY at DESC, id DESC LIMIT :lines) AS f
  JOIN ledger_transactions t ON t.id = f.id ORDER BY f.at DESC, f.id DESC
""")


_PAGE: Final = _page("")
_PAGE_OF_KIND: Final = _page("AND {}.kind = :kind")

# One of these a filter: what stands under a key, under a key that goes on from a stem, or is of a payment.
_AMONG: Final = """
  AND t.id IN (
    SELECT id FROM ledger_transactions WHERE effect_key = ANY(CAST(:keys_{n} AS text[]))
    UNION ALL
    SELECT l.id FROM unnest(CAST(:stems_{n} AS text[])) AS s(stem) CROSS JOIN LATERAL (
      SELECT id FROM ledger_transactions WHERE effect_key > s.stem || ':' AND effect_key < s.stem || ';'
      OFFSET 0) AS l
    UNION ALL
    SELECT id FROM ledger_transactions WHERE payment_id = ANY(CAST(:payments_{n} AS text[])))
"""
_CHOSEN: Final = f"""
SELECT * FROM ({_HEADERS} WHERE true {{among}}) AS found
 WHERE occurred_at BETWEEN :since AND :until AND (CAST(:kind AS text) IS NULL OR kind = :kind)
   AND (occurred_at, id) < (CAST(:until AS timestamptz), CAST(:before_id AS bigint))
 ORDER BY occurred_at DESC, id DESC LIMIT :lines
"""


@dataclass(frozen=True, slots=True)
class PostedEntry:
    """A leg as it stands in the ledger; ``amount`` in minor units, ``direction`` debit or credit."""

    account: str
    direction: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class PostedTransaction:
    """A ledger transaction as it stands, with its entries. ``occurred_at`` is the earliest that was heard.

    ``source`` is the event, balance transaction or operator that told of it first, ``payment`` our payment.
    """

    id: int
    effect_key: str
    kind: str
    description: str
    source: str
    payment: str | None
    occurred_at: datetime
    posted_at: datetime
    entries: list[PostedEntry]


@dataclass(frozen=True, slots=True)
class Among:
    """Ledger transactions that belong to something: by their keys, by what their keys begin with, by payment.

    A stem is a key without its end: ``refund:re_1`` of ``refund:re_1:applied``.
    """

    keys: tuple[str, ...] = ()
    stems: tuple[str, ...] = ()
    payments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TransactionFilter:
    """What a list is narrowed to: times from ``since`` on and before ``until``, a kind, all of ``among``."""

    since: datetime | None = None
    until: datetime | None = None
    kind: str | None = None
    among: tuple[Among, ...] = ()


@dataclass(frozen=True, slots=True)
class TransactionPage:
    """Ledger transactions, the latest fact first; ``next_cursor`` is None on the last page."""

    items: list[PostedTransaction]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    """Before which transaction to go on."""

    at: datetime
    transaction_id: int = _AFTER_ALL


async def list_transactions(
    connection: AsyncConnection, narrowed: TransactionFilter, *, limit: int, cursor: str | None = None
) -> TransactionPage:
    """A page of at most ``limit``, after ``cursor``; wants one snapshot.

    Raises InvalidRequestError when the cursor is none of ours.
    """
    start, end = narrowed.since or BEGINNING, before(narrowed.until or EVER)
    place = _Place(end)
    if cursor is not None and (read := _read_place(cursor)).at <= end:
        place = read
    if narrowed.among:
        rows = await _chosen(connection, narrowed, start, place, limit + 1)
    else:
        rows = await _everything(connection, narrowed.kind, start, place, limit + 1)
    items = await _with_entries(connection, rows[:limit])
    more = len(rows) > limit
    last = rows[limit - 1] if more else None
    return TransactionPage(items, cursor_at(last.occurred_at, str(last.id)) if last is not None else None)


async def get_transaction(connection: AsyncConnection, name: str) -> PostedTransaction:
    """By its number or by its effect key. Raises NotFoundError."""
    numbered = _NUMBER.fullmatch(name) is not None
    query, parameters = (_OF_ID, {"id": int(name)}) if numbered else (_OF_KEY, {"key": name})
    rows = (await connection.execute(query, parameters)).all() if "\0" not in name else []
    if not rows:
        raise NotFoundError(f"There is no ledger transaction {name!r}.")
    [found] = await _with_entries(connection, rows)
    return found


async def transactions_of_payments(
    connection: AsyncConnection, payments: Sequence[str]
) -> list[PostedTransaction]:
    """The ledger transactions of the given payments (our ids), oldest posting first."""
    rows = (await connection.execute(_OF_PAYMENTS, {"payments": list(payments)})).all()
    return await _with_entries(connection, rows)


async def _everything(
    connection: AsyncConnection, kind: str | None, start: datetime, place: _Place, wanted: int
) -> list[Any]:
    """The next headers from a place on, back to ``start``."""
    reach, page = (_REACH, _PAGE) if kind is None else (_REACH_OF_KIND, _PAGE_OF_KIND)
    of_kind = {} if kind is None else {"kind": kind}
    rows: list[Any] = []
    while place.at >= start and len(rows) < wanted:
        left = {"until": place.at, "lines": wanted - len(rows), **of_kind}
        reached = (
            await connection.execute(reach, {**left, "spans": wanted + _MORE_SPANS})
        ).scalar_one_or_none()
        since = start if reached is None else max(reached, start)
        found = await connection.execute(page, {**left, "since": since, "before_id": place.transaction_id})
        rows += found.all()
        if since <= BEGINNING:
            break
        place = _Place(since - TICK)
    return rows


async def _chosen(
    connection: AsyncConnection, narrowed: TransactionFilter, start: datetime, place: _Place, wanted: int
) -> list[Any]:
    """The next headers of those that all of ``among`` name: few enough to be sorted each time."""
    parameters: dict[str, Any] = {
        "since": start, "until": place.at, "before_id": place.transaction_id, "kind": narrowed.kind,
        "lines": wanted,
    }  # fmt: skip
    for n, among in enumerate(narrowed.among):
        parameters |= {
            f"keys_{n}": list(among.keys),
            f"stems_{n}": list(among.stems),
            f"payments_{n}": list(among.payments),
        }
    query = _CHOSEN.format(among="".join(_AMONG.format(n=n) for n in range(len(narrowed.among))))
    return list((await connection.execute(text(query), parameters)).all())


async def _with_entries(connection: AsyncConnection, headers: Iterable[Any]) -> list[PostedTransaction]:
    found = {
        header.id: PostedTransaction(
            header.id, header.effect_key, header.kind, header.description, header.source,
            header.payment_id, header.occurred_at, header.posted_at, [],
        )
        for header in headers
    }  # fmt: skip
    if found:
        for row in await connection.execute(_ENTRIES, {"ids": list(found)}):
            found[row.transaction_id].entries.append(
                PostedEntry(row.account, direction_word(row.direction), row.amount, row.currency)
            )
    return list(found.values())


def _read_place(cursor: str) -> _Place:
    at, number = read_cursor(cursor)
    if not _NUMBER.fullmatch(number):
        raise InvalidRequestError("The cursor is not one that a list of the ledger gave.", param="cursor")
    return _Place(at, int(number))
