"""Builds the ledger again from its stored inputs, and says whether it is the one that stands.

All is read in one snapshot, in which an input that was acted upon and its effects are there together: what
workers do meanwhile is not seen, and what they had not done yet is no difference. Stripe is not asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.pipeline.rebuild.comparison import Comparison, compare
from tallystick.pipeline.rebuild.inputs import Bearing, Input, Kind, all_inputs
from tallystick.pipeline.rebuild.scratch import scratch

_MOST_NAMED: Final = 100
"""Unreadable inputs that are named one by one."""

_SIZES: Final = text("""
SELECT now() AS as_of,
       (SELECT count(*) FROM webhook_events)
         + (SELECT count(*) FROM balance_transactions WHERE body IS NOT NULL)
         + (SELECT count(*) FROM journal_entries) AS inputs,
       (SELECT count(*) FROM ledger_transactions) AS ledger_transactions
""")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An input that was acted upon and cannot be read any more."""

    kind: Kind
    id: str
    error: str


@dataclass(slots=True)
class Tally:
    """What was read: inputs by kind, those still open, those whose rule asks what is not stored."""

    inputs: Counter[str] = field(default_factory=Counter)
    open: int = 0
    unanswered: int = 0
    unreadable: int = 0
    named: list[Unreadable] = field(default_factory=list)

    def add(self, each: Input) -> None:
        """Count one in."""
        self.inputs[each.kind.value] += 1
        self.open += each.bearing is Bearing.OPEN
        done = each.bearing is Bearing.DONE
        self.unanswered += bool(done and each.unanswered)
        if done and each.error is not None:
            self.unreadable += 1
            if len(self.named) < _MOST_NAMED:
                self.named.append(Unreadable(each.kind, each.id, each.error))


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild came to, ``as_of`` the moment of its snapshot."""

    as_of: datetime
    ledger_transactions: int
    read: Tally
    comparison: Comparison

    @property
    def equal(self) -> bool:
        """Whether the ledger is what its inputs say."""
        return not self.comparison.counts and not self.read.unreadable


Watch = Callable[[str, int, int], None]
"""Told what is being done, how much of all is done, and how much all is."""


def _unwatched(_doing: str, _done: int, _total: int) -> None:
    pass


async def check(engine: AsyncEngine, *, limit: int = 1000, watch: Watch = _unwatched) -> Rebuilt:
    """Rebuild and compare. ``limit`` bounds how many differences are named; all are counted.

    The engine must be a patient one (``open_engine``): the comparison is one long statement.
    """
    async with scratch(engine) as (connection, tables):
        size = (await connection.execute(_SIZES)).one()
        total, done = size.inputs + size.ledger_transactions, 0
        tally = Tally()
        async for batch in all_inputs(connection):
            await tables.imply(batch)
            for each in batch:
                tally.add(each)
            done += len(batch)
            watch(f"{batch[0].kind.value.replace('_', ' ')}s", done, total)
        async for copied in tables.lay_out_standing():
            done += copied
            watch("ledger", done, total)
        watch("comparing", total, total)
        comparison = await compare(connection, limit=limit)
    return Rebuilt(size.as_of, size.ledger_transactions, tally, comparison)
