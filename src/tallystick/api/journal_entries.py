"""/journal-entries: an operator's corrections of the ledger, and a second person's leave for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from tallystick.api import journal_bodies as bodies
from tallystick.api.auth import Gate
from tallystick.api.event_bodies import Why
from tallystick.api.events import Cursor, Limit
from tallystick.api.idempotent import Once
from tallystick.api.keys import Scope
from tallystick.api.routing import api_key, guarded_router, json_answer, needs
from tallystick.app import App
from tallystick.db.ids import new_id
from tallystick.db.session import autocommit
from tallystick.errors import (
    InvalidAmountError,
    InvalidStateError,
    SecondPersonRequiredError,
    UnbalancedEntryError,
    UnknownCurrencyRequestError,
)
from tallystick.idempotency import Claim
from tallystick.ledger import corrections
from tallystick.ledger.book import NOTHING_POSTED, Book, Posted
from tallystick.ledger.journal import EntryStatus, JournalEntry, Person

_READS: Final = needs(Scope.LEDGER_READ)
_DECIDES: Final = needs(Scope.LEDGER_APPROVE, InvalidStateError, SecondPersonRequiredError)

Act = Callable[[AsyncConnection], Awaitable[tuple[JournalEntry, Posted]]]


def journal_entry_routes(app: App, gate: Gate) -> APIRouter:
    """The routes, over an App."""
    router = guarded_router(gate, "journal entries")
    acts = Acts(app)
    _add_reading(router, app)
    _add_writing(router, acts)
    _add_deciding(router, acts)
    return router


def person_of(request: Request) -> Person:
    """Who asks."""
    key = api_key(request)
    return Person(key.name, key.id)


class Acts:
    """What is done to entries: in one transaction, once under an idempotency key."""

    def __init__(self, app: App) -> None:
        self.book = Book()
        self.above = app.settings.approval_above
        self._engine = app.engine
        self._once = Once(app)

    async def answer(
        self,
        request: Request,
        body: BaseModel,
        act: Callable[[str], Act],
        *,
        entry_id: str | None = None,
        key: str | None = None,
    ) -> Response:
        """``act(entry id)`` is done; without ``entry_id``, to a new entry. ``key``: see ``Once.answer``."""

        async def work(claim: Claim) -> JournalEntry:
            named = entry_id or claim.resource_id or new_id("jrn")
            async with self._engine.begin() as connection:
                await claim.start(connection, named)
                entry, posted = await act(named)(connection)
                await claim.finish(connection, entry)
                await self.book.settle_balances(connection, posted)
            return entry

        status = 200 if entry_id else 201
        return await self._once.answer(request, body, work, bodies.JournalEntry.of, status=status, key=key)


def _add_reading(router: APIRouter, app: App) -> None:
    @router.get("/journal-entries", response_model=bodies.JournalEntryPage, openapi_extra=_READS)
    async def list_journal_entries(
        status: EntryStatus | None = None, limit: Limit = 20, cursor: Cursor = None
    ) -> Response:
        """Operators' journal entries, the latest first."""
        async with autocommit(app.engine) as connection:
            found, next_cursor = await corrections.list_entries(
                connection, status=status, limit=limit, cursor=cursor
            )
        page = [bodies.JournalEntry.of(entry) for entry in found]
        more = next_cursor is not None
        return json_answer(bodies.JournalEntryPage(data=page, has_more=more, next_cursor=next_cursor))

    @router.get("/journal-entries/{id}", response_model=bodies.JournalEntry, openapi_extra=_READS)
    async def get_journal_entry(id: str) -> Response:  # noqa: A002 - the name of the path parameter
        """A journal entry with who wrote it, why, and what was decided."""
        async with autocommit(app.engine) as connection:
            return json_answer(bodies.JournalEntry.of(await corrections.get_entry(connection, id)))


def _add_writing(router: APIRouter, acts: Acts) -> None:
    @router.post(
        "/journal-entries",
        status_code=201,
        response_model=bodies.JournalEntry,
        openapi_extra=needs(
            Scope.LEDGER_WRITE, InvalidAmountError, UnknownCurrencyRequestError, UnbalancedEntryError
        ),
    )
    async def create_journal_entry(request: Request, body: bodies.CreateJournalEntry) -> Response:
        """Correct the ledger by adding to it. Above the set amount it waits for a second person."""
        person = person_of(request)
        return await acts.answer(
            request,
            body,
            lambda entry_id: (
                lambda connection: corrections.propose(
                    connection, acts.book, body.draft(), person, acts.above, entry_id=entry_id
                )
            ),
        )

    @router.post(
        "/journal-entries/{id}/reverse",
        status_code=201,
        response_model=bodies.JournalEntry,
        openapi_extra=needs(Scope.LEDGER_WRITE, InvalidStateError),
    )
    async def reverse_journal_entry(request: Request, id: str, body: bodies.ReverseJournalEntry) -> Response:  # noqa: A002
        """Take a posted entry back by its mirror: an entry of its own, approved like any other."""
        person = person_of(request)
        return await acts.answer(
            request,
            body,
            lambda entry_id: (
                lambda connection: corrections.reverse(
                    connection,
                    acts.book,
                    id,
                    person,
                    acts.above,
                    reason=body.reason,
                    occurred_at=body.occurred_at,
                    entry_id=entry_id,
                )
            ),
        )


def _add_deciding(router: APIRouter, acts: Acts) -> None:
    @router.post("/journal-entries/{id}/approve", response_model=bodies.JournalEntry, openapi_extra=_DECIDES)
    async def approve_journal_entry(
        request: Request,
        id: str,  # noqa: A002
        body: bodies.ApproveJournalEntry | None = None,
    ) -> Response:
        """Approve an entry that another person wrote, which posts it."""
        given, person = body or bodies.ApproveJournalEntry(), person_of(request)
        return await acts.answer(
            request,
            given,
            lambda entry_id: (
                lambda connection: corrections.approve(connection, acts.book, entry_id, person, given.comment)
            ),
            entry_id=id,
        )

    @router.post(
        "/journal-entries/{id}/reject",
        response_model=bodies.JournalEntry,
        openapi_extra=needs(Scope.LEDGER_APPROVE, InvalidStateError),
    )
    async def reject_journal_entry(request: Request, id: str, body: Why) -> Response:  # noqa: A002
        """Decide that an entry is not posted; its author may, too."""
        person = person_of(request)

        async def reject(connection: AsyncConnection) -> tuple[JournalEntry, Posted]:
            return await corrections.reject(connection, id, person, body.reason), NOTHING_POSTED

        return await acts.answer(request, body, lambda _: reject, entry_id=id)
