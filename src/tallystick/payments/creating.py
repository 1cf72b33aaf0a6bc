"""Begins a payment, once: see ``outcomes`` for how a command goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.db.ids import new_id
from tallystick.errors import (
    InvalidAmountError,
    InvalidRequestError,
    InvalidStateError,
    StripeAccessError,
    StripeRefusedError,
    UnknownCurrencyRequestError,
)
from tallystick.idempotency import Claim
from tallystick.money import CURRENCIES, charge_problem
from tallystick.payments import calls
from tallystick.payments.calls import STRIPE_KEEPS_KEYS, Action, StripeCall
from tallystick.payments.outcomes import (
    NEVER_MADE,
    check_metadata,
    end_unmade,
    forget,
    given,
    raise_as_it_stands,
    still_unknown,
    store_answer,
    store_late_answer,
)
from tallystick.payments.reading import Payment
from tallystick.payments.status import PaymentStatus
from tallystick.stripe_gateway.answers import DeclinedError, RefusedError, UnavailableError
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.payloads import PAYMENT_METADATA

CaptureMethod = Literal["automatic", "manual"]
AllowRedirects = Literal["always", "never"]
FutureUsage = Literal["on_session", "off_session"]

_INSERT: Final = text("""
INSERT INTO payments (
  id, origin, status, amount, currency, livemode, customer, description, metadata, capture_method,
  payment_method, receipt_email, statement_descriptor, statement_descriptor_suffix, setup_future_usage,
  created_at
) VALUES (
  :id, 'api', 'unknown', :amount, :currency, :livemode, :customer, :description, CAST(:metadata AS jsonb),
  :capture_method, :payment_method, :receipt_email, :statement_descriptor, :statement_descriptor_suffix,
  :setup_future_usage, now()
)
ON CONFLICT (id) DO NOTHING
RETURNING id
""")

_BEGUN: Final = text("""
SELECT stripe_payment_intent, status, last_error, created_at < now() - CAST(:age AS interval) AS old
  FROM payments WHERE id = :id
""")


@dataclass(frozen=True, slots=True)
class NewPayment:
    """What is to be paid: ``amount`` in minor units of ``currency``; ids are Stripe's."""

    amount: int
    currency: str
    customer: str | None = None
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    capture_method: CaptureMethod = "automatic"
    payment_method: str | None = None
    confirm: bool = False
    return_url: str | None = None
    allow_redirects: AllowRedirects | None = None
    off_session: bool = False
    setup_future_usage: FutureUsage | None = None
    mandate_data: dict[str, Any] | None = None
    receipt_email: str | None = None
    statement_descriptor: str | None = None
    statement_descriptor_suffix: str | None = None


async def create(engine: AsyncEngine, stripe: StripeGateway, order: NewPayment, claim: Claim) -> Payment:
    """Begin a payment, and confirm it if asked to.

    Raises InvalidAmountError, UnknownCurrencyRequestError, InvalidRequestError, RefusedError (nothing is
    left of the payment), PaymentDeclinedError, UnavailableError (with ``payment_id`` where the payment may
    have begun), InvalidStateError.
    """
    check_order(order)
    payment_id = claim.resource_id or new_id("pay")
    call = StripeCall(
        f"tallystick-{payment_id}-create",
        Action.CREATE,
        _create_params(payment_id, order),
        payment_id,
        api_key=claim.api_key_id,
    )
    async with claim.accepting(engine, payment_id) as connection:
        fresh = await _insert(connection, payment_id, order, livemode=stripe.livemode)
        begun = None if fresh else await _begun(connection, payment_id)
        if begun is None:
            call = await calls.record(connection, call)
    if begun is not None:
        return await _answer_again(engine, stripe, call, begun, claim, attempted=order.confirm)
    return await settle(engine, stripe, call, claim, fresh=fresh)


async def settle(
    engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, claim: Claim, *, fresh: bool
) -> Payment:
    """Make the call and store its outcome. ``fresh``: no earlier try can have reached Stripe.

    Raises RefusedError, PaymentDeclinedError, UnavailableError, StripeAccessError.
    """
    try:
        answer = await calls.make(stripe, call)
    except (DeclinedError, RefusedError) as error:
        if error.intent is not None:
            await raise_as_it_stands(engine, call, error, error.intent)
        if fresh:
            await forget(engine, call)
        else:
            await end_unmade(engine, call, code=error.extra.get("stripe_code"), message=error.detail)
            error.extra["payment_id"] = call.payment_id
        raise
    except (UnavailableError, StripeAccessError) as error:
        if fresh and not (isinstance(error, UnavailableError) and error.outcome_unknown):
            await forget(engine, call)
        else:
            error.extra["payment_id"] = call.payment_id
        raise
    return await store_answer(engine, call, answer, claim)


def check_order(order: NewPayment) -> None:
    """What can be said without Stripe; raises InvalidRequestError and its kin."""
    if order.currency not in CURRENCIES:
        raise UnknownCurrencyRequestError(
            f"{order.currency!r} is not a currency that Stripe takes; codes are lower-case.", param="currency"
        )
    if problem := charge_problem(order.amount, order.currency):
        raise InvalidAmountError(problem, param="amount")
    if order.confirm and order.payment_method is None:
        raise InvalidRequestError("To confirm, a payment_method is needed.", param="payment_method")
    for name in ("return_url", "off_session", "mandate_data"):
        if getattr(order, name) and not order.confirm:
            raise InvalidRequestError(f"{name} goes with confirm.", param=name)
    if order.off_session and order.customer is None:
        raise InvalidRequestError("An off_session payment is of a customer.", param="customer")
    if order.off_session and order.setup_future_usage is not None:
        raise InvalidRequestError(
            "What is paid off_session was saved before: setup_future_usage goes with the customer there.",
            param="setup_future_usage",
        )
    check_metadata(order.metadata)


def _create_params(payment_id: str, order: NewPayment) -> dict[str, Any]:
    redirects = order.allow_redirects or ("always" if order.return_url is not None else "never")
    return {
        "amount": order.amount,
        "currency": order.currency,
        "capture_method": "manual" if order.capture_method == "manual" else "automatic_async",
        "automatic_payment_methods": {"enabled": True, "allow_redirects": redirects},
        "metadata": {**order.metadata, PAYMENT_METADATA: payment_id},
        **given(
            customer=order.customer,
            description=order.description,
            payment_method=order.payment_method,
            confirm=order.confirm or None,
            return_url=order.return_url,
            off_session=order.off_session or None,
            setup_future_usage=order.setup_future_usage,
            mandate_data=order.mandate_data,
            receipt_email=order.receipt_email,
            statement_descriptor=order.statement_descriptor,
            statement_descriptor_suffix=order.statement_descriptor_suffix,
        ),
    }


async def _insert(connection: AsyncConnection, payment_id: str, order: NewPayment, *, livemode: bool) -> bool:
    """Write the row; False when an earlier request under the key left it, and may have reached Stripe."""
    row = {
        "id": payment_id,
        "amount": order.amount,
        "currency": order.currency,
        "livemode": livemode,
        "customer": order.customer,
        "description": order.description,
        "metadata": orjson.dumps(order.metadata).decode(),
        "capture_method": order.capture_method,
        "payment_method": order.payment_method,
        "receipt_email": order.receipt_email,
        "statement_descriptor": order.statement_descriptor,
        "statement_descriptor_suffix": order.statement_descriptor_suffix,
        "setup_future_usage": order.setup_future_usage,
    }
    return (await connection.execute(_INSERT, row)).first() is not None


async def _begun(connection: AsyncConnection, payment_id: str) -> str | None:
    """The PaymentIntent that the row has: then another must never be made. None when it has none yet.

    Raises InvalidStateError where there may be one that Stripe's idempotency key no longer leads to, and
    StripeRefusedError when it is known that there never was one.
    """
    parameters = {"id": payment_id, "age": STRIPE_KEEPS_KEYS}
    row = (await connection.execute(_BEGUN, parameters)).one()
    if row.stripe_payment_intent is None and row.status == PaymentStatus.CANCELED:
        why = row.last_error or {}
        extra = {"payment_id": payment_id} | ({"stripe_code": why["code"]} if "code" in why else {})
        raise StripeRefusedError(why.get("message", "The payment was not made."), extra=extra)
    if row.stripe_payment_intent is None and row.old:
        raise InvalidStateError(
            "The first request is too long ago to be repeated safely; read the payment instead.",
            extra={"payment_id": payment_id},
        )
    intent: str | None = row.stripe_payment_intent
    return intent


async def _answer_again(
    engine: AsyncEngine,
    stripe: StripeGateway,
    call: StripeCall,
    intent: str,
    claim: Claim,
    *,
    attempted: bool,
) -> Payment:
    """The answer to a creation whose first answer was lost, from its PaymentIntent as it stands now."""
    try:
        answer = await stripe.retrieve_payment_intent(intent)
    except (RefusedError, UnavailableError, StripeAccessError) as error:
        raise still_unknown(error, payment_id=call.payment_id) from error
    return await store_late_answer(engine, call, answer, claim, attempted=attempted)


async def look_up(engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, claim: Claim) -> None:
    """Find the PaymentIntent of a creation that Stripe's idempotency key no longer leads to.

    One that was never made ends the payment. Raises UnavailableError, StripeAccessError,
    PaymentDeclinedError.
    """
    try:
        found = await stripe.search_payment_intent(PAYMENT_METADATA, call.payment_id)
    except (RefusedError, UnavailableError, StripeAccessError) as error:
        raise still_unknown(error, payment_id=call.payment_id) from error
    if found is None:
        await end_unmade(engine, call, code=NEVER_MADE, message="Stripe was not reached while it could be.")
    else:
        await store_late_answer(engine, call, found, claim, attempted=bool(call.params.get("confirm")))
