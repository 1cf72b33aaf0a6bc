"""``tallystick ledger accounts``, ``statement``, ``transactions`` and ``show``."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from rich.table import Table
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.api import ledger_bodies as bodies
from tallystick.cli.database import with_engine
from tallystick.cli.event_views import clock, facts
from tallystick.cli.output import Json, amount, err, out, print_json, show
from tallystick.cli.times import Moment, parse_moment
from tallystick.db.session import snapshot
from tallystick.errors import InvalidRequestError
from tallystick.ledger.balances import AccountFilter, AccountPage, page_of_accounts
from tallystick.ledger.history import (
    PostedTransaction,
    TransactionFilter,
    TransactionPage,
    get_transaction,
    list_transactions,
)
from tallystick.ledger.statements import Statement, read_statement
from tallystick.money import decimal_text
from tallystick.pipeline.pulls.payout_contents import PayoutContents, read_contents
from tallystick.pipeline.views.belonging import Belonging, among

From = Annotated[Any, typer.Option("--from", parser=parse_moment, metavar="TIME", help="From this time on.")]
To = Annotated[Any, typer.Option("--to", parser=parse_moment, metavar="TIME", help="Before this time.")]
Cursor = Annotated[str | None, typer.Option(help="Where the page before ended.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000)]
_ALL_ACCOUNTS: Final = 100_000


def accounts(
    *,
    at: Moment = None,
    currency: Annotated[str | None, typer.Option(help="Only these.")] = None,
    as_json: Json = False,
) -> None:
    """List the accounts and what stands on each, now or at TIME; positive is the account's normal side."""

    async def work(engine: AsyncEngine) -> AccountPage:
        narrowed = AccountFilter(currency=currency.lower() if currency else None)
        async with snapshot(engine) as connection:
            return await page_of_accounts(connection, narrowed, at=at, limit=_ALL_ACCOUNTS)

    page = with_engine(work)
    if as_json:
        _print(bodies.LedgerAccountPage.of(page, at))
        return
    rows = [
        (line.account, line.type, line.currency.upper(), decimal_text(line.balance, line.currency))
        for line in page.items
    ]
    show("Accounts", ("account", "type", "currency", "balance"), rows, right=("balance",))


def statement(
    account: str,
    currency: str,
    *,
    since: From = None,
    until: To = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    as_json: Json = False,
) -> None:
    """Show the entries of an account in order of time, with the balance after each.

    TIME is 2026-11-24, 2026-11-24T08:30:00Z, or an age as 30d; times are in UTC.
    """
    check_period(since, until)

    async def work(engine: AsyncEngine) -> Statement:
        async with snapshot(engine) as connection:
            return await read_statement(
                connection, account, currency.lower(), since=since, until=until, limit=limit, cursor=cursor
            )

    page = with_engine(work)
    if as_json:
        _print(bodies.Statement.of(page))
        return
    code = page.currency
    out.print(f"{page.account}, {code.upper()}", style="bold", highlight=False)
    out.print(f"opening balance {decimal_text(page.opening_balance, code)}", highlight=False)
    if page.lines:
        out.print(_lines(page))
    out.print(f"closing balance {decimal_text(page.closing_balance, code)}", highlight=False)
    _say_more(page.next_cursor)


def _lines(page: Statement) -> Table:
    made = Table(header_style="bold")
    made.add_column("entry", overflow="fold")
    for name in ("debit", "credit", "balance"):
        made.add_column(name, justify="right", no_wrap=True)
    for line in page.lines:
        shown = amount(line.amount, page.currency)
        made.add_row(
            f"{clock(line.occurred_at)}\n{line.effect_key}",
            *((shown, "") if line.direction == "debit" else ("", shown)),
            decimal_text(line.balance, page.currency),
        )
    return made


def transactions(
    *,
    payment: Annotated[str | None, typer.Option(help="Our id, or its PaymentIntent's.")] = None,
    customer: Annotated[str | None, typer.Option(help="All payments of a customer.")] = None,
    charge: str | None = None,
    refund: Annotated[str | None, typer.Option(help="Our id, or Stripe's.")] = None,
    dispute: str | None = None,
    payout: Annotated[str | None, typer.Option(help="The payout itself.")] = None,
    topup: str | None = None,
    balance_transaction: str | None = None,
    journal_entry: str | None = None,
    event: Annotated[str | None, typer.Option(help="What an event tells of, whoever told first.")] = None,
    kind: Annotated[str | None, typer.Option(help="Such as charge_captured.")] = None,
    since: From = None,
    until: To = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    as_json: Json = False,
) -> None:
    """List ledger transactions with their entries, the latest fact first; all of the filters must hold."""
    check_period(since, until)
    belonging = Belonging(
        payment=payment, customer=customer, charge=charge, refund=refund, dispute=dispute, payout=payout,
        topup=topup, balance_transaction=balance_transaction, journal_entry=journal_entry, event=event,
    )  # fmt: skip

    async def work(engine: AsyncEngine) -> TransactionPage:
        async with snapshot(engine) as connection:
            narrowed = TransactionFilter(since, until, kind, await among(connection, belonging))
            return await list_transactions(connection, narrowed, limit=limit, cursor=cursor)

    page = with_engine(work)
    if as_json:
        _print(bodies.LedgerTransactionPage.of(page))
        return
    for found in page.items:
        out.print(f"{clock(found.occurred_at)}  {found.effect_key}", style="bold", **_AS_IS)
        _entries(found)
    if not page.items:
        out.print("Ledger transactions: none.")
    _say_more(page.next_cursor)


def payout(
    payout_id: Annotated[str, typer.Argument(metavar="PAYOUT")],
    *,
    limit: Limit = 100,
    cursor: Cursor = None,
    as_json: Json = False,
) -> None:
    """Show what went out with an automatic payout that arrived: each balance transaction and its payment."""

    async def work(engine: AsyncEngine) -> PayoutContents:
        async with snapshot(engine) as connection:
            return await read_contents(connection, payout_id, limit=limit, cursor=cursor)

    page = with_engine(work)
    if as_json:
        _print(bodies.PayoutContents.of(page))
        return
    out.print(f"{page.payout}: {page.status}, {page.transactions:,} balance transactions", **_AS_IS)
    rows = [
        (
            f"{line.balance_transaction}\n{line.payment or line.source or ''}",
            line.type,
            decimal_text(line.amount, line.currency),
            decimal_text(line.fee, line.currency),
            decimal_text(line.net, line.currency),
        )
        for line in page.lines
    ]
    if rows:
        columns = ("of", "type", "amount", "fee", "net")
        show("Went out", columns, rows, right=("amount", "fee", "net"))
    _say_more(page.next_cursor)


def show_transaction(
    transaction: Annotated[str, typer.Argument(metavar="ID_OR_EFFECT_KEY")], as_json: Json = False
) -> None:
    """Show a ledger transaction by its number or its effect key."""

    async def work(engine: AsyncEngine) -> PostedTransaction:
        async with snapshot(engine) as connection:
            return await get_transaction(connection, transaction)

    found = with_engine(work)
    if as_json:
        _print(bodies.LedgerTransaction.model_validate(found))
        return
    facts(
        [
            ("number", found.id),
            ("effect key", found.effect_key),
            ("kind", found.kind),
            ("description", found.description),
            ("told by", found.source),
            ("payment", found.payment),
            ("occurred at", clock(found.occurred_at)),
            ("posted at", clock(found.posted_at)),
        ]
    )
    _entries(found)


_AS_IS: Final[dict[str, Any]] = {"markup": False, "highlight": False, "soft_wrap": True}


def _entries(found: PostedTransaction) -> None:
    """Each entry on a line, credits further to the right, as journals have them."""
    for entry in found.entries:
        shown = amount(entry.amount, entry.currency)
        sides = f"{shown:>14}{'':14}" if entry.direction == "debit" else f"{'':14}{shown:>14}"
        out.print(f"  {entry.account:<36}{sides} {entry.currency.upper()}", **_AS_IS)


def check_period(since: Any, until: Any) -> None:
    """Raise InvalidRequestError for a period that ends before it begins."""
    if since is not None and until is not None and since > until:
        raise InvalidRequestError("The period ends before it begins.", param="to")


def _say_more(cursor: str | None) -> None:
    if cursor is not None:
        err.print(f"There are more: --cursor {cursor}", soft_wrap=True, highlight=False)


def _print(body: Any) -> None:
    print_json(body.model_dump(by_alias=True))
