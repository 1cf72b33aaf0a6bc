"""The opening of the books in the database: written once, and what it superseded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.errors import InvalidStateError
from tallystick.ledger.book import NOTHING_POSTED, Book, Posted
from tallystick.ledger.opening import Opening, OpeningBalance, opening_transaction

_ALONE: Final = text("SELECT pg_advisory_xact_lock(hashtextextended('tallystick:opening', 0))")

_READ: Final = text("SELECT cut_over, balances, evidence, actor, opened_at FROM ledger_openings")

_IN_THE_WAY: Final = text("""
SELECT effect_key FROM ledger_transactions
 WHERE kind LIKE 'journal%' AND occurred_at < :cut_over
 ORDER BY id LIMIT 1
""")

_SUPERSEDED: Final = text("""
SELECT effect_key FROM superseded_effects WHERE effect_key = ANY(CAST(:keys AS text[]))
""")
_SUPERSEDE: Final = text("INSERT INTO superseded_effects SELECT * FROM unnest(CAST(:keys AS text[]))")

_INSERT: Final = text("""
INSERT INTO ledger_openings (cut_over, balances, evidence, actor)
VALUES (:cut_over, CAST(:balances AS jsonb), CAST(:evidence AS jsonb), :actor)
""")


@dataclass(frozen=True, slots=True)
class StoredOpening:
    """An opening with what it was derived from, and who opened the books when."""

    opening: Opening
    evidence: Mapping[str, Any]
    actor: str
    opened_at: datetime


async def stored_opening(connection: AsyncConnection) -> StoredOpening | None:
    """The opening of these books; None where they began with the account's first event."""
    row = (await connection.execute(_READ)).first()
    if row is None:
        return None
    opening = Opening(row.cut_over, tuple(OpeningBalance(**each) for each in row.balances))
    return StoredOpening(opening, row.evidence, row.actor, row.opened_at)


async def cut_over_of(connection: AsyncConnection) -> datetime | None:
    """The cut-over for one who only looks; who posts asks ``Book.cut_over``."""
    found = await stored_opening(connection)
    return found.opening.cut_over if found is not None else None


async def check_unopened(connection: AsyncConnection, cut_over: datetime) -> None:
    """Raise InvalidStateError unless books can be opened: once, with no entry by hand of before."""
    found = await stored_opening(connection)
    if found is not None:
        raise InvalidStateError(
            f"The books were opened already, as of {found.opening.cut_over:%Y-%m-%d %H:%M:%S} UTC, by"
            f" {found.actor} on {found.opened_at:%Y-%m-%d}: an opening is for good."
        )
    row = (await connection.execute(_IN_THE_WAY, {"cut_over": cut_over})).first()
    if row is not None:
        raise InvalidStateError(
            f"{row.effect_key} was written by hand and is dated before the cut-over: what was before is in"
            " the opening. Take an earlier cut-over."
        )


async def open_books(
    connection: AsyncConnection, book: Book, opening: Opening, evidence: Mapping[str, Any], actor: str
) -> Posted:
    """Store and post the opening; balances are the caller's to settle. Raises InvalidStateError.

    Waits for whoever is posting, and lets nobody post until the caller's transaction ends.
    """
    await connection.execute(_ALONE)
    await check_unopened(connection, opening.cut_over)
    balances = [asdict(each) for each in opening.balances]
    row = {
        "cut_over": opening.cut_over,
        "balances": orjson.dumps(balances).decode(),
        "evidence": orjson.dumps(dict(evidence)).decode(),
        "actor": actor,
    }
    await connection.execute(_INSERT, row)
    transaction = opening_transaction(opening)
    return await book.post(connection, [transaction]) if transaction is not None else NOTHING_POSTED


async def superseded_among(connection: AsyncConnection, keys: Iterable[str]) -> set[str]:
    """Those of the keys whose effects stood when the books were opened, and were taken back."""
    return set((await connection.execute(_SUPERSEDED, {"keys": sorted(keys)})).scalars())


async def supersede(connection: AsyncConnection, keys: Iterable[str]) -> None:
    """Note, by who opens the books, that these effects are taken back."""
    await connection.execute(_SUPERSEDE, {"keys": sorted(keys)})
