"""Tells damage from rules that have changed since.

An effect that no input implies, or that does not stand, may be the work of another version of its rule. The
versions of its kind tell: one that no input implies is of an older version than today's; one that does not
stand is of a version that had posted nothing yet when its input was acted upon. Or the input's other effects
tell, where they stand under an older version.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.payments.reports import adopted_payment
from tallystick.pipeline.rebuild.inputs import BATCH, Bearing, Input, inputs_by_id


class Difference(StrEnum):
    """How the ledger and its inputs can differ in an effect."""

    CHANGED = "changed"
    """It stands otherwise than the inputs say."""
    MISSING = "missing"
    """An input that was acted upon implies it, and it does not stand."""
    UNEXPLAINED = "unexplained"
    """It stands, and no stored input implies it."""
    GIVEN_UP = "given_up"
    """It stands, and only dead letters or discarded ones imply it."""
    UNANSWERED = "unanswered"
    """It stands; what it came from now waits for an answer of Stripe's that is not stored."""
    RULE_CHANGED = "rule_changed"
    """It was posted by an older version of its rule, and today's says otherwise."""
    NOT_PROCESSED_YET = "not_processed_yet"
    """Only events that an older version ignored imply it: replay them."""


_DOUBTFUL: Final = text("""
SELECT effect_key, difference, told_by, kind, rule_version FROM pg_temp.rebuild_compared
 WHERE difference IN ('unexplained', 'missing')
""")
_VERSIONS: Final = text("""
SELECT effect_key, rule_version FROM ledger_transactions WHERE effect_key = ANY(CAST(:keys AS text[]))
""")
_NEWEST: Final = text("""
SELECT kind, max(rule_version) AS newest FROM pg_temp.rebuild_implied
 WHERE bearing IN ('done', 'open') GROUP BY kind
""")
_POSTED_SINCE: Final = text("""
SELECT kind, rule_version, min(posted_at) AS since FROM ledger_transactions GROUP BY kind, rule_version
""")
_ACTED_AT: Final = text("""
SELECT id, finished_at AS acted_at FROM webhook_events WHERE id = ANY(CAST(:ids AS text[]))
UNION ALL
SELECT id, posted_at FROM balance_transactions WHERE id = ANY(CAST(:ids AS text[]))
""")
_NOTE: Final = text("""
INSERT INTO pg_temp.rebuild_refined
SELECT * FROM unnest(CAST(:keys AS text[]), CAST(:differences AS text[]))
""")
# What was posted while its payment was only known by Stripe's id stays under the id derived from that; also
# while the payment itself has not been heard of.
_SAME_PAYMENT: Final = text("""
UPDATE pg_temp.rebuild_compared c SET difference = NULL
  FROM pg_temp.rebuild_standing l
  JOIN pg_temp.rebuild_implied i ON i.effect_key = l.effect_key LEFT JOIN payments p ON p.id = i.payment_id
 WHERE l.effect_key = c.effect_key AND c.difference IS NOT NULL AND c.parts = ARRAY['payment']
   AND (l.payment_id IN (:derived || p.stripe_payment_intent, :derived || p.stripe_charge)
        OR (p.id IS NULL AND (starts_with(l.payment_id, :derived || 'pi_')
                              OR starts_with(l.payment_id, :derived || 'ch_')
                              OR starts_with(l.payment_id, :derived || 'py_'))))
""")
_APPLY: Final = text("""
UPDATE pg_temp.rebuild_compared c SET difference = r.difference
  FROM pg_temp.rebuild_refined r WHERE r.effect_key = c.effect_key
""")


@dataclass(frozen=True, slots=True)
class _Kinds:
    """The versions of each kind of effect: the newest that inputs imply, and since when each was posted."""

    newest: dict[str, int]
    posted_since: dict[tuple[str, int], datetime]

    def moved_on(self, row: Any, acted_at: datetime | None) -> bool:
        """Whether another version of its rule accounts for an effect; ``acted_at`` is its input's time."""
        if row.difference == Difference.UNEXPLAINED:
            return self.newest.get(row.kind, 0) > int(row.rule_version)
        if row.rule_version == 1 or acted_at is None:
            return False
        since = self.posted_since.get((row.kind, row.rule_version))
        return since is None or acted_at < since


async def refine(connection: AsyncConnection) -> None:
    """Class anew what a changed rule or a missing answer explains, and pass over another id of a payment."""
    await connection.execute(_SAME_PAYMENT, {"derived": adopted_payment("")})
    kinds = _Kinds(
        newest={row.kind: row.newest for row in await connection.execute(_NEWEST)},
        posted_since={
            (row.kind, row.rule_version): row.since for row in await connection.execute(_POSTED_SINCE)
        },
    )
    refined = False
    async with connection.stream(_DOUBTFUL, execution_options={"yield_per": BATCH}) as doubtful:
        async for rows in doubtful.partitions():
            found = await _explained(connection, rows, kinds)
            if found:
                refined = True
                parameters = {"keys": list(found), "differences": list(found.values())}
                await connection.execute(_NOTE, parameters)
    if refined:
        await connection.execute(_APPLY)


async def _explained(
    connection: AsyncConnection, rows: Sequence[Any], kinds: _Kinds
) -> dict[str, Difference]:
    names = {row.told_by for row in rows}
    told_by = {
        each.id: each for each in await inputs_by_id(connection, names) if each.bearing is Bearing.DONE
    }
    acted = await connection.execute(_ACTED_AT, {"ids": sorted(names)})
    acted_at = {row.id: row.acted_at for row in acted}
    moved = await _moved_on(connection, told_by.values())
    found = {}
    for row in rows:
        known = told_by.get(row.told_by)
        if known is None:
            continue
        if known.id in moved or kinds.moved_on(row, acted_at[known.id]):
            found[row.effect_key] = Difference.RULE_CHANGED
        elif row.difference == Difference.UNEXPLAINED and known.unanswered:
            found[row.effect_key] = Difference.UNANSWERED
    return found


async def _moved_on(connection: AsyncConnection, told_by: Iterable[Input]) -> set[str]:
    """The inputs whose effects stand under an older version than they have now."""
    versions = {made.effect_key: made.rule_version for each in told_by for made in each.transactions}
    rows = await connection.execute(_VERSIONS, {"keys": sorted(versions)})
    older = {row.effect_key for row in rows if row.rule_version < versions[row.effect_key]}
    return {each.id for each in told_by if any(made.effect_key in older for made in each.transactions)}
