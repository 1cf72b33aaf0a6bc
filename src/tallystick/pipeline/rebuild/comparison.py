"""Compares the ledger that stands with what the inputs imply, effect by effect, inside PostgreSQL.

Both sides are sorted and joined on disk where memory does not suffice. The digest is a hash over the hashes
of all effects in an order of their own: it is the same in whatever order they were posted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.pipeline.rebuild.refinement import Difference, refine

DIGEST_FORMAT: Final = 1


# What the inputs say of each effect, and whether what stands agrees in each part of it. A payment is one of
# those that any input names: which of them came first decides between our id and the adopted one.
_JUDGED: Final = """
WITH implied AS (
  SELECT effect_key,
         array_agg(DISTINCT legs) FILTER (WHERE bearing = 'done') AS done,
         array_agg(DISTINCT legs) FILTER (WHERE bearing = 'open') AS open,
         array_agg(DISTINCT legs) FILTER (WHERE bearing = 'ignored') AS ignored,
         array_agg(DISTINCT legs) FILTER (WHERE bearing = 'given_up') AS given_up,
         min(occurred_at) FILTER (WHERE bearing = 'done') AS done_at,
         array_agg(DISTINCT occurred_at) FILTER (WHERE bearing = 'open') AS open_at,
         min(occurred_at) FILTER (WHERE bearing = 'ignored') AS ignored_at,
         array_agg(DISTINCT occurred_at) FILTER (WHERE bearing = 'given_up') AS given_up_at,
         array_agg(DISTINCT kind) AS kinds,
         array_agg(DISTINCT coalesce(payment_id, '')) AS payments,
         max(rule_version) FILTER (WHERE bearing IN ('done', 'open')) AS newest_version,
         min(input) FILTER (WHERE bearing = 'done') AS input
    FROM pg_temp.rebuild_implied GROUP BY effect_key
), judged AS (
  SELECT coalesce(l.effect_key, i.effect_key) AS key, l.effect_key IS NOT NULL AS stands,
         i.effect_key IS NOT NULL AS is_implied, l.transaction_id, l.legs, l.digest, l.kind, l.occurred_at,
         l.rule_version, l.source, i.done, i.open, i.ignored, i.given_up, i.done_at, i.open_at, i.ignored_at,
         i.given_up_at, i.kinds, i.newest_version, i.input,
         l.digest = l.legs AND coalesce(i.done = ARRAY[l.legs], l.legs = ANY (i.open)) AS legs_agree,
         cardinality(i.done) > 1 AS inputs_disagree,
         coalesce(l.occurred_at = i.done_at, false)
           OR (coalesce(l.occurred_at < i.done_at, true) AND coalesce(l.occurred_at = ANY (i.open_at), false))
           AS time_agrees,
         l.kind = ANY (i.kinds) AS kind_agrees,
         coalesce(l.payment_id, '') = ANY (i.payments) AS payment_agrees
    FROM pg_temp.rebuild_standing l FULL JOIN implied i ON i.effect_key = l.effect_key
)
"""

_COMPARE: Final = text(f"""
{_JUDGED}, classed AS (
  SELECT j.*,
         CASE WHEN NOT stands AND done IS NOT NULL THEN 'missing'
              WHEN NOT stands AND open IS NULL AND ignored IS NOT NULL THEN 'not_processed_yet'
              WHEN NOT stands THEN NULL
              WHEN done IS NULL AND open IS NULL THEN
                CASE WHEN legs = ANY (given_up) THEN 'given_up' ELSE 'unexplained' END
              WHEN legs_agree AND time_agrees AND kind_agrees AND payment_agrees THEN NULL
              WHEN rule_version < newest_version THEN 'rule_changed'
              WHEN legs_agree AND kind_agrees AND payment_agrees AND occurred_at = ANY (given_up_at)
                THEN 'given_up'
              ELSE 'changed' END AS difference,
         CASE WHEN time_agrees THEN occurred_at ELSE coalesce(done_at, open_at[1], ignored_at) END
           AS rebuilt_at,
         CASE WHEN kind_agrees THEN kind ELSE kinds[1] END AS rebuilt_kind,
         CASE WHEN done IS NOT NULL THEN done
              WHEN open IS NOT NULL AND stands THEN
                CASE WHEN legs = ANY (open) THEN ARRAY[legs] ELSE open END
              WHEN open IS NULL THEN ignored END AS rebuilt
    FROM judged j
)
INSERT INTO pg_temp.rebuild_compared
SELECT CASE WHEN difference IS NOT NULL THEN key END, difference,
       CASE WHEN difference IN ('changed', 'rule_changed') THEN array_remove(ARRAY[
         CASE WHEN NOT legs_agree THEN 'legs' END, CASE WHEN inputs_disagree THEN 'inputs' END,
         CASE WHEN NOT kind_agrees THEN 'kind' END, CASE WHEN NOT time_agrees THEN 'occurred_at' END,
         CASE WHEN NOT payment_agrees THEN 'payment' END], NULL) END,
       transaction_id, CASE WHEN stands THEN source ELSE input END,
       CASE WHEN stands THEN kind ELSE rebuilt_kind END,
       CASE WHEN stands THEN rule_version ELSE newest_version END, stands,
       CASE WHEN stands THEN sha256(convert_to(key || E'\\n' || kind || E'\\n', 'UTF8') || legs
         || CASE WHEN digest = legs THEN ''::bytea ELSE digest END || timestamptz_send(occurred_at)) END,
       CASE WHEN rebuilt IS NOT NULL THEN sha256(convert_to(key || E'\\n' || rebuilt_kind || E'\\n', 'UTF8')
         || (SELECT string_agg(legs, ''::bytea ORDER BY legs) FROM unnest(rebuilt) AS r(legs))
         || timestamptz_send(rebuilt_at)) END
  FROM classed
""")

_COUNTS: Final = text("""
SELECT difference, count(*) AS effects FROM pg_temp.rebuild_compared
 WHERE difference IS NOT NULL GROUP BY difference ORDER BY difference
""")

_LIST: Final = text("""
SELECT c.effect_key, c.difference, c.parts, c.transaction_id, CASE WHEN c.stands THEN c.told_by END AS source,
       (SELECT array_agg(DISTINCT i.input) FROM pg_temp.rebuild_implied i WHERE i.effect_key = c.effect_key)
         AS inputs
  FROM (SELECT * FROM pg_temp.rebuild_compared WHERE difference IS NOT NULL
         ORDER BY effect_key LIMIT :limit) AS c
 ORDER BY c.effect_key
""")

# By the first bytes of each hash, so that no list of all of them is ever in memory.
_DIGEST: Final = """
SELECT encode(sha256(coalesce(string_agg(int4send(n) || part, ''::bytea ORDER BY n), '')), 'hex') FROM (
  SELECT get_byte(leaf, 0) * 256 + get_byte(leaf, 1) AS n,
         sha256(string_agg(leaf, ''::bytea ORDER BY leaf)) AS part
    FROM (SELECT {column} AS leaf FROM pg_temp.rebuild_compared WHERE {column} IS NOT NULL) AS leaves
   GROUP BY 1
) AS parts
"""


@dataclass(frozen=True, slots=True)
class Differing:
    """An effect in which the two differ. ``parts``: legs, kind, occurred_at, payment, or inputs, which
    contradict each other. ``transaction`` and ``source`` are of what stands; ``inputs`` imply it.
    """

    effect_key: str
    difference: Difference
    parts: tuple[str, ...]
    transaction: int | None
    source: str | None
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came out: digests as hex, how many effects differ and how, and the first of them by key."""

    ledger_digest: str
    rebuilt_digest: str
    counts: dict[Difference, int]
    differences: tuple[Differing, ...]


async def compare(connection: AsyncConnection, *, limit: int) -> Comparison:
    """Compare what a run has laid into its scratch tables; ``limit`` bounds how many are named."""
    for table in ("rebuild_implied", "rebuild_standing"):
        await connection.execute(text(f"ANALYZE pg_temp.{table}"))
    await connection.execute(_COMPARE)
    counts = await _counts(connection)
    if counts:
        await refine(connection)
        counts = await _counts(connection)
    listed = (await connection.execute(_LIST, {"limit": limit})).all() if counts else []
    return Comparison(
        ledger_digest=await _digest(connection, "standing_leaf"),
        rebuilt_digest=await _digest(connection, "rebuilt_leaf"),
        counts=counts,
        differences=tuple(_differing(row) for row in listed),
    )


async def _counts(connection: AsyncConnection) -> dict[Difference, int]:
    return {Difference(row.difference): row.effects for row in await connection.execute(_COUNTS)}


async def _digest(connection: AsyncConnection, column: str) -> str:
    return str((await connection.execute(text(_DIGEST.format(column=column)))).scalar_one())


def _differing(row: Any) -> Differing:
    return Differing(
        effect_key=row.effect_key,
        difference=Difference(row.difference),
        parts=tuple(row.parts or ()),
        transaction=row.transaction_id,
        source=row.source,
        inputs=tuple(row.inputs or ()),
    )
