"""Delivers events as Stripe does: signed, many at once, and again until they are acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

import aiohttp
import orjson
from tests.builders import Json
from tests.faults.fake_stripe import FakeStripe
from tests.faults.installation import WEBHOOK_SECRET

from tallystick.stripe_gateway.signature import sign

NO_ANSWER = 0
"""Stands among the statuses for a connection that was refused or cut."""
_PAUSE_S = 0.1
_AT_ONCE = 16


class Sender:
    """Remembers every answer. Use it as a context manager."""

    def __init__(self, api_url: str, stripe: FakeStripe) -> None:
        self._url = f"{api_url}/webhooks/stripe"
        self._stripe = stripe
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=_AT_ONCE))
        self.answers: Counter[int] = Counter()
        self.acknowledged: set[str] = set()
        self.without_retry_after = 0

    async def __aenter__(self) -> Sender:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def deliver(self, events: Sequence[Json], *, tries: int = 600) -> None:
        """Deliver them all; one that is not acknowledged is tried again, ``tries`` times in all."""
        await asyncio.gather(*(self._deliver(event, tries) for event in events))

    async def _deliver(self, event: Json, tries: int) -> None:
        for number in range(tries):
            if number:
                await asyncio.sleep(_PAUSE_S)
            async with self._gate:
                self._stripe.tell(event)
                status = await self._post(orjson.dumps(event))
            self.answers[status] += 1
            if status == 200:
                self.acknowledged.add(event["id"])
                return

    async def _post(self, body: bytes) -> int:
        headers = {"Stripe-Signature": sign(body, WEBHOOK_SECRET, int(time.time()))}
        try:
            async with self._session.post(self._url, data=body, headers=headers) as answer:
                await answer.read()
                if answer.status == 503 and "Retry-After" not in answer.headers:
                    self.without_retry_after += 1
                return answer.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return NO_ANSWER
