"""What Stripe's answers make of our rows: shared by creating, changing and refunding payments.

Every command goes: our rows and the call to be made, commit; Stripe, with an idempotency key made from our
row's id; the result, the caller's answer and the call's end, commit. No call to Stripe is made inside a
database transaction, and nothing here posts to the ledger. A crash between the two commits leaves the call:
the caller's retry under the same idempotency key or the worker's completer makes it again, or the webhook
brings the result.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.errors import (
    CardDeclinedError,
    InvalidRequestError,
    PayloadError,
    StripeAccessError,
    StripeRefusedError,
)
from tallystick.idempotency import Claim
from tallystick.payments import calls
from tallystick.payments.reading import Payment, get_payment_of_intent
from tallystick.payments.reports import intent_report
from tallystick.payments.status import ANSWER, PaymentStatus
from tallystick.payments.store import apply_payments
from tallystick.stripe_gateway.answers import (
    AuthenticationDeclinedError,
    DeclinedError,
    RefusedError,
    StripeAnswer,
    UnavailableError,
)
from tallystick.stripe_gateway.declines import decline
from tallystick.stripe_gateway.payloads import OUR_METADATA, PaymentIntent

NEVER_MADE: Final = "never_made"
"""Why a payment or refund ended of which Stripe, when it could be asked again, knew nothing."""

UNSET: Final = ""
"""How Stripe is told to unset a field."""

_FORGET: Final = text("""
DELETE FROM payments WHERE id = :id AND status = 'unknown' AND stripe_payment_intent IS NULL
""")


_END_UNMADE: Final = text("""
UPDATE payments SET status = 'canceled', last_error = CAST(:reason AS jsonb), updated_at = now()
 WHERE id = :id AND status = 'unknown' AND stripe_payment_intent IS NULL
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


def check_metadata(metadata: Mapping[str, str | None]) -> None:
    """Refuse the keys that are ours; raises InvalidRequestError."""
    if ours := [name for name in metadata if name.startswith(OUR_METADATA)]:
        raise InvalidRequestError(
            f"Metadata keys must not begin with {OUR_METADATA}: {ours[0]}.", param="metadata"
        )


def given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


async def raise_as_it_stands(
    engine: AsyncEngine, call: calls.StripeCall, error: DeclinedError | RefusedError, intent: StripeAnswer
) -> NoReturn:
    """Store the PaymentIntent that came with a no, and pass the no on."""
    payment = await store_answer(engine, call, intent, outcome=error.code)
    if isinstance(error, DeclinedError):
        raise declined(error, payment) from error
    error.extra["payment_id"] = call.payment_id
    raise error


async def store_answer(
    engine: AsyncEngine,
    call: calls.StripeCall,
    answer: StripeAnswer,
    claim: Claim | None = None,
    *,
    outcome: str = calls.DONE,
) -> Payment:
    """Store what Stripe says of the call's payment, whatever its metadata says by now.

    In the same transaction the call ends, and ``claim`` keeps the payment as its request's answer. Returns
    the payment as it stands.
    """
    try:
        source = f"{ANSWER}{time.time_ns()}"
        intent = PaymentIntent.read(answer.object)
        report = intent_report(intent, at=answer.at, source=source)
    except PayloadError as error:
        raise UnavailableError("Stripe's answer cannot be read.", outcome_unknown=True) from error
    async with engine.begin() as connection:
        await apply_payments(connection, [replace(report, id=call.payment_id)])
        payment = await get_payment_of_intent(connection, intent.id)
        if payment.id != call.payment_id:  # its event came first, without our metadata, and it was adopted
            await connection.execute(_FORGET, {"id": call.payment_id})
        await calls.end(connection, call, outcome, payment.id)
        if claim is not None:
            await claim.finish(connection, payment)
    return payment


async def store_late_answer(
    engine: AsyncEngine, call: calls.StripeCall, answer: StripeAnswer, claim: Claim, *, attempted: bool
) -> Payment:
    """Store the PaymentIntent as it stands long after the call whose answer was lost; returns the payment.

    Raises PaymentDeclinedError if it was to be paid (``attempted``) and the attempt failed: a caller who
    looks no further than the HTTP status must not take it for a payment.
    """
    status = answer.object.get("status")
    failed = attempted and status == PaymentStatus.REQUIRES_PAYMENT_METHOD
    outcome = CardDeclinedError.code if failed else calls.DONE
    payment = await store_answer(engine, call, answer, None if failed else claim, outcome=outcome)
    if failed and payment.last_error:
        raise declined(_decline(payment.last_error, answer), payment)
    return payment


def _decline(last_error: dict[str, str], intent: StripeAnswer) -> DeclinedError:
    """The decline that a PaymentIntent remembers, as Stripe's answer to the attempt had it."""
    names = {"stripe_code": "code", "decline_code": "decline_code", "advice_code": "advice_code"}
    codes = {ours: last_error.get(name) for ours, name in names.items()}
    return decline(last_error.get("message", "Stripe gave no reason."), codes, intent=intent)


async def forget(engine: AsyncEngine, call: calls.StripeCall) -> None:
    """Nobody has heard of the payment, and Stripe has nothing of it: neither have we."""
    async with engine.begin() as connection:
        await connection.execute(_FORGET, {"id": call.payment_id})
        await calls.remove(connection, call.key)


async def end_unmade(engine: AsyncEngine, call: calls.StripeCall, *, code: str | None, message: str) -> None:
    """End a payment that callers have seen and Stripe has not made: it is canceled, and says why."""
    reason = {"code": code, "message": message} if code else {"message": message}
    row = {"id": call.payment_id, "reason": orjson.dumps(reason).decode()}
    async with engine.begin() as connection:
        await connection.execute(_END_UNMADE, row)
        await calls.end(connection, call, code or StripeRefusedError.code, call.payment_id)
