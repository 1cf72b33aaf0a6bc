"""A pile of dead letters put back at once: what a mended rule left behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.pipeline.operations.audit import Order, begin, end
from tallystick.pipeline.operations.dead_letters import (
    LetterKind,
    Wanted,
    list_dead_letters,
    put_letters_back,
)

_BATCH: Final = 500


async def replay_pile(
    engine: AsyncEngine, wanted: Wanted, order: Order, *, ring: Callable[[Sequence[str]], None]
) -> str:
    """Put all dead letters back that fit, batch by batch, under one record; returns its id.

    Those that die meanwhile are not among them, so that a rule which still fails makes no end of it.
    ``ring`` is told the events of each batch. Raises InvalidRequestError for a pattern that cannot be read.
    """
    now = datetime.now(UTC)
    before = min(now, wanted.dead_before) if wanted.dead_before is not None else now
    pile = replace(wanted, dead_before=before)
    async with engine.begin() as connection:
        batch = await _batch(connection, pile)  # a filter that cannot be read leaves no record
        replay_id = await begin(connection, order, _described(wanted))
    count, outcome = 0, "interrupted"
    try:
        while any(batch.values()):
            async with engine.begin() as connection:
                count += len(await put_letters_back(connection, batch))
            ring(batch[LetterKind.EVENT])
            async with engine.connect() as connection:
                batch = await _batch(connection, pile)
        outcome = "finished"
    finally:
        async with engine.begin() as connection:
            await end(connection, replay_id, outcome, {"put_back": count})
    return replay_id


async def _batch(connection: AsyncConnection, pile: Wanted) -> dict[LetterKind, list[str]]:
    letters, _ = await list_dead_letters(connection, pile, limit=_BATCH)
    return {kind: sorted(each.id for each in letters if each.kind is kind) for kind in LetterKind}


def _described(wanted: Wanted) -> dict[str, object]:
    """The filter for the record: what is given of it."""
    given = {name: value for name, value in asdict(wanted).items() if value is not None}
    return {
        "dead_letters": {
            name: value.isoformat() if isinstance(value, datetime) else str(value)
            for name, value in given.items()
        }
        or "all"
    }
