"""Calls to Stripe that only an operator makes: what a key may do, account, balance, webhook endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tallystick.stripe_gateway.answers import RefusedError, StripeAnswer
from tallystick.stripe_gateway.calls import PAGE
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.permissions import Permission

_ENDPOINTS: Final = "/v1/webhook_endpoints"


class OperatorGateway(StripeGateway):
    """The gateway with what ``tallystick doctor`` and ``tallystick adopt`` ask besides."""

    async def account(self) -> StripeAnswer:
        """The account that the key belongs to."""
        return await self._call("get", "/v1/account")

    async def balance(self) -> dict[str, Any]:
        """What the account holds at Stripe now."""
        return (await self._call("get", "/v1/balance")).object

    async def page_of_movements(self, narrowed: Mapping[str, Any], after: str | None) -> dict[str, Any]:
        """One page of 100 balance transactions, newest first, without their sources.

        ``narrowed``: Stripe's own parameters, such as ``created`` and ``type``; ``after``: the last id of the
        page before. ``{"data": […], "has_more": bool}``.
        """
        behind = {} if after is None else {"starting_after": after}
        return (
            await self._call("get", "/v1/balance_transactions", {**narrowed, **behind, "limit": PAGE})
        ).object

    async def try_permission(self, permission: Permission) -> int | None:
        """Ask for something harmless that needs the permission; Stripe's clock when it answered, if it said.

        Writing is asked for without any parameter, which Stripe refuses after it has looked at the key.
        Raises MissingPermissionError, StripeAccessError for a key that is not accepted, UnavailableError.
        """
        path = f"/v1/{permission.resource}"
        try:
            if permission.level == "read":
                return (await self._call("get", path, {"limit": 1, **dict(permission.params)})).at
            await self._call("post", path)
        except RefusedError:
            pass
        return None

    async def list_webhook_endpoints(self) -> list[dict[str, Any]]:
        """All webhook endpoints of the account; Stripe allows 16."""
        found: list[dict[str, Any]] = (await self._call("get", _ENDPOINTS, {"limit": 100})).object["data"]
        return found

    async def create_webhook_endpoint(self, url: str, events: list[str], version: str) -> dict[str, Any]:
        """A new endpoint, with its ``secret``, which is shown this once."""
        params = {"url": url, "enabled_events": events, "api_version": version}
        return (await self._call("post", _ENDPOINTS, {**params, "description": "Tallystick"})).object

    async def mend_webhook_endpoint(self, endpoint: str, events: list[str]) -> dict[str, Any]:
        """Enable an endpoint and give it these events."""
        params = {"enabled_events": events, "disabled": False}
        return (await self._call("post", f"{_ENDPOINTS}/{endpoint}", params)).object
