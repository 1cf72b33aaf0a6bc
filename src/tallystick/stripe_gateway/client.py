"""Calls to Stripe: the only way out, on the official SDK.

No call is made inside a database transaction. Every method raises DeclinedError, RefusedError,
UnavailableError (all in ``answers``) or StripeAccessError, and nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import orjson
import stripe
import structlog

from tallystick.settings import Settings
from tallystick.stripe_gateway.answers import DeclinedError, RefusedError, StripeAnswer, UnavailableError
from tallystick.stripe_gateway.breaker import Breaker, BreakerState
from tallystick.stripe_gateway.customer_calls import PAGE, CustomerCalls, path_of
from tallystick.stripe_gateway.failures import failure, is_replay, stripe_time
from tallystick.stripe_gateway.keyring import Credentials, Keyring, hint
from tallystick.stripe_gateway.transport import Transport, Tries, tries

__all__ = ["StripeAnswer", "StripeGateway"]

log = structlog.get_logger(__name__)

_NO_KEY: Final = "sk_none"
"""The SDK wants a key when it is made; each call brings its own."""
API_VERSION: Final = stripe.api_version
"""The version of Stripe's API that our calls speak."""
_INTENTS: Final = "/v1/payment_intents"
_REFUNDS: Final = "/v1/refunds"
_BALANCE_TRANSACTIONS: Final = "/v1/balance_transactions"
_EVENTS: Final = "/v1/events"


class StripeGateway(CustomerCalls):
    """One a process; opens connections when first used. ``close`` it at the end."""

    def __init__(self, settings: Settings, keyring: Keyring | None = None) -> None:
        """``keyring``: where the keys come from; without one, those of the settings."""
        stripe.enable_telemetry = False
        # At debug the SDK logs bodies, and with them client secrets.
        logging.getLogger("stripe").setLevel(logging.WARNING)
        self._keyring = keyring or Keyring(Credentials.of(settings))
        self._breaker = Breaker(
            threshold=settings.stripe_breaker_outages,
            window_s=settings.stripe_breaker_window_s,
            pause_s=settings.stripe_breaker_pause_s,
        )
        self._budget_s = settings.stripe_budget_s
        self._transport = Transport(
            self._breaker,
            connections=settings.stripe_connections,
            queue_s=settings.stripe_queue_s,
            timeout_s=settings.stripe_timeout_s,
            connect_timeout_s=settings.stripe_connect_timeout_s,
        )
        client = stripe.StripeClient(
            _NO_KEY,
            base_addresses={"api": settings.stripe_api_base.rstrip("/")},
            http_client=self._transport,
            max_network_retries=settings.stripe_max_retries,
        )
        # The typed services build a tree of objects that we would only take apart again.
        self._request: Callable[..., Awaitable[stripe.StripeResponse]] = client.raw_request_async

    @property
    def livemode(self) -> bool:
        """Whether the key moves real money; raises StripeAccessError without a key."""
        return self._keyring.livemode

    @property
    def breaker(self) -> BreakerState:
        """Whether calls to Stripe pass, or are refused because it does not answer."""
        return self._breaker.state

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close_async()

    async def create_payment_intent(self, params: Mapping[str, Any], idempotency_key: str) -> StripeAnswer:
        """``params`` as Stripe names them."""
        return await self._change_intent(_INTENTS, params, idempotency_key)

    async def update_payment_intent(
        self, intent: str, params: Mapping[str, Any], idempotency_key: str
    ) -> StripeAnswer:
        """``params`` as Stripe names them; an empty text unsets."""
        return await self._change_intent(path_of(_INTENTS, intent), params, idempotency_key)

    async def confirm_payment_intent(
        self, intent: str, params: Mapping[str, Any], idempotency_key: str
    ) -> StripeAnswer:
        """``params`` as Stripe names them."""
        return await self._change_intent(path_of(_INTENTS, intent, "confirm"), params, idempotency_key)

    async def capture_payment_intent(
        self, intent: str, params: Mapping[str, Any], idempotency_key: str
    ) -> StripeAnswer:
        """``params`` as Stripe names them."""
        return await self._change_intent(path_of(_INTENTS, intent, "capture"), params, idempotency_key)

    async def cancel_payment_intent(
        self, intent: str, params: Mapping[str, Any], idempotency_key: str
    ) -> StripeAnswer:
        """``params`` as Stripe names them."""
        return await self._change_intent(path_of(_INTENTS, intent, "cancel"), params, idempotency_key)

    async def retrieve_payment_intent(self, intent: str) -> StripeAnswer:
        """As it stands now."""
        return await self._call("get", path_of(_INTENTS, intent))

    async def search_payment_intent(self, metadata_key: str, value: str) -> StripeAnswer | None:
        """The PaymentIntent with this metadata as it stands now, the oldest if copies of it were made.

        None when Stripe's search knows no such one: it lags behind by a minute, in an outage by an hour.
        """
        params: dict[str, Any] = {"query": f"metadata['{metadata_key}']:'{value}'", "limit": PAGE}
        found = (await self._call("get", f"{_INTENTS}/search", params)).object["data"]
        if not found:
            return None
        oldest = min(found, key=lambda intent: (intent["created"], intent["id"]))
        return await self.retrieve_payment_intent(oldest["id"])

    async def create_refund(self, params: Mapping[str, Any], idempotency_key: str) -> StripeAnswer:
        """``params`` as Stripe names them."""
        answer = await self._call("post", _REFUNDS, params, idempotency_key)
        return await self._afresh(self.retrieve_refund, answer)

    async def update_refund(
        self, refund: str, params: Mapping[str, Any], idempotency_key: str
    ) -> StripeAnswer:
        """``params`` as Stripe names them; an empty text unsets."""
        answer = await self._call("post", path_of(_REFUNDS, refund), params, idempotency_key)
        return await self._afresh(self.retrieve_refund, answer)

    async def retrieve_refund(self, refund: str) -> StripeAnswer:
        """As it stands now."""
        return await self._call("get", path_of(_REFUNDS, refund))

    async def find_payment_intent(self, intent: str) -> dict[str, Any] | None:
        """The PaymentIntent; None when Stripe knows no such one."""
        return await self._find(path_of(_INTENTS, intent), {})

    async def find_refund(self, refund: str) -> dict[str, Any] | None:
        """The refund; None when Stripe knows no such one."""
        return await self._find(path_of(_REFUNDS, refund), {})

    async def retrieve_charge(self, charge: str) -> dict[str, Any] | None:
        """The charge; None when Stripe knows no such one."""
        return await self._find(path_of("/v1/charges", charge), {})

    async def find_dispute(self, dispute: str) -> dict[str, Any] | None:
        """The dispute with what it moved; None when Stripe knows no such one."""
        return await self._find(path_of("/v1/disputes", dispute), {})

    async def find_event(self, event: str) -> dict[str, Any] | None:
        """The snapshot event; None when Stripe knows no such one, or no more."""
        return await self._find(path_of(_EVENTS, event), {})

    async def find_at(self, path: str) -> dict[str, Any] | None:
        """What a path of API v1 shows; None when Stripe knows no such object."""
        return await self._find(path, {})

    async def list_refunds(self, charge: str) -> dict[str, Any]:
        """All refunds of a charge, newest first, as one ``{"data": […]}``."""
        return {"data": await self.list_refunds_of({"charge": charge})}

    async def list_refunds_of(self, whole: Mapping[str, str]) -> list[dict[str, Any]]:
        """All refunds of ``{"charge": ID}`` or ``{"payment_intent": ID}``, newest first."""
        found: list[dict[str, Any]] = []
        params: dict[str, Any] = {**whole, "limit": PAGE}
        while True:
            page = (await self._call("get", _REFUNDS, params)).object
            found += page["data"]
            if not page["has_more"] or not page["data"]:
                return found
            params["starting_after"] = page["data"][-1]["id"]

    async def retrieve_balance_transaction(self, txn: str) -> dict[str, Any] | None:
        """The balance transaction with its source inside; None when Stripe knows no such one."""
        return await self._find(path_of(_BALANCE_TRANSACTIONS, txn), {"expand": ["source"]})

    async def list_balance_transactions(
        self, created_gte: int, created_lt: int | None, starting_after: str | None
    ) -> dict[str, Any]:
        """One page of 100, newest first, with their sources inside; bounds in Unix seconds.

        ``{"data": […], "has_more": bool}``; the next page starts after the last id.
        """
        window = _window(created_gte, created_lt, starting_after)
        return (await self._call("get", _BALANCE_TRANSACTIONS, {**window, "expand": ["data.source"]})).object

    async def list_events(
        self, created_gte: int, created_lt: int | None, starting_after: str | None
    ) -> dict[str, Any]:
        """One page of 100 events, newest first, as ``list_balance_transactions`` has them."""
        return (await self._call("get", _EVENTS, _window(created_gte, created_lt, starting_after))).object

    async def _change_intent(self, path: str, params: Mapping[str, Any], key: str) -> StripeAnswer:
        try:
            answer = await self._call("post", path, params, key)
        except (DeclinedError, RefusedError) as error:
            if error.intent is not None:
                error.intent = await self._afresh(self.retrieve_payment_intent, error.intent)
            raise
        return await self._afresh(self.retrieve_payment_intent, answer)

    async def _afresh(
        self, retrieve: Callable[[str], Awaitable[StripeAnswer]], answer: StripeAnswer
    ) -> StripeAnswer:
        """Replace a replayed answer: what it says is old, while the time on it is now."""
        if not answer.replayed:
            return answer
        try:
            return await retrieve(answer.object["id"])
        except UnavailableError as error:
            raise UnavailableError(error.detail, outcome_unknown=True) from error

    async def _find(self, path: str, params: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            return (await self._call("get", path, params)).object
        except RefusedError as error:
            if error.stripe_code == "resource_missing":
                return None
            raise

    async def _call(
        self, method: str, path: str, params: Mapping[str, Any] | None = None, key: str | None = None
    ) -> StripeAnswer:
        keys = self._keyring.keys_to_try()
        known = Tries(deadline=time.monotonic() + self._budget_s)
        token = tries.set(known)
        try:
            response = await self._with_a_key(keys, method, path, {**(params or {}), "idempotency_key": key})
        except stripe.StripeError as error:
            # "from None": the SDK's error holds the request's answer whole, and may quote the key
            raise failure(error, known, secrets=keys) from None
        except (AttributeError, TypeError, ValueError) as error:  # the SDK trips over what Stripe never sends
            raise _unreadable() from error
        finally:
            tries.reset(token)
        found = orjson.loads(response.body)
        if not isinstance(found, dict):
            raise _unreadable()
        return StripeAnswer(found, stripe_time(response.headers), is_replay(response.headers))

    async def _with_a_key(
        self, keys: Sequence[str], method: str, path: str, params: Mapping[str, Any]
    ) -> stripe.StripeResponse:
        """Make the call with the first key that Stripe accepts for it: a refusal did nothing."""
        *others, last = keys
        for key in others:
            try:
                return await self._request(method, path, **params, api_key=key)
            except stripe.AuthenticationError:
                self._keyring.refuse(key)
            except stripe.PermissionError:
                log.warning("stripe_key_lacks_permission", key=hint(key), path=path)
        return await self._request(method, path, **params, api_key=last)


def _window(created_gte: int, created_lt: int | None, starting_after: str | None) -> dict[str, Any]:
    created = {"gte": created_gte} | ({} if created_lt is None else {"lt": created_lt})
    after = {} if starting_after is None else {"starting_after": starting_after}
    return {"limit": PAGE, "created": created, **after}


def _unreadable() -> UnavailableError:
    return UnavailableError("What answered is not Stripe, or cannot be read.", outcome_unknown=True)
