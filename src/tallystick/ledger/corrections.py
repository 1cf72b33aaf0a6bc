"""Operators' journal entries in the database: asked for, decided, posted, read.

Functions take a connection; what they post is added to the balances by the caller, last before its commit
(``Book.settle_balances``). What was asked for and what was decided are rows of their own that never change:
together they are an input of the ledger, from which ``posted_entries`` can be posted again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.cursors import cursor_at, read_cursor
from tallystick.db.ids import new_id
from tallystick.errors import (
    EffectDiffersError,
    InvalidRequestError,
    InvalidStateError,
    NotFoundError,
    SecondPersonRequiredError,
)
from tallystick.ledger import chart
from tallystick.ledger.book import NOTHING_POSTED, Book, Posted
from tallystick.ledger.entries import LedgerEntry
from tallystick.ledger.journal import (
    Decision,
    EntryStatus,
    JournalEntry,
    Outcome,
    Person,
    check_lines,
    lines_from_json,
    lines_to_json,
    mirrored,
    needs_approval,
    posting,
)

_CLOCKS_DIFFER: Final = timedelta(minutes=5)

_INSERT: Final = text("""
INSERT INTO journal_entries
  (id, description, reason, occurred_at, lines, payment_id, reverses, author, author_key, needs_approval)
VALUES
  (:id, :description, :reason, :occurred_at, CAST(:lines AS jsonb), :payment_id, :reverses, :author,
   :author_key, :needs_approval)
""")

_DECIDE: Final = text("""
INSERT INTO journal_decisions (entry_id, outcome, decided_by, decided_by_key, comment)
VALUES (:id, :outcome, :by, :by_key, :comment)
ON CONFLICT (entry_id) DO NOTHING
RETURNING entry_id
""")

_STATUS: Final = """
CASE WHEN d.outcome = 'rejected' THEN 'rejected'
     WHEN d.outcome = 'approved' OR NOT e.needs_approval THEN 'posted'
     ELSE 'pending_approval' END
"""

_ENTRIES: Final = """
SELECT e.id, e.description, e.reason, e.occurred_at, e.lines, e.payment_id, e.reverses, e.author,
       e.author_key, e.needs_approval, e.created_at, d.outcome, d.decided_by, d.decided_by_key, d.comment,
       d.decided_at,
       (SELECT r.id FROM journal_entries r LEFT JOIN journal_decisions rd ON rd.entry_id = r.id
         WHERE r.reverses = e.id AND (rd.outcome = 'approved' OR NOT r.needs_approval)) AS reversed_by
  FROM journal_entries e LEFT JOIN journal_decisions d ON d.entry_id = e.id
 WHERE {where} ORDER BY e.id {order} LIMIT :limit
"""

_KNOWN_ACCOUNTS: Final = text("""
SELECT DISTINCT name FROM ledger_accounts WHERE name = ANY(CAST(:names AS text[]))
""")

_PAYMENT: Final = text("SELECT 1 FROM payments WHERE id = :id")


@dataclass(frozen=True, slots=True)
class Draft:
    """What an operator wants to post. ``lines`` in minor units; ``occurred_at`` None is now."""

    description: str
    reason: str
    lines: tuple[LedgerEntry, ...]
    occurred_at: datetime | None = None
    payment_id: str | None = None
    allow_new_accounts: bool = False


async def propose(
    connection: AsyncConnection,
    book: Book,
    draft: Draft,
    author: Person,
    above: Mapping[str, int | None],
    *,
    entry_id: str | None = None,
) -> tuple[JournalEntry, Posted]:
    """Store an entry, and post it unless a second person must approve it first.

    ``above``: see ``journal.needs_approval``. Raises InvalidRequestError and its kin for what cannot be
    posted.
    """
    check_lines(draft.lines)
    if not draft.allow_new_accounts:
        await _check_accounts(connection, draft.lines)
    if draft.payment_id is not None:
        found = await connection.execute(_PAYMENT, {"id": draft.payment_id})
        if found.first() is None:
            raise InvalidRequestError(f"There is no payment {draft.payment_id!r}.", param="payment")
    return await _store(connection, book, draft, author, above, entry_id=entry_id or new_id("jrn"))


async def reverse(
    connection: AsyncConnection,
    book: Book,
    original_id: str,
    author: Person,
    above: Mapping[str, int | None],
    *,
    reason: str,
    occurred_at: datetime | None = None,
    entry_id: str | None = None,
) -> tuple[JournalEntry, Posted]:
    """Take a posted entry back by its mirror, which is an entry of its own and is approved like any other.

    Raises NotFoundError, InvalidRequestError, and InvalidStateError for an entry that is not posted, is taken
    back already, or itself takes one back.
    """
    original = await get_entry(connection, original_id)
    if original.status is not EntryStatus.POSTED:
        raise InvalidStateError(f"The entry is {original.status}: only a posted one can be reversed.")
    if original.reverses is not None:
        raise InvalidStateError("The entry is a reversal: post a new entry instead.")
    if original.reversed_by is not None:
        raise InvalidStateError(f"The entry is reversed already, by {original.reversed_by}.")
    if occurred_at is not None and occurred_at < original.occurred_at:
        raise InvalidRequestError("A reversal is not dated before its entry.", param="occurred_at")
    draft = Draft(
        description=f"Reversal: {original.description}",
        reason=reason,
        lines=mirrored(original.lines),
        occurred_at=occurred_at,
        payment_id=original.payment_id,
    )
    return await _store(
        connection, book, draft, author, above, entry_id=entry_id or new_id("jrn"), reverses=original_id
    )


async def approve(
    connection: AsyncConnection, book: Book, entry_id: str, person: Person, comment: str | None = None
) -> tuple[JournalEntry, Posted]:
    """Approve an entry, which posts it.

    Raises NotFoundError, InvalidStateError, SecondPersonRequiredError.
    """
    entry = await _pending(connection, entry_id)
    cut_over = await book.cut_over(connection)
    if cut_over is not None and entry.occurred_at < cut_over:
        raise InvalidStateError("The books were opened later than this entry is dated: reject it.")
    if person.is_same_as(entry.author):
        raise SecondPersonRequiredError(f"{entry.author.name} wrote this entry: another person approves it.")
    await _decide(connection, entry_id, Outcome.APPROVED, person, comment)
    posted = await _post(connection, book, entry)
    return await get_entry(connection, entry_id), posted


async def reject(connection: AsyncConnection, entry_id: str, person: Person, comment: str) -> JournalEntry:
    """Decide that an entry is not posted; its author may, too. Raises NotFoundError, InvalidStateError."""
    await _pending(connection, entry_id)
    await _decide(connection, entry_id, Outcome.REJECTED, person, comment)
    return await get_entry(connection, entry_id)


async def get_entry(connection: AsyncConnection, entry_id: str) -> JournalEntry:
    """Raises NotFoundError."""
    query = text(_ENTRIES.format(where="e.id = :id", order="DESC"))
    row = (await connection.execute(query, {"id": entry_id, "limit": 1})).first()
    if row is None:
        raise NotFoundError(f"There is no journal entry {entry_id!r}.", param="id")
    return _entry(row)


async def list_entries(
    connection: AsyncConnection,
    *,
    status: EntryStatus | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> tuple[list[JournalEntry], str | None]:
    """Up to ``limit`` entries, the latest first, and the cursor of the next page."""
    where, parameters = ["true"], dict[str, Any](limit=limit + 1)
    if cursor is not None:
        where.append("e.id < :behind")
        parameters["behind"] = read_cursor(cursor)[1]
    if status is not None:
        where.append(f"{_STATUS} = :status")
        parameters["status"] = status.value
    query = text(_ENTRIES.format(where=" AND ".join(where), order="DESC"))
    found = [_entry(row) for row in await connection.execute(query, parameters)]
    last = found[limit - 1] if len(found) > limit else None
    return found[:limit], cursor_at(last.created_at, last.id) if last else None


async def posted_entries(
    connection: AsyncConnection, *, after: str = "", limit: int = 1000
) -> list[JournalEntry]:
    """Up to ``limit`` posted entries after an id, oldest first: what ``journal.posting`` makes again."""
    query = text(_ENTRIES.format(where=f"e.id > :after AND {_STATUS} = 'posted'", order="ASC"))
    return [_entry(row) for row in await connection.execute(query, {"after": after, "limit": limit})]


async def _store(
    connection: AsyncConnection,
    book: Book,
    draft: Draft,
    author: Person,
    above: Mapping[str, int | None],
    *,
    entry_id: str,
    reverses: str | None = None,
) -> tuple[JournalEntry, Posted]:
    now = datetime.now(UTC)
    occurred_at = draft.occurred_at or now
    if occurred_at > now + _CLOCKS_DIFFER:
        raise InvalidRequestError("An entry is not dated in the future.", param="occurred_at")
    cut_over = await book.cut_over(connection)
    if cut_over is not None and occurred_at < cut_over:
        raise InvalidRequestError(
            f"The books begin at {cut_over:%Y-%m-%d %H:%M:%S} UTC: what was before is in the opening.",
            param="occurred_at",
        )
    row = {
        "id": entry_id,
        "description": draft.description,
        "reason": draft.reason,
        "occurred_at": occurred_at,
        "lines": orjson.dumps(lines_to_json(draft.lines)).decode(),
        "payment_id": draft.payment_id,
        "reverses": reverses,
        "author": author.name,
        "author_key": author.key_id,
        "needs_approval": needs_approval(draft.lines, above),
    }
    await connection.execute(_INSERT, row)
    entry = await get_entry(connection, entry_id)
    if entry.status is not EntryStatus.POSTED:
        return entry, NOTHING_POSTED
    return entry, await _post(connection, book, entry)


async def _post(connection: AsyncConnection, book: Book, entry: JournalEntry) -> Posted:
    transaction = posting(entry)
    posted = await book.post(connection, [transaction])
    if posted.conflicts:
        raise EffectDiffersError(f"{transaction.effect_key} stands with other legs.")
    if transaction.effect_key not in posted.new:  # another reversal of the same entry was quicker
        raise InvalidStateError("The entry is reversed already.")
    return posted


async def _pending(connection: AsyncConnection, entry_id: str) -> JournalEntry:
    entry = await get_entry(connection, entry_id)
    if entry.status is not EntryStatus.PENDING_APPROVAL:
        raise InvalidStateError(f"The entry is {entry.status}: there is nothing to decide.")
    return entry


async def _decide(
    connection: AsyncConnection, entry_id: str, outcome: Outcome, person: Person, comment: str | None
) -> None:
    row = {
        "id": entry_id,
        "outcome": outcome.value,
        "by": person.name,
        "by_key": person.key_id,
        "comment": comment,
    }
    if (await connection.execute(_DECIDE, row)).first() is None:  # another decided at the same moment
        raise InvalidStateError("The entry has just been decided.")


async def _check_accounts(connection: AsyncConnection, lines: Sequence[LedgerEntry]) -> None:
    """An account that is neither of the chart nor in use is more likely a slip than a wish."""
    unnamed = sorted({line.account for line in lines} - chart.NAMED)
    if not unnamed:
        return
    used = set((await connection.execute(_KNOWN_ACCOUNTS, {"names": unnamed})).scalars())
    for number, line in enumerate(lines):
        if line.account in unnamed and line.account not in used:
            raise InvalidRequestError(
                f"There is no account {line.account!r} yet: allow_new_accounts makes it.",
                param=f"lines.{number}.account",
            )


def _entry(row: Row[Any]) -> JournalEntry:
    decision = None
    if row.outcome is not None:
        by = Person(row.decided_by, row.decided_by_key)
        decision = Decision(Outcome(row.outcome), by, row.comment, row.decided_at)
    return JournalEntry(
        id=row.id,
        description=row.description,
        reason=row.reason,
        occurred_at=row.occurred_at,
        lines=lines_from_json(row.lines),
        payment_id=row.payment_id,
        reverses=row.reverses,
        author=Person(row.author, row.author_key),
        needs_approval=row.needs_approval,
        created_at=row.created_at,
        decision=decision,
        reversed_by=row.reversed_by,
    )
