"""Changes a payment: update, confirm, capture, cancel. See ``outcomes`` for how a command goes."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.errors import (
    InvalidAmountError,
    InvalidStateError,
)
from tallystick.idempotency import Claim
from tallystick.money import step_problem
from tallystick.payments.creating import FutureUsage
from tallystick.payments.outcomes import (
    check_metadata,
    given,
    raise_as_it_stands,
    store_answer,
)
from tallystick.payments.reading import Payment, get_payment
from tallystick.stripe_gateway.answers import DeclinedError, RefusedError, StripeAnswer, UnavailableError
from tallystick.stripe_gateway.client import StripeGateway

UNSET: Final = ""
"""How Stripe is told to unset a field."""


async def update(
    engine: AsyncEngine, stripe: StripeGateway, payment_id: str, claim: Claim, changes: Mapping[str, Any]
) -> Payment:
    """Change what a payment says of itself; ``changes`` by the fields of the API.

    None or an empty text unsets, as at Stripe: a field, one key of ``metadata``, or all of it. Our own keys
    stay. Raises NotFoundError, InvalidRequestError, InvalidStateError, RefusedError, UnavailableError.
    """
    metadata = changes.get("metadata", {})
    check_metadata(metadata or {})
    payment = await _begin(engine, payment_id, claim)
    params = {name: value or UNSET for name, value in changes.items() if name != "metadata"}
    pairs = metadata if metadata is not None else dict.fromkeys(payment.metadata)
    if pairs:
        params["metadata"] = {name: value or UNSET for name, value in pairs.items()}
    if not params:
        return payment
    key = claim.stripe_key(payment_id, "update")
    return await _settle(
        engine, payment_id, claim, stripe.update_payment_intent(_intent(payment), params, key)
    )


async def confirm(
    engine: AsyncEngine,
    stripe: StripeGateway,
    payment_id: str,
    claim: Claim,
    *,
    payment_method: str | None = None,
    return_url: str | None = None,
    off_session: bool = False,
    setup_future_usage: FutureUsage | None = None,
    mandate_data: dict[str, Any] | None = None,
    receipt_email: str | None = None,
) -> Payment:
    """Confirm a payment, with another payment method if one is given.

    Raises NotFoundError, InvalidStateError, RefusedError, PaymentDeclinedError, UnavailableError.
    """
    payment = await _begin(engine, payment_id, claim)
    params = given(
        payment_method=payment_method,
        return_url=return_url,
        off_session=off_session or None,
        setup_future_usage=setup_future_usage,
        mandate_data=mandate_data,
        receipt_email=receipt_email,
    )
    key = claim.stripe_key(payment_id, "confirm")
    return await _settle(
        engine, payment_id, claim, stripe.confirm_payment_intent(_intent(payment), params, key)
    )


async def capture(
    engine: AsyncEngine, stripe: StripeGateway, payment_id: str, claim: Claim, *, amount: int | None = None
) -> Payment:
    """Take what was authorised, or ``amount`` of it (minor units) and let go of the rest.

    Raises NotFoundError, InvalidAmountError, InvalidStateError, RefusedError, UnavailableError.
    """
    async with engine.begin() as connection:
        payment = await get_payment(connection, payment_id)
        if amount is not None and (problem := step_problem(amount, payment.currency)):
            raise InvalidAmountError(problem, param="amount")
        await _start(connection, payment, claim)
    params = given(amount_to_capture=amount)
    key = claim.stripe_key(payment_id, "capture")
    return await _settle(
        engine, payment_id, claim, stripe.capture_payment_intent(_intent(payment), params, key)
    )


async def cancel(
    engine: AsyncEngine, stripe: StripeGateway, payment_id: str, claim: Claim, *, reason: str | None = None
) -> Payment:
    """End a payment that is not final; an authorisation is let go.

    Raises NotFoundError, InvalidStateError, RefusedError, UnavailableError.
    """
    payment = await _begin(engine, payment_id, claim)
    params = given(cancellation_reason=reason)
    key = claim.stripe_key(payment_id, "cancel")
    return await _settle(
        engine, payment_id, claim, stripe.cancel_payment_intent(_intent(payment), params, key)
    )


async def _begin(engine: AsyncEngine, payment_id: str, claim: Claim) -> Payment:
    """Take the key for a change of the payment; returns it as it stands.

    What the state allows is for Stripe to say: our row may be a webhook behind.
    """
    async with engine.begin() as connection:
        payment = await get_payment(connection, payment_id)
        await _start(connection, payment, claim)
    return payment


async def _start(connection: AsyncConnection, payment: Payment, claim: Claim) -> None:
    if payment.stripe_payment_intent is None:
        raise InvalidStateError("The payment has no PaymentIntent at Stripe, or not yet.", retry_after=2)
    await claim.start(connection, payment.id)


def _intent(payment: Payment) -> str:
    assert payment.stripe_payment_intent is not None
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
