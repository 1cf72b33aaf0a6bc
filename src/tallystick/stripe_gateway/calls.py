"""The one road of a call to Stripe: the key, the budget, the breaker, the SDK, and what its answer means."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson
import stripe
import structlog

from tallystick.monitoring import metrics
from tallystick.settings import Settings
from tallystick.stripe_gateway.answers import RefusedError, StripeAnswer, UnavailableError
from tallystick.stripe_gateway.breaker import Breaker, BreakerState
from tallystick.stripe_gateway.failures import failure, is_replay, stripe_time
from tallystick.stripe_gateway.keyring import Credentials, Keyring, hint
from tallystick.stripe_gateway.transport import Transport, Tries, tries

log = structlog.get_logger(__name__)

PAGE: Final = 100
"""Most rows that Stripe puts into a page of a list."""
_NO_KEY: Final = "sk_none"
"""The SDK wants a key when it is made; each call brings its own."""


class Calls:
    """Makes calls for the gateway, which names them."""

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

    async def _list(self, path: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All rows of a list, page by page, in its order."""
        found: list[dict[str, Any]] = []
        after: dict[str, Any] = {}
        while True:
            page = (await self._call("get", path, {**params, **after, "limit": PAGE})).object
            found += page["data"]
            if not page["has_more"] or not page["data"]:
                return found
            after = {"starting_after": page["data"][-1]["id"]}

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
        answered_at = stripe_time(response.headers)
        metrics.STRIPE_CLOCK.set(answered_at - int(time.time()))
        return StripeAnswer(found, answered_at, is_replay(response.headers))

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


def path_of(*parts: str) -> str:
    """A path whose ids cannot leave their place."""
    return parts[0] + "".join(f"/{quote(part, safe='')}" for part in parts[1:])


def _unreadable() -> UnavailableError:
    return UnavailableError("What answered is not Stripe, or cannot be read.", outcome_unknown=True)
