"""``tallystick journal``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final

import typer
from rich.markup import escape
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.api import journal_bodies as bodies
from tallystick.cli import event_views as views
from tallystick.cli.database import with_engine
from tallystick.cli.operator import By, Reason, operator, order
from tallystick.cli.output import Json, amount, err, out, print_json, show
from tallystick.cli.times import Moment
from tallystick.ledger import corrections
from tallystick.ledger.book import NOTHING_POSTED, Book, Posted
from tallystick.ledger.entries import CREDIT, DEBIT, LedgerEntry
from tallystick.ledger.journal import EntryStatus, JournalEntry, Person
from tallystick.settings import load_settings

app = typer.Typer(help="Corrections of the ledger by hand.", no_args_is_help=True)

_LINE: Final = '"ACCOUNT AMOUNT CURRENCY"'
Id = Annotated[str, typer.Argument(metavar="ID")]
Lines = Annotated[list[str] | None, typer.Option(metavar=_LINE, help="A line; several of them.")]
Act = Callable[[AsyncConnection, Book], Awaitable[tuple[JournalEntry, Posted]]]


@app.command("create")
def create(
    description: Annotated[str, typer.Option(help="What the ledger shows.")],
    *,
    debit: Lines = None,
    credit: Lines = None,
    at: Moment = None,
    payment: Annotated[str | None, typer.Option(help="The payment it is about.")] = None,
    allow_new_accounts: Annotated[
        bool, typer.Option("--allow-new-accounts", help="Name accounts that nothing was ever posted to.")
    ] = False,
    reason: Reason = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Write a correcting entry.

    For example --debit "expenses:stripe_fees 123 usd" --credit "suspense:stripe 123 usd"; amounts are in
    minor units. Above the amount of TALLYSTICK_APPROVAL_ABOVE it waits for a second person.
    TIME is when it took effect: 2026-11-24T08:30:00Z, or an age as 12h; now if none is given.
    """
    given = order(by, reason)
    draft = corrections.Draft(
        description=description,
        reason=given.reason,
        lines=(*_lines(debit or [], DEBIT), *_lines(credit or [], CREDIT)),
        occurred_at=at,
        payment_id=payment,
        allow_new_accounts=allow_new_accounts,
    )
    author, above = Person(given.actor), load_settings(require=()).approval_above
    _do(lambda connection, book: corrections.propose(connection, book, draft, author, above), as_json=as_json)


@app.command("reverse")
def reverse(
    entry: Id, *, at: Moment = None, reason: Reason = None, by: By = None, as_json: Json = False
) -> None:
    """Take a posted entry back by its mirror, which is approved like any other entry."""
    given, above = order(by, reason), load_settings(require=()).approval_above
    _do(
        lambda connection, book: corrections.reverse(
            connection, book, entry, Person(given.actor), above, reason=given.reason, occurred_at=at
        ),
        as_json=as_json,
    )


@app.command("approve")
def approve(
    entry: Id,
    *,
    comment: Annotated[str | None, typer.Option(help="Kept with the approval.")] = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Approve an entry that another person wrote, which posts it."""
    person = Person(operator(by))
    _do(
        lambda connection, book: corrections.approve(connection, book, entry, person, comment),
        as_json=as_json,
    )


@app.command("reject")
def reject(entry: Id, *, reason: Reason = None, by: By = None, as_json: Json = False) -> None:
    """Decide that an entry is not posted."""
    given = order(by, reason)

    async def act(connection: AsyncConnection, _book: Book) -> tuple[JournalEntry, Posted]:
        person = Person(given.actor)
        return await corrections.reject(connection, entry, person, given.reason), NOTHING_POSTED

    _do(act, as_json=as_json)


@app.command("list")
def list_(
    *,
    status: Annotated[EntryStatus | None, typer.Option(help="Only these.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: Json = False,
) -> None:
    """List journal entries, the latest first."""

    async def work(engine: AsyncEngine) -> tuple[list[JournalEntry], str | None]:
        async with engine.connect() as connection:
            return await corrections.list_entries(connection, status=status, limit=limit, cursor=cursor)

    found, next_cursor = with_engine(work)
    page = [bodies.JournalEntry.of(entry) for entry in found]
    if as_json:
        more = next_cursor is not None
        shown = bodies.JournalEntryPage(data=page, has_more=more, next_cursor=next_cursor)
        print_json(shown.model_dump(mode="json"))
        return
    rows = [
        (
            each.id,
            each.status,
            views.clock(each.occurred_at),
            _debits(each),
            escape(each.author.name),
            escape(each.description),
        )
        for each in page
    ]
    show("Journal entries", ("id", "status", "as of (UTC)", "amount", "author", "description"), rows)
    if next_cursor:
        err.print(f"[dim]More: --cursor {next_cursor}[/dim]", soft_wrap=True)


@app.command("show")
def show_(entry: Id, as_json: Json = False) -> None:
    """Show a journal entry with its lines, who wrote it, why, and what was decided."""

    async def work(engine: AsyncEngine) -> JournalEntry:
        async with engine.connect() as connection:
            return await corrections.get_entry(connection, entry)

    _print(bodies.JournalEntry.of(with_engine(work)), as_json=as_json)


def _do(act: Act, *, as_json: bool) -> None:
    async def work(engine: AsyncEngine) -> JournalEntry:
        book = Book()
        async with engine.begin() as connection:
            entry, posted = await act(connection, book)
            await book.settle_balances(connection, posted)
        return entry

    _print(bodies.JournalEntry.of(with_engine(work)), as_json=as_json)


def _lines(given: Sequence[str], direction: int) -> list[LedgerEntry]:
    side = "debit" if direction == DEBIT else "credit"
    lines = []
    for each in given:
        match each.split():
            case [account, minor_units, currency] if minor_units.isascii() and minor_units.isdigit():
                lines.append(LedgerEntry(account, direction, int(minor_units), currency.lower()))
            case _:
                raise typer.BadParameter(
                    f'{each!r} is no line such as "assets:bank 1999 usd"', param_hint=f"--{side}"
                )
    return lines


def _debits(entry: bodies.JournalEntry) -> str:
    sums: dict[str, int] = {}
    for line in entry.lines:
        if line.direction == "debit":
            sums[line.currency] = sums.get(line.currency, 0) + line.amount
    return ", ".join(f"{amount(total, currency)} {currency.upper()}" for currency, total in sums.items())


def _print(entry: bodies.JournalEntry, *, as_json: bool) -> None:
    if as_json:
        print_json(entry.model_dump(mode="json"))
        return
    decided = entry.decision
    views.facts(
        [
            ("id", entry.id),
            ("status", entry.status),
            ("description", escape(entry.description)),
            ("reason", escape(entry.reason)),
            ("as of", f"{views.clock(entry.occurred_at)} UTC"),
            ("payment", entry.payment),
            ("author", escape(entry.author.name)),
            ("decided", decided and f"{decided.outcome} by {escape(decided.by.name)}"),
            ("comment", decided and decided.comment and escape(decided.comment)),
            ("reverses", entry.reverses),
            ("reversed by", entry.reversed_by),
            ("effect key", entry.effect_key),
        ]
    )
    rows = [
        (
            line.account,
            line.currency.upper(),
            *((amount(line.amount, line.currency), "") if line.direction == "debit"
              else ("", amount(line.amount, line.currency))),
        )
        for line in entry.lines
    ]  # fmt: skip
    show("Lines", ("account", "currency", "debit", "credit"), rows, right=("debit", "credit"))
    if entry.status is EntryStatus.PENDING_APPROVAL:
        out.print(f"It waits for another person: tallystick journal approve {entry.id}", soft_wrap=True)
