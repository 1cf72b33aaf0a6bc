"""Finds the stored inputs that may imply an effect: those that name what its key names.

A key names objects of Stripe's (``dispute:DP:decided:TXN``), and whatever implies it says their ids: in its
own body, or in a fact that it asked for, whose question names what the body says. Archived bodies are
unpacked block by block.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.errors import NotFoundError
from tallystick.ledger.corrections import get_entry
from tallystick.ledger.journal import EntryStatus, JournalEntry
from tallystick.pipeline.archives import COLUMNS, unpack

_STEP: Final = 20_000
"""Events whose bodies one statement looks through."""

_NAMED: Final = """
EXISTS (SELECT FROM unnest(CAST(:needles AS bytea[])) AS n(needle) WHERE position(needle IN {column}) > 0)
"""
_COLUMNS: Final = f"{COLUMNS}, received_at AS stored_at, finished_at AS acted_at"

_SIZES: Final = text("""
SELECT (SELECT coalesce(max(seq), 0) FROM webhook_events) AS last_seq,
       (SELECT count(*) FROM event_archives) AS archives
""")
_FACTS: Final = text(f"SELECT question FROM fetched_objects WHERE {_NAMED.format(column='answer')}")
_EVENTS: Final = text(f"""
SELECT {_COLUMNS} FROM webhook_events
 WHERE seq > :after AND seq <= :upto AND body IS NOT NULL AND {_NAMED.format(column="body")}
""")
_ARCHIVE: Final = text("SELECT id, offsets, body FROM event_archives WHERE id > :after ORDER BY id LIMIT 1")
_ARCHIVED: Final = text(f"""
SELECT {_COLUMNS} FROM webhook_events
 WHERE archive_id = :archive AND archive_position = ANY(CAST(:positions AS int[]))
""")
_MOVEMENTS: Final = text(f"""
SELECT id, status, body, seen_at AS stored_at, posted_at AS acted_at FROM balance_transactions
 WHERE body IS NOT NULL AND {_NAMED.format(column="body")}
""")

_SEPARATORS: Final = re.compile(r"[:@/]")


async def names_in(connection: AsyncConnection, effect_key: str) -> set[str]:
    """The ids that an effect key names, and those in the questions of the facts that say one of them."""
    names = _ids(effect_key)
    if names:
        rows = await connection.execute(_FACTS, {"needles": _needles(names)})
        names |= {name for question in rows.scalars() for name in _ids(question)}
    return names


async def events_naming(
    connection: AsyncConnection, names: Iterable[str], watch: Callable[[int, int], None]
) -> list[Any]:
    """The rows of events whose bodies say one of the names, wherever those bodies are."""
    needles = _needles(names)
    if not needles:
        return []
    size = (await connection.execute(_SIZES)).one()
    total = size.last_seq + size.archives
    found: list[Any] = []
    for after in range(-1, size.last_seq, _STEP):
        window = {"needles": needles, "after": after, "upto": after + _STEP}
        found += (await connection.execute(_EVENTS, window)).all()
        watch(min(after + _STEP, size.last_seq), total)
    archive, done = 0, size.last_seq
    while block := (await connection.execute(_ARCHIVE, {"after": archive})).first():
        archive, done = block.id, done + 1
        bodies = unpack(block.offsets, block.body)
        positions = [n for n, body in enumerate(bodies, 1) if any(needle in body for needle in needles)]
        if positions:
            parameters = {"archive": archive, "positions": positions}
            found += (await connection.execute(_ARCHIVED, parameters)).all()
        watch(done, total)
    return found


async def movements_naming(connection: AsyncConnection, names: Iterable[str]) -> Sequence[Any]:
    """The rows of stored balance transactions that say one of the names."""
    needles = _needles(names)
    return (await connection.execute(_MOVEMENTS, {"needles": needles})).all() if needles else []


async def posted_entry(connection: AsyncConnection, effect_key: str) -> list[JournalEntry]:
    """The posted journal entry that a key names, or the one that took that back."""
    family, _, rest = effect_key.partition(":")
    if family != "journal":
        return []
    ident, _, reversed_ = rest.partition(":")
    try:
        entry = await get_entry(connection, ident)
        if reversed_:
            entry = await get_entry(connection, entry.reversed_by or "")
    except NotFoundError:
        return []
    return [entry] if entry.status is EntryStatus.POSTED else []


def _ids(name: str) -> set[str]:
    """The ids in a key or a question: words like ``ch_1`` or ``po_1Mx``, unlike ``balance_transaction``."""
    return {
        part
        for part in _SEPARATORS.split(name)
        if "_" in part and any(character.isdigit() or character.isupper() for character in part)
    }


def _needles(names: Iterable[str]) -> list[bytes]:
    """As JSON says them."""
    return [f'"{name}"'.encode() for name in sorted(names)]
