"""Changes a payment: update, confirm, capture, cancel. See ``outcomes`` for how a command goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.errors import InvalidAmountError, InvalidStateError, StripeAccessError
from tallystick.idempotency import Claim
from tallystick.money import step_problem
from tallystick.payments import calls
from tallystick.payments.calls import STRIPE_KEEPS_KEYS, Action, StripeCall
from tallystick.payments.creating import FutureUsage
from tallystick.payments.outcomes import (
    UNSET,
    check_metadata,
    given,
    raise_as_it_stands,
    still_unknown,
    store_answer,
    store_late_answer,
)
from tallystick.payments.reading import Payment, get_payment
from tallystick.stripe_gateway.answers import DeclinedError, RefusedError, UnavailableError
from tallystick.stripe_gateway.client import StripeGateway


async def update(
    engine: AsyncEngine, stripe: StripeGateway, payment_id: str, claim: Claim, changes: Mapping[str, Any]
) -> Payment:
    """Change what a payment says of itself; ``changes`` by the fields of the API.

    None or an empty text unsets, as at Stripe: a field, one key of ``metadata``, or all of it. Our own keys
    stay. Raises NotFoundError, InvalidRequestError, InvalidStateError, RefusedError, UnavailableError.
    """
    metadata = changes.get("metadata", {})
    check_metadata(metadata or {})

    def params(payment: Payment) -> dict[str, Any]:
        made = {name: value or UNSET for name, value in changes.items() if name != "metadata"}
        pairs = metadata if metadata is not None else dict.fromkeys(payment.metadata)
        if pairs:
            made["metadata"] = {name: value or UNSET for name, value in pairs.items()}
        return made

    return await _change(engine, stripe, payment_id, claim, action=Action.UPDATE, params=params)


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
    params = given(
        payment_method=payment_method,
        return_url=return_url,
        off_session=off_session or None,
        setup_future_usage=setup_future_usage,
        mandate_data=mandate_data,
        receipt_email=receipt_email,
    )
    return await _change(
        engine, stripe, payment_id, claim, action=Action.CONFIRM, params=lambda _payment: params
    )


async def capture(
    engine: AsyncEngine, stripe: StripeGateway, payment_id: str, claim: Claim, *, amount: int | None = None
) -> Payment:
    """Take what was authorised, or ``amount`` of it (minor units) and let go of the rest.

    Raises NotFoundError, InvalidAmountError, InvalidStateError, RefusedError, UnavailableError.
    """

    def params(payment: Payment) -> dict[str, Any]:
        if amount is not None and (problem := step_problem(amount, payment.currency)):
            raise InvalidAmountError(problem, param="amount")
        return given(amount_to_capture=amount)

    return await _change(engine, stripe, payment_id, claim, action=Action.CAPTURE, params=params)


async def cancel(
    engine: AsyncEngine, stripe: StripeGateway, payment_id: str, claim: Claim, *, reason: str | None = None
) -> Payment:
    """End a payment that is not final; an authorisation is let go.

    Raises NotFoundError, InvalidStateError, RefusedError, UnavailableError.
    """
    params = given(cancellation_reason=reason)
    return await _change(
        engine, stripe, payment_id, claim, action=Action.CANCEL, params=lambda _payment: params
    )


async def _change(
    engine: AsyncEngine,
    stripe: StripeGateway,
    payment_id: str,
    claim: Claim,
    *,
    action: Action,
    params: Callable[[Payment], dict[str, Any]],
) -> Payment:
    """Take the key, and make the call with the ``params`` that the payment as it stands calls for.

    What the state allows is for Stripe to say: our row may be a webhook behind.
    """
    fresh = claim.resource_id is None
    async with claim.accepting(engine, payment_id) as connection:
        payment = await get_payment(connection, payment_id)
        if payment.stripe_payment_intent is None:
            raise InvalidStateError("The payment has no PaymentIntent at Stripe, or not yet.", retry_after=2)
        asked = params(payment)
        if action is Action.UPDATE and not asked:
            return payment
        key = claim.stripe_key(payment_id, action.value)
        call = StripeCall(
            key, action, asked, payment_id, target=payment.stripe_payment_intent, api_key=claim.api_key_id
        )
        forgotten = claim.age > STRIPE_KEEPS_KEYS
        if not forgotten:
            call = await calls.record(connection, call)
    if forgotten:
        return await look_up(engine, stripe, call, claim)
    return await settle(engine, stripe, call, claim, fresh=fresh)


async def settle(
    engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, claim: Claim, *, fresh: bool
) -> Payment:
    """Make the call and store what it says of the payment, also when it says no.

    ``fresh``: no earlier try can have reached Stripe. Raises RefusedError, PaymentDeclinedError,
    UnavailableError, StripeAccessError.
    """
    try:
        answer = await calls.make(stripe, call)
    except (DeclinedError, RefusedError) as error:
        if error.intent is not None:
            await raise_as_it_stands(engine, call, error, error.intent)
        async with engine.begin() as connection:
            await calls.end(connection, call, error.code, call.payment_id)
        raise
    except (UnavailableError, StripeAccessError) as error:
        unreached = fresh and not (isinstance(error, UnavailableError) and error.outcome_unknown)
        if unreached or call.action is not Action.UPDATE:  # an update leaves the status as it is
            async with engine.begin() as connection:
                await (calls.remove if unreached else calls.mark_unknown)(connection, call.key)
        if not unreached:  # it says that the work is under way
            error.extra["payment_id"] = call.payment_id
        raise
    return await store_answer(engine, call, answer, claim)


async def look_up(engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, claim: Claim) -> Payment:
    """What became of a call that Stripe's idempotency key no longer leads to: the payment as it stands.

    Raises PaymentDeclinedError, UnavailableError, StripeAccessError.
    """
    assert call.target is not None
    try:
        answer = await stripe.retrieve_payment_intent(call.target)
    except (RefusedError, UnavailableError, StripeAccessError) as error:
        raise still_unknown(error, payment_id=call.payment_id) from error
    attempted = call.action is Action.CONFIRM
    return await store_late_answer(engine, call, answer, claim, attempted=attempted)
