"""A new journal entry: typed, looked at before it is posted, posted once."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from tallystick.api.journal_bodies import CreateJournalEntry
from tallystick.api.journal_entries import Acts, person_of
from tallystick.api.keys import Scope
from tallystick.api.lists import Word
from tallystick.api.values import CurrencyCode
from tallystick.console.journal.drafts import EntryForm, clearing_form, empty_form, sent_form
from tallystick.console.journal.sending import send
from tallystick.console.routing import Pages
from tallystick.console.visits import Done, Query, Visit
from tallystick.db.session import snapshot
from tallystick.errors import IdempotencyKeyReusedError, NotFoundError, TallystickError
from tallystick.ledger import chart
from tallystick.ledger.balances import list_accounts
from tallystick.ledger.book import Book
from tallystick.ledger.corrections import propose
from tallystick.ledger.journal import EntryStatus, JournalEntry
from tallystick.ledger.suspense import open_items

_NEW: Final = "/journal-entries/new"


class NewEntryQuery(Query):
    """An item of suspense that the entry is to clear, if there is one."""

    clears: Word | None = None
    currency: CurrencyCode | None = None


def writing_pages(pages: Pages, acts: Acts) -> None:
    """The form, its preview and its posting; before the pages of entries by id."""

    @pages.get(_NEW, Scope.LEDGER_WRITE)
    async def new(visit: Visit) -> Response:
        query = visit.query(NewEntryQuery)
        form = await _clearing(visit, query) if query.clears is not None else empty_form()
        return await _form_page(visit, form)

    @pages.post(_NEW, Scope.LEDGER_WRITE)
    async def send_new(visit: Visit) -> Response:
        """Add rows, show the form again, look at the entry, or post it: by the button."""
        form, button = sent_form(visit.form), visit.form.get("button")
        if button in ("rows", "edit"):
            if button == "rows":
                form.add_rows()
            return await _form_page(visit, form)
        body = form.body()
        if body is None:
            return await _form_page(visit, form)
        try:
            if button == "post":
                return await _posted(visit, acts, form, body)
            preview = await _previewed(visit, acts, body)
        except TallystickError as error:
            if error.status >= 500:
                raise
            _refuse(form, error)
            return await _form_page(visit, form)
        return visit.page("journal_entry_preview.html", form=form, entry=preview, lines=body.lines)


async def _clearing(visit: Visit, query: NewEntryQuery) -> EntryForm:
    async with snapshot(visit.app.engine) as connection:
        items = await open_items(connection)
    for item in items:
        if item.effect_key == query.clears and query.currency in (None, item.currency):
            return clearing_form(item)
    raise NotFoundError("There is no such item in suspense, or it is cleared already.", param="clears")


async def _form_page(visit: Visit, form: EntryForm) -> Response:
    async with visit.app.engine.connect() as connection:
        known = await list_accounts(connection)
    named = {each.name for each in known} | chart.NAMED
    return visit.page(
        "journal_entry_new.html",
        status=422 if form.is_wrong else 200,
        form=form,
        accounts=sorted(name for name in named if not chart.is_stripe_balance(name)),
        currencies=sorted({each.currency for each in known}),
    )


async def _posted(visit: Visit, acts: Acts, form: EntryForm, body: CreateJournalEntry) -> Response:
    person = person_of(visit.request)
    page, status = await send(
        visit,
        acts,
        body,
        lambda entry_id: (
            lambda connection: propose(
                connection, acts.book, body.draft(), person, acts.above, entry_id=entry_id
            )
        ),
        key=form.key,
    )
    return visit.go(page, done=Done.POSTED if status is EntryStatus.POSTED else Done.PROPOSED)


async def _previewed(visit: Visit, acts: Acts, body: CreateJournalEntry) -> JournalEntry:
    """What would stand: it is posted, and the database takes it back. Raises what posting raises."""
    async with visit.app.engine.connect() as connection:
        # a book of its own: what it remembers of new accounts is taken back with them
        entry, _ = await propose(connection, Book(), body.draft(), person_of(visit.request), acts.above)
        await connection.rollback()
    return entry


def _refuse(form: EntryForm, error: TallystickError) -> None:
    if isinstance(error, IdempotencyKeyReusedError):
        words = "This form was posted already, with other words: see the journal entries, or begin a new one."
        form.refuse(None, words)
    else:
        form.refuse(error.param, error.detail, error.extra.get("differences"))
