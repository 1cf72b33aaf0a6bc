"""A payment command on a bad day at Stripe, and those who heal it: the client, the completer, the webhook."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
from sqlalchemy import text
from tests.integration.api.conftest import SECRETS, Face, Json

from tallystick.ledger.book import Book
from tallystick.pipeline.completer import Completer
from tallystick.pipeline.failures import Failures
from tallystick.pipeline.process import Processor
from tallystick.stripe_gateway.signature import sign

AMOUNT = 1000
CAPTURED = 600
REFUNDED = 300
FAULTS: dict[str, Json] = {
    "cut-before": {"action": "cut", "when": "before"},
    "cut-after": {"action": "cut", "when": "after"},
    "timeout-before": {"action": "timeout", "when": "before", "seconds": 0.4},
    "timeout-after": {"action": "timeout", "when": "after", "seconds": 0.4},
    "500-before": {"action": "status", "status": 500, "when": "before"},
    "500-after": {"action": "status", "status": 500, "when": "after"},
    "429": {"action": "status", "status": 429, "when": "before"},
    "409-lock-timeout": {"action": "status", "status": 409, "code": "lock_timeout", "when": "before"},
}
NEVER_HEARD = {"429"}
"""Stripe said so: the work was not done, and there is nothing to find out."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command: the payment it needs, what it asks, and what must come of it."""

    verb: str
    body: Json
    status: str
    answer: int
    before: Json | None = None
    """What the payment is made with; None for a command that makes it."""
    ledger: dict[str, int] = field(default_factory=dict)
    """The ledger's effects by what their keys begin and end with, and their amounts."""

    @property
    def stripe_path(self) -> str:
        if self.verb == "refund":
            return "/v1/refunds"
        if self.verb == "update":
            return "/v1/payment_intents/*"
        return "/v1/payment_intents" + (f"/*/{self.verb}" if self.before is not None else "")


_CARD = {"payment_method": "pm_card_visa"}
_SALE = {"charge:captured": AMOUNT, "payment:sale": AMOUNT}
COMMANDS: dict[str, Command] = {
    "create": Command("create", {}, "requires_payment_method", 201),
    "pay": Command("create", {**_CARD, "confirm": True}, "succeeded", 201, ledger=_SALE),
    "declined": Command(
        "create",
        {"payment_method": "pm_card_chargeDeclined", "confirm": True},
        "requires_payment_method",
        402,
    ),
    "update": Command("update", {"description": "changed"}, "requires_payment_method", 200, before={}),
    "confirm": Command("confirm", _CARD, "succeeded", 200, before={}, ledger=_SALE),
    "capture": Command(
        "capture",
        {"amount": CAPTURED},
        "succeeded",
        200,
        before={**_CARD, "confirm": True, "capture_method": "manual"},
        ledger={"charge:captured": CAPTURED, "payment:sale": CAPTURED},
    ),
    "cancel": Command(
        "cancel", {}, "canceled", 200, before={**_CARD, "confirm": True, "capture_method": "manual"}
    ),
    "refund": Command(
        "refund",
        {"amount": REFUNDED},
        "succeeded",
        201,
        before={**_CARD, "confirm": True},
        ledger={**_SALE, "refund:": REFUNDED, "refund:applied": REFUNDED},
    ),
}


class Scene:
    """One command on one payment, and a look at everything it touches."""

    def __init__(self, face: Face, command: Command) -> None:
        self.face = face
        self.command = command
        self.key = secrets.token_hex(8)
        self.payment_id = ""
        self._path = "/payments"
        self._body = command.body

    async def prepare(self) -> None:
        """Make the payment that the command is about."""
        order = {"amount": AMOUNT, "currency": "usd"}
        if self.command.before is None:
            self._body = {**order, **self.command.body}
            return
        made = await self.face.post("/payments", {**order, **self.command.before})
        assert made.status_code == 201, made.text
        self.payment_id = made.json()["id"]
        verb = self.command.verb
        self._path = f"/payments/{self.payment_id}" + ("" if verb == "update" else f"/{verb}")

    async def ask(self) -> httpx.Response:
        """The command, under its key."""
        answer = await self.face.post(self._path, self._body, key=self.key)
        shown = answer.json()
        if not self.payment_id:
            self.payment_id = shown.get("payment_id") or shown.get("id", "")
        return answer

    async def complete(self) -> None:
        """The worker's completer, until it finds nothing to do."""
        app = self.face.app
        completer = Completer(app.engine, app.stripe, app.settings)
        while await completer.complete_due():
            pass

    async def hear_webhooks(self) -> None:
        """Stripe's events about the payment arrive and are processed."""
        events = [event for event in await self._list("events", limit=100) if self._is_about(event)]
        for event in events:
            body = orjson.dumps(event)
            signed = {"Stripe-Signature": sign(body, SECRETS[0], int(time.time()))}
            answer = await self.face.http.post("/webhooks/stripe", content=body, headers=signed)
            assert answer.status_code == 200
        app = self.face.app
        processor = Processor(app.engine, Book(), app.settings, Failures(app.engine, app.settings))
        await processor.process([event["id"] for event in events])

    async def intents(self) -> list[Json]:
        """All PaymentIntents of the payment at Stripe."""
        query = f"metadata['tallystick_payment']:'{self.payment_id}'"
        return await self._list("payment_intents/search", query=query)

    async def refunds(self) -> list[Json]:
        """All refunds of the payment at Stripe that a refund of ours asked for."""
        (intent,) = await self.intents()
        found = await self._list("refunds", payment_intent=intent["id"], limit=100)
        return [refund for refund in found if "tallystick_refund" in refund["metadata"]]

    async def read(self) -> Json:
        """The payment as the API shows it."""
        answer = await self.face.http.get(f"/payments/{self.payment_id}")
        assert answer.status_code == 200, answer.text
        shown: Json = answer.json()
        return shown

    async def open_calls(self) -> int:
        """Calls to Stripe about the payment whose outcome is not stored."""
        query = text("SELECT count(*) FROM stripe_calls WHERE payment_id = :id")
        async with self.face.app.engine.connect() as connection:
            return int((await connection.execute(query, {"id": self.payment_id})).scalar_one())

    async def assert_undecided(self) -> None:
        """What anybody sees while the outcome is not known."""
        read = await self.read()
        if self.command.verb == "refund":
            assert [refund["status"] for refund in read["refunds"]] == ["unknown"]
        elif self.command.verb == "update":  # which leaves the status as it is
            assert (read["status"], read["description"]) == (self.command.status, None)
        else:
            assert read["status"] == "unknown"
        assert await self.open_calls() == 1

    async def assert_done(self) -> None:
        """Done once, at Stripe and here, with the ledger's legs for it."""
        (intent,) = await self.intents()
        refunds = await self.refunds()
        is_refund = self.command.verb == "refund"
        assert [refund["amount"] for refund in refunds] == ([REFUNDED] if is_refund else [])
        read = await self.read()
        assert read["status"] == intent["status"] == ("succeeded" if is_refund else self.command.status)
        assert read["stripe"]["payment_intent"] == intent["id"]
        assert read["description"] == intent["description"] == self.command.body.get("description")
        assert read["amount_captured"] == intent["amount_received"]
        ours = [(refund["stripe"]["refund"], refund["status"]) for refund in read["refunds"]]
        assert ours == [(refund["id"], "succeeded") for refund in refunds]
        assert await self.open_calls() == 0

    async def assert_ledger(self) -> None:
        """Exactly the command's effects, each balanced, once its events are in."""
        await self.hear_webhooks()
        effects: dict[str, int] = {}
        for posted in (await self.read())["ledger"]:
            kind, _, rest = posted["effect_key"].partition(":")
            effect = f"{kind}:{rest.partition(':')[2]}"
            debits = sum(leg["amount"] for leg in posted["entries"] if leg["direction"] == "debit")
            credits_ = sum(leg["amount"] for leg in posted["entries"] if leg["direction"] == "credit")
            assert debits == credits_
            assert effect not in effects, "posted once"
            effects[effect] = debits
        assert effects == self.command.ledger

    def assert_answer(self, answer: httpx.Response) -> None:
        """What the command's client hears in the end."""
        assert answer.status_code == self.command.answer, answer.text
        shown = answer.json()
        if answer.status_code == 402:
            assert shown["code"] == "card_declined"
            shown = shown["payment"]
        assert shown["status"] == self.command.status
        assert self.payment_id in (shown["id"], shown.get("payment"))

    def _is_about(self, event: Json) -> bool:
        return self.payment_id in orjson.dumps(event["data"]["object"].get("metadata")).decode()

    async def _list(self, path: str, **params: Any) -> list[Json]:
        async with httpx.AsyncClient(base_url=self.face.sandbox.url, auth=("sk_test_abc", "")) as stripe:
            found: list[Json] = (await stripe.get(f"/v1/{path}", params=params)).json()["data"]
            return found
