"""/ledger: accounts and their statements, ledger transactions, the trial balance."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from tallystick.api import ledger_bodies as bodies
from tallystick.api.auth import Gate
from tallystick.api.keys import Scope
from tallystick.api.lists import Cursor, Limit, Word
from tallystick.api.routing import guarded_router, json_answer, needs
from tallystick.api.values import CurrencyCode, Moment
from tallystick.app import App
from tallystick.db.session import autocommit, snapshot
from tallystick.errors import InvalidRequestError, NotFoundError
from tallystick.ledger.balances import AccountFilter, page_of_accounts
from tallystick.ledger.chart import AccountType
from tallystick.ledger.history import TransactionFilter, get_transaction, list_transactions
from tallystick.ledger.statements import read_statement
from tallystick.ledger.trial_balances import period_balance, trial_balance
from tallystick.pipeline.pulls.payout_contents import read_contents
from tallystick.pipeline.views.belonging import Belonging, among

_READS: Final = needs(Scope.LEDGER_READ)
MOST_CURRENCIES: Final = 1000
"""Of one account; there are fewer in the world."""

Currency = Annotated[CurrencyCode, Query(description="ISO 4217, lower-case")]
At = Annotated[Moment | None, Query(description="An instant: what stood there then, that instant included")]
From = Annotated[Moment | None, Query(alias="from", description="From this instant on")]
To = Annotated[Moment | None, Query(description="Before this instant")]


def ledger_routes(app: App, gate: Gate) -> APIRouter:
    """The routes, over an App."""
    router = guarded_router(gate, "ledger")
    _add_accounts(router, app)
    _add_transactions(router, app)
    _add_payouts(router, app)
    _add_trial_balance(router, app)
    return router


def _add_accounts(router: APIRouter, app: App) -> None:
    @router.get("/ledger/accounts", response_model=bodies.LedgerAccountPage, openapi_extra=_READS)
    async def list_ledger_accounts(
        *,
        at: At = None,
        currency: Currency | None = None,
        type: AccountType | None = None,  # noqa: A002 - the name of the parameter
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Every account that was ever posted to, with what stands on it, by name and currency."""
        narrowed = AccountFilter(currency=currency, type=type)
        async with snapshot(app.engine) as connection:
            page = await page_of_accounts(connection, narrowed, at=at, limit=limit, cursor=cursor)
        return json_answer(bodies.LedgerAccountPage.of(page, at))

    @router.get("/ledger/accounts/{name}", response_model=bodies.LedgerAccount, openapi_extra=_READS)
    async def get_ledger_account(name: str, at: At = None) -> Response:
        """What stands on an account, such as `assets:stripe:balance`, in each of its currencies."""
        narrowed = AccountFilter(name=account_name(name))
        async with snapshot(app.engine) as connection:
            page = await page_of_accounts(connection, narrowed, at=at, limit=MOST_CURRENCIES)
        if not page.items:
            raise no_account(name)
        return json_answer(bodies.LedgerAccount.of(page.items, at))

    @router.get("/ledger/accounts/{name}/statement", response_model=bodies.Statement, openapi_extra=_READS)
    async def get_statement(
        *,
        name: str,
        currency: Currency,
        from_: From = None,
        to: To = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """The entries of an account in one currency in order of time, with the balance after each."""
        _check_period(from_, to)
        async with snapshot(app.engine) as connection:
            page = await read_statement(
                connection, account_name(name), currency, since=from_, until=to, limit=limit, cursor=cursor
            )
        return json_answer(bodies.Statement.of(page))


def _add_transactions(router: APIRouter, app: App) -> None:
    @router.get("/ledger/transactions", response_model=bodies.LedgerTransactionPage, openapi_extra=_READS)
    async def list_ledger_transactions(
        *,
        belonging: Annotated[Belonging, Depends(_belonging)],
        kind: Annotated[Word | None, Query(description="Such as charge_captured")] = None,
        from_: From = None,
        to: To = None,
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> Response:
        """Ledger transactions with their entries, the latest fact first; of several filters all must hold."""
        _check_period(from_, to)
        async with snapshot(app.engine) as connection:
            narrowed = TransactionFilter(from_, to, kind, await among(connection, belonging))
            page = await list_transactions(connection, narrowed, limit=limit, cursor=cursor)
        return json_answer(bodies.LedgerTransactionPage.of(page))

    @router.get("/ledger/transactions/{id}", response_model=bodies.LedgerTransaction, openapi_extra=_READS)
    async def get_ledger_transaction(id: str) -> Response:  # noqa: A002 - the name of the path parameter
        """A ledger transaction by its number, or by its effect key, such as `charge:ch_1:captured`."""
        async with autocommit(app.engine) as connection:
            found = await get_transaction(connection, id)
        return json_answer(bodies.LedgerTransaction.model_validate(found))


def _add_payouts(router: APIRouter, app: App) -> None:
    @router.get("/ledger/payouts/{id}", response_model=bodies.PayoutContents, openapi_extra=_READS)
    async def get_payout_contents(
        id: str,  # noqa: A002 - the name of the path parameter
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """What went out with an automatic payout that arrived: balance transactions and their payments."""
        async with snapshot(app.engine) as connection:
            page = await read_contents(connection, id, limit=limit, cursor=cursor)
        return json_answer(bodies.PayoutContents.of(page))


def _add_trial_balance(router: APIRouter, app: App) -> None:
    @router.get(
        "/ledger/trial-balance",
        response_model=bodies.TrialBalance | bodies.PeriodTrialBalance,
        openapi_extra=_READS,
    )
    async def get_trial_balance(at: At = None, from_: From = None, to: To = None) -> Response:
        """Every account that has entries, and the sums in each currency: now, at an instant, over a period.

        With `from` or `to`, each account with what it opened with, what was debited and credited, and what it
        closed with.
        """
        _check_period(from_, to)
        if from_ is None and to is None:
            async with snapshot(app.engine) as connection:
                lines = await trial_balance(connection, at)
            return json_answer(bodies.TrialBalance.of(lines, at))
        if at is not None:
            raise InvalidRequestError("Ask at an instant, or from one to another.", param="at")
        async with snapshot(app.engine) as connection:
            periods = await period_balance(connection, from_, to)
        return json_answer(bodies.PeriodTrialBalance.of(periods, from_, to))


def _belonging(
    *,
    payment: Annotated[Word | None, Query(description="Our id, or its PaymentIntent's")] = None,
    customer: Annotated[Word | None, Query(description="Stripe's id: all payments of the customer")] = None,
    charge: Word | None = None,
    refund: Annotated[Word | None, Query(description="Our id, or Stripe's")] = None,
    dispute: Word | None = None,
    payout: Annotated[Word | None, Query(description="Stripe's id: the payout itself")] = None,
    topup: Word | None = None,
    balance_transaction: Word | None = None,
    journal_entry: Word | None = None,
    event: Annotated[Word | None, Query(description="What the event tells of, whoever told first")] = None,
    effect_key: Word | None = None,
) -> Belonging:
    return Belonging(
        payment=payment, customer=customer, charge=charge, refund=refund, dispute=dispute, payout=payout,
        topup=topup, balance_transaction=balance_transaction, journal_entry=journal_entry, event=event,
        effect_key=effect_key,
    )  # fmt: skip


def _check_period(since: datetime | None, until: datetime | None) -> None:
    if since is not None and until is not None and since > until:
        raise InvalidRequestError("The period ends before it begins.", param="to")


def account_name(name: str) -> str:
    """The name itself; raises NotFoundError for what cannot be one."""
    if "\0" in name:
        raise no_account(name)
    return name


def no_account(name: str) -> NotFoundError:
    """What is said of an account that is not there."""
    return NotFoundError(f"There is no account {name!r}.", param="account")
