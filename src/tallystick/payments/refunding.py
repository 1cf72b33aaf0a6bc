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
from tallystick.money import step_problem
from tallystick.payments.outcomes import STRIPE_KEEPS_KEYS, check_metadata, still_unknown
from tallystick.payments.reading import Refund, checked_payment_id, get_refund, names_of
from tallystick.payments.reports import our_refund, refund_report
from tallystick.payments.store import apply_refunds
from tallystick.stripe_gateway.answers import DeclinedError, RefusedError, StripeAnswer, UnavailableError
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.payloads import PAYMENT_METADATA, REFUND_METADATA
from tallystick.stripe_gateway.payloads import Refund as StripeRefund

RefundReason = Literal["duplicate", "fraudulent", "requested_by_customer"]

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

_OF_STRIPE: Final = text("""
SELECT id FROM refunds WHERE stripe_refund = :refund
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
    async with engine.begin() as connection:
        await claim.start(connection, refund_id)
        payment = await _lock_payment(connection, payment_id)
        earlier = await _reserved(connection, refund_id) if claim.resource_id else None
        amount = earlier.amount if earlier else await _reserve(connection, refund_id, payment, order)
    answer = await _made_earlier(stripe, refund_id, payment, earlier) if earlier else None
    if answer is None:
        params = _params(refund_id, payment, amount, order)
        answer = await _make(engine, stripe, refund_id, params, first=earlier is None)
    return await _store(engine, refund_id, payment_id, answer, claim)


async def _make(
    engine: AsyncEngine, stripe: StripeGateway, refund_id: str, params: dict[str, Any], *, first: bool
) -> StripeAnswer:
    """Ask Stripe for the refund; what was set aside is let go of when it is known not to be made.

    ``first``: no earlier request can have made it.
    """
    try:
        return await stripe.create_refund(params, f"tallystick-{refund_id}")
    except (RefusedError, DeclinedError) as error:
        reason = str(error.extra.get("stripe_code") or error.detail)
        await _end(engine, _LET_GO, {"id": refund_id, "reason": reason})
        error.extra["refund_id"] = refund_id
        raise
    except (UnavailableError, StripeAccessError) as error:
        if first and not (isinstance(error, UnavailableError) and error.outcome_unknown):
            await _end(engine, _FORGET, {"id": refund_id})
        else:
            error.extra.update(payment_id=params["metadata"][PAYMENT_METADATA], refund_id=refund_id)
        raise


async def _made_earlier(
    stripe: StripeGateway, refund_id: str, payment: Row[Any], earlier: Row[Any]
) -> StripeAnswer | None:
    """The refund that an earlier request made at Stripe, as it stands now; None when it may be asked again.

    Stripe forgets an idempotency key after a day: from then on asking again would give the money back twice,
    so the refunds that it has are looked through first. The oldest wins: a later one has copied metadata.
    """
    known = earlier.stripe_refund
    try:
        if known is None and earlier.old:
            of_payment = await stripe.list_refunds_of(_whole(payment))
            ours = [each["id"] for each in of_payment if our_refund(each.get("metadata") or {}) == refund_id]
            known = ours[-1] if ours else None
        return await stripe.retrieve_refund(known) if known else None
    except (RefusedError, UnavailableError, StripeAccessError) as error:
        raise still_unknown(error, payment_id=payment.id, refund_id=refund_id) from error


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
            f"{max(available, 0)} is left to refund, in minor units of {currency.upper()}.",
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


def _params(refund_id: str, payment: Row[Any], amount: int, order: RefundOrder) -> dict[str, Any]:
    return {
        **_whole(payment),
        **({"reason": order.reason} if order.reason else {}),
        "amount": amount,
        "metadata": {**order.metadata, PAYMENT_METADATA: payment.id, REFUND_METADATA: refund_id},
    }


def _whole(payment: Row[Any]) -> dict[str, str]:
    """What at Stripe is refunded, as its parameters name it."""
    if payment.stripe_payment_intent:
        return {"payment_intent": payment.stripe_payment_intent}
    return {"charge": payment.stripe_charge}


async def _store(
    engine: AsyncEngine, refund_id: str, payment_id: str, answer: StripeAnswer, claim: Claim
) -> Refund:
    """Store what Stripe says of the refund, whatever its metadata says by now, and with it the answer to the
    claim's request; returns how the refund stands."""
    try:
        report = refund_report(StripeRefund.read(answer.object), payment_id, at=answer.at, source="")
    except PayloadError as error:
        raise UnavailableError("Stripe's answer cannot be read.", outcome_unknown=True) from error
    async with engine.begin() as connection:
        await apply_refunds(connection, [replace(report, id=refund_id)])
        kept = (await connection.execute(_OF_STRIPE, {"refund": report.stripe_refund})).scalar_one()
        if kept != refund_id:  # its event came first, without our metadata, and it was adopted
            await connection.execute(_FORGET, {"id": refund_id})
        refund = await get_refund(connection, kept)
        await claim.finish(connection, refund)
        return refund


async def _end(engine: AsyncEngine, statement: Any, parameters: dict[str, Any]) -> None:
    async with engine.begin() as connection:
        await connection.execute(statement, parameters)
