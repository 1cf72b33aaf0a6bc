"""What a caller can do with a payment: create, confirm, capture, cancel. Refunds are in ``refunding``.

Every command goes: our rows, commit; Stripe, with an idempotency key made from our row's id; the result,
commit. No call to Stripe is made inside a database transaction, and nothing here posts to the ledger. A
crash between the two commits leaves a payment whose status is ``unknown``: the caller's retry under the same
idempotency key, or the webhook, brings the result.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, Literal, NoReturn

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.db.ids import new_id
from tallystick.errors import (
    InvalidAmountError,
    InvalidRequestError,
    InvalidStateError,
    PayloadError,
    StripeAccessError,
    UnknownCurrencyRequestError,
)
from tallystick.idempotency import Claim
from tallystick.money import CURRENCIES, charge_problem
from tallystick.payments.reading import OUR_METADATA, Payment, get_payment
from tallystick.payments.reports import intent_report
from tallystick.payments.status import ANSWER, PaymentStatus
from tallystick.payments.store import apply_payments
from tallystick.stripe_gateway.answers import DeclinedError, RefusedError, StripeAnswer, UnavailableError
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.payloads import PAYMENT_METADATA, PaymentIntent

CaptureMethod = Literal["automatic", "manual"]

STRIPE_KEEPS_KEYS: Final = timedelta(hours=23)
"""Stripe forgets an idempotency key after 24 hours: from then on a retry would be a second payment."""

_INSERT: Final = text("""
INSERT INTO payments (
  id, origin, status, amount, currency, livemode, customer, description, metadata, capture_method,
  payment_method, created_at
) VALUES (
  :id, 'api', 'unknown', :amount, :currency, :livemode, :customer, :description, CAST(:metadata AS jsonb),
  :capture_method, :payment_method, now()
)
ON CONFLICT (id) DO NOTHING
RETURNING id
""")

_FORGET: Final = text("""
DELETE FROM payments WHERE id = :id AND status = 'unknown' AND stripe_payment_intent IS NULL
""")

_BEGUN: Final = text("""
SELECT stripe_payment_intent, created_at < now() - CAST(:age AS interval) AS old FROM payments WHERE id = :id
""")

_OF_INTENT: Final = text("""
SELECT id FROM payments WHERE stripe_payment_intent = :intent
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


class PaymentDeclinedError(DeclinedError):
    """A decline; ``payment`` is the payment as it stands after it."""

    def __init__(self, declined: DeclinedError, payment: Payment) -> None:
        extra = {**declined.extra, "payment_id": payment.id}
        super().__init__(declined.detail, intent=declined.intent, param=declined.param, extra=extra)
        self.payment = payment


async def create(engine: AsyncEngine, stripe: StripeGateway, order: NewPayment, claim: Claim) -> Payment:
    """Begin a payment, and confirm it if asked to.

    Raises InvalidAmountError, UnknownCurrencyRequestError, InvalidRequestError, RefusedError (nothing is
    left of the payment), PaymentDeclinedError, UnavailableError (with ``payment_id`` where the payment may
    have begun), InvalidStateError.
    """
    check_order(order)
    payment_id = claim.resource_id or new_id("pay")
    async with engine.begin() as connection:
        await claim.start(connection, payment_id)
        fresh = await _insert(connection, payment_id, order, livemode=stripe.livemode)
        begun = None if fresh else await _begun(connection, payment_id)
    if begun is not None:
        return await _answer_again(engine, stripe, payment_id, begun, order)
    key = f"tallystick-{payment_id}-create"
    try:
        answer = await stripe.create_payment_intent(_create_params(payment_id, order), key)
    except (DeclinedError, RefusedError) as error:
        if error.intent is None:
            await _forget(engine, payment_id)
            raise
        await _raise_as_it_stands(engine, payment_id, error, error.intent)
    except (UnavailableError, StripeAccessError) as error:
        if fresh and not (isinstance(error, UnavailableError) and error.outcome_unknown):
            await _forget(engine, payment_id)
        else:
            error.extra["payment_id"] = payment_id
        raise
    return await _store(engine, payment_id, answer)


async def confirm(
    engine: AsyncEngine,
    stripe: StripeGateway,
    payment_id: str,
    claim: Claim,
    *,
    payment_method: str | None = None,
    return_url: str | None = None,
) -> Payment:
    """Confirm a payment, with another payment method if one is given.

    Raises NotFoundError, InvalidStateError, RefusedError, PaymentDeclinedError, UnavailableError.
    """
    intent = await _begin(engine, payment_id, claim)
    params = _given(payment_method=payment_method, return_url=return_url)
    key = claim.stripe_key(payment_id, "confirm")
    return await _settle(engine, payment_id, stripe.confirm_payment_intent(intent, params, key))


async def capture(
    engine: AsyncEngine, stripe: StripeGateway, payment_id: str, claim: Claim, *, amount: int | None = None
) -> Payment:
    """Take what was authorised, or ``amount`` of it (minor units) and let go of the rest.

    Raises NotFoundError, InvalidAmountError, InvalidStateError, RefusedError, UnavailableError.
    """
    if amount is not None and amount < 1:
        raise InvalidAmountError("The amount to capture must be at least 1.", param="amount")
    intent = await _begin(engine, payment_id, claim)
    params = _given(amount_to_capture=amount)
    key = claim.stripe_key(payment_id, "capture")
    return await _settle(engine, payment_id, stripe.capture_payment_intent(intent, params, key))


async def cancel(
    engine: AsyncEngine, stripe: StripeGateway, payment_id: str, claim: Claim, *, reason: str | None = None
) -> Payment:
    """End a payment that is not final; an authorisation is let go.

    Raises NotFoundError, InvalidStateError, RefusedError, UnavailableError.
    """
    intent = await _begin(engine, payment_id, claim)
    params = _given(cancellation_reason=reason)
    key = claim.stripe_key(payment_id, "cancel")
    return await _settle(engine, payment_id, stripe.cancel_payment_intent(intent, params, key))


def still_unknown(
    error: RefusedError | UnavailableError | StripeAccessError, **ids: str
) -> UnavailableError | StripeAccessError:
    """What a caller hears when Stripe did not show what became of an earlier request; ``ids`` go with it.

    That Stripe refuses to show it decides nothing: the key may be of another account than it was then.
    """
    if isinstance(error, RefusedError):
        detail = "Stripe does not show what became of the first request."
        error = UnavailableError(detail, outcome_unknown=True)
    error.extra.update(ids)
    return error


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
    if order.return_url is not None and not order.confirm:
        raise InvalidRequestError("A return_url goes with confirm.", param="return_url")
    check_metadata(order.metadata)


def check_metadata(metadata: dict[str, str]) -> None:
    """Refuse the keys that are ours; raises InvalidRequestError."""
    if ours := [name for name in metadata if name.startswith(OUR_METADATA)]:
        raise InvalidRequestError(
            f"Metadata keys must not begin with {OUR_METADATA}: {ours[0]}.", param="metadata"
        )


def _create_params(payment_id: str, order: NewPayment) -> dict[str, Any]:
    redirects = order.return_url is not None
    return {
        "amount": order.amount,
        "currency": order.currency,
        "capture_method": "manual" if order.capture_method == "manual" else "automatic_async",
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "always" if redirects else "never"},
        "metadata": {**order.metadata, PAYMENT_METADATA: payment_id},
        **_given(
            customer=order.customer,
            description=order.description,
            payment_method=order.payment_method,
            confirm=order.confirm or None,
            return_url=order.return_url,
        ),
    }


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


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
    }
    return (await connection.execute(_INSERT, row)).first() is not None


async def _begun(connection: AsyncConnection, payment_id: str) -> str | None:
    """The PaymentIntent that the row has: then another must never be made. None when it has none yet.

    Raises InvalidStateError where there may be one that Stripe's idempotency key no longer leads to.
    """
    parameters = {"id": payment_id, "age": STRIPE_KEEPS_KEYS}
    row = (await connection.execute(_BEGUN, parameters)).one()
    if row.stripe_payment_intent is None and row.old:
        raise InvalidStateError(
            "The first request is too long ago to be repeated safely; read the payment instead.",
            extra={"payment_id": payment_id},
        )
    intent: str | None = row.stripe_payment_intent
    return intent


async def _answer_again(
    engine: AsyncEngine, stripe: StripeGateway, payment_id: str, intent: str, order: NewPayment
) -> Payment:
    """The answer to a creation whose first answer was lost, from its PaymentIntent as it stands now.

    If it was to be paid and the attempt failed, that is a decline, as it was in the first answer: a caller
    who looks no further than the HTTP status must not take it for a payment.
    """
    try:
        answer = await stripe.retrieve_payment_intent(intent)
    except (RefusedError, UnavailableError, StripeAccessError) as error:
        raise still_unknown(error, payment_id=payment_id) from error
    payment = await _store(engine, payment_id, answer)
    if order.confirm and payment.status is PaymentStatus.REQUIRES_PAYMENT_METHOD and payment.last_error:
        raise PaymentDeclinedError(_decline(payment.last_error, answer), payment)
    return payment


def _decline(last_error: dict[str, str], intent: StripeAnswer) -> DeclinedError:
    """The decline that a PaymentIntent remembers, as Stripe's answer to the attempt had it."""
    names = {"stripe_code": "code", "decline_code": "decline_code", "advice_code": "advice_code"}
    extra = {ours: last_error[name] for ours, name in names.items() if name in last_error}
    return DeclinedError(last_error.get("message", "Stripe gave no reason."), intent=intent, extra=extra)


async def _begin(engine: AsyncEngine, payment_id: str, claim: Claim) -> str:
    """Take the key for a change of the payment; returns its PaymentIntent.

    What the state allows is for Stripe to say: our row may be a webhook behind.
    """
    async with engine.begin() as connection:
        payment = await get_payment(connection, payment_id)
        if payment.stripe_payment_intent is None:
            raise InvalidStateError("The payment has no PaymentIntent at Stripe, or not yet.", retry_after=2)
        await claim.start(connection, payment_id)
    return payment.stripe_payment_intent


async def _settle(engine: AsyncEngine, payment_id: str, call: Awaitable[StripeAnswer]) -> Payment:
    """Make the call and store what it says of the payment, also when it says no."""
    try:
        answer = await call
    except (DeclinedError, RefusedError) as error:
        if error.intent is None:
            raise
        await _raise_as_it_stands(engine, payment_id, error, error.intent)
    except UnavailableError as error:
        error.extra["payment_id"] = payment_id
        raise
    return await _store(engine, payment_id, answer)


async def _raise_as_it_stands(
    engine: AsyncEngine, payment_id: str, error: DeclinedError | RefusedError, intent: StripeAnswer
) -> NoReturn:
    """Store the PaymentIntent that came with a no, and pass the no on."""
    payment = await _store(engine, payment_id, intent)
    if isinstance(error, DeclinedError):
        raise PaymentDeclinedError(error, payment) from error
    error.extra["payment_id"] = payment_id
    raise error


async def _store(engine: AsyncEngine, payment_id: str, answer: StripeAnswer) -> Payment:
    """Store what Stripe says of the payment, whatever its metadata says by now; returns how it stands."""
    try:
        source = f"{ANSWER}{time.time_ns()}"
        report = intent_report(PaymentIntent.read(answer.object), at=answer.at, source=source)
    except PayloadError as error:
        raise UnavailableError("Stripe's answer cannot be read.", outcome_unknown=True) from error
    async with engine.begin() as connection:
        await apply_payments(connection, [replace(report, id=payment_id)])
        intent = {"intent": report.stripe_payment_intent}
        kept = (await connection.execute(_OF_INTENT, intent)).scalar_one()
        if kept != payment_id:  # its event came first, without our metadata, and it was adopted
            await connection.execute(_FORGET, {"id": payment_id})
        return await get_payment(connection, kept)


async def _forget(engine: AsyncEngine, payment_id: str) -> None:
    """Stripe has nothing of the payment: neither have we."""
    async with engine.begin() as connection:
        await connection.execute(_FORGET, {"id": payment_id})
