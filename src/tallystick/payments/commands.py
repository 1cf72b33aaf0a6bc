"""Changes a payment: confirm, capture, cancel. See ``outcomes`` for how a command goes."""

from __future__ import annotations

from collections.abc import Awaitable

from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.errors import (
    InvalidAmountError,
    InvalidStateError,
)
from tallystick.idempotency import Claim
from tallystick.payments.outcomes import (
    given,
    raise_as_it_stands,
    store_answer,
)
from tallystick.payments.reading import Payment, get_payment
from tallystick.stripe_gateway.answers import DeclinedError, RefusedError, StripeAnswer, UnavailableError
from tallystick.stripe_gateway.client import StripeGateway


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
    params = given(payment_method=payment_method, return_url=return_url)
    key = claim.stripe_key(payment_id, "confirm")
    return await _settle(engine, payment_id, claim, stripe.confirm_payment_intent(intent, params, key))


async def capture(
    engine: AsyncEngine, stripe: StripeGateway, payment_id: str, claim: Claim, *, amount: int | None = None
) -> Payment:
    """Take what was authorised, or ``amount`` of it (minor units) and let go of the rest.

    Raises NotFoundError, InvalidAmountError, InvalidStateError, RefusedError, UnavailableError.
    """
    if amount is not None and amount < 1:
        raise InvalidAmountError("The amount to capture must be at least 1.", param="amount")
    intent = await _begin(engine, payment_id, claim)
    params = given(amount_to_capture=amount)
    key = claim.stripe_key(payment_id, "capture")
    return await _settle(engine, payment_id, claim, stripe.capture_payment_intent(intent, params, key))


async def cancel(
    engine: AsyncEngine, stripe: StripeGateway, payment_id: str, claim: Claim, *, reason: str | None = None
) -> Payment:
    """End a payment that is not final; an authorisation is let go.

    Raises NotFoundError, InvalidStateError, RefusedError, UnavailableError.
    """
    intent = await _begin(engine, payment_id, claim)
    params = given(cancellation_reason=reason)
    key = claim.stripe_key(payment_id, "cancel")
    return await _settle(engine, payment_id, claim, stripe.cancel_payment_intent(intent, params, key))


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


async def _settle(
    engine: AsyncEngine, payment_id: str, claim: Claim, call: Awaitable[StripeAnswer]
) -> Payment:
    """Make the call and store what it says of the payment, also when it says no."""
    try:
        answer = await call
    except (DeclinedError, RefusedError) as error:
        if error.intent is None:
            raise
        await raise_as_it_stands(engine, payment_id, error, error.intent)
    except UnavailableError as error:
        error.extra["payment_id"] = payment_id
        raise
    return await store_answer(engine, payment_id, answer, claim)
