"""Changes what a refund says of itself.

No money depends on it, so an answer that is lost leaves nothing open:
the caller's retry under the same key sets the same pairs again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.errors import InvalidStateError, PayloadError
from tallystick.idempotency import Claim
from tallystick.payments.outcomes import UNSET, check_metadata
from tallystick.payments.reading import Refund, get_refund
from tallystick.payments.reports import refund_report
from tallystick.payments.status import ANSWER
from tallystick.payments.store import apply_refunds
from tallystick.stripe_gateway.answers import UnavailableError
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
    answer = await stripe.update_refund(refund.stripe_refund, params, claim.stripe_key(refund_id, "update"))
    try:
        source = f"{ANSWER}{time.time_ns()}"
        told = refund_report(StripeRefund.read(answer.object), refund.payment_id, at=answer.at, source=source)
    except PayloadError as error:
        raise UnavailableError("Stripe's answer cannot be read.", outcome_unknown=True) from error
    async with engine.begin() as connection:
        await apply_refunds(connection, [replace(told, id=refund_id)])
        changed = await get_refund(connection, refund_id)
        await claim.finish(connection, changed)
    return changed
