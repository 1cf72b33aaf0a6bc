"""Journal entries: the list, one with what was decided, and what is done to it."""

from __future__ import annotations

import secrets
from typing import Annotated

from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from tallystick.api import journal_bodies as bodies
from tallystick.api.event_bodies import Why, Words
from tallystick.api.journal_entries import Acts, person_of
from tallystick.api.keys import Scope
from tallystick.console.fields import PAGE, Cursor, Time
from tallystick.console.journal.sending import send
from tallystick.console.routing import Pages
from tallystick.console.visits import Done, NoQuery, Query, Visit
from tallystick.db.session import autocommit
from tallystick.errors import NotFoundError
from tallystick.ledger import corrections
from tallystick.ledger.book import NOTHING_POSTED, Posted
from tallystick.ledger.journal import EntryStatus, JournalEntry

Key = Annotated[str, Field(min_length=1, max_length=255)]


class EntryQuery(Query):
    """What the list is narrowed to."""

    status: EntryStatus | None = None
    cursor: Cursor = None


class Approval(BaseModel):
    """What the second person says."""

    key: Key
    comment: Words | None = None


class Rejection(BaseModel):
    """Why it is not posted."""

    key: Key
    reason: Words


class Reversal(BaseModel):
    """Why it is taken back, and as of when."""

    key: Key
    reason: Words
    occurred_at: Time | None = None


def journal_pages(pages: Pages, acts: Acts) -> None:
    """The pages of journal entries that stand."""
    _add_reading(pages)
    _add_deciding(pages, acts)
    _add_reversing(pages, acts)


def _add_reading(pages: Pages) -> None:
    @pages.get("/journal-entries", Scope.LEDGER_READ)
    async def entries(visit: Visit) -> Response:
        query = visit.query(EntryQuery)
        async with autocommit(visit.app.engine) as connection:
            found, next_cursor = await corrections.list_entries(
                connection, status=query.status, limit=PAGE, cursor=query.cursor
            )
        return visit.page(
            "journal_entries.html",
            query=query,
            statuses=list(EntryStatus),
            entries=[bodies.JournalEntry.of(each) for each in found],
            next_cursor=next_cursor,
        )

    @pages.get("/journal-entries/{id}", Scope.LEDGER_READ)
    async def entry(visit: Visit) -> Response:
        visit.query(NoQuery)
        async with autocommit(visit.app.engine) as connection:
            found = await corrections.get_entry(connection, _named(visit))
        return visit.page(
            "journal_entry.html",
            entry=bodies.JournalEntry.of(found),
            own=person_of(visit.request).is_same_as(found.author),
            new_key=lambda: secrets.token_urlsafe(18),
        )


def _add_deciding(pages: Pages, acts: Acts) -> None:
    @pages.post("/journal-entries/{id}/approve", Scope.LEDGER_APPROVE)
    async def approve(visit: Visit) -> Response:
        given, person = visit.answers(Approval), person_of(visit.request)
        page, _ = await send(
            visit,
            acts,
            bodies.ApproveJournalEntry(comment=given.comment),
            lambda entry_id: (
                lambda connection: corrections.approve(connection, acts.book, entry_id, person, given.comment)
            ),
            key=given.key,
            entry_id=_named(visit),
        )
        return visit.go(page, done=Done.APPROVED)

    @pages.post("/journal-entries/{id}/reject", Scope.LEDGER_APPROVE)
    async def reject(visit: Visit) -> Response:
        given, person, entry_id = visit.answers(Rejection), person_of(visit.request), _named(visit)

        async def work(connection: AsyncConnection) -> tuple[JournalEntry, Posted]:
            return await corrections.reject(connection, entry_id, person, given.reason), NOTHING_POSTED

        why = Why(reason=given.reason)
        page, _ = await send(visit, acts, why, lambda _: work, key=given.key, entry_id=entry_id)
        return visit.go(page, done=Done.REJECTED)


def _add_reversing(pages: Pages, acts: Acts) -> None:
    @pages.post("/journal-entries/{id}/reverse", Scope.LEDGER_WRITE)
    async def reverse(visit: Visit) -> Response:
        given, person, original = visit.answers(Reversal), person_of(visit.request), _named(visit)
        page, status = await send(
            visit,
            acts,
            bodies.ReverseJournalEntry(reason=given.reason, occurred_at=given.occurred_at),
            lambda entry_id: (
                lambda connection: corrections.reverse(
                    connection,
                    acts.book,
                    original,
                    person,
                    acts.above,
                    reason=given.reason,
                    occurred_at=given.occurred_at,
                    entry_id=entry_id,
                )
            ),
            key=given.key,
        )
        return visit.go(page, done=Done.REVERSED if status is EntryStatus.POSTED else Done.PROPOSED)


def _named(visit: Visit) -> str:
    """The entry's id; raises NotFoundError for what cannot be one."""
    name = visit.name("id")
    if "\0" in name:
        raise NotFoundError("There is no such journal entry.", param="id")
    return name
