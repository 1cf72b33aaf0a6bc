"""What Stripe's answers make of our rows: shared by creating, changing and refunding payments.

Every command goes: our rows, commit; Stripe, with an idempotency key made from our row's id; the result,
commit. No call to Stripe is made inside a database transaction, and nothing here posts to the ledger. A
crash between the two commits leaves a payment whose status is ``unknown``: the caller's retry under the same
idempotency key, or the webhook, brings the result.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, NoReturn

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.errors import (
    InvalidRequestError,
    PayloadError,
    StripeAccessError,
)
from tallystick.idempotency import Claim
from tallystick.payments.reading import OUR_METADATA, Payment, get_payment_of_intent
from tallystick.payments.reports import intent_report
from tallystick.payments.status import ANSWER
from tallystick.payments.store import apply_payments
from tallystick.stripe_gateway.answers import (
    AuthenticationDeclinedError,
    DeclinedError,
    RefusedError,
    StripeAnswer,
    UnavailableError,
)
from tallystick.stripe_gateway.payloads import PaymentIntent

STRIPE_KEEPS_KEYS: Final = timedelta(hours=23)
"""Stripe forgets an idempotency key after 24 hours: from then on a retry would be a second payment."""

_FORGET: Final = text("""
DELETE FROM payments WHERE id = :id AND status = 'unknown' AND stripe_payment_intent IS NULL
""")


class PaymentDeclinedError(DeclinedError):
    """A decline; ``payment`` is the payment as it stands after it."""

    def __init__(self, declined: DeclinedError, payment: Payment) -> None:
        extra = {**declined.extra, "payment_id": payment.id}
        super().__init__(declined.detail, intent=declined.intent, param=declined.param, extra=extra)
        self.payment = payment


class PaymentAuthenticationError(PaymentDeclinedError, AuthenticationDeclinedError):
    """A decline that the customer's authentication would turn."""


def declined(error: DeclinedError, payment: Payment) -> PaymentDeclinedError:
    """The decline with the payment as it stands."""
    asked = isinstance(error, AuthenticationDeclinedError)
    return (PaymentAuthenticationError if asked else PaymentDeclinedError)(error, payment)


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


def check_metadata(metadata: dict[str, str]) -> None:
    """Refuse the keys that are ours; raises InvalidRequestError."""
    if ours := [name for name in metadata if name.startswith(OUR_METADATA)]:
        raise InvalidRequestError(
            f"Metadata keys must not begin with {OUR_METADATA}: {ours[0]}.", param="metadata"
        )


def given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


async def raise_as_it_stands(
    engine: AsyncEngine, payment_id: str, error: DeclinedError | RefusedError, intent: StripeAnswer
) -> NoReturn:
    """Store the PaymentIntent that came with a no, and pass the no on."""
    payment = await store_answer(engine, payment_id, intent)
    if isinstance(error, DeclinedError):
        raise declined(error, payment) from error
    error.extra["payment_id"] = payment_id
    raise error


async def store_answer(
    engine: AsyncEngine, payment_id: str, answer: StripeAnswer, claim: Claim | None = None
) -> Payment:
    """Store what Stripe says of the payment, whatever its metadata says by now; returns how it stands.

    With a ``claim`` that is also the answer to its request, stored in the same transaction.
    """
    try:
        source = f"{ANSWER}{time.time_ns()}"
        intent = PaymentIntent.read(answer.object)
        report = intent_report(intent, at=answer.at, source=source)
    except PayloadError as error:
        raise UnavailableError("Stripe's answer cannot be read.", outcome_unknown=True) from error
    async with engine.begin() as connection:
        await apply_payments(connection, [replace(report, id=payment_id)])
        payment = await get_payment_of_intent(connection, intent.id)
        if payment.id != payment_id:  # its event came first, without our metadata, and it was adopted
            await connection.execute(_FORGET, {"id": payment_id})
        if claim is not None:
            await claim.finish(connection, payment)
        return payment


async def forget(engine: AsyncEngine, payment_id: str) -> None:
    """Stripe has nothing of the payment: neither have we."""
    async with engine.begin() as connection:
        await connection.execute(_FORGET, {"id": payment_id})
