"""The stored inputs of the ledger, and what each of them means by today's rules.

Everything that was ever posted came from one of these rows. They are read by the same functions that a worker
reads them with, in the order in which they were stored, a batch at a time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.errors import UnbalancedError
from tallystick.events.spec import Question
from tallystick.ledger.corrections import posted_entries
from tallystick.ledger.entries import LedgerTransaction
from tallystick.ledger.journal import JournalEntry, posting
from tallystick.ledger.opening import EFFECT_KEY, opening_transaction
from tallystick.ledger.openings import StoredOpening, cut_over_of, stored_opening
from tallystick.pipeline.archives import COLUMNS
from tallystick.pipeline.reading import Read, read_balance_transactions, read_events

BATCH: Final = 2000

_EVENTS: Final = text(f"""
SELECT {COLUMNS}, seq FROM webhook_events
 WHERE seq > :after ORDER BY seq LIMIT :limit
""")
_BALANCE_TRANSACTIONS: Final = text("""
SELECT id, status, body FROM balance_transactions
 WHERE id > :after AND body IS NOT NULL ORDER BY id LIMIT :limit
""")

_EVENTS_BY_ID: Final = text(f"""
SELECT {COLUMNS} FROM webhook_events
 WHERE id = ANY(CAST(:ids AS text[]))
""")
_BALANCE_TRANSACTIONS_BY_ID: Final = text("""
SELECT id, status, body FROM balance_transactions
 WHERE id = ANY(CAST(:ids AS text[])) AND body IS NOT NULL
""")


class Kind(StrEnum):
    """What an input is."""

    EVENT = "event"
    BALANCE_TRANSACTION = "balance_transaction"
    JOURNAL_ENTRY = "journal_entry"
    OPENING = "opening"


class Bearing(StrEnum):
    """What a worker has done with an input, and so what the ledger must hold of it."""

    DONE = "done"
    """Acted upon: its effects stand."""
    OPEN = "open"
    """Not yet, or not again, or not wholly: its effects may stand."""
    IGNORED = "ignored"
    """Its type meant nothing to the version that saw it."""
    GIVEN_UP = "given_up"
    """A dead letter, or discarded: its effects do not stand."""


_BEARINGS: Final = {
    "processed": Bearing.DONE,
    "pending": Bearing.OPEN,
    "ignored": Bearing.IGNORED,
    "dead": Bearing.GIVEN_UP,
    "discarded": Bearing.GIVEN_UP,
    "posted": Bearing.DONE,
    "wanted": Bearing.OPEN,
    "fetched": Bearing.OPEN,
    "missing": Bearing.GIVEN_UP,
}
"""By the status of an event or a balance transaction."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input. ``error`` says why it cannot be read; ``unanswered`` is what Stripe was not asked yet."""

    kind: Kind
    id: str
    bearing: Bearing
    transactions: tuple[LedgerTransaction, ...] = ()
    asked: tuple[Question, ...] = ()
    unanswered: tuple[Question, ...] = ()
    error: str | None = None


async def all_inputs(connection: AsyncConnection) -> AsyncIterator[list[Input]]:
    """Every stored input, a batch at a time."""
    opened = await stored_opening(connection)
    cut_over = opened.opening.cut_over if opened is not None else None
    if opened is not None:
        yield [opening_as_input(opened)]
    async for batch in _events(connection, cut_over):
        yield batch
    async for batch in _balance_transactions(connection, cut_over):
        yield batch
    async for batch in _journal_entries(connection):
        yield batch


async def _events(connection: AsyncConnection, cut_over: datetime | None) -> AsyncIterator[list[Input]]:
    after = -1
    while rows := (await connection.execute(_EVENTS, {"after": after, "limit": BATCH})).all():
        after = rows[-1].seq
        yield await read_as_inputs(connection, rows, cut_over)


async def _balance_transactions(
    connection: AsyncConnection, cut_over: datetime | None
) -> AsyncIterator[list[Input]]:
    after = ""
    while rows := (await connection.execute(_BALANCE_TRANSACTIONS, {"after": after, "limit": BATCH})).all():
        after = rows[-1].id
        yield await movements_as_inputs(connection, rows, cut_over)


async def _journal_entries(connection: AsyncConnection) -> AsyncIterator[list[Input]]:
    after = ""
    while entries := await posted_entries(connection, after=after, limit=BATCH):
        after = entries[-1].id
        yield [entry_as_input(entry) for entry in entries]


async def inputs_by_id(connection: AsyncConnection, ids: Iterable[str]) -> list[Input]:
    """The events and balance transactions among ``ids``."""
    wanted = {"ids": sorted(ids)}
    events = (await connection.execute(_EVENTS_BY_ID, wanted)).all()
    movements = (await connection.execute(_BALANCE_TRANSACTIONS_BY_ID, wanted)).all()
    cut_over = await cut_over_of(connection)
    read = await read_as_inputs(connection, events, cut_over)
    return read + await movements_as_inputs(connection, movements, cut_over)


async def read_as_inputs(
    connection: AsyncConnection, rows: Sequence[Any], cut_over: datetime | None
) -> list[Input]:
    """What events mean; ``rows`` as ``read_events`` wants them."""
    statuses = {row.id: row.status for row in rows}
    reads, errors = await read_events(connection, rows, cut_over=cut_over)
    return [_event(read, statuses[read.event]) for read in reads] + [
        _unreadable(Kind.EVENT, event, statuses[event], error) for event, error in errors.items()
    ]


async def movements_as_inputs(
    connection: AsyncConnection, rows: Sequence[Any], cut_over: datetime | None
) -> list[Input]:
    """What balance transactions mean; ``rows`` have ``id``, ``status`` and ``body``."""
    statuses = {row.id: row.status for row in rows}
    read, errors = await read_balance_transactions(connection, rows, cut_over=cut_over)
    return [_movement(each, statuses[txn]) for txn, each in read.items()] + [
        _unreadable(Kind.BALANCE_TRANSACTION, txn, statuses[txn], error) for txn, error in errors.items()
    ]


def entry_as_input(entry: JournalEntry) -> Input:
    """What a posted journal entry means."""
    try:
        made = posting(entry)
    except UnbalancedError as error:
        return Input(Kind.JOURNAL_ENTRY, entry.id, Bearing.DONE, error=_said(error))
    return Input(Kind.JOURNAL_ENTRY, entry.id, Bearing.DONE, (made,))


def opening_as_input(stored: StoredOpening) -> Input:
    """What the opening of the books means."""
    made = opening_transaction(stored.opening)
    return Input(Kind.OPENING, EFFECT_KEY, Bearing.DONE, (made,) if made is not None else ())


def _event(read: Read, status: str) -> Input:
    made = read.effects
    return Input(Kind.EVENT, read.event, _BEARINGS[status], made.transactions, read.asked, made.waiting_for)


def _movement(read: Read, status: str) -> Input:
    made, kind = read.effects, Kind.BALANCE_TRANSACTION
    return Input(kind, read.event, _BEARINGS[status], made.transactions, read.asked, made.waiting_for)


def _unreadable(kind: Kind, ident: str, status: str, error: Exception) -> Input:
    return Input(kind, ident, _BEARINGS[status], error=_said(error))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
