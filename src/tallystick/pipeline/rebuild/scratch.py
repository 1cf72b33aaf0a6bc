"""Where the rebuilt ledger is laid beside the one that stands: temporary tables over one snapshot.

PostgreSQL's own scratch space: tables of this connection alone, never written ahead, gone with it whatever
ends it, so that runs neither collide nor leave anything behind. They are made first; then one read-only
transaction sees a single moment of everything else, and could not change the ledger if it wanted to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.ledger.entries import LedgerTransaction
from tallystick.ledger.sums import ALL_DATES, occurred
from tallystick.pipeline.rebuild.inputs import Bearing, Input

_TABLES: Final = (
    # what the inputs imply: a row for each effect of a batch of them
    """
CREATE TEMPORARY TABLE rebuild_implied (
  effect_key text COLLATE "C" NOT NULL, legs bytea NOT NULL, kind text NOT NULL, payment_id text COLLATE "C",
  rule_version smallint NOT NULL, occurred_at timestamptz NOT NULL, bearing text NOT NULL,
  input text COLLATE "C" NOT NULL
)""",
    # what stands; legs are hashed anew, digest is what the header says of them
    """
CREATE TEMPORARY TABLE rebuild_standing (
  effect_key text COLLATE "C" NOT NULL, transaction_id bigint NOT NULL, legs bytea NOT NULL,
  digest bytea NOT NULL, kind text NOT NULL, payment_id text COLLATE "C", rule_version smallint NOT NULL,
  occurred_at timestamptz NOT NULL, source text COLLATE "C" NOT NULL
)""",
    # both, effect by effect; the key only where they differ, and who told of it
    """
CREATE TEMPORARY TABLE rebuild_compared (
  effect_key text COLLATE "C", difference text, parts text[], transaction_id bigint,
  told_by text COLLATE "C", kind text, rule_version smallint, stands boolean NOT NULL,
  standing_leaf bytea, rebuilt_leaf bytea
)""",
    """
CREATE TEMPORARY TABLE rebuild_refined (
  effect_key text COLLATE "C" NOT NULL, difference text NOT NULL
)""",
)

_IMPLY: Final = text("""
INSERT INTO pg_temp.rebuild_implied
SELECT * FROM unnest(
  CAST(:keys AS text[]), CAST(:legs AS bytea[]), CAST(:kinds AS text[]), CAST(:payments AS text[]),
  CAST(:versions AS smallint[]), CAST(:times AS timestamptz[]), CAST(:bearings AS text[]),
  CAST(:inputs AS text[])
)
""")
_LEG: Final = "concat_ws('|', a.name, e.currency, e.direction, e.amount)"

LEGS_DIGEST: Final = f"""
coalesce(sha256(convert_to(string_agg({_LEG}, E'\\n' ORDER BY {_LEG} COLLATE "C"), 'UTF8')), '')
"""
"""As ``entries.legs_digest``, over entries ``e`` and their accounts ``a``."""

_STEP: Final = 20_000
_UPTO: Final = text("""
SELECT max(id) AS upto, count(*) AS transactions FROM (
  SELECT id FROM ledger_transactions WHERE id > :after ORDER BY id LIMIT :limit
) AS step
""")
_STANDING: Final = text(f"""
INSERT INTO pg_temp.rebuild_standing
SELECT t.effect_key, t.id, {LEGS_DIGEST}, t.digest, t.kind, t.payment_id, t.rule_version,
       {occurred(ALL_DATES)}, t.source
  FROM ledger_transactions t
  LEFT JOIN ledger_entries e ON e.transaction_id = t.id LEFT JOIN ledger_accounts a ON a.id = e.account_id
 WHERE t.id > :after AND t.id <= :upto GROUP BY t.id
""")

_Effect = tuple[str, bytes, str, str | None, int, Bearing, datetime | None]


@asynccontextmanager
async def snapshot(engine: AsyncEngine, *, prepare: Iterable[str] = ()) -> AsyncIterator[AsyncConnection]:
    """A connection that sees one moment of the database and cannot change it, temporary tables aside.

    ``prepare`` is run before. The connection is closed at the end, and its temporary tables go with it.
    """
    async with engine.connect() as connection:
        try:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            for statement in prepare:
                await connection.execute(text(statement))
            await connection.rollback()
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
                await connection.execute(text(f"SET LOCAL {limit} = 0"))
            yield connection
        finally:
            await connection.invalidate()


class Scratch:
    """The two ledgers of one run."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def imply(self, inputs: Iterable[Input]) -> None:
        """Lay down what a batch of inputs implies; an effect that several imply alike is one row.

        Of what was done only the earliest time counts. Of what is open any may have been heard already.
        """
        effects: dict[_Effect, tuple[LedgerTransaction, str]] = {}
        for each in inputs:
            for made in each.transactions:
                at = made.occurred_at if each.bearing is Bearing.OPEN else None
                mark = (
                    made.effect_key, made.digest, made.kind, made.payment_id, made.rule_version,
                    each.bearing, at,
                )  # fmt: skip
                known = effects.get(mark)
                if known is None or made.occurred_at < known[0].occurred_at:
                    effects[mark] = (made, known[1] if known else each.id)
        if not effects:
            return
        laid = [transaction for transaction, _ in effects.values()]
        await self._connection.execute(
            _IMPLY,
            {
                "keys": [each.effect_key for each in laid],
                "legs": [each.digest for each in laid],
                "kinds": [each.kind for each in laid],
                "payments": [each.payment_id for each in laid],
                "versions": [each.rule_version for each in laid],
                "times": [each.occurred_at for each in laid],
                "bearings": [mark[5] for mark in effects],
                "inputs": [source for _, source in effects.values()],
            },
        )

    async def lay_out_standing(self) -> AsyncIterator[int]:
        """Copy what stands, some thousands at a time; yields how many those were."""
        after = 0
        while True:
            step = (await self._connection.execute(_UPTO, {"after": after, "limit": _STEP})).one()
            if step.upto is None:
                return
            await self._connection.execute(_STANDING, {"after": after, "upto": step.upto})
            after = step.upto
            yield step.transactions


@asynccontextmanager
async def scratch(engine: AsyncEngine) -> AsyncIterator[tuple[AsyncConnection, Scratch]]:
    """Empty scratch tables, and the snapshot they belong to."""
    memory = ("SET temp_buffers = '32MB'", "SET work_mem = '64MB'")
    async with snapshot(engine, prepare=(*memory, *_TABLES)) as connection:
        yield connection, Scratch(connection)
