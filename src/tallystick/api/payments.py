"""/payments: create, list, read, update, confirm, capture, cancel, refund."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from tallystick.api import bodies
from tallystick.api.auth import Gate
from tallystick.api.disputes import Dispute
from tallystick.api.idempotent import Once
from tallystick.api.keys import Scope
from tallystick.api.ledger_bodies import ledger_of
from tallystick.api.lists import METADATA, Created, Cursor, Limit, Word, metadata_of
from tallystick.api.routing import AT_STRIPE, guarded_router, json_answer, needs
from tallystick.api.values import CurrencyCode
from tallystick.app import App
from tallystick.db.session import autocommit
from tallystick.errors import (
    CardDeclinedError,
    CustomerAuthenticationRequiredError,
    InvalidAmountError,
    InvalidStateError,
    RefundExceedsAvailableError,
    TallystickError,
    UnknownCurrencyRequestError,
)
from tallystick.idempotency import Claim
from tallystick.ledger.history import transactions_of_payments
from tallystick.payments import commands, creating, reading, refunding
from tallystick.payments.disputes import disputes_of
from tallystick.payments.outcomes import PaymentDeclinedError
from tallystick.payments.status import PaymentStatus
from tallystick.pipeline.views.timeline import MOST_EVENTS, Timeline, timeline

_CHANGES: Final = (*AT_STRIPE, InvalidStateError)
_PAYS: Final = (*_CHANGES, InvalidAmountError, CardDeclinedError, CustomerAuthenticationRequiredError)


def payment_routes(app: App, gate: Gate) -> APIRouter:
    """The routes, over an App."""
    router = guarded_router(gate, "payments")
    _add_reading(router, app)
    _add_commands(router, app)
    _add_ends(router, app)
    return router


def _add_reading(router: APIRouter, app: App) -> None:
    @router.get(
        "/payments",
        response_model=bodies.PaymentPage,
        openapi_extra={**needs(Scope.PAYMENTS_READ), **METADATA},
    )
    async def list_payments(
        *,
        request: Request,
        created: Created,
        status: PaymentStatus | None = None,
        customer: Annotated[Word | None, Query(description="Stripe's id of the customer")] = None,
        currency: CurrencyCode | None = None,
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> Response:
        """Payments, newest first."""
        narrowed = reading.PaymentFilter(status, customer, currency, created, metadata_of(request))
        async with autocommit(app.engine) as connection:
            page = await reading.list_payments(connection, narrowed, limit=limit, cursor=cursor)
        return json_answer(
            bodies.PaymentPage(
                data=[bodies.Payment.of(payment) for payment in page.items],
                has_more=page.next_cursor is not None,
                next_cursor=page.next_cursor,
            )
        )

    @router.get(
        "/payments/{id}", response_model=bodies.PaymentInFull, openapi_extra=needs(Scope.PAYMENTS_READ)
    )
    async def get_payment(id: str) -> Response:  # noqa: A002 - the name of the path parameter
        """A payment with its refunds, its disputes, its ledger transactions and its timeline.

        By our id, or by its PaymentIntent's.
        """
        async with autocommit(app.engine) as connection:
            payment = await reading.find_payment(connection, id)
            refunds = await reading.refunds_of(connection, payment)
            disputes = await disputes_of(connection, payment.names)
            ledger = await transactions_of_payments(connection, payment.names)
            happened = await timeline(connection, payment, ledger)
        return json_answer(
            bodies.PaymentInFull.of(
                payment,
                secret=True,
                refunds=[bodies.Refund.of(refund) for refund in refunds],
                disputes=[Dispute.of(dispute) for dispute in disputes],
                timeline=_told(happened),
                timeline_cursor=happened.earlier,
                ledger=ledger_of(ledger),
            )
        )

    @router.get(
        "/payments/{id}/timeline",
        response_model=bodies.TimelinePage,
        openapi_extra=needs(Scope.PAYMENTS_READ),
    )
    async def get_payment_timeline(
        id: str,  # noqa: A002
        limit: Annotated[int, Query(ge=1, le=MOST_EVENTS, description="Most events of a page")] = 100,
        cursor: Cursor = None,
    ) -> Response:
        """What happened to a payment, page by page, the latest page first."""
        async with autocommit(app.engine) as connection:
            payment = await reading.find_payment(connection, id)
            ledger = await transactions_of_payments(connection, payment.names)
            happened = await timeline(connection, payment, ledger, limit=limit, cursor=cursor)
        return json_answer(
            bodies.TimelinePage(
                data=_told(happened),
                has_more=happened.earlier is not None,
                next_cursor=happened.earlier,
            )
        )


def _add_commands(router: APIRouter, app: App) -> None:
    once = Once(app)
    pays = needs(Scope.PAYMENTS_WRITE, *_PAYS)

    @router.post(
        "/payments",
        status_code=201,
        response_model=bodies.Payment,
        openapi_extra=needs(Scope.PAYMENTS_WRITE, *_PAYS, UnknownCurrencyRequestError),
    )
    async def create_payment(request: Request, body: bodies.CreatePayment) -> Response:
        """Begin a payment; with ``confirm`` charge it at once. A decline is a 402 and keeps the payment."""

        async def work(claim: Claim) -> reading.Payment:
            fields = body.model_dump(exclude={"mandate_data"})
            order = creating.NewPayment(**fields, mandate_data=_sent(body.mandate_data))
            return await creating.create(app.engine, app.stripe, order, claim)

        return await once.answer(request, body, work, _with_secret, status=201, explain=_declined_payment)

    @router.post(
        "/payments/{id}", response_model=bodies.Payment, openapi_extra=needs(Scope.PAYMENTS_WRITE, *_CHANGES)
    )
    async def update_payment(request: Request, id: str, body: bodies.UpdatePayment) -> Response:  # noqa: A002
        """Change a payment's description, metadata, receipt email or statement descriptors."""

        async def work(claim: Claim) -> reading.Payment:
            return await commands.update(app.engine, app.stripe, id, claim, body.changes())

        return await once.answer(request, body, work, _with_secret, status=200)

    @router.post("/payments/{id}/confirm", response_model=bodies.Payment, openapi_extra=pays)
    async def confirm_payment(
        request: Request,
        id: str,  # noqa: A002
        body: bodies.ConfirmPayment | None = None,
    ) -> Response:
        """Confirm a payment, with another payment method if one is given."""
        given = body or bodies.ConfirmPayment()

        async def work(claim: Claim) -> reading.Payment:
            fields = given.model_dump(exclude={"mandate_data"})
            return await commands.confirm(
                app.engine, app.stripe, id, claim, **fields, mandate_data=_sent(given.mandate_data)
            )

        return await once.answer(request, given, work, _with_secret, status=200, explain=_declined_payment)

    @router.post("/payments/{id}/capture", response_model=bodies.Payment, openapi_extra=pays)
    async def capture_payment(
        request: Request,
        id: str,  # noqa: A002
        body: bodies.CapturePayment | None = None,
    ) -> Response:
        """Take what was authorised, or a part of it, and let go of the rest."""
        given = body or bodies.CapturePayment()

        async def work(claim: Claim) -> reading.Payment:
            return await commands.capture(app.engine, app.stripe, id, claim, amount=given.amount)

        return await once.answer(
            request, given, work, bodies.Payment.of, status=200, explain=_declined_payment
        )


def _add_ends(router: APIRouter, app: App) -> None:
    once = Once(app)

    @router.post(
        "/payments/{id}/cancel",
        response_model=bodies.Payment,
        openapi_extra=needs(Scope.PAYMENTS_WRITE, *_CHANGES),
    )
    async def cancel_payment(
        request: Request,
        id: str,  # noqa: A002
        body: bodies.CancelPayment | None = None,
    ) -> Response:
        """End a payment that is not final; an authorisation is let go."""
        given = body or bodies.CancelPayment()

        async def work(claim: Claim) -> reading.Payment:
            reason = given.cancellation_reason
            return await commands.cancel(app.engine, app.stripe, id, claim, reason=reason)

        return await once.answer(request, given, work, bodies.Payment.of, status=200)

    @router.post(
        "/payments/{id}/refund",
        status_code=201,
        response_model=bodies.Refund,
        openapi_extra=needs(Scope.REFUNDS_WRITE, *_CHANGES, InvalidAmountError, RefundExceedsAvailableError),
    )
    async def refund_payment(
        request: Request,
        id: str,  # noqa: A002
        body: bodies.RefundPayment | None = None,
    ) -> Response:
        """Give a payment back, in part or whole; never more than was captured and is left."""
        given = body or bodies.RefundPayment()

        async def work(claim: Claim) -> reading.Refund:
            order = refunding.RefundOrder(**given.model_dump())
            return await refunding.refund(app.engine, app.stripe, id, order, claim)

        return await once.answer(request, given, work, bodies.Refund.of, status=201)


def _told(happened: Timeline) -> list[bodies.TimelineEntry]:
    return [bodies.TimelineEntry.model_validate(each, from_attributes=True) for each in happened.entries]


def _with_secret(payment: reading.Payment) -> bodies.Payment:
    return bodies.Payment.of(payment, secret=True)


def _sent(mandate_data: bodies.MandateData | None) -> dict[str, Any] | None:
    return mandate_data.model_dump(exclude_none=True) if mandate_data is not None else None


def _declined_payment(error: TallystickError) -> dict[str, object]:
    """A decline carries the payment as it stands."""
    if isinstance(error, PaymentDeclinedError):
        return {"payment": bodies.Payment.of(error.payment, secret=True).model_dump(mode="json")}
    return {}
