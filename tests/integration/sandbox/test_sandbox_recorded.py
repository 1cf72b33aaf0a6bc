"""Recorded requests to the real Stripe, made again: same status, same keys, same values where they are given.

``tests/fixtures/recorded_requests.jsonl`` holds what was asked (ids as ``{customer}`` and the like) and what
is to be compared of the answer: the keys of every hash in it, and the values that neither chance, nor the
clock, nor the recording account decided. From the test cassettes of the MIT-licensed Ruby gem pay.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from tests.integration.sandbox.support import Raw

Json = dict[str, Any]

FIXTURE: Final = Path(__file__).parents[2] / "fixtures" / "recorded_requests.jsonl"
ROWS: Final[list[Json]] = [json.loads(line) for line in FIXTURE.read_bytes().splitlines()]

DIFFERENT: Final[dict[str, str]] = {
    "40:lines.data[].description": "names the day",
}
"""Places in answers that differ (``row:path``, or ``*:path``), and why."""


class World:
    """What must be there before a recorded request, made through the API."""

    def __init__(self, raw: Raw, version: str) -> None:
        self._raw = raw
        self._version = version
        self.ids: dict[str, str] = {}

    async def ask(self, method: str, path: str, form: Any = None) -> Json:
        status, body = await answered(self._raw.url, method, path, form, self._version)
        assert status == 200, body
        return body

    async def customer(self, card: str | None = None) -> str:
        """A customer, with a card as its default payment method."""
        made = await self.ask("POST", "/v1/customers", {"email": "stripe@example.org", "name": "Stripe User"})
        self.ids["customer"] = made["id"]
        if card is not None:
            attached = await self.ask("POST", f"/v1/payment_methods/{card}/attach", {"customer": made["id"]})
            self.ids["payment_method"] = attached["id"]
            setting = {"invoice_settings[default_payment_method]": attached["id"]}
            await self.ask("POST", f"/v1/customers/{made['id']}", setting)
        return str(made["id"])

    async def payment(self, amount: int, *, capture: str = "automatic_async", **form: str) -> None:
        """A payment, settled."""
        await self.customer("pm_card_visa")
        given = {
            "amount": str(amount),
            "currency": "usd",
            "customer": self.ids["customer"],
            "payment_method": self.ids["payment_method"],
            "confirm": "true",
            "return_url": "http://localhost:3000/",
            "capture_method": capture,
            **form,
        }
        self.name(await self.ask("POST", "/v1/payment_intents", given))
        await self._raw.control("POST", "settle")

    async def subscription(self, amount: int, *, card: str = "pm_card_visa", quantity: int = 1) -> None:
        """A subscription to a monthly price, its first invoice paid (or waiting for authentication)."""
        customer = await self.customer(card)
        product = await self.ask("POST", "/v1/products", {"name": "Test Subscription"})
        terms = {
            "product": product["id"],
            "currency": "usd",
            "unit_amount": str(amount),
            "recurring[interval]": "month",
        }
        price = await self.ask("POST", "/v1/prices", terms)
        plan = {"product": product["id"], "currency": "usd", "amount": "25000", "interval": "year"}
        self.ids["plan"] = (await self.ask("POST", "/v1/plans", plan))["id"]
        self.ids["price"] = price["id"]
        given = {
            "customer": customer,
            "items[0][price]": price["id"],
            "items[0][quantity]": str(quantity),
            "payment_behavior": "allow_incomplete",
            "expand[]": "latest_invoice.payments",
        }
        made = await self.ask("POST", "/v1/subscriptions", given)
        self.ids["subscription"] = made["id"]
        self.ids["item"] = made["items"]["data"][0]["id"]
        await self.billed(made["latest_invoice"])

    async def billed(self, invoice: Json) -> None:
        """Name an invoice, expanded with its payments, and what pays it."""
        self.ids["invoice"] = invoice["id"]
        (payment,) = invoice["payments"]["data"]
        intent = payment["payment"]["payment_intent"]
        self.name(await self.ask("GET", f"/v1/payment_intents/{intent}"))
        await self._raw.control("POST", "settle")

    async def invoice(self, amount: int | None, *, finalised: bool = False, paid: bool = False) -> None:
        """An invoice for one item."""
        customer = await self.customer("pm_card_visa")
        if amount is not None:
            item = {"customer": customer, "amount": str(amount), "currency": "usd"}
            item["description"] = "One-time setup fee"
            await self.ask("POST", "/v1/invoiceitems", item)
        form = {"customer": customer, "pending_invoice_items_behavior": "include"}
        made = await self.ask("POST", "/v1/invoices", form)
        self.ids["invoice"] = made["id"]
        if finalised or paid:
            await self.ask("POST", f"/v1/invoices/{made['id']}/finalize")
        if paid:
            done = await self.ask("POST", f"/v1/invoices/{made['id']}/pay", {"expand[]": "payments"})
            await self.billed(done)

    def name(self, intent: Json) -> None:
        """Name a PaymentIntent and its charge."""
        self.ids["payment_intent"] = intent["id"]
        if intent["latest_charge"] is not None:
            self.ids["charge"] = intent["latest_charge"]


Prepare = Callable[[World], Awaitable[Any]]

SHIPPING: Final = {
    "shipping[name]": "Example User",
    "shipping[address][line1]": "One Infinite Loop",
    "shipping[address][city]": "Cupertino",
    "shipping[address][state]": "CA",
}


async def one_time_price(world: World) -> None:
    await world.customer()
    product = await world.ask("POST", "/v1/products", {"name": "T-shirt"})
    form = {"product": product["id"], "currency": "usd", "unit_amount": "1500"}
    world.ids["price"] = (await world.ask("POST", "/v1/prices", form))["id"]


async def connected(world: World) -> None:
    """A customer with a card, and a connected account that money can be sent to."""
    await world.customer("pm_card_visa")
    world.ids["account"] = (await world.ask("POST", "/v1/accounts", {"type": "standard"}))["id"]


async def destination_payment(world: World) -> None:
    """A payment with a connected account's part in it, not settled yet."""
    await connected(world)
    form = {
        "amount": "1000",
        "currency": "usd",
        "customer": world.ids["customer"],
        "payment_method": world.ids["payment_method"],
        "confirm": "true",
        "return_url": "http://localhost:3000/",
        "application_fee_amount": "123",
        "transfer_data[destination]": world.ids["account"],
    }
    world.name(await world.ask("POST", "/v1/payment_intents", form))


async def sca_card(world: World) -> None:
    await world.customer("pm_card_threeDSecure2Required")


async def pending_item(world: World) -> None:
    form = {"customer": await world.customer(), "amount": "1000", "currency": "usd"}
    await world.ask("POST", "/v1/invoiceitems", {**form, "description": "One-time setup fee"})


async def captured(world: World) -> None:
    await world.payment(2900, capture="manual")
    await world.ask("POST", f"/v1/payment_intents/{world.ids['payment_intent']}/capture")


async def swapped(world: World) -> None:
    """A subscription that has changed to the yearly plan, and was billed for it at once."""
    await world.subscription(2500)
    form = {
        "items[0][id]": world.ids["item"],
        "items[0][plan]": world.ids["plan"],
        "proration_behavior": "always_invoice",
        "expand[]": "latest_invoice.payments",
    }
    made = await world.ask("POST", f"/v1/subscriptions/{world.ids['subscription']}", form)
    await world.billed(made["latest_invoice"])


async def nothing_to_bill(world: World) -> None:
    await world.subscription(1000)
    form = {"customer": world.ids["customer"], "subscription": world.ids["subscription"]}
    world.ids["invoice"] = (await world.ask("POST", "/v1/invoices", form))["id"]


PREPARED: Final[dict[int, Prepare]] = {
    0: lambda world: world.customer(),
    **dict.fromkeys((3, 10, 19, 28, 31, 47, 52), lambda world: world.customer()),
    **dict.fromkeys((4, 21, 24, 34), lambda world: world.customer("pm_card_visa")),
    15: lambda world: world.customer("pm_card_visa"),
    **dict.fromkeys((16, 17, 18), lambda world: world.subscription(1000)),
    49: sca_card,
    8: one_time_price,
    9: lambda world: world.customer(),
    **dict.fromkeys((5, 6, 7), lambda world: world.subscription(1000)),
    12: connected,
    **dict.fromkeys((13, 14), destination_payment),
    20: lambda world: world.subscription(5000, quantity=5),
    22: lambda world: world.payment(2900, capture="manual"),
    23: captured,
    **dict.fromkeys((25, 32, 36, 37, 41), lambda world: world.subscription(2500)),
    **dict.fromkeys((39, 40), swapped),
    **dict.fromkeys((26, 27, 30), lambda world: world.invoice(1000)),
    29: pending_item,
    33: lambda world: world.invoice(1000, paid=True),
    35: lambda world: world.payment(2500, **SHIPPING),
    38: lambda world: world.subscription(1000),
    42: lambda world: world.subscription(1000),
    43: nothing_to_bill,
    **dict.fromkeys(
        (44, 45, 46), lambda world: world.subscription(2500, card="pm_card_threeDSecure2Required")
    ),
    48: lambda world: world.payment(2900),
    53: lambda world: world.invoice(950, paid=True),
}


async def answered(
    url: str, method: str, path: str, form: Any, version: str, *, key: str = "sk_test_sandbox"
) -> tuple[int, Json]:
    headers = {"Authorization": f"Bearer {key}", "Stripe-Version": version}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url + path, data=form, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


def differences(row: Json, answer: Json) -> list[str]:
    """What differs from the recording, as ``path: what``."""
    found = []
    for path, keys in row["keys"].items():
        ours = _at(answer, path)
        if isinstance(ours, dict) and sorted(ours) != keys:
            more, less = sorted(set(ours) - set(keys)), sorted(set(keys) - set(ours))
            found.append(f"{path}: keys +{more} -{less}")
    for path, value in row["values"].items():
        ours = _at(answer, path)
        if ours is not _NOT_THERE and ours != value:
            found.append(f"{path}: {ours!r}, recorded {value!r}")
    return found


_NOT_THERE: Final = object()


def _at(answer: Any, path: str) -> Any:
    for part in path.split(".") if path else ():
        name, _, rest = part.partition("[")
        if not isinstance(answer, dict) or (name and name not in answer):
            return _NOT_THERE
        answer = answer[name] if name else answer
        for _ in range(rest.count("]")):
            if not isinstance(answer, list) or not answer:
                return _NOT_THERE
            answer = answer[0]
    return answer


def excused(row: int, difference: str) -> bool:
    path = difference.partition(": ")[0]
    return any(f"{place}:{path}" in DIFFERENT for place in (row, "*"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['row']}-{row['method']}-{row['test']}")
async def test_the_sandbox_answers_as_stripe_did(raw: Raw, row: Json) -> None:
    number, version = row["row"], row["api_version"]
    world = World(raw, version)
    if number in PREPARED:
        await PREPARED[number](world)
    ids = {**dict.fromkeys(("customer", "payment_method", "payment_intent"), "none_1"), **world.ids}
    path, query, body = (_filled(row[name], ids) for name in ("path", "query", "body"))
    target = f"{path}?{query}" if query else path
    form = dict(pair.partition("=")[::2] for pair in body.split("&")) if body else None
    key = "sk_live_other" if row["status"] == 401 else "sk_test_sandbox"
    status, answer = await answered(raw.url, row["method"], target, form, version, key=key)
    assert status == row["status"], answer
    found = [difference for difference in differences(row, answer) if not excused(number, difference)]
    assert not found, "\n".join(found)


def _filled(template: str, ids: dict[str, str]) -> str:
    for name, ident in ids.items():
        template = template.replace(f"{{{name}}}", ident)
    return template
