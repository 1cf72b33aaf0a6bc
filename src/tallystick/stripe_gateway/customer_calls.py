"""Calls to Stripe about customers, what they pay with, and saving it for later: a part of the gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tallystick.stripe_gateway.answers import StripeAnswer
from tallystick.stripe_gateway.calls import Calls, path_of

_CUSTOMERS: Final = "/v1/customers"
_METHODS: Final = "/v1/payment_methods"
_SETUPS: Final = "/v1/setup_intents"


class CustomerCalls(Calls):
    """``params`` are as Stripe names them; an empty text unsets. All raise what the gateway raises."""

    async def create_customer(self, params: Mapping[str, Any], idempotency_key: str) -> StripeAnswer:
        """The customer, as it stands now where the call was made before."""
        answer = await self._call("post", _CUSTOMERS, params, idempotency_key)
        return await self._afresh(self.retrieve_customer, answer)

    async def update_customer(
        self, customer: str, params: Mapping[str, Any], idempotency_key: str
    ) -> StripeAnswer:
        """The customer after the change."""
        answer = await self._call("post", path_of(_CUSTOMERS, customer), params, idempotency_key)
        return await self._afresh(self.retrieve_customer, answer)

    async def delete_customer(
        self, customer: str, _params: Mapping[str, Any], _idempotency_key: str
    ) -> StripeAnswer:
        """``{"id": …, "deleted": true}``; RefusedError ``resource_missing`` where it was deleted before.

        Called as all changes are, though Stripe takes neither for it: it is done once by itself.
        """
        return await self._call("delete", path_of(_CUSTOMERS, customer))

    async def retrieve_customer(self, customer: str) -> StripeAnswer:
        """As it stands now; one that was deleted as ``{"id": …, "deleted": true}``."""
        return await self._call("get", path_of(_CUSTOMERS, customer))

    async def find_customer(self, customer: str) -> dict[str, Any] | None:
        """The customer, or what is left of one that was deleted; None when Stripe knows no such one."""
        return await self._find(path_of(_CUSTOMERS, customer), {})

    async def find_payment_method(self, payment_method: str) -> dict[str, Any] | None:
        """The payment method; None when Stripe knows no such one."""
        return await self._find(path_of(_METHODS, payment_method), {})

    async def list_payment_methods(self, customer: str) -> list[dict[str, Any]]:
        """All payment methods that are attached to a customer, newest first."""
        return await self._list(path_of(_CUSTOMERS, customer, "payment_methods"), {})

    async def attach_payment_method(
        self, payment_method: str, params: Mapping[str, Any], idempotency_key: str
    ) -> StripeAnswer:
        """The payment method, attached. Raises DeclinedError where a card does not pass its check."""
        path = path_of(_METHODS, payment_method, "attach")
        return await self._afresh(
            self.retrieve_payment_method, await self._call("post", path, params, idempotency_key)
        )

    async def detach_payment_method(
        self, payment_method: str, params: Mapping[str, Any], idempotency_key: str
    ) -> StripeAnswer:
        """The payment method, which can never be attached again."""
        path = path_of(_METHODS, payment_method, "detach")
        return await self._afresh(
            self.retrieve_payment_method, await self._call("post", path, params, idempotency_key)
        )

    async def retrieve_payment_method(self, payment_method: str) -> StripeAnswer:
        """As it stands now."""
        return await self._call("get", path_of(_METHODS, payment_method))

    async def create_setup_intent(self, params: Mapping[str, Any], idempotency_key: str) -> StripeAnswer:
        """The SetupIntent. Raises DeclinedError where the attempt fails."""
        answer = await self._call("post", _SETUPS, params, idempotency_key)
        return await self._afresh(self.retrieve_setup_intent, answer)

    async def confirm_setup_intent(
        self, setup_intent: str, params: Mapping[str, Any], idempotency_key: str
    ) -> StripeAnswer:
        """The SetupIntent after the attempt. Raises DeclinedError where it fails."""
        path = path_of(_SETUPS, setup_intent, "confirm")
        answer = await self._call("post", path, params, idempotency_key)
        return await self._afresh(self.retrieve_setup_intent, answer)

    async def cancel_setup_intent(
        self, setup_intent: str, params: Mapping[str, Any], idempotency_key: str
    ) -> StripeAnswer:
        """The SetupIntent, canceled."""
        path = path_of(_SETUPS, setup_intent, "cancel")
        answer = await self._call("post", path, params, idempotency_key)
        return await self._afresh(self.retrieve_setup_intent, answer)

    async def retrieve_setup_intent(self, setup_intent: str) -> StripeAnswer:
        """As it stands now."""
        return await self._call("get", path_of(_SETUPS, setup_intent))
