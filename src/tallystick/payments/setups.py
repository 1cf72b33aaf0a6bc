"""SetupIntents: a payment method saved for later without a payment now. They live at Stripe alone; what comes
of one, the saved payment method, is kept here by its event."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.db.ids import new_id
from tallystick.errors import InvalidRequestError, InvalidStateError, NotFoundError, PayloadError
from tallystick.idempotency import Claim
from tallystick.payments import calls
from tallystick.payments.calls import DONE, STRIPE_KEEPS_KEYS, Action, StripeCall, make_plain
from tallystick.payments.lists import storable
from tallystick.payments.outcomes import check_metadata, given
from tallystick.stripe_gateway.answers import RefusedError, StripeAnswer, UnavailableError
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.customer_payloads import SetupIntent
from tallystick.stripe_gateway.payloads import theirs

Known = TypeVar("Known")


@dataclass(frozen=True, slots=True)
class Setup:
    """A SetupIntent as Stripe shows it; metadata without our own keys."""

    intent: SetupIntent

    @property
    def metadata(self) -> dict[str, str]:
        """The caller's own."""
        return theirs(self.intent.metadata)


async def create(
    engine: AsyncEngine, stripe: StripeGateway, fields: Mapping[str, Any], claim: Claim
) -> Setup:
    """Begin to save a payment method; ``fields`` by the names of the API, without those that were not sent.

    Raises InvalidRequestError, InvalidStateError, DeclinedError, RefusedError, UnavailableError.
    """
    check_metadata(fields.get("metadata") or {})
    confirm = bool(fields.get("confirm"))
    if confirm and not fields.get("payment_method"):
        raise InvalidRequestError("To confirm, a payment_method is needed.", param="payment_method")
    for name in ("return_url", "mandate_data"):
        if fields.get(name) and not confirm:
            raise InvalidRequestError(f"{name} goes with confirm.", param=name)
    if claim.age > STRIPE_KEEPS_KEYS:
        raise InvalidStateError("The first request is too long ago to be repeated safely.")
    request = claim.resource_id or new_id("req")
    params = {name: value for name, value in fields.items() if name not in ("allow_redirects", "confirm")}
    redirects = fields.get("allow_redirects") or ("always" if fields.get("return_url") else "never")
    params["automatic_payment_methods"] = {"enabled": True, "allow_redirects": redirects}
    params |= given(confirm=confirm or None)
    call = StripeCall(f"tallystick-{request}-setup", Action.CREATE_SETUP, params, api_key=claim.api_key_id)
    return await _carry_out(engine, stripe, call, request, claim)


async def confirm(
    engine: AsyncEngine, stripe: StripeGateway, setup_id: str, fields: Mapping[str, Any], claim: Claim
) -> Setup:
    """Try to save the payment method. Raises NotFoundError, DeclinedError, RefusedError, UnavailableError."""
    key = claim.stripe_key(setup_id, "confirm")
    call = StripeCall(
        key, Action.CONFIRM_SETUP, dict(fields), target=_checked(setup_id), api_key=claim.api_key_id
    )
    return await _known(setup_id, _carry_out(engine, stripe, call, setup_id, claim))


async def cancel(engine: AsyncEngine, stripe: StripeGateway, setup_id: str, claim: Claim) -> Setup:
    """Give it up. Raises NotFoundError, RefusedError, UnavailableError, StripeAccessError."""
    key = claim.stripe_key(setup_id, "cancel")
    call = StripeCall(key, Action.CANCEL_SETUP, {}, target=_checked(setup_id), api_key=claim.api_key_id)
    return await _known(setup_id, _carry_out(engine, stripe, call, setup_id, claim))


async def read(stripe: StripeGateway, setup_id: str) -> Setup:
    """As it stands at Stripe. Raises NotFoundError, UnavailableError, StripeAccessError."""
    return _setup(await _known(setup_id, stripe.retrieve_setup_intent(_checked(setup_id))))


async def settle(
    engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, _claim: Claim, *, fresh: bool
) -> Setup:
    """Make the call. Raises DeclinedError, RefusedError, UnavailableError, StripeAccessError."""
    made = _setup(await make_plain(engine, stripe, call, fresh=fresh))
    async with engine.begin() as connection:
        await calls.end(connection, call, DONE, call.payment_id)
    return made


async def look_up(engine: AsyncEngine, _stripe: StripeGateway, call: StripeCall, _claim: Claim) -> None:
    """Nothing of a SetupIntent is kept here: what must not be made again is not made again."""
    async with engine.begin() as connection:
        await calls.remove(connection, call.key)


async def _carry_out(
    engine: AsyncEngine, stripe: StripeGateway, call: StripeCall, resource_id: str, claim: Claim
) -> Setup:
    async with claim.accepting(engine, resource_id) as connection:
        call = await calls.record(connection, call)
    return await settle(engine, stripe, call, claim, fresh=claim.resource_id is None)


async def _known(setup_id: str, call: Awaitable[Known]) -> Known:
    try:
        return await call
    except RefusedError as error:
        if error.stripe_code == "resource_missing" and error.extra.get("stripe_param") in ("intent", None):
            raise _no_setup(setup_id) from error
        raise


def _checked(setup_id: str) -> str:
    if not storable(setup_id):
        raise _no_setup(setup_id)
    return setup_id


def _setup(answer: StripeAnswer) -> Setup:
    try:
        return Setup(SetupIntent.read(answer.object))
    except PayloadError as error:
        raise UnavailableError("Stripe's answer cannot be read.", outcome_unknown=True) from error


def _no_setup(setup_id: str) -> NotFoundError:
    return NotFoundError(f"There is no setup intent {setup_id[:300]!r}.", param="id")
