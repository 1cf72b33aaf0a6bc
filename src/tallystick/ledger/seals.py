"""Seals: the ledger's transactions in blocks, each block's hash over the one before. Tamper evidence.

A block covers the ledger transactions with ids in (``after_id``, ``last_id``], and likewise the effect dates
and the accounts that came with them.
Its leaves hold, for each row, the id and the first half of the SHA-256 of the row's canonical form, so that a
row which was changed, removed or slipped in can be named. Its hash is the SHA-256 of the previous hash, the
block's bounds and its leaves: whoever knows the latest hash knows all of the past.

Sealing takes no lock that a writer would wait for. A row can commit late, under an id below others that are
there already; but a database transaction takes its xid before its rows get their ids (a trigger sees to it).
So the highest id is read together with the snapshot's xmax, and sealed up to once every xid below that is
finished. No xid is stored: after a dump and restore they start anew.

The canonical form is PostgreSQL's own binary form of a row (``record_send``), which tells null from empty,
says how long each value is, and depends on no setting of the session. Only built-in types are in it, whose
numbers are the same everywhere. Of a leg its values are enough: none can be null, all but the last have one
length, and a text has no zero byte, which ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.ledger.sums import fold

FORMAT: Final = 1
"""Of the canonical forms below. A change of them is a new number, and old blocks keep theirs."""
BLOCK: Final = 5000
_LOCK: Final = 0x7A11_5EA1
"""Of PostgreSQL's advisory locks: one sealer at a time."""

LEAVES: Final = """
SELECT t.id, substring(sha256(record_send(ROW(
         t.id, t.effect_key, t.kind, t.description, t.occurred_at, t.accounting_on, t.posted_at, t.source,
         t.payment_id, t.rule_version, t.digest
       )) || coalesce(l.legs, '')) FROM 1 FOR 16) AS leaf
  FROM ledger_transactions t
  LEFT JOIN (
    SELECT e.transaction_id,
           string_agg(
             int2send(e.position) || int4send(e.account_id) || int2send(e.direction) || int8send(e.amount)
               || textsend(e.currency) || '\\x00'::bytea, ''
             ORDER BY e.position
           ) AS legs
      FROM ledger_entries e
     WHERE e.transaction_id > :after_id AND e.transaction_id <= :last_id
     GROUP BY e.transaction_id
  ) l ON l.transaction_id = t.id
 WHERE t.id > :after_id AND t.id <= :last_id
"""
"""A leaf for each ledger transaction of a block: over its header and its legs, which name accounts by id."""

ACCOUNT_LEAVES: Final = """
SELECT a.id, substring(sha256(record_send(ROW(
         a.id, a.name, a.currency, a.type, a.created_at
       ))) FROM 1 FOR 16) AS leaf
  FROM ledger_accounts a WHERE a.id > :after_account_id AND a.id <= :last_account_id
"""
"""A leaf for each account that was made in a block."""

DATE_LEAVES: Final = """
SELECT d.id, substring(sha256(record_send(ROW(
         d.id, d.transaction_id, d.occurred_at, d.source, d.heard_at
       ))) FROM 1 FOR 16) AS leaf
  FROM effect_dates d WHERE d.id > :after_date_id AND d.id <= :last_date_id
"""
"""A leaf for each effect date of a block."""

_PACK: Final = "coalesce(string_agg(int8send(id) || leaf, ''::bytea ORDER BY id), '')"

PACKED: Final = f"""
SELECT (SELECT {_PACK} FROM ({LEAVES}) AS t) AS leaves,
       (SELECT {_PACK} FROM ({DATE_LEAVES}) AS d) AS date_leaves,
       (SELECT {_PACK} FROM ({ACCOUNT_LEAVES}) AS a) AS account_leaves
"""
"""All leaves of a block, as a seal holds them."""

BLOCK_HASH: Final = """
sha256(record_send(ROW(
  b.previous_hash, b.id, b.format, b.after_id, b.last_id, b.after_date_id, b.last_date_id,
  b.after_account_id, b.last_account_id, b.leaves, b.date_leaves, b.account_leaves
)))
"""
"""Of a block ``b``."""

NUMBERED: Final = ("id", "date_id", "account_id")
"""What a block covers, each after one number and up to another."""
BOUNDS: Final = tuple(f"{side}_{what}" for what in NUMBERED for side in ("after", "last"))

_HORIZON: Final = text("""
SELECT (SELECT coalesce(max(id), 0) FROM ledger_transactions) AS last_id,
       (SELECT coalesce(max(id), 0) FROM effect_dates) AS last_date_id,
       (SELECT coalesce(max(id), 0) FROM ledger_accounts) AS last_account_id,
       CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) AS xmax
""")

_FINISHED: Final = text("""
SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint) >= :xmax
""")

_TURN: Final = text("SELECT pg_try_advisory_xact_lock(:lock)")

_HEAD: Final = text("""
SELECT id, last_id, last_date_id, last_account_id, hash FROM ledger_seals ORDER BY id DESC LIMIT 1
""")

_BOUND: Final = text("""
SELECT coalesce(max(id), :after_id) FROM (
  SELECT id FROM ledger_transactions WHERE id > :after_id AND id <= :upto ORDER BY id LIMIT :limit
) AS block
""")

_BOUND_COLUMNS: Final = ", ".join(f"CAST(:{name} AS bigint) AS {name}" for name in BOUNDS)

_SEAL: Final = text(f"""
WITH b AS (
  SELECT CAST(:block AS bigint) AS id, CAST(:format AS smallint) AS format,
         {_BOUND_COLUMNS}, CAST(:previous_hash AS bytea) AS previous_hash, packed.*
    FROM ({PACKED}) AS packed
)
INSERT INTO ledger_seals (
  id, format, {", ".join(BOUNDS)}, transactions, leaves, date_leaves, account_leaves, previous_hash, hash
)
SELECT id, format, {", ".join(BOUNDS)}, length(leaves) / 24, leaves, date_leaves, account_leaves,
       previous_hash, {BLOCK_HASH}
  FROM b
RETURNING transactions
""")

_IS_SEALED: Final = text("SELECT EXISTS (SELECT FROM ledger_seals WHERE hash = :hash)")

_LAG: Final = text("""
SELECT now() - posted_at FROM ledger_transactions
 WHERE id > coalesce((SELECT last_id FROM ledger_seals ORDER BY id DESC LIMIT 1), 0) ORDER BY id LIMIT 1
""")

_LIST: Final = text("""
SELECT id, last_id, transactions, hash, sealed_at FROM ledger_seals ORDER BY id DESC LIMIT :limit
""")

# Seals are numbered from 1 without a gap, and each reaches at least as far as the one before.
_OF: Final = text("""
WITH RECURSIVE halved(low, high) AS (
  SELECT CAST(1 AS bigint), max(id) FROM ledger_seals
  UNION ALL
  SELECT CASE WHEN s.last_id < :id THEN s.id + 1 ELSE h.low END,
         CASE WHEN s.last_id < :id THEN h.high ELSE s.id END
    FROM halved h JOIN ledger_seals s ON s.id = (h.low + h.high) / 2 WHERE h.low < h.high
)
SELECT s.id, s.last_id, s.transactions, s.hash, s.sealed_at
  FROM halved h JOIN ledger_seals s ON s.id = h.low WHERE h.low = h.high AND s.last_id >= :id
""")

GENESIS: Final = bytes(32)
"""What stands for the hash before the first block."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A block as it was sealed. ``hash`` is lower-case hex."""

    id: int
    last_id: int
    transactions: int
    hash: str
    sealed_at: datetime


@dataclass(frozen=True, slots=True)
class Horizon:
    """Ids that can be sealed up to, once every xid below ``xmax`` is finished."""

    last_id: int
    last_date_id: int
    last_account_id: int
    xmax: int


async def horizon(engine: AsyncEngine) -> Horizon:
    """As far as the ledger reaches now."""
    async with engine.connect() as connection:
        return Horizon(*(await connection.execute(_HORIZON)).one())


async def seal(engine: AsyncEngine, upto: Horizon) -> int:
    """Seal up to the horizon, block by block; returns how many ledger transactions were sealed.

    None are while a database transaction that began before the horizon was read is still open, also a
    prepared one: it may hold ids below it. None either while another sealer is at work.
    """
    sealed = 0
    while True:
        async with engine.begin() as connection:
            if not (await connection.execute(_FINISHED, {"xmax": upto.xmax})).scalar_one():
                return sealed
            if not (await connection.execute(_TURN, {"lock": _LOCK})).scalar_one():
                return sealed
            block = await _next_block(connection, upto)
            if block is None:
                return sealed
            sealed += (await connection.execute(_SEAL, block)).scalar_one()
            await fold(connection, block)


async def list_seals(connection: AsyncConnection, *, limit: int = 20) -> list[Seal]:
    """The latest blocks, newest first: the first one's hash is the head, to be kept somewhere else."""
    rows = await connection.execute(_LIST, {"limit": limit})
    return [_seal(row) for row in rows]


async def seal_of(connection: AsyncConnection, transaction_id: int) -> Seal | None:
    """The block that a ledger transaction is in; None where it is not sealed yet."""
    row = (await connection.execute(_OF, {"id": transaction_id})).first()
    return _seal(row) if row is not None else None


def _seal(row: Any) -> Seal:
    return Seal(row.id, row.last_id, row.transactions, row.hash.hex(), row.sealed_at)


async def is_sealed(connection: AsyncConnection, head: str) -> bool:
    """Whether a block has this hash (hex): whoever rewrote the chain up to there would have changed it."""
    try:
        wanted = bytes.fromhex(head)
    except ValueError:
        return False
    return bool((await connection.execute(_IS_SEALED, {"hash": wanted})).scalar_one())


async def lag(connection: AsyncConnection) -> timedelta:
    """How long the oldest ledger transaction that is not sealed has stood; zero when all are."""
    return (await connection.execute(_LAG)).scalar() or timedelta(0)


async def _next_block(connection: AsyncConnection, upto: Horizon) -> dict[str, Any] | None:
    head = (await connection.execute(_HEAD)).first()
    block: dict[str, Any] = {
        "block": head.id + 1 if head else 1,
        "format": FORMAT,
        "after_id": head.last_id if head else 0,
        "after_date_id": head.last_date_id if head else 0,
        "after_account_id": head.last_account_id if head else 0,
        "previous_hash": head.hash if head else GENESIS,
    }
    bound = {"after_id": block["after_id"], "upto": upto.last_id, "limit": BLOCK}
    block["last_id"] = (await connection.execute(_BOUND, bound)).scalar_one()
    block["last_date_id"] = max(upto.last_date_id, block["after_date_id"])
    block["last_account_id"] = max(upto.last_account_id, block["after_account_id"])
    nothing_new = all(block[f"last_{what}"] == block[f"after_{what}"] for what in NUMBERED)
    return None if nothing_new else block


def unpack(leaves: bytes) -> dict[int, bytes]:
    """The leaves of a block by id."""
    return {
        int.from_bytes(leaves[start : start + 8], signed=True): leaves[start + 8 : start + 24]
        for start in range(0, len(leaves), 24)
    }
