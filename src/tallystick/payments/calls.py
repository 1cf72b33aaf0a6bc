"""Calls to Stripe that change something, as they wait for their outcome.

A call is recorded in the transaction that accepts its request, whole, and removed in the one that stores its
outcome, which ``ended_calls`` keeps. So a call whose outcome nobody heard is still there, and is made again,
the very same under the same idempotency key, by the client's retry or by the worker's completer.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.errors import StripeAccessError
from tallystick.stripe_gateway.answers import DeclinedError, RefusedError, StripeAnswer, UnavailableError
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
    UPDATE_REFUND = "update_refund"
    CREATE_CUSTOMER = "create_customer"
    UPDATE_CUSTOMER = "update_customer"
    DELETE_CUSTOMER = "delete_customer"
    ATTACH = "attach"
    DETACH = "detach"
    CREATE_SETUP = "create_setup"
    CONFIRM_SETUP = "confirm_setup"
    CANCEL_SETUP = "cancel_setup"


@dataclass(frozen=True, slots=True)
class StripeCall:
    """One call: ``key`` is its idempotency key at Stripe, ``params`` are as Stripe names them.

    ``target`` is what is changed at Stripe, None for what is to be created; ``payment_id`` is empty where no
    payment is concerned. ``api_key`` is the id of the API key that asked for it.
    """

    key: str
    action: Action
    params: dict[str, Any]
    payment_id: str = ""
    target: str | None = None
    refund_id: str | None = None
    api_key: str | None = None


@dataclass(frozen=True, slots=True)
class EndedCall:
    """A call that is decided; ``outcome`` is DONE or the code of the error that it ended in."""

    payment_id: str
    refund_id: str | None
    action: Action
    began_at: datetime
    ended_at: datetime
    outcome: str
    api_key: str | None


DONE: Final = "done"


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call whose outcome was not heard: ``age`` since it was accepted, and the tries to complete it.

    ``moved``: what it is about has changed since, by this call or by another.
    """

    call: StripeCall
    age: timedelta
    attempts: int
    moved: bool


def _state(payment: str, refund: str, target: str) -> str:
    """The state order of the row that a call is about; null for what has none here."""
    return f"""coalesce(
  (SELECT state_order FROM payments WHERE id = {payment} AND {refund} IS NULL),
  (SELECT state_order FROM refunds WHERE id = {refund}),
  (SELECT state_order FROM customers WHERE id = {target}),
  (SELECT state_order FROM payment_methods WHERE id = {target})
)"""


_RECORD: Final = text(f"""
INSERT INTO stripe_calls (id, action, payment_id, refund_id, target, params, api_key_id, state_order)
SELECT id, action, payment_id, refund_id, target, params, api_key_id,
  {_state("call.payment_id", "call.refund_id", "call.target")}
  FROM (VALUES (
    CAST(:key AS text), CAST(:action AS text), CAST(:payment AS text), CAST(:refund AS text),
    CAST(:target AS text), CAST(:params AS text), CAST(:api_key AS text)
  )) AS call (id, action, payment_id, refund_id, target, params, api_key_id)
ON CONFLICT (id) DO UPDATE SET due_at = stripe_calls.due_at
RETURNING params
""")

# Once: where another has ended the call, nothing is left to remember.
_END: Final = text("""
WITH ended AS (DELETE FROM stripe_calls WHERE id = :key
               RETURNING action, refund_id, created_at, api_key_id)
INSERT INTO ended_calls (payment_id, refund_id, action, began_at, outcome, api_key_id)
SELECT CAST(:payment AS text), refund_id, action, created_at, CAST(:outcome AS text), api_key_id FROM ended
""")

_REMOVE: Final = text("""
DELETE FROM stripe_calls WHERE id = :key
""")

_ENDED: Final = text("""
SELECT payment_id, refund_id, action, began_at, ended_at, outcome, api_key_id FROM ended_calls
 WHERE payment_id = ANY(CAST(:payments AS text[])) ORDER BY id
""")

_MARK_UNKNOWN: Final = text("""
UPDATE payments p SET status = 'unknown', updated_at = now()
  FROM stripe_calls c
 WHERE c.id = :key AND p.id = c.payment_id AND p.state_order = c.state_order
   AND p.status NOT IN ('succeeded', 'canceled')
""")

_TAKE_DUE: Final = text(f"""
UPDATE stripe_calls c SET due_at = now() + CAST(:lease AS interval), attempts = attempts + 1
 WHERE id IN (
   SELECT id FROM stripe_calls
    WHERE due_at <= now() AND created_at <= now() - CAST(:age AS interval)
    ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
 )
RETURNING id, action, payment_id, refund_id, target, params, api_key_id, now() - created_at AS age, attempts,
  coalesce({_state("c.payment_id", "c.refund_id", "c.target")} <> state_order, false) AS moved
""")

_POSTPONE: Final = text("""
UPDATE stripe_calls SET due_at = now() + CAST(:pause AS interval) WHERE id = :key
""")


_Answer = Coroutine[Any, Any, StripeAnswer]
_CREATES: Final[dict[Action, Callable[[StripeGateway], Callable[[dict[str, Any], str], _Answer]]]] = {
    Action.CREATE: lambda stripe: stripe.create_payment_intent,
    Action.REFUND: lambda stripe: stripe.create_refund,
    Action.CREATE_CUSTOMER: lambda stripe: stripe.create_customer,
    Action.CREATE_SETUP: lambda stripe: stripe.create_setup_intent,
}
_CHANGES: Final[dict[Action, Callable[[StripeGateway], Callable[[str, dict[str, Any], str], _Answer]]]] = {
    Action.UPDATE: lambda stripe: stripe.update_payment_intent,
    Action.CONFIRM: lambda stripe: stripe.confirm_payment_intent,
    Action.CAPTURE: lambda stripe: stripe.capture_payment_intent,
    Action.CANCEL: lambda stripe: stripe.cancel_payment_intent,
    Action.UPDATE_REFUND: lambda stripe: stripe.update_refund,
    Action.UPDATE_CUSTOMER: lambda stripe: stripe.update_customer,
    Action.DELETE_CUSTOMER: lambda stripe: stripe.delete_customer,
    Action.ATTACH: lambda stripe: stripe.attach_payment_method,
    Action.DETACH: lambda stripe: stripe.detach_payment_method,
    Action.CONFIRM_SETUP: lambda stripe: stripe.confirm_setup_intent,
    Action.CANCEL_SETUP: lambda stripe: stripe.cancel_setup_intent,
}


async def record(connection: AsyncConnection, call: StripeCall) -> StripeCall:
    """Write the call down, after its payment's row; returns it as it was first written under its key.

    What a retry would send can differ from what was sent, after an upgrade for example, and Stripe would
    refuse it under the same key.
    """
    row = {
        "key": call.key,
        "action": call.action.value,
        "payment": call.payment_id or None,
        "refund": call.refund_id,
        "target": call.target,
        "api_key": call.api_key,
        "params": orjson.dumps(call.params).decode(),
    }
    first = (await connection.execute(_RECORD, row)).scalar_one()
    return replace(call, params=orjson.loads(first))


async def end(connection: AsyncConnection, call: StripeCall, outcome: str, payment_id: str) -> None:
    """The outcome is known and stored; that it was is kept for the timeline of a payment, if it is of one."""
    if not payment_id:
        await remove(connection, call.key)
        return
    await connection.execute(_END, {"key": call.key, "payment": payment_id, "outcome": outcome})


async def remove(connection: AsyncConnection, key: str) -> None:
    """The call never reached Stripe, or nothing is left of what it was about."""
    await connection.execute(_REMOVE, {"key": key})


async def ended_calls(connection: AsyncConnection, payments: Sequence[str]) -> list[EndedCall]:
    """What was asked of Stripe for a payment that goes by these ids, and what it came to; oldest first."""
    rows = await connection.execute(_ENDED, {"payments": list(payments)})
    return [
        EndedCall(
            row.payment_id,
            row.refund_id,
            Action(row.action),
            row.began_at,
            row.ended_at,
            row.outcome,
            row.api_key_id,
        )
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
                params=orjson.loads(row.params),
                payment_id=row.payment_id or "",
                target=row.target,
                refund_id=row.refund_id,
                api_key=row.api_key_id,
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
    if call.action in _CREATES:
        return await _CREATES[call.action](stripe)(call.params, call.key)
    assert call.target is not None
    return await _CHANGES[call.action](stripe)(call.target, call.params, call.key)


async def make_plain(
    engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, *, fresh: bool
) -> StripeAnswer:
    """Make a call that leaves nothing of ours undecided: a no ends it, a yes is for the caller to store.

    ``fresh``: no earlier try can have reached Stripe. Raises what ``make`` raises.
    """
    try:
        return await make(stripe, call)
    except (DeclinedError, RefusedError) as error:
        async with engine.begin() as connection:
            await end(connection, call, error.code, call.payment_id)
        raise
    except (UnavailableError, StripeAccessError) as error:
        if fresh and not (isinstance(error, UnavailableError) and error.outcome_unknown):
            async with engine.begin() as connection:
                await remove(connection, call.key)
        raise
