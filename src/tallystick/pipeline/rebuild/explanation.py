"""Why an effect stands, or should: the inputs that imply it, found among all that are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.errors import NotFoundError
from tallystick.ledger.entries import LedgerTransaction, direction_word
from tallystick.ledger.history import PostedEntry, PostedTransaction, get_transaction
from tallystick.ledger.journal import JournalEntry
from tallystick.ledger.openings import stored_opening
from tallystick.pipeline.rebuild.inputs import (
    Bearing,
    Input,
    Kind,
    entry_as_input,
    movements_as_inputs,
    opening_as_input,
    read_as_inputs,
)
from tallystick.pipeline.rebuild.scratch import snapshot
from tallystick.pipeline.rebuild.search import events_naming, movements_naming, names_in, posted_entry

_RULE_VERSION: Final = text("SELECT rule_version FROM ledger_transactions WHERE effect_key = :key")
_FACTS: Final = text("""
SELECT question, fetched_at FROM fetched_objects WHERE question = ANY(CAST(:questions AS text[]))
""")


@dataclass(frozen=True, slots=True)
class Fact:
    """What an input asked of Stripe, and when the answer was stored; None where it is not."""

    question: str
    fetched_at: datetime | None


@dataclass(frozen=True, slots=True)
class Implication:
    """One input, and the effect that it implies by today's rule.

    ``type`` is an event's, ``status`` its own or a balance transaction's. ``agrees``: with the legs that
    stand; None where none do.
    """

    kind: Kind
    input: str
    type: str | None
    status: str
    bearing: Bearing
    stored_at: datetime
    acted_at: datetime | None
    rule_version: int
    occurred_at: datetime
    payment: str | None
    entries: list[PostedEntry]
    agrees: bool | None
    facts: list[Fact]


@dataclass(frozen=True, slots=True)
class Explanation:
    """An effect as it stands, and every input that implies it, the earliest stored first."""

    effect_key: str
    standing: PostedTransaction | None
    rule_version: int | None
    implied_by: list[Implication]


Watch = Callable[[int, int], None]
"""Told how much of the stored inputs is searched, and how much there is."""


def _unwatched(_done: int, _total: int) -> None:
    pass


async def explain(engine: AsyncEngine, effect_key: str, *, watch: Watch = _unwatched) -> Explanation:
    """Search all stored inputs for those that imply an effect; nothing is changed, and Stripe is not asked.

    Bodies have no index, so all of them are looked through. The engine must be a patient one
    (``open_engine``). Raises NotFoundError when it neither stands nor is implied by anything.
    """
    async with snapshot(engine) as connection:
        try:
            standing = await get_transaction(connection, effect_key)
        except NotFoundError:
            standing = None
        version = (await connection.execute(_RULE_VERSION, {"key": effect_key})).scalar()
        implied = await _implications(connection, effect_key, standing, watch)
    if standing is None and not implied:
        raise NotFoundError(f"Nothing stands as {effect_key!r}, and no stored input implies it.")
    implied.sort(key=lambda each: (each.stored_at, each.input))
    return Explanation(effect_key, standing, version, implied)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A stored input that may imply the effect, with what its row says of it."""

    told: Input
    type: str | None
    status: str
    stored_at: datetime
    acted_at: datetime | None


async def _implications(
    connection: AsyncConnection, effect_key: str, standing: PostedTransaction | None, watch: Watch
) -> list[Implication]:
    return [
        await _implication(connection, candidate, made, standing)
        for candidate in await _candidates(connection, effect_key, watch)
        for made in candidate.told.transactions
        if made.effect_key == effect_key
    ]


async def _candidates(connection: AsyncConnection, effect_key: str, watch: Watch) -> list[_Candidate]:
    """The inputs that name what the key names, with what each of them means."""
    names = await names_in(connection, effect_key)
    events = await events_naming(connection, names, watch)
    movements = await movements_naming(connection, names)
    opened = await stored_opening(connection)
    cut_over = opened.opening.cut_over if opened is not None else None
    # each alone, so that it says all that it asked
    found = [
        _of_row(row, told) for row in events for told in await read_as_inputs(connection, [row], cut_over)
    ]
    found += [
        _of_row(row, told)
        for row in movements
        for told in await movements_as_inputs(connection, [row], cut_over)
    ]
    found += [_of_entry(entry) for entry in await posted_entry(connection, effect_key)]
    if opened is not None:
        told = opening_as_input(opened)
        found.append(_Candidate(told, None, "posted", opened.opened_at, opened.opened_at))
    return found


def _of_row(row: Any, told: Input) -> _Candidate:
    return _Candidate(told, getattr(row, "type", None), str(row.status), row.stored_at, row.acted_at)


def _of_entry(entry: JournalEntry) -> _Candidate:
    acted_at = entry.decision.decided_at if entry.decision else entry.created_at
    return _Candidate(entry_as_input(entry), None, str(entry.status), entry.created_at, acted_at)


async def _implication(
    connection: AsyncConnection,
    candidate: _Candidate,
    made: LedgerTransaction,
    standing: PostedTransaction | None,
) -> Implication:
    entries = [
        PostedEntry(leg.account, direction_word(leg.direction), leg.amount, leg.currency)
        for leg in made.entries
    ]
    told = candidate.told
    return Implication(
        kind=told.kind,
        input=told.id,
        type=candidate.type,
        status=candidate.status,
        bearing=told.bearing,
        stored_at=candidate.stored_at,
        acted_at=candidate.acted_at,
        rule_version=made.rule_version,
        occurred_at=made.occurred_at,
        payment=made.payment_id,
        entries=entries,
        agrees=_sorted(entries) == _sorted(standing.entries) if standing is not None else None,
        facts=await _facts(connection, [str(question) for question in told.asked]),
    )


async def _facts(connection: AsyncConnection, asked: Sequence[str]) -> list[Fact]:
    if not asked:
        return []
    rows = await connection.execute(_FACTS, {"questions": list(asked)})
    fetched = {row.question: row.fetched_at for row in rows}
    return [Fact(question, fetched.get(question)) for question in asked]


def _sorted(entries: Sequence[PostedEntry]) -> list[tuple[str, str, str, int]]:
    return sorted((each.account, each.currency, each.direction, each.amount) for each in entries)
