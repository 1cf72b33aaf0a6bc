"""As much of Stripe as a worker asks for, over HTTP, from a story: balance transactions and charges."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from aiohttp import web
from tests.builders import Json, StripeStory

from tallystick.embedded.sockets import listen

_LEAD = 6
"""A balance transaction is listed when so many events before the one that names it are under way."""


class FakeStripe:
    """Answers from a story. The story plays in another year, so the bounds of a list are passed over."""

    def __init__(self, story: StripeStory) -> None:
        self.url = ""
        self.calls = 0
        self._charges = story.charges
        self._transactions = story.balance_transactions
        places = {event["id"]: place for place, event in enumerate(story.events)}
        self._places = places
        self._births = [_birth(txn["id"], story.events) for txn in self._transactions]
        self._latest = 0
        self._answering = asyncio.Event()
        self._answering.set()

    def tell(self, event: Json) -> None:
        """The event is under way: what happened up to it is listed."""
        self._latest = max(self._latest, self._places[event["id"]])

    def hang(self) -> None:
        """Take calls, and answer none."""
        self._answering.clear()

    def answer(self) -> None:
        """Answer again, also what was asked meanwhile."""
        self._answering.set()

    def _listed(self) -> list[Json]:
        born = zip(self._births, self._transactions, strict=True)
        return [txn for birth, txn in born if birth <= self._latest + _LEAD][::-1]

    async def list_transactions(self, request: web.Request) -> web.Response:
        """GET /v1/balance_transactions"""
        await self._answering.wait()
        self.calls += 1
        listed = self._listed()
        if after := request.query.get("starting_after"):
            listed = listed[[txn["id"] for txn in listed].index(after) + 1 :]
        limit = int(request.query.get("limit", "10"))
        return _json(
            {"object": "list", "data": listed[:limit], "has_more": len(listed) > limit, "url": request.path}
        )

    async def list_none(self, request: web.Request) -> web.Response:
        """GET /v1/events: none is old enough to be missed, and this Stripe keeps none for longer.

        GET /v1/invoice_payments, GET /v1/checkout/sessions: what was not paid through the API is a sale.
        """
        await self._answering.wait()
        self.calls += 1
        return _json({"object": "list", "data": [], "has_more": False, "url": request.path})

    async def retrieve_transaction(self, request: web.Request) -> web.Response:
        """GET /v1/balance_transactions/ID"""
        ident = request.match_info["id"]
        return await self._found(next((txn for txn in self._transactions if txn["id"] == ident), None))

    async def retrieve_charge(self, request: web.Request) -> web.Response:
        """GET /v1/charges/ID"""
        return await self._found(self._charges.get(request.match_info["id"]))

    async def _found(self, obj: Json | None) -> web.Response:
        await self._answering.wait()
        self.calls += 1
        if obj is not None:
            return _json(obj)
        error = {"type": "invalid_request_error", "code": "resource_missing", "message": "No such object"}
        return _json({"error": error}, status=404)


@asynccontextmanager
async def running_fake_stripe(story: StripeStory) -> AsyncIterator[FakeStripe]:
    """The fake on a free port, served by this process's loop."""
    fake = FakeStripe(story)
    app = web.Application()
    app.router.add_get("/v1/balance_transactions", fake.list_transactions)
    app.router.add_get("/v1/balance_transactions/{id}", fake.retrieve_transaction)
    for path in ("/v1/events", "/v1/invoice_payments", "/v1/checkout/sessions"):
        app.router.add_get(path, fake.list_none)
    app.router.add_get("/v1/charges/{id}", fake.retrieve_charge)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    sock = listen("127.0.0.1", 0)
    try:
        await web.SockSite(runner, sock).start()
        fake.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        yield fake
    finally:
        fake.answer()
        await runner.cleanup()
        sock.close()


def _birth(txn: str, events: list[Json]) -> int:
    """The place of the first event that names the balance transaction."""
    for place, event in enumerate(events):
        obj = event["data"]["object"]
        if txn in (obj.get("balance_transaction"), obj.get("failure_balance_transaction")):
            return place
    raise AssertionError(f"no event names {txn}")


def _json(obj: Json, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(obj), status=status, content_type="application/json")
