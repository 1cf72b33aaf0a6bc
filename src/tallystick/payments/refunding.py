"""Refunds: what is left is reserved under a lock on the payment, then Stripe is asked.

Concurrent refunds of a payment wait for each other's reservation, not for Stripe, and together never exceed
what was captured. A reservation is a refund with the status ``unknown``; a refusal by Stripe lets go of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import orjson
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.db.ids import new_id
from tallystick.errors import (
    InvalidAmountError,
    InvalidStateError,
    NotFoundError,
    PayloadError,
    RefundExceedsAvailableError,
    StripeAccessError,
    StripeRefusedError,
)
from tallystick.idempotency import Claim
from tallystick.money import decimal_text, step_problem
from tallystick.payments import calls
from tallystick.payments.calls import STRIPE_KEEPS_KEYS, Action, StripeCall
from tallystick.payments.outcomes import NEVER_MADE, check_metadata, still_unknown
from tallystick.payments.reading import Refund, checked_payment_id, get_refund_of, names_of
from tallystick.payments.reports import our_refund, refund_report
from tallystick.payments.store import apply_refunds
from tallystick.stripe_gateway.answers import DeclinedError, RefusedError, StripeAnswer, UnavailableError
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.payloads import PAYMENT_METADATA, REFUND_METADATA
from tallystick.stripe_gateway.payloads import Refund as StripeRefund

RefundReason = Literal["duplicate", "fraudulent", "requested_by_customer"]

_WHOLE: Final[tuple[str, ...]] = ("payment_intent", "charge")
"""What of a payment is refunded, as Stripe's parameters name it."""

_LOCK_PAYMENT: Final = text("""
SELECT id, status, currency, amount_captured, stripe_payment_intent, stripe_charge
  FROM payments WHERE id = :id FOR UPDATE
""")

_TAKEN: Final = text("""
SELECT coalesce(sum(amount), 0) FROM refunds
 WHERE payment_id = ANY(CAST(:payments AS text[])) AND status NOT IN ('failed', 'canceled')
""")

_RESERVE: Final = text("""
INSERT INTO refunds (
  id, payment_id, status, amount, currency, stripe_payment_intent, stripe_charge, reason, metadata, created_at
) VALUES (
  :id, :payment, 'unknown', :amount, :currency, :intent, :charge, :reason, CAST(:metadata AS jsonb), now()
)
""")

_RESERVED: Final = text("""
SELECT amount, status, stripe_refund, failure_reason, created_at < now() - CAST(:age AS interval) AS old
  FROM refunds WHERE id = :id
""")

_LET_GO: Final = text("""
UPDATE refunds SET status = 'failed', failure_reason = :reason, updated_at = now()
 WHERE id = :id AND status = 'unknown' AND stripe_refund IS NULL
""")

_FORGET: Final = text("""
DELETE FROM refunds WHERE id = :id AND status = 'unknown' AND stripe_refund IS NULL
""")


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """What is to be given back: ``amount`` in minor units, None for all that is left."""

    amount: int | None = None
    reason: RefundReason | None = None
    metadata: dict[str, str] = field(default_factory=dict)


async def refund(
    engine: AsyncEngine, stripe: StripeGateway, payment_id: str, order: RefundOrder, claim: Claim
) -> Refund:
    """Give a payment back, in part or whole.

    Raises NotFoundError, InvalidAmountError, InvalidRequestError, InvalidStateError (nothing was captured),
    RefundExceedsAvailableError, RefusedError, UnavailableError (with ``refund_id`` if under way).
    """
    check_metadata(order.metadata)
    refund_id = claim.resource_id or new_id("ref")
    async with claim.accepting(engine, refund_id) as connection:
        payment = await _lock_payment(connection, payment_id)
        earlier = await _reserved(connection, refund_id) if claim.resource_id else None
        amount = earlier.amount if earlier else await _reserve(connection, refund_id, payment, order)
        call = await calls.record(connection, _call(refund_id, payment, amount, order, claim))
    if earlier and (earlier.stripe_refund or earlier.old):
        found = await find(stripe, call, known=earlier.stripe_refund)
        if found is not None:
            return await store_refund(engine, call, found, claim)
    return await settle(engine, stripe, call, claim, fresh=earlier is None)


async def settle(
    engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, claim: Claim, *, fresh: bool
) -> Refund:
    """Ask Stripe for the refund; what was set aside is let go of when it is known not to be made.

    ``fresh``: no earlier try can have reached Stripe. Raises RefusedError, UnavailableError,
    StripeAccessError.
    """
    try:
        answer = await calls.make(stripe, call)
    except (RefusedError, DeclinedError) as error:
        await let_go(engine, call, str(error.extra.get("stripe_code") or error.detail))
        error.extra["refund_id"] = call.refund_id
        raise
    except (UnavailableError, StripeAccessError) as error:
        if fresh and not (isinstance(error, UnavailableError) and error.outcome_unknown):
            await _forget(engine, call)
        else:
            error.extra.update(payment_id=call.payment_id, refund_id=call.refund_id)
        raise
    return await store_refund(engine, call, answer, claim)


async def find(stripe: StripeGateway, call: StripeCall, *, known: str | None = None) -> StripeAnswer | None:
    """The refund that an earlier try made at Stripe, as it stands now; None when there is none.

    Stripe forgets an idempotency key after a day: from then on asking again would give the money back twice,
    so the refunds that it has are looked through. The oldest wins: a later one has copied metadata. Raises
    UnavailableError, StripeAccessError.
    """
    try:
        if known is None:
            whole = {name: str(call.params[name]) for name in _WHOLE if name in call.params}
            of_payment = await stripe.list_refunds_of(whole)
            ours = [
                each["id"] for each in of_payment if our_refund(each.get("metadata") or {}) == call.refund_id
            ]
            known = ours[-1] if ours else None
        return await stripe.retrieve_refund(known) if known else None
    except (RefusedError, UnavailableError, StripeAccessError) as error:
        ids = {"payment_id": call.payment_id, "refund_id": call.refund_id or ""}
        raise still_unknown(error, **ids) from error


async def look_up(engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, claim: Claim) -> None:
    """Find a refund that Stripe's idempotency key no longer leads to; one that was never made is let go of.

    Raises UnavailableError, StripeAccessError.
    """
    found = await find(stripe, call)
    if found is None:
        await let_go(engine, call, NEVER_MADE)
    else:
        await store_refund(engine, call, found, claim)


async def let_go(engine: AsyncEngine, call: StripeCall, reason: str) -> None:
    """The refund was not made: what was set aside for it can be refunded again."""
    async with engine.begin() as connection:
        await connection.execute(_LET_GO, {"id": call.refund_id, "reason": reason})
        await calls.end(connection, call, reason[:200], call.payment_id)


async def _lock_payment(connection: AsyncConnection, payment_id: str) -> Row[Any]:
    row = (await connection.execute(_LOCK_PAYMENT, {"id": checked_payment_id(payment_id)})).first()
    if row is None:
        raise NotFoundError(f"There is no payment {payment_id!r}.", param="id")
    return row


async def _reserve(connection: AsyncConnection, refund_id: str, payment: Row[Any], order: RefundOrder) -> int:
    """Set the amount aside in a row; returns it in minor units."""
    if not payment.amount_captured:
        raise InvalidStateError(
            f"Nothing of the payment is captured; it is {payment.status}.",
            extra={"payment_status": payment.status},
        )
    names = names_of(payment.id, payment.stripe_payment_intent)
    taken = int((await connection.execute(_TAKEN, {"payments": names})).scalar_one())
    available = payment.amount_captured - taken
    amount = available if order.amount is None else order.amount
    _check_amount(amount, available, payment.currency)
    row = {
        "id": refund_id,
        "payment": payment.id,
        "amount": amount,
        "currency": payment.currency,
        "intent": payment.stripe_payment_intent,
        "charge": payment.stripe_charge,
        "reason": order.reason,
        "metadata": orjson.dumps(order.metadata).decode(),
    }
    await connection.execute(_RESERVE, row)
    return amount


def _check_amount(amount: int, available: int, currency: str) -> None:
    if amount > available or available <= 0:
        raise RefundExceedsAvailableError(
            f"{decimal_text(max(available, 0), currency)} {currency.upper()} is left to refund.",
            param="amount",
            extra={"available": max(available, 0)},
        )
    if problem := step_problem(amount, currency):
        raise InvalidAmountError(problem, param="amount")


async def _reserved(connection: AsyncConnection, refund_id: str) -> Row[Any] | None:
    """What an earlier request under the same key set aside; None when nothing is left of it.

    Raises StripeRefusedError when Stripe refused it: asked again, Stripe could say yes to money that is no
    longer set aside.
    """
    row = (await connection.execute(_RESERVED, {"id": refund_id, "age": STRIPE_KEEPS_KEYS})).first()
    if row is not None and row.status == "failed" and row.stripe_refund is None:
        raise StripeRefusedError(
            "Stripe refused this refund.", extra={"stripe_code": row.failure_reason, "refund_id": refund_id}
        )
    return row


def _call(refund_id: str, payment: Row[Any], amount: int, order: RefundOrder, claim: Claim) -> StripeCall:
    if payment.stripe_payment_intent:
        whole = {"payment_intent": payment.stripe_payment_intent}
    else:
        whole = {"charge": payment.stripe_charge}
    params = {
        **whole,
        **({"reason": order.reason} if order.reason else {}),
        "amount": amount,
        "metadata": {**order.metadata, PAYMENT_METADATA: payment.id, REFUND_METADATA: refund_id},
    }
    key = f"tallystick-{refund_id}"
    return StripeCall(key, Action.REFUND, params, payment.id, refund_id=refund_id, api_key=claim.api_key_id)


async def store_refund(engine: AsyncEngine, call: StripeCall, answer: StripeAnswer, claim: Claim) -> Refund:
    """Store what Stripe says of the refund, whatever its metadata says by now; returns how it stands."""
    refund_id = call.refund_id
    assert refund_id is not None
    try:
        report = refund_report(StripeRefund.read(answer.object), call.payment_id, at=answer.at, source="")
    except PayloadError as error:
        raise UnavailableError("Stripe's answer cannot be read.", outcome_unknown=True) from error
    async with engine.begin() as connection:
        await apply_refunds(connection, [replace(report, id=refund_id)])
        refund = await get_refund_of(connection, report.stripe_refund)
        if refund.id != refund_id:  # its event came first, without our metadata, and it was adopted
            await connection.execute(_FORGET, {"id": refund_id})
        await calls.end(connection, call, calls.DONE, call.payment_id)
        await claim.finish(connection, refund)
    return refund


async def _forget(engine: AsyncEngine, call: StripeCall) -> None:
    async with engine.begin() as connection:
        await connection.execute(_FORGET, {"id": call.refund_id})
        await calls.remove(connection, call.key)
