"""Changes what a refund says of itself.

A call whose answer is lost is made again, under the same key, by the caller's retry or by the worker.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.errors import InvalidStateError, PayloadError
from tallystick.idempotency import Claim
from tallystick.payments import calls
from tallystick.payments.calls import DONE, Action, StripeCall, make_plain
from tallystick.payments.outcomes import UNSET, check_metadata
from tallystick.payments.reading import Refund, get_refund
from tallystick.payments.reports import refund_report
from tallystick.payments.status import ANSWER
from tallystick.payments.store import apply_refunds
from tallystick.stripe_gateway.answers import StripeAnswer, UnavailableError
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.payloads import Refund as StripeRefund


async def update_refund(
    engine: AsyncEngine,
    stripe: StripeGateway,
    refund_id: str,
    metadata: Mapping[str, str | None] | None,
    claim: Claim,
) -> Refund:
    """Change a refund's metadata: a pair without a value is unset, None unsets all but our own.

    Raises NotFoundError, InvalidRequestError, InvalidStateError, RefusedError, UnavailableError.
    """
    check_metadata(metadata or {})
    async with claim.accepting(engine, refund_id) as connection:
        refund = await get_refund(connection, refund_id)
        if refund.stripe_refund is None:
            raise InvalidStateError("Stripe has no such refund, or not yet.", retry_after=2)
        pairs = metadata if metadata is not None else dict.fromkeys(refund.metadata)
        if not pairs:
            return refund
        params = {"metadata": {name: value or UNSET for name, value in pairs.items()}}
        call = StripeCall(
            claim.stripe_key(refund_id, "update"),
            Action.UPDATE_REFUND,
            params,
            refund.payment_id or "",
            target=refund.stripe_refund,
            refund_id=refund_id,
            api_key=claim.api_key_id,
        )
        call = await calls.record(connection, call)
    return await settle(engine, stripe, call, claim, fresh=claim.resource_id is None)


async def settle(
    engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, claim: Claim, *, fresh: bool
) -> Refund:
    """Make the call and store the refund. Raises RefusedError, UnavailableError, StripeAccessError."""
    return await _store(engine, await make_plain(engine, stripe, call, fresh=fresh), call, claim)


async def look_up(engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, claim: Claim) -> Refund:
    """The refund as it stands, after a call that must not be made again.

    Raises RefusedError, UnavailableError, StripeAccessError.
    """
    assert call.target is not None
    return await _store(engine, await stripe.retrieve_refund(call.target), call, claim)


async def _store(engine: AsyncEngine, answer: StripeAnswer, call: StripeCall, claim: Claim) -> Refund:
    assert call.refund_id is not None
    try:
        source = f"{ANSWER}{time.time_ns()}"
        told = refund_report(
            StripeRefund.read(answer.object), call.payment_id or None, at=answer.at, source=source
        )
    except PayloadError as error:
        raise UnavailableError("Stripe's answer cannot be read.", outcome_unknown=True) from error
    async with engine.begin() as connection:
        await apply_refunds(connection, [replace(told, id=call.refund_id)])
        changed = await get_refund(connection, call.refund_id)
        await calls.end(connection, call, DONE, call.payment_id)
        await claim.finish(connection, changed)
    return changed
