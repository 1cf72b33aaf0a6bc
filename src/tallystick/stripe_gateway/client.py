"""Calls to Stripe: the only way out, on the official SDK.

No call is made inside a database transaction. Every method raises DeclinedError, RefusedError,
UnavailableError (all in ``answers``) or StripeAccessError, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import stripe

from tallystick.stripe_gateway.answers import DeclinedError, RefusedError, StripeAnswer
from tallystick.stripe_gateway.billing_calls import BillingCalls
from tallystick.stripe_gateway.calls import PAGE, path_of

__all__ = ["StripeAnswer", "StripeGateway"]

API_VERSION: Final = stripe.api_version
"""The version of Stripe's API that our calls speak."""
_INTENTS: Final = "/v1/payment_intents"
_REFUNDS: Final = "/v1/refunds"
_BALANCE_TRANSACTIONS: Final = "/v1/balance_transactions"
_EVENTS: Final = "/v1/events"


class StripeGateway(BillingCalls):
    """One a process; opens connections when first used. ``close`` it at the end."""

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

    async def retrieve_settled_charge(self, charge: str) -> dict[str, Any] | None:
        """The charge with its balance transaction inside, if it has one; None when Stripe knows none."""
        return await self._find(path_of("/v1/charges", charge), {"expand": ["balance_transaction"]})

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
        return await self._list(_REFUNDS, whole)

    async def retrieve_balance_transaction(self, txn: str) -> dict[str, Any] | None:
        """The balance transaction with its source inside; None when Stripe knows no such one."""
        return await self._find(path_of(_BALANCE_TRANSACTIONS, txn), {"expand": ["source"]})

    async def find_payout(self, payout: str) -> dict[str, Any] | None:
        """The payout; None when Stripe knows no such one."""
        return await self._find(path_of("/v1/payouts", payout), {})

    async def list_payout_transactions(self, payout: str, starting_after: str | None) -> dict[str, Any]:
        """A page of what an automatic payout paid out, as ``list_balance_transactions`` has them."""
        after = {} if starting_after is None else {"starting_after": starting_after}
        params = {"payout": payout, "limit": PAGE, "expand": ["data.source"], **after}
        return (await self._call("get", _BALANCE_TRANSACTIONS, params)).object

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


def _window(created_gte: int, created_lt: int | None, starting_after: str | None) -> dict[str, Any]:
    created = {"gte": created_gte} | ({} if created_lt is None else {"lt": created_lt})
    after = {} if starting_after is None else {"starting_after": starting_after}
    return {"limit": PAGE, "created": created, **after}
