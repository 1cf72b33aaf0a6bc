"""Changes customers and what they pay with, at Stripe first: the copy here follows the answer.

No money moves, so nothing is set aside. A call whose answer is lost is made again, under the same key, by the
caller's retry or by the worker, as those that move money are (see ``calls``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.db.ids import new_id
from tallystick.errors import InvalidStateError, NotFoundError, PayloadError
from tallystick.idempotency import Claim
from tallystick.payments import calls
from tallystick.payments.calls import DONE, STRIPE_KEEPS_KEYS, Action, StripeCall, make_plain
from tallystick.payments.customer_reports import customer_report, payment_method_report
from tallystick.payments.customers import (
    Customer,
    SavedMethod,
    apply_customers,
    apply_payment_methods,
    find_customer,
    find_method,
)
from tallystick.payments.lists import storable
from tallystick.payments.outcomes import UNSET, check_metadata
from tallystick.payments.status import ANSWER
from tallystick.stripe_gateway.answers import RefusedError, StripeAnswer, UnavailableError
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.customer_payloads import Customer as StripeCustomer
from tallystick.stripe_gateway.customer_payloads import PaymentMethod

_DEFAULT: Final = "default_payment_method"
READ: Final = ""
"""The report of a mere look: it caused no event of its second, so each of them stands above it."""


async def create(
    engine: AsyncEngine, stripe: StripeGateway, fields: Mapping[str, Any], claim: Claim
) -> Customer:
    """Make a customer at Stripe; ``fields`` by the names of the API.

    Raises InvalidRequestError, InvalidStateError (the first request is too long ago), RefusedError,
    UnavailableError, StripeAccessError.
    """
    check_metadata(fields.get("metadata") or {})
    request = claim.resource_id or new_id("req")
    if claim.age > STRIPE_KEEPS_KEYS:
        raise InvalidStateError("The first request is too long ago to be repeated safely.")
    key = f"tallystick-{request}-customer"
    call = StripeCall(key, Action.CREATE_CUSTOMER, _params(fields), api_key=claim.api_key_id)
    async with claim.accepting(engine, request) as connection:
        call = await calls.record(connection, call)
    return await settle(engine, stripe, call, claim, fresh=claim.resource_id is None)


async def settle(
    engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, claim: Claim, *, fresh: bool
) -> Customer:
    """Make the call and store the customer. Raises RefusedError, UnavailableError, StripeAccessError."""
    answer = await make_plain(engine, stripe, call, fresh=fresh)
    if call.action is Action.UPDATE_CUSTOMER:
        return await _store(engine, answer, claim, call=call)
    attached = []
    if "payment_method" in call.params:
        attached = await stripe.list_payment_methods(answer.object["id"])
    return await _store(engine, answer, claim, call=call, methods=attached)


async def look_up(
    engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, claim: Claim
) -> Customer | None:
    """The customer as it stands, after a call that must not be made again; it may be none of ours by now.

    One that was to be made is not looked for: its event brings it. Raises RefusedError, UnavailableError,
    StripeAccessError.
    """
    answer = await stripe.retrieve_customer(call.target) if call.target is not None else None
    if answer is None or answer.object.get("deleted") is True:
        async with engine.begin() as connection:
            await calls.remove(connection, call.key)
        return None
    return await _store(engine, answer, claim, call=call)


async def read(engine: AsyncEngine, stripe: StripeGateway, customer_id: str) -> Customer:
    """The customer; one that is not known here is asked for at Stripe, with its payment methods, and kept.

    Raises NotFoundError, also for one that was deleted, UnavailableError, StripeAccessError.
    """
    async with engine.connect() as connection:
        known = await find_customer(connection, customer_id) if storable(customer_id) else None
    if known is None or not (known.methods_known or known.deleted):
        known = await _adopt(engine, stripe, customer_id)
    if known.deleted:
        raise _no_customer(customer_id)
    return known


async def update(
    engine: AsyncEngine, stripe: StripeGateway, customer_id: str, changes: Mapping[str, Any], claim: Claim
) -> Customer:
    """Change a customer; None unsets a field, one key of ``metadata``, or all of it but our own keys.

    Raises NotFoundError, InvalidRequestError, RefusedError, UnavailableError, StripeAccessError.
    """
    metadata = changes.get("metadata", {})
    check_metadata(metadata or {})
    known = await read(engine, stripe, customer_id)
    pairs = metadata if metadata is not None else dict.fromkeys(known.metadata)
    params = _params({**changes, "metadata": pairs})
    key = claim.stripe_key(customer_id, "update")
    call = StripeCall(key, Action.UPDATE_CUSTOMER, params, target=customer_id, api_key=claim.api_key_id)
    async with claim.accepting(engine, customer_id) as connection:
        if not params:
            return known
        call = await calls.record(connection, call)
    return await settle(engine, stripe, call, claim, fresh=claim.resource_id is None)


async def delete(
    engine: AsyncEngine, stripe: StripeGateway, customer_id: str, api_key: str | None = None
) -> None:
    """Delete a customer, and detach what they pay with; one that is deleted already stays so.

    Raises NotFoundError, RefusedError, UnavailableError, StripeAccessError.
    """
    async with engine.connect() as connection:
        known = await find_customer(connection, customer_id) if storable(customer_id) else None
    if known is not None and known.deleted:
        return
    await read(engine, stripe, customer_id)
    call = StripeCall(
        f"tallystick-{customer_id}-delete", Action.DELETE_CUSTOMER, {}, target=customer_id, api_key=api_key
    )
    async with engine.begin() as connection:
        await calls.record(connection, call)
    await settle_deletion(engine, stripe, call, Claim(), fresh=True)


async def settle_deletion(
    engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, _claim: Claim, *, fresh: bool
) -> None:
    """Delete the customer at Stripe and mark the copy. Raises RefusedError, UnavailableError, …"""
    assert call.target is not None
    try:
        answer = await make_plain(engine, stripe, call, fresh=fresh)
    except RefusedError as error:
        if error.stripe_code != "resource_missing":
            raise
        answer = StripeAnswer({}, int(time.time()))
    async with engine.begin() as connection:
        known = await find_customer(connection, call.target)
        if known is not None:
            created = int(known.created_at.timestamp())
            told = StripeCustomer.read({"id": known.id, "created": created, "livemode": known.livemode})
            report = customer_report(told, at=answer.at, source=_source(), deleted=True)
            await apply_customers(connection, [report])
        await calls.end(connection, call, DONE, call.payment_id)


async def attach(
    engine: AsyncEngine, stripe: StripeGateway, customer_id: str, method_id: str, claim: Claim
) -> SavedMethod:
    """Save a payment method with a customer.

    Raises NotFoundError, DeclinedError, RefusedError, UnavailableError, StripeAccessError.
    """
    await read(engine, stripe, customer_id)
    key, params = claim.stripe_key(customer_id, "attach"), {"customer": customer_id}
    call = StripeCall(key, Action.ATTACH, params, target=method_id, api_key=claim.api_key_id)
    async with claim.accepting(engine, customer_id) as connection:
        call = await calls.record(connection, call)
    return await settle_method(engine, stripe, call, claim, fresh=claim.resource_id is None)


async def detach(engine: AsyncEngine, stripe: StripeGateway, method_id: str, claim: Claim) -> SavedMethod:
    """Take a payment method from its customer, for good.

    Raises NotFoundError, RefusedError, UnavailableError, StripeAccessError.
    """
    await get_method(engine, method_id)
    key = claim.stripe_key(method_id, "detach")
    call = StripeCall(key, Action.DETACH, {}, target=method_id, api_key=claim.api_key_id)
    async with claim.accepting(engine, method_id) as connection:
        call = await calls.record(connection, call)
    return await settle_method(engine, stripe, call, claim, fresh=claim.resource_id is None)


async def settle_method(
    engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, claim: Claim, *, fresh: bool
) -> SavedMethod:
    """Make the call and store the payment method. Raises DeclinedError, RefusedError, UnavailableError, …"""
    return await _store_method(engine, await make_plain(engine, stripe, call, fresh=fresh), claim, call)


async def look_up_method(
    engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, claim: Claim
) -> SavedMethod:
    """The payment method as it stands, after a call that must not be made again.

    Raises RefusedError, UnavailableError, StripeAccessError.
    """
    assert call.target is not None
    return await _store_method(engine, await stripe.retrieve_payment_method(call.target), claim, call)


async def get_method(engine: AsyncEngine, method_id: str) -> SavedMethod:
    """A payment method that is, or was, saved with a customer. Raises NotFoundError."""
    async with engine.connect() as connection:
        found = await find_method(connection, method_id) if storable(method_id) else None
    if found is None:
        raise NotFoundError(f"There is no saved payment method {method_id[:300]!r}.", param="id")
    return found


async def _adopt(engine: AsyncEngine, stripe: StripeGateway, customer_id: str) -> Customer:
    if not storable(customer_id):
        raise _no_customer(customer_id)
    try:
        answer = await stripe.retrieve_customer(customer_id)
        if answer.object.get("deleted") is True:
            raise _no_customer(customer_id)
        methods = await stripe.list_payment_methods(customer_id)
    except RefusedError as error:
        if error.stripe_code == "resource_missing":
            raise _no_customer(customer_id) from error
        raise
    return await _store(engine, answer, Claim(), methods=methods, source=READ)


async def _store(
    engine: AsyncEngine,
    answer: StripeAnswer,
    claim: Claim,
    *,
    call: StripeCall | None = None,
    methods: Sequence[dict[str, Any]] | None = None,
    source: str | None = None,
) -> Customer:
    """Keep what Stripe says; ``methods`` are all of the customer's payment methods, where they are known."""
    source = _source() if source is None else source
    try:
        told = StripeCustomer.read(answer.object)
        report = customer_report(told, at=answer.at, source=source, methods_known=methods is not None)
        saved = [
            payment_method_report(PaymentMethod.read(method), at=answer.at, source=source)
            for method in methods or ()
        ]
    except PayloadError as error:
        raise UnavailableError("Stripe's answer cannot be read.", outcome_unknown=True) from error
    async with engine.begin() as connection:
        await apply_customers(connection, [report])
        await apply_payment_methods(connection, saved)
        kept = await find_customer(connection, report.id)
        assert kept is not None
        if call is not None:
            await calls.end(connection, call, DONE, call.payment_id)
        await claim.finish(connection, kept)
    return kept


async def _store_method(
    engine: AsyncEngine, answer: StripeAnswer, claim: Claim, call: StripeCall
) -> SavedMethod:
    try:
        report = payment_method_report(PaymentMethod.read(answer.object), at=answer.at, source=_source())
    except PayloadError as error:
        raise UnavailableError("Stripe's answer cannot be read.", outcome_unknown=True) from error
    async with engine.begin() as connection:
        await apply_payment_methods(connection, [report])
        kept = await find_method(connection, report.id)
        assert kept is not None
        await calls.end(connection, call, DONE, call.payment_id)
        await claim.finish(connection, kept)
    return kept


def _params(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the API as Stripe's parameters; None unsets."""
    params: dict[str, Any] = {
        name: UNSET if value is None else value for name, value in fields.items() if name != "metadata"
    }
    if pairs := fields.get("metadata"):
        params["metadata"] = {name: value or UNSET for name, value in pairs.items()}
    if _DEFAULT in params:
        params["invoice_settings"] = {_DEFAULT: params.pop(_DEFAULT)}
    return params


def _source() -> str:
    return f"{ANSWER}{time.time_ns()}"


def _no_customer(customer_id: str) -> NotFoundError:
    return NotFoundError(f"There is no customer {customer_id[:300]!r}.", param="id")
