"""Dead letters: events and balance transactions that failed for good. Listed, shown, replayed, discarded.

Each keeps its bytes and every attempt that failed. A replay puts it back to where it is claimed; a discard
says that it shall have no effect, by whom and why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.cursors import cursor_at, read_cursor
from tallystick.errors import InvalidStateError, NotFoundError
from tallystick.monitoring.redaction import blot_cards
from tallystick.pipeline.archives import body_of
from tallystick.pipeline.operations.audit import Order, begin, end
from tallystick.pipeline.operations.replay import put_back
from tallystick.pipeline.views.events import Attempt, shown_body
from tallystick.pipeline.views.selection import EventStatus, Selection, type_regex


class LetterKind(StrEnum):
    """What a dead letter is."""

    EVENT = "event"
    BALANCE_TRANSACTION = "balance_transaction"


_ATTEMPT_TABLES: Final = {
    LetterKind.EVENT: ("event_attempts", "event_id"),
    LetterKind.BALANCE_TRANSACTION: ("balance_transaction_attempts", "balance_transaction_id"),
}


def _last_attempt(kind: LetterKind) -> str:
    table, column = _ATTEMPT_TABLES[kind]
    return f"""LEFT JOIN LATERAL (
      SELECT error_code, error FROM {table} WHERE {column} = l.id ORDER BY id DESC LIMIT 1
    ) a ON true"""


_LETTERS: Final = {
    LetterKind.EVENT: f"""
SELECT 'event' AS kind, l.id, l.type, l.status, l.attempts AS failed_attempts, l.finished_at AS dead_at,
       a.error_code, a.error, l.body
  FROM webhook_events l {_last_attempt(LetterKind.EVENT)}""",
    LetterKind.BALANCE_TRANSACTION: f"""
SELECT 'balance_transaction' AS kind, l.id, 'balance_transaction' AS type,
       CASE WHEN l.status = 'missing' THEN 'dead' ELSE l.status END AS status,
       l.attempts AS failed_attempts, l.dead_at, coalesce(a.error_code, 'unexpected') AS error_code,
       coalesce(a.error, l.error) AS error, l.body
  FROM balance_transactions l {_last_attempt(LetterKind.BALANCE_TRANSACTION)}""",
}
_DEAD: Final = {
    LetterKind.EVENT: "l.status = 'dead'",
    LetterKind.BALANCE_TRANSACTION: "l.status IN ('dead', 'missing')",
}
_DEAD_AT: Final = {LetterKind.EVENT: "l.finished_at", LetterKind.BALANCE_TRANSACTION: "l.dead_at"}

# One pass over two partial indexes that hold dead letters and nothing else.
_SUMMARY: Final = text("""
SELECT CAST(sum(letters) AS bigint) AS letters, min(oldest_at) AS oldest_at FROM (
  SELECT count(*) AS letters, min(finished_at) AS oldest_at FROM webhook_events WHERE status = 'dead'
  UNION ALL
  SELECT count(*), min(dead_at) FROM balance_transactions WHERE status IN ('dead', 'missing')
) s
""")

_FETCH_OR_POST_AGAIN: Final = text("""
WITH chosen AS (
  SELECT id FROM balance_transactions
   WHERE id = ANY(CAST(:ids AS text[])) AND status IN ('dead', 'missing') ORDER BY id FOR UPDATE
)
UPDATE balance_transactions AS t
   SET status = CASE WHEN body IS NULL THEN 'wanted' ELSE 'fetched' END, attempts = 0, due_at = now(),
       dead_at = NULL
  FROM chosen WHERE t.id = chosen.id
RETURNING t.id
""")
_DISCARD: Final = {
    LetterKind.EVENT: text("""
UPDATE webhook_events SET status = 'discarded' WHERE id = :id AND status = 'dead' RETURNING id
"""),
    LetterKind.BALANCE_TRANSACTION: text("""
UPDATE balance_transactions SET status = 'discarded'
 WHERE id = :id AND status IN ('dead', 'missing') RETURNING id
"""),
}
_NOTE_DISCARD: Final = text("""
INSERT INTO discards (kind, letter_id, actor, reason) VALUES (:kind, :id, :actor, :reason)
""")
_DISCARDS: Final = text("""
SELECT actor, reason, discarded_at FROM discards WHERE letter_id = :id ORDER BY id
""")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter as it stands; ``status`` is dead or discarded. The error is that of the last attempt."""

    kind: LetterKind
    id: str
    type: str
    status: str
    failed_attempts: int
    dead_at: datetime
    error_code: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Discard:
    """Who discarded a dead letter, when and why."""

    actor: str
    reason: str
    discarded_at: datetime


@dataclass(frozen=True, slots=True)
class LetterInFull:
    """A dead letter with its payload, secrets and card data blotted out, and all that happened to it."""

    letter: DeadLetter
    payload: Any
    attempts: list[Attempt]
    discards: list[Discard]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters to list: by kind, type (shell pattern), error code, and since when they are dead."""

    kind: LetterKind | None = None
    type: str | None = None
    error_code: str | None = None
    dead_after: datetime | None = None
    dead_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """How many dead letters there are, and since when the oldest is one."""

    count: int
    oldest_at: datetime | None


async def summary(connection: AsyncConnection) -> Summary:
    """Depth and oldest age, by one query that reads dead letters alone."""
    row = (await connection.execute(_SUMMARY)).one()
    return Summary(row.letters, row.oldest_at)


async def list_dead_letters(
    connection: AsyncConnection, wanted: Wanted, *, limit: int, cursor: str | None = None
) -> tuple[list[DeadLetter], str | None]:
    """Up to ``limit`` dead letters, the latest first, and the cursor of the next page.

    Raises InvalidRequestError for a cursor that is none of ours or a pattern that cannot be read.
    """
    kinds = [wanted.kind] if wanted.kind else list(LetterKind)
    parameters: dict[str, Any] = {"limit": limit + 1}
    parts = [f"({_part(kind, wanted, cursor, parameters)})" for kind in kinds]
    query = f"""
        SELECT {", ".join(DeadLetter.__slots__)} FROM ({" UNION ALL ".join(parts)}) letters
         ORDER BY dead_at DESC, id DESC LIMIT :limit"""
    found = [_letter(row) for row in await connection.execute(text(query), parameters)]
    last = found[limit - 1] if len(found) > limit else None
    return found[:limit], cursor_at(last.dead_at, last.id) if last else None


def _part(kind: LetterKind, wanted: Wanted, cursor: str | None, parameters: dict[str, Any]) -> str:
    """The listing of one kind; adds what it binds to ``parameters``."""
    type_name = "l.type" if kind is LetterKind.EVENT else "'balance_transaction'"
    conditions = {
        f"{type_name} ~ :type": ("type", type_regex((wanted.type,)) if wanted.type else None),
        "a.error_code = :error_code": ("error_code", wanted.error_code),
        f"{_DEAD_AT[kind]} >= :dead_after": ("dead_after", wanted.dead_after),
        f"{_DEAD_AT[kind]} < :dead_before": ("dead_before", wanted.dead_before),
    }
    given = {condition: part for condition, part in conditions.items() if part[1] is not None}
    where = [_DEAD[kind], *given]
    parameters.update(given.values())
    if cursor is not None:
        parameters["behind_at"], parameters["behind_id"] = read_cursor(cursor)
        where.append(f"({_DEAD_AT[kind]}, l.id) < (:behind_at, CAST(:behind_id AS text))")
    order = f"ORDER BY {_DEAD_AT[kind]} DESC, l.id DESC LIMIT :limit"
    return f"{_LETTERS[kind]} WHERE {' AND '.join(where)} {order}"


async def get_dead_letter(connection: AsyncConnection, letter_id: str) -> LetterInFull:
    """A dead letter, or one that was discarded. Raises NotFoundError."""
    row = await _find(connection, letter_id)
    letter = _letter(row)
    table, column = _ATTEMPT_TABLES[letter.kind]
    attempts = text(f"""
        SELECT attempt, failed_at, error_code, error, traceback FROM {table}
         WHERE {column} = :id ORDER BY id""")
    # an event that was archived, and replayed since, has no body in its row
    body = row.body or await body_of(connection, letter_id)
    return LetterInFull(
        letter,
        shown_body(body),
        [Attempt.of(each) for each in await connection.execute(attempts, {"id": letter_id})],
        await discards_of(connection, letter_id),
    )


async def discards_of(connection: AsyncConnection, letter_id: str) -> list[Discard]:
    """Every time that it was discarded, first to last."""
    rows = await connection.execute(_DISCARDS, {"id": letter_id})
    return [Discard(row.actor, row.reason, row.discarded_at) for row in rows]


async def replay_dead_letter(connection: AsyncConnection, letter_id: str, order: Order) -> str:
    """Put a dead letter back, and record it as a replay, whose id is returned.

    Raises NotFoundError, and InvalidStateError for one that was discarded.
    """
    letter = _letter(await _find(connection, letter_id))
    if not await put_letters_back(connection, {letter.kind: [letter_id]}):
        raise _over(letter)
    replay_id = await begin(connection, order, {"dead_letter": letter_id, "kind": letter.kind})
    await end(connection, replay_id, "finished", {"put_back": 1})
    return replay_id


async def put_letters_back(connection: AsyncConnection, ids: Mapping[LetterKind, Sequence[str]]) -> list[str]:
    """Put those back that are dead letters still; returns their ids. Records nothing."""
    events = list(ids.get(LetterKind.EVENT, ()))
    movements = {"ids": list(ids.get(LetterKind.BALANCE_TRANSACTION, ()))}
    done = await put_back(connection, events, Selection(statuses=(EventStatus.DEAD,)))
    return done + list((await connection.execute(_FETCH_OR_POST_AGAIN, movements)).scalars())


async def discard_dead_letter(connection: AsyncConnection, letter_id: str, order: Order) -> None:
    """Let a dead letter have no effect, and record by whom and why.

    Raises NotFoundError, and InvalidStateError for one that was discarded.
    """
    letter = _letter(await _find(connection, letter_id))
    if (await connection.execute(_DISCARD[letter.kind], {"id": letter_id})).first() is None:
        raise _over(letter)
    row = {"kind": letter.kind, "id": letter_id, "actor": order.actor, "reason": order.reason}
    await connection.execute(_NOTE_DISCARD, row)


def _over(letter: DeadLetter) -> InvalidStateError:
    return InvalidStateError(f"{letter.id} is {letter.status}: no dead letter any more.", param="id")


async def _find(connection: AsyncConnection, letter_id: str) -> Row[Any]:
    for kind in LetterKind if letter_id.isprintable() else ():
        query = f"{_LETTERS[kind]} WHERE l.id = :id AND ({_DEAD[kind]} OR l.status = 'discarded')"
        row = (await connection.execute(text(query), {"id": letter_id})).first()
        if row is not None:
            return row
    raise NotFoundError(f"There is no dead letter {letter_id[:300]!r}.", param="id")


def _letter(row: Row[Any]) -> DeadLetter:
    values = {name: getattr(row, name) for name in DeadLetter.__slots__}
    values["kind"] = LetterKind(values["kind"])
    values["error"] = blot_cards(row.error) if row.error is not None else None
    return DeadLetter(**values)
