"""Calls to Stripe that change something, as they wait for their outcome.

A call is recorded in the transaction that accepts its request, whole, and removed in the one that stores its
outcome, which ``ended_calls`` keeps. So a call whose outcome nobody heard is still there, and is made again,
the very same under the same idempotency key, by the client's retry or by the worker's completer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.stripe_gateway.answers import StripeAnswer
from tallystick.stripe_gateway.client import StripeGateway

STRIPE_KEEPS_KEYS: Final = timedelta(hours=23)
"""Stripe forgets an idempotency key after 24 hours: from then on a call made again is a second one."""
SETTLED_AT_STRIPE: Final = timedelta(hours=24)
"""From then on what Stripe's search does not find was never made: its index lags, but not for an hour."""


class Action(StrEnum):
    """What a call does."""

    CREATE = "create"
    UPDATE = "update"
    CONFIRM = "confirm"
    CAPTURE = "capture"
    CANCEL = "cancel"
    REFUND = "refund"


@dataclass(frozen=True, slots=True)
class StripeCall:
    """One call: ``key`` is its idempotency key at Stripe, ``params`` are as Stripe names them.

    ``intent`` is the PaymentIntent that is changed, None for one that is to be created.
    """

    key: str
    action: Action
    payment_id: str
    params: dict[str, Any]
    intent: str | None = None
    refund_id: str | None = None


@dataclass(frozen=True, slots=True)
class EndedCall:
    """A call that is decided; ``outcome`` is DONE or the code of the error that it ended in."""

    payment_id: str
    refund_id: str | None
    action: Action
    began_at: datetime
    ended_at: datetime
    outcome: str


DONE: Final = "done"


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call whose outcome was not heard: ``age`` since it was accepted, and the tries to complete it.

    ``moved``: the payment has changed since, by this call or by another.
    """

    call: StripeCall
    age: timedelta
    attempts: int
    moved: bool


_RECORD: Final = text("""
INSERT INTO stripe_calls (id, action, payment_id, refund_id, intent, params, state_order)
VALUES (:key, :action, :payment, :refund, :intent, :params,
        (SELECT state_order FROM payments WHERE id = :payment))
ON CONFLICT (id) DO UPDATE SET due_at = stripe_calls.due_at
RETURNING params
""")

# Once: where another has ended the call, nothing is left to remember.
_END: Final = text("""
WITH ended AS (DELETE FROM stripe_calls WHERE id = :key RETURNING action, refund_id, created_at)
INSERT INTO ended_calls (payment_id, refund_id, action, began_at, outcome)
SELECT CAST(:payment AS text), refund_id, action, created_at, CAST(:outcome AS text) FROM ended
""")

_REMOVE: Final = text("""
DELETE FROM stripe_calls WHERE id = :key
""")

_ENDED: Final = text("""
SELECT payment_id, refund_id, action, began_at, ended_at, outcome FROM ended_calls
 WHERE payment_id = ANY(CAST(:payments AS text[])) ORDER BY id
""")

_MARK_UNKNOWN: Final = text("""
UPDATE payments p SET status = 'unknown', updated_at = now()
  FROM stripe_calls c
 WHERE c.id = :key AND p.id = c.payment_id AND p.state_order = c.state_order
   AND p.status NOT IN ('succeeded', 'canceled')
""")

_TAKE_DUE: Final = text("""
UPDATE stripe_calls c SET due_at = now() + CAST(:lease AS interval), attempts = attempts + 1
 WHERE id IN (
   SELECT id FROM stripe_calls
    WHERE due_at <= now() AND created_at <= now() - CAST(:age AS interval)
    ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
 )
RETURNING id, action, payment_id, refund_id, intent, params, now() - created_at AS age, attempts,
  EXISTS (SELECT FROM payments p WHERE p.id = c.payment_id AND p.state_order <> c.state_order) AS moved
""")

_POSTPONE: Final = text("""
UPDATE stripe_calls SET due_at = now() + CAST(:pause AS interval) WHERE id = :key
""")


async def record(connection: AsyncConnection, call: StripeCall) -> StripeCall:
    """Write the call down, after its payment's row; returns it as it was first written under its key.

    What a retry would send can differ from what was sent, after an upgrade for example, and Stripe would
    refuse it under the same key.
    """
    row = {
        "key": call.key,
        "action": call.action.value,
        "payment": call.payment_id,
        "refund": call.refund_id,
        "intent": call.intent,
        "params": orjson.dumps(call.params).decode(),
    }
    first = (await connection.execute(_RECORD, row)).scalar_one()
    return replace(call, params=orjson.loads(first))


async def end(connection: AsyncConnection, call: StripeCall, outcome: str, payment_id: str) -> None:
    """The outcome is known and stored; that it was is kept for the timeline of the payment."""
    await connection.execute(_END, {"key": call.key, "payment": payment_id, "outcome": outcome})


async def remove(connection: AsyncConnection, key: str) -> None:
    """The call never reached Stripe, or nothing is left of what it was about."""
    await connection.execute(_REMOVE, {"key": key})


async def ended_calls(connection: AsyncConnection, payments: Sequence[str]) -> list[EndedCall]:
    """What was asked of Stripe for a payment that goes by these ids, and what it came to; oldest first."""
    rows = await connection.execute(_ENDED, {"payments": list(payments)})
    return [
        EndedCall(row.payment_id, row.refund_id, Action(row.action), row.began_at, row.ended_at, row.outcome)
        for row in rows
    ]


async def mark_unknown(connection: AsyncConnection, key: str) -> None:
    """The outcome was not heard: so the payment's status is unknown, unless it has been heard of since."""
    await connection.execute(_MARK_UNKNOWN, {"key": key})


async def take_due(
    connection: AsyncConnection, *, age: timedelta, lease: timedelta, limit: int
) -> list[OpenCall]:
    """Up to ``limit`` calls at least ``age`` old that are due; others leave them alone for ``lease``."""
    rows = await connection.execute(_TAKE_DUE, {"age": age, "lease": lease, "limit": limit})
    return [
        OpenCall(
            StripeCall(
                key=row.id,
                action=Action(row.action),
                payment_id=row.payment_id,
                params=orjson.loads(row.params),
                intent=row.intent,
                refund_id=row.refund_id,
            ),
            age=row.age,
            attempts=row.attempts,
            moved=row.moved,
        )
        for row in rows
    ]


async def postpone(connection: AsyncConnection, key: str, pause: timedelta) -> None:
    """Try to complete the call again after a pause."""
    await connection.execute(_POSTPONE, {"key": key, "pause": pause})


async def make(stripe: StripeGateway, call: StripeCall) -> StripeAnswer:
    """Make the call. Raises DeclinedError, RefusedError, UnavailableError, StripeAccessError."""
    if call.action is Action.CREATE:
        return await stripe.create_payment_intent(call.params, call.key)
    if call.action is Action.REFUND:
        return await stripe.create_refund(call.params, call.key)
    assert call.intent is not None
    change = {
        Action.UPDATE: stripe.update_payment_intent,
        Action.CONFIRM: stripe.confirm_payment_intent,
        Action.CAPTURE: stripe.capture_payment_intent,
        Action.CANCEL: stripe.cancel_payment_intent,
    }[call.action]
    return await change(call.intent, call.params, call.key)
