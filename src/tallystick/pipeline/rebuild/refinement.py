"""Tells damage from rules that have changed since.

An effect that no input implies, or that does not stand, may be the work of another version of a rule. The
input it came from is read once more: where other effects of it stand under an older version than today's, its
rule has moved on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.pipeline.rebuild.inputs import BATCH, Input, inputs_by_id


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
SELECT effect_key, difference, told_by FROM pg_temp.rebuild_compared
 WHERE difference IN ('unexplained', 'missing')
""")
_VERSIONS: Final = text("""
SELECT effect_key, rule_version FROM ledger_transactions WHERE effect_key = ANY(CAST(:keys AS text[]))
""")
_NOTE: Final = text("""
INSERT INTO pg_temp.rebuild_refined
SELECT * FROM unnest(CAST(:keys AS text[]), CAST(:differences AS text[]))
""")
_APPLY: Final = text("""
UPDATE pg_temp.rebuild_compared c SET difference = r.difference
  FROM pg_temp.rebuild_refined r WHERE r.effect_key = c.effect_key
""")


async def refine(connection: AsyncConnection) -> bool:
    """Class anew what a changed rule or a missing answer explains; whether there was any such effect."""
    refined = False
    async with connection.stream(_DOUBTFUL, execution_options={"yield_per": BATCH}) as doubtful:
        async for rows in doubtful.partitions():
            found = await _explained(connection, rows)
            if found:
                refined = True
                parameters = {"keys": list(found), "differences": list(found.values())}
                await connection.execute(_NOTE, parameters)
    if refined:
        await connection.execute(_APPLY)
    return refined


async def _explained(connection: AsyncConnection, rows: Sequence[Any]) -> dict[str, Difference]:
    told_by = {each.id: each for each in await inputs_by_id(connection, {row.told_by for row in rows})}
    moved = await _moved_on(connection, told_by.values())
    unanswered = {each.id for each in told_by.values() if each.unanswered}
    found = {}
    for row in rows:
        if row.told_by in moved:
            found[row.effect_key] = Difference.RULE_CHANGED
        elif row.difference == Difference.UNEXPLAINED and row.told_by in unanswered:
            found[row.effect_key] = Difference.UNANSWERED
    return found


async def _moved_on(connection: AsyncConnection, told_by: Iterable[Input]) -> set[str]:
    """The inputs whose effects stand under an older version than they have now."""
    versions = {made.effect_key: made.rule_version for each in told_by for made in each.transactions}
    rows = await connection.execute(_VERSIONS, {"keys": sorted(versions)})
    older = {row.effect_key for row in rows if row.rule_version < versions[row.effect_key]}
    return {each.id for each in told_by if any(made.effect_key in older for made in each.transactions)}
