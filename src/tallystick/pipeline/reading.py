"""What stored inputs mean: events of the inbox and balance transactions, by the pure rules.

Whoever acts on them, shows what they would do or builds the ledger from them again, reads them here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.events import thin
from tallystick.events.balance_transactions import balance_transaction_effects
from tallystick.events.catalog import EVENTS
from tallystick.events.spec import NO_EFFECTS, Effects, Event, Facts, Question
from tallystick.ledger.entries import LedgerTransaction, transactions
from tallystick.ledger.opening import posted_anew, since_opening
from tallystick.ledger.openings import superseded_among
from tallystick.pipeline.account_maps import account_maps, decide, mapped_by
from tallystick.pipeline.archives import Row, StoredEvent, with_bodies
from tallystick.pipeline.lookups import stored_facts
from tallystick.stripe_gateway.fields import JsonObject, filled


@dataclass(frozen=True, slots=True)
class Read:
    """An input with what its rule made of it; ``ignored`` when it is none of ours to act on.

    ``event`` is its id, also of a balance transaction.
    """

    event: str
    effects: Effects
    ignored: bool = False
    asked: tuple[Question, ...] = ()
    """What was looked up for it among the stored facts: when it is read alone, all that it asks."""
    decided: Mapping[Question, JsonObject] = field(default_factory=dict)
    """What was decided here because no fact said it: for whoever acts on it to keep as facts."""


async def read_events(
    connection: AsyncConnection, rows: Iterable[Row], *, cut_over: datetime | None
) -> tuple[list[Read], dict[str, Exception]]:
    """What events mean: by their rule, asked again with stored facts where it needs them.

    ``rows`` are of the inbox, with their bodies or without (see ``archives.Row``); ``cut_over`` is that of
    the books, if they were opened on an account in use. Returns what was read, and the errors of the others
    by id.
    """
    reads: list[Read] = []
    errors: dict[str, Exception] = {}
    maps = await account_maps(connection)
    facts: dict[Question, JsonObject | None] = dict.fromkeys(mapped_by(maps))
    decided: dict[Question, JsonObject] = {}
    asked: set[Question] = set()
    asked_by: dict[str, tuple[Question, ...]] = {}
    unread: Sequence[StoredEvent] = await with_bodies(connection, rows)
    while unread:
        waiting: list[tuple[StoredEvent, Read]] = []
        for row in unread:
            try:
                read = _read(row, facts)
            except Exception as error:  # a rule's exception is this event's failure, and no other's
                errors[row.id] = error
                continue
            if asked.issuperset(read.effects.waiting_for):  # also when it waits for nothing
                reads.append(_with_answers(read, asked_by.get(row.id, ()), decided))
            else:
                waiting.append((row, read))
                asked_by[row.id] = asked_by.get(row.id, ()) + read.effects.waiting_for
        questions = {question for _, read in waiting for question in read.effects.waiting_for} - asked
        if questions:
            asked |= questions
            facts |= await stored_facts(connection, questions)
            found = await decide(connection, maps, questions - facts.keys(), facts)
            decided |= found
            facts |= found
        unread = [row for row, _ in waiting]
    return await _in_opened_books(connection, reads, cut_over), errors


def _with_answers(read: Read, asked: tuple[Question, ...], decided: Mapping[Question, JsonObject]) -> Read:
    if not asked:
        return read
    of_it = {question: decided[question] for question in asked if question in decided}
    return replace(read, asked=asked, decided=of_it)


async def read_balance_transactions(
    connection: AsyncConnection, rows: Iterable[Any], *, cut_over: datetime | None
) -> tuple[dict[str, Read], dict[str, Exception]]:
    """What stored balance transactions mean, by their rule; ``rows`` have ``id`` and ``body``.

    Returns what was read by id, and the errors of those that cannot be read. Effects that wait for a fact
    which is not stored are what can be told without it.
    """
    read: dict[str, Read] = {}
    errors: dict[str, Exception] = {}
    maps = await account_maps(connection)
    facts: dict[Question, JsonObject | None] = dict.fromkeys(mapped_by(maps))
    decided: dict[Question, JsonObject] = {}
    asked: set[Question] = set()
    unread = list(rows)
    while unread:
        for row in unread:
            try:
                effects = balance_transaction_effects(orjson.loads(row.body), facts)
            except Exception as error:
                errors[row.id] = error
                read.pop(row.id, None)
                continue
            known = read[row.id].asked if row.id in read else ()
            made = Read(row.id, effects)
            read[row.id] = _with_answers(made, known or effects.waiting_for, decided)
        unread = [row for row in unread if row.id in read and not asked.issuperset(_open(read[row.id]))]
        questions = {question for row in unread for question in _open(read[row.id])} - asked
        if questions:
            asked |= questions
            facts |= await stored_facts(connection, questions)
            found = await decide(connection, maps, questions - facts.keys(), facts)
            decided |= found
            facts |= found
    opened = await _in_opened_books(connection, list(read.values()), cut_over)
    return {each.event: each for each in opened}, errors


def _open(read: Read) -> tuple[Question, ...]:
    return read.effects.waiting_for


def _read(row: StoredEvent, facts: Facts) -> Read:
    """What one event means; raises what its rule raises."""
    spec = EVENTS.get(thin.snapshot_type(row.type))
    if spec is None:
        return Read(row.id, NO_EFFECTS, ignored=True)
    body = filled(orjson.loads(row.body), created=int(row.created_at.timestamp()))
    event = thin.resolve(body, facts) if thin.is_thin(body) else Event.read(body)
    if isinstance(event, Question):
        return Read(row.id, Effects(waiting_for=(event,)))
    if event.account is not None:  # a connected account's money is not ours
        return Read(row.id, NO_EFFECTS, ignored=True)
    return Read(row.id, spec.rule(event, facts))


async def _in_opened_books(
    connection: AsyncConnection, reads: list[Read], cut_over: datetime | None
) -> list[Read]:
    """What is posted of each, in books that were opened at ``cut_over``."""
    if cut_over is None:
        return reads
    keys = {made.effect_key for read in reads for made in read.effects.transactions}
    superseded = await superseded_among(connection, keys) if keys else set()
    return [
        replace(read, effects=_since_opening(read.effects, cut_over, superseded))
        if read.effects.transactions
        else read
        for read in reads
    ]


def _since_opening(effects: Effects, cut_over: datetime, superseded: set[str]) -> Effects:
    kept: list[LedgerTransaction | None] = []
    for made in effects.transactions:
        if made.effect_key in superseded:
            kept += posted_anew(made, cut_over)
        else:
            kept.append(since_opening(made, cut_over))
    return replace(effects, transactions=transactions(*kept))
