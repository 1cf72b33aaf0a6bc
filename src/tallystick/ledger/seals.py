"""Seals: the ledger's transactions in blocks, each block's hash over the one before. Tamper evidence.

A block covers the ledger transactions with ids in (``after_id``, ``last_id``] and the effect dates likewise.
Its leaves hold, for each row, the id and the first half of the SHA-256 of the row's canonical form, so that a
row which was changed, removed or slipped in can be named. Its hash is the SHA-256 of the previous hash, the
block's bounds and its leaves: whoever knows the latest hash knows all of the past.

Sealing takes no lock that a writer would wait for. A row can commit late, under an id below others that are
there already; but a database transaction takes its xid before its rows get their ids (a trigger sees to it).
So the highest id is read together with the snapshot's xmax, and sealed up to once every xid below that is
finished. No xid is stored: after a dump and restore they start anew.

The canonical form is PostgreSQL's own text form of a row, which tells null from empty and quotes what needs
quoting, with times and dates in their binary form, free of any setting of the session.
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
SELECT t.id, substring(sha256(convert_to(ROW(
         t.id, t.effect_key, t.kind, t.description, timestamptz_send(t.occurred_at),
         date_send(t.accounting_on), timestamptz_send(t.posted_at), t.source, t.payment_id, t.rule_version,
         t.digest, l.legs
       )::text, 'UTF8')) FROM 1 FOR 16) AS leaf
  FROM ledger_transactions t
  LEFT JOIN (
    SELECT e.transaction_id,
           string_agg(
             ROW(e.position, a.name, a.currency, a.type, e.direction, e.amount, e.currency)::text, ','
             ORDER BY e.position
           ) AS legs
      FROM ledger_entries e LEFT JOIN ledger_accounts a ON a.id = e.account_id
     WHERE e.transaction_id > :after_id AND e.transaction_id <= :last_id
     GROUP BY e.transaction_id
  ) l ON l.transaction_id = t.id
 WHERE t.id > :after_id AND t.id <= :last_id
"""
"""A leaf for each ledger transaction of a block: over its header, its legs and their accounts."""

DATE_LEAVES: Final = """
SELECT d.id, substring(sha256(convert_to(ROW(
         d.id, d.transaction_id, timestamptz_send(d.occurred_at), d.source, timestamptz_send(d.heard_at)
       )::text, 'UTF8')) FROM 1 FOR 16) AS leaf
  FROM effect_dates d WHERE d.id > :after_date_id AND d.id <= :last_date_id
"""
"""A leaf for each effect date of a block."""

_PACKED: Final = "coalesce(string_agg(int8send(id) || leaf, ''::bytea ORDER BY id), '')"

BLOCK_HASH: Final = """
sha256(CAST(:previous_hash AS bytea) || int8send(:block) || int2send(CAST(:format AS smallint))
  || int8send(:after_id) || int8send(:last_id) || int8send(:after_date_id) || int8send(:last_date_id)
  || int4send(length(leaves)) || leaves || date_leaves)
"""
"""Over ``leaves`` and ``date_leaves`` of the query around it."""

_HORIZON: Final = text("""
SELECT (SELECT coalesce(max(id), 0) FROM ledger_transactions) AS last_id,
       (SELECT coalesce(max(id), 0) FROM effect_dates) AS last_date_id,
       CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS text) AS bigint) AS xmax
""")

_FINISHED: Final = text("""
SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint) >= :xmax
""")

_TURN: Final = text("SELECT pg_try_advisory_xact_lock(:lock)")

_HEAD: Final = text("""
SELECT id, last_id, last_date_id, hash FROM ledger_seals ORDER BY id DESC LIMIT 1
""")

_BOUND: Final = text("""
SELECT coalesce(max(id), :after_id) FROM (
  SELECT id FROM ledger_transactions WHERE id > :after_id AND id <= :upto ORDER BY id LIMIT :limit
) AS block
""")

_SEAL: Final = text(f"""
WITH packed AS (
  SELECT (SELECT {_PACKED} FROM ({LEAVES}) AS t) AS leaves,
         (SELECT {_PACKED} FROM ({DATE_LEAVES}) AS d) AS date_leaves
)
INSERT INTO ledger_seals (
  id, format, after_id, last_id, after_date_id, last_date_id, transactions, leaves, date_leaves,
  previous_hash, hash
)
SELECT :block, :format, :after_id, :last_id, :after_date_id, :last_date_id, length(leaves) / 24, leaves,
       date_leaves, :previous_hash, {BLOCK_HASH}
  FROM packed
RETURNING transactions
""")

_IS_SEALED: Final = text("SELECT EXISTS (SELECT FROM ledger_seals WHERE hash = :hash)")

_LAG: Final = text("""
SELECT now() - posted_at FROM ledger_transactions
 WHERE id > (SELECT coalesce(max(last_id), 0) FROM ledger_seals) ORDER BY id LIMIT 1
""")

_LIST: Final = text("""
SELECT id, last_id, transactions, hash, sealed_at FROM ledger_seals ORDER BY id DESC LIMIT :limit
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
            locked = await connection.execute(
                text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}
            )
            if not locked.scalar_one():
                return sealed
            block = await _next_block(connection, upto)
            if block is None:
                return sealed
            sealed += (await connection.execute(_SEAL, block)).scalar_one()
            await fold(connection, block)


async def list_seals(connection: AsyncConnection, *, limit: int = 20) -> list[Seal]:
    """The latest blocks, newest first: the first one's hash is the head, to be kept somewhere else."""
    rows = await connection.execute(_LIST, {"limit": limit})
    return [Seal(row.id, row.last_id, row.transactions, row.hash.hex(), row.sealed_at) for row in rows]


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
        "previous_hash": head.hash if head else GENESIS,
    }
    bound = {"after_id": block["after_id"], "upto": upto.last_id, "limit": BLOCK}
    block["last_id"] = (await connection.execute(_BOUND, bound)).scalar_one()
    block["last_date_id"] = max(upto.last_date_id, block["after_date_id"])
    nothing_new = block["last_id"] == block["after_id"] and block["last_date_id"] == block["after_date_id"]
    return None if nothing_new else block


def unpack(leaves: bytes) -> dict[int, bytes]:
    """The leaves of a block by id."""
    return {
        int.from_bytes(leaves[start : start + 8], signed=True): leaves[start + 8 : start + 24]
        for start in range(0, len(leaves), 24)
    }
